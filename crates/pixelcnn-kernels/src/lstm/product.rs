//! Matrix products that are added to what is there. Each entry is one chain of multiply-adds,
//! whatever the tiles.

use crate::Level;
use crate::lanes::Lanes;
use crate::level::dispatch;
use crate::product::{Matrix, row_tiles, tile_columns};

/// The left matrix: its first entry, and the distances between rows and between the summed
/// entries.
#[derive(Clone, Copy)]
pub(super) struct Left {
    pub start: *const f32,
    pub row: usize,
    pub inner: usize,
}

/// The right matrix in panels of the columns of a tile: its first entry, the distance between
/// rows, and between panels.
#[derive(Clone, Copy)]
pub(super) struct Right {
    pub start: *const f32,
    pub row: usize,
    pub panel: usize,
}

/// The summed index: blocks of these lengths, and how many numbers of the left and of the right
/// matrix lie between two blocks.
#[derive(Clone, Copy)]
pub(super) struct Blocks<'a> {
    pub lengths: &'a [usize],
    pub skips: [usize; 2],
}

/// A product `c += left right`, with the rows and columns of `c`.
#[derive(Clone, Copy)]
pub(super) struct Product<'a> {
    pub left: Left,
    pub right: Right,
    pub blocks: Blocks<'a>,
    pub to: Matrix<*mut f32>,
    pub size: (usize, usize),
}

/// Computes a product.
///
/// # Safety
///
/// Over the summed blocks, the left matrix can be read in all rows, and the right one in whole
/// tiles of columns; `to` can be read and written.
pub(super) unsafe fn add_product(level: Level, product: Product) {
    dispatch!(level, in_tiles(product: Product));
}

#[inline(always)]
fn in_tiles<L: Lanes>(product: Product) {
    let (rows, columns) = product.size;
    let side = tile_columns::<L>();
    for panel in 0..columns.div_ceil(side) {
        let right = Matrix {
            start: product
                .right
                .start
                .wrapping_add(panel * product.right.panel),
            stride: product.right.row,
        };
        let columns = side.min(columns - panel * side);
        for (row, count) in row_tiles(rows, L::ROWS) {
            let left = Left {
                start: product.left.start.wrapping_add(row * product.left.row),
                ..product.left
            };
            let to = Matrix {
                start: product
                    .to
                    .start
                    .wrapping_add(row * product.to.stride + panel * side),
                ..product.to
            };
            macro_rules! by_rows {
                ($($rows:literal)*) => {
                    match count {
                        $($rows if $rows <= L::ROWS => {
                            // SAFETY: the caller of `add_product` guarantees it.
                            unsafe { tile::<L, $rows>(left, right, product.blocks, to, columns) }
                        })*
                        _ => {}
                    }
                };
            }
            by_rows!(1 2 3 4 5 6 7 8 9 10 11 12 13 14);
        }
    }
}

#[inline(always)]
unsafe fn tile<L: Lanes, const ROWS: usize>(
    left: Left,
    right: Matrix<*const f32>,
    blocks: Blocks,
    to: Matrix<*mut f32>,
    columns: usize,
) {
    // SAFETY: the caller guarantees all addresses.
    unsafe {
        let masks = [
            L::mask(0, columns),
            L::mask(0, columns.saturating_sub(L::WIDTH)),
        ];
        let mut sums = [[L::splat(0.0); 2]; ROWS];
        for (row, sums) in sums.iter_mut().enumerate() {
            let from = to.start.add(row * to.stride).cast_const();
            sums[0] = L::load_masked(from, masks[0]);
            sums[1] = L::load_masked(from.wrapping_add(L::WIDTH), masks[1]);
        }
        let (mut a, mut b) = (left.start, right.start);
        for length in blocks.lengths {
            for _ in 0..*length {
                let vectors = [L::load(b), L::load(b.wrapping_add(L::WIDTH))];
                for (row, sums) in sums.iter_mut().enumerate() {
                    let factor = L::splat(*a.add(row * left.row));
                    sums[0] = L::multiply_add(factor, vectors[0], sums[0]);
                    sums[1] = L::multiply_add(factor, vectors[1], sums[1]);
                }
                a = a.wrapping_add(left.inner);
                b = b.wrapping_add(right.stride);
            }
            a = a.wrapping_add(blocks.skips[0]);
            b = b.wrapping_add(blocks.skips[1]);
        }
        for (row, sums) in sums.iter().enumerate() {
            let to = to.start.add(row * to.stride);
            L::store_masked(to, sums[0], masks[0]);
            L::store_masked(to.wrapping_add(L::WIDTH), sums[1], masks[1]);
        }
    }
}

/// A matrix in panels for the right side, padded with zeros.
pub(super) struct Panels {
    numbers: Vec<f32>,
    rows: usize,
    side: usize,
}

impl Panels {
    /// Of `rows` rows and `columns` columns with these entries.
    pub(super) fn new(
        level: Level,
        (rows, columns): (usize, usize),
        entry: impl Fn(usize, usize) -> f32,
    ) -> Self {
        let side = 2 * level.width();
        let panels = columns.div_ceil(side);
        let mut numbers = vec![0.0; panels * rows * side];
        for panel in 0..panels {
            for row in 0..rows {
                for column in panel * side..columns.min((panel + 1) * side) {
                    let index = (panel * rows + row) * side + column - panel * side;
                    numbers[index] = entry(row, column);
                }
            }
        }
        Self {
            numbers,
            rows,
            side,
        }
    }

    /// From a row on.
    pub(super) fn from(&self, row: usize) -> Right {
        assert!(row < self.rows);
        Right {
            start: self.numbers.as_ptr().wrapping_add(row * self.side),
            row: self.side,
            panel: self.rows * self.side,
        }
    }
}
