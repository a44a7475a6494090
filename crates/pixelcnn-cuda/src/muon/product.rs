//! The products of stacks of matrices.

use candle_core::cuda_backend::cudarc::cublas::{CudaBlas, result::gemm_strided_batched_ex, sys};
use candle_core::{Error, Result};

use super::stacks::Stack;

/// Matrices of one size, one after the other, as cuBLAS has them: column after column.
#[derive(Clone, Copy, Debug)]
pub(super) struct Matrices {
    /// The address of the first one.
    pub at: u64,
    /// Numbers of a column.
    pub column: usize,
    /// Numbers of a matrix.
    pub numbers: usize,
}

/// `c = alpha a b + beta c` for each matrix of some stacks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Product {
    /// Whether each factor is transposed.
    pub transposed: [bool; 2],
    /// Rows and columns of the result, and the length of the sums.
    pub sizes: [usize; 3],
    pub factors: [Matrices; 2],
    pub result: Matrices,
    pub alpha: f32,
    pub beta: f32,
    /// Matrices in each stack.
    pub count: usize,
}

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
        }
    }
}

/// Computes a product in f32.
///
/// # Safety
///
/// All matrices are in memory of the device, and their sizes fit `i32`.
pub(super) unsafe fn multiply(product: &Product, blas: &CudaBlas) -> Result<()> {
    let turned = |is: bool| match is {
        true => sys::cublasOperation_t::CUBLAS_OP_T,
        false => sys::cublasOperation_t::CUBLAS_OP_N,
    };
    let f32 = sys::cudaDataType::CUDA_R_32F;
    let [m, n, k] = product.sizes.map(|size| size as i32);
    let [a, b] = product.factors;
    let c = product.result;
    // SAFETY: as the caller promises; alpha and beta are f32, as the type of the sums.
    let done = unsafe {
        gemm_strided_batched_ex(
            *blas.handle(),
            turned(product.transposed[0]),
            turned(product.transposed[1]),
            m,
            n,
            k,
            (&raw const product.alpha).cast(),
            a.at as *const _,
            f32,
            a.column as i32,
            a.numbers as i64,
            b.at as *const _,
            f32,
            b.column as i32,
            b.numbers as i64,
            (&raw const product.beta).cast(),
            c.at as *mut _,
            f32,
            c.column as i32,
            c.numbers as i64,
            product.count as i32,
            sys::cublasComputeType_t::CUBLAS_COMPUTE_32F,
            sys::cublasGemmAlgo_t::CUBLAS_GEMM_DEFAULT,
        )
    };
    done.map_err(Error::wrap)
}
