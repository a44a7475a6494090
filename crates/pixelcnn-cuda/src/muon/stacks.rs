//! Where the matrices of a step of Muon are.

use std::collections::BTreeMap;

/// Matrices of the same size, one after the other, and their squares, which have the smaller of
/// rows and columns. Offsets count numbers from the start of a region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stack {
    pub rows: usize,
    pub columns: usize,
    pub count: usize,
    pub matrices: usize,
    pub squares: usize,
}

impl Stack {
    /// Rows of a square.
    pub(super) fn side(&self) -> usize {
        self.rows.min(self.columns)
    }
}

/// The stacks of some matrices in two regions: of matrices, and of squares.
#[derive(Debug, Default)]
pub(super) struct Stacks {
    pub all: Vec<Stack>,
    /// Where each matrix is.
    pub offsets: Vec<usize>,
    /// The numbers of each region.
    pub matrices: usize,
    pub squares: usize,
}

/// Stacks start at multiples of this many numbers: cuBLAS is faster with aligned matrices.
const ALIGNED: usize = 64;

impl Stacks {
    /// The stacks of matrices with these rows and columns.
    pub(super) fn new(sizes: &[[usize; 2]]) -> Self {
        let mut groups = BTreeMap::<_, Vec<usize>>::new();
        for (index, size) in sizes.iter().enumerate() {
            groups.entry(*size).or_default().push(index);
        }
        let mut stacks = Self {
            offsets: vec![0; sizes.len()],
            ..Self::default()
        };
        for ([rows, columns], members) in groups {
            let stack = Stack {
                rows,
                columns,
                count: members.len(),
                matrices: stacks.matrices,
                squares: stacks.squares,
            };
            for (place, &index) in members.iter().enumerate() {
                stacks.offsets[index] = stack.matrices + place * rows * columns;
            }
            let numbers = stack.count * rows * columns;
            stacks.matrices += numbers.next_multiple_of(ALIGNED);
            let numbers = stack.count * stack.side() * stack.side();
            stacks.squares += numbers.next_multiple_of(ALIGNED);
            stacks.all.push(stack);
        }
        stacks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_sizes_are_neighbours_and_stacks_do_not_overlap() {
        let found = Stacks::new(&[[3, 40], [50, 2], [3, 40], [40, 3]]);
        assert_eq!(found.offsets, [0, 384, 120, 256]);
        let stack = |rows, columns, count, matrices, squares| Stack {
            rows,
            columns,
            count,
            matrices,
            squares,
        };
        let expected = [
            stack(3, 40, 2, 0, 0),
            stack(40, 3, 1, 256, 64),
            stack(50, 2, 1, 384, 128),
        ];
        assert_eq!(found.all, expected);
        assert_eq!((found.matrices, found.squares), (512, 192));
    }
}
