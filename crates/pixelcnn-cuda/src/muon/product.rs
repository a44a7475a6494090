//! The products of stacks of matrices.

use super::stacks::Stack;
use crate::Precision;
use crate::product::{Matrices, Product};

impl Stack {
    // cuBLAS sees a matrix of rows as its transpose: `columns` numbers in each of `rows` columns.
    fn matrices(&self, region: u64) -> Matrices {
        Matrices {
            at: region + (self.matrices * size_of::<f32>()) as u64,
            column: self.columns,
            numbers: self.rows * self.columns,
        }
    }

    fn squares(&self, region: u64) -> Matrices {
        Matrices {
            at: region + (self.squares * size_of::<f32>()) as u64,
            column: self.side(),
            numbers: self.side() * self.side(),
        }
    }

    fn is_tall(&self) -> bool {
        self.rows > self.columns
    }

    /// `X X^T` of the matrices X, or `X^T X` if they are tall.
    pub(super) fn square(&self, matrices: u64, squares: u64) -> Product {
        let matrices = self.matrices(matrices);
        Product {
            transposed: [!self.is_tall(), self.is_tall()],
            sizes: [self.side(), self.side(), self.rows.max(self.columns)],
            factors: [matrices; 2],
            result: self.squares(squares),
            alpha: 1.0,
            beta: 0.0,
            count: self.count,
            wide: false,
            precision: Precision::F32,
        }
    }

    /// Adds `c S S` of the squares S to the polynomials.
    pub(super) fn polynomial(&self, c: f32, squares: u64, polynomials: u64) -> Product {
        Product {
            transposed: [false; 2],
            sizes: [self.side(); 3],
            factors: [self.squares(squares); 2],
            result: self.squares(polynomials),
            alpha: c,
            beta: 1.0,
            count: self.count,
            wide: false,
            precision: Precision::F32,
        }
    }

    /// `P X` of the polynomials P and the matrices X, or `X P` if they are tall. P is symmetric.
    pub(super) fn product(&self, polynomials: u64, from: u64, to: u64) -> Product {
        let (polynomials, from) = (self.squares(polynomials), self.matrices(from));
        Product {
            transposed: [false; 2],
            sizes: [self.columns, self.rows, self.side()],
            factors: match self.is_tall() {
                true => [polynomials, from],
                false => [from, polynomials],
            },
            result: self.matrices(to),
            alpha: 1.0,
            beta: 0.0,
            count: self.count,
            wide: false,
            precision: Precision::F32,
        }
    }
}
