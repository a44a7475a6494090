//! A matrix product in which every output is one chain of multiply-adds.
//!
//! Both operands are stored with the summed index first: `a [k, rows]` and
//! `b [k, columns]`. A tile of the result stays in registers during the loop over `k`.
//! Partial sums are stored and loaded again, so the order of
//! summation is always that of `k`, however the work is split.

use crate::lanes::Lanes;

/// The initial values of the sums of a tile: both added, or zero.
#[derive(Clone, Copy)]
pub(crate) struct Start {
    /// One number per row of the result.
    pub bias: Option<*const f32>,
    /// One number per entry; it may be the result itself, to continue its sums.
    pub maps: Option<Matrix<*const f32>>,
}

/// The summed index: `blocks` runs of `length`; between runs, `b` skips
/// `skip` rows, but `a` does not.
#[derive(Clone, Copy)]
pub(crate) struct Chain {
    pub length: usize,
    pub blocks: usize,
    pub skip: usize,
}

/// A matrix by its first entry and the distance between its rows.
#[derive(Clone, Copy)]
pub(crate) struct Matrix<P> {
    pub start: P,
    pub stride: usize,
}

/// Columns of a tile, in two vectors.
pub(crate) const fn tile_columns<L: Lanes>() -> usize {
    2 * L::WIDTH
}

/// Rows `0..rows` in tiles of nearly equal height, at most [`Lanes::ROWS`].
pub(crate) fn row_tiles(rows: usize, most: usize) -> impl Iterator<Item = (usize, usize)> {
    let count = rows.div_ceil(most);
    (0..count).map(move |tile| {
        let (start, end) = (tile * rows / count, (tile + 1) * rows / count);
        (start, end - start)
    })
}

/// `c[row, column] = start + sum over k of a[k, row] b[k, column]` for `rows`
/// rows and `columns` columns, at most [`Lanes::ROWS`] and
/// [`tile_columns`].
///
/// # Safety
///
/// `a` can be read over the chain and `rows`; `b` over the chain with its skips and a whole
/// tile of columns, even if `columns` is smaller; `c` can be written over `rows` and
/// `columns`; a bias can be read over `rows`, maps over both.
#[inline(always)]
pub(crate) unsafe fn tile<L: Lanes>(
    chain: Chain,
    a: Matrix<*const f32>,
    b: Matrix<*const f32>,
    c: Matrix<*mut f32>,
    (rows, columns): (usize, usize),
    start: Start,
) {
    debug_assert!(rows <= L::ROWS && columns <= tile_columns::<L>());
    macro_rules! by_rows {
        ($($count:literal)*) => {
            match rows {
                $($count if $count <= L::ROWS => {
                    // SAFETY: the caller guarantees it.
                    unsafe { fixed_tile::<L, $count>(chain, a, b, c, columns, start) }
                })*
                _ => {}
            }
        };
    }
    by_rows!(1 2 3 4 5 6 7 8 9 10 11 12 13 14);
}

#[inline(always)]
unsafe fn fixed_tile<L: Lanes, const ROWS: usize>(
    chain: Chain,
    a: Matrix<*const f32>,
    b: Matrix<*const f32>,
    c: Matrix<*mut f32>,
    columns: usize,
    start: Start,
) {
    // SAFETY: the caller guarantees all addresses.
    unsafe {
        let masks = [
            L::mask(0, columns),
            L::mask(0, columns.saturating_sub(L::WIDTH)),
        ];
        let mut sums = [[L::splat(0.0); 2]; ROWS];
        // The result is only needed after the sums, so its memory can be fetched during the
        // sums.
        for row in 0..ROWS {
            let to = c.start.wrapping_add(row * c.stride).cast_const();
            L::prefetch(to);
            L::prefetch(to.wrapping_add(L::WIDTH));
        }
        for (row, sums) in sums.iter_mut().enumerate() {
            if let Some(maps) = start.maps {
                let from = maps.start.add(row * maps.stride);
                sums[0] = L::load_masked(from, masks[0]);
                sums[1] = L::load_masked(from.wrapping_add(L::WIDTH), masks[1]);
            }
            if let Some(bias) = start.bias {
                let bias = L::splat(*bias.add(row));
                sums[0] = L::add(sums[0], bias);
                sums[1] = L::add(sums[1], bias);
            }
        }
        let (mut from_a, mut from_b) = (a.start, b.start);
        for _ in 0..chain.blocks {
            for _ in 0..chain.length {
                let vectors = [L::load(from_b), L::load(from_b.add(L::WIDTH))];
                for (row, sums) in sums.iter_mut().enumerate() {
                    let factor = L::splat(*from_a.add(row));
                    sums[0] = L::multiply_add(factor, vectors[0], sums[0]);
                    sums[1] = L::multiply_add(factor, vectors[1], sums[1]);
                }
                from_a = from_a.wrapping_add(a.stride);
                from_b = from_b.wrapping_add(b.stride);
            }
            from_b = from_b.wrapping_add(chain.skip * b.stride);
        }
        for (row, sums) in sums.iter().enumerate() {
            let to = c.start.add(row * c.stride);
            L::store_masked(to, sums[0], masks[0]);
            L::store_masked(to.wrapping_add(L::WIDTH), sums[1], masks[1]);
        }
    }
}
