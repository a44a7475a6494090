//! Copies shifted, padded views of an image into rows of a matrix.

use crate::lanes::Lanes;

/// An image of maps, each `height x width` and contiguous.
#[derive(Clone, Copy)]
pub(crate) struct Image<'a> {
    pub values: &'a [f32],
    pub height: usize,
    pub width: usize,
}

/// The positions of a view: `start..end` counted row by row over rows of
/// `width`.
#[derive(Clone, Copy)]
pub(crate) struct Region {
    pub width: usize,
    pub start: usize,
    pub end: usize,
}

impl Region {
    pub(crate) fn len(&self) -> usize {
        self.end - self.start
    }
}

/// Distance between the rows of a view of `length` positions. It has space for the
/// last vector and is not a power of two, which would map all rows to the same
/// cache lines.
pub(crate) fn row_stride(length: usize) -> usize {
    length.next_multiple_of(32) + 16
}

/// Vectors of a map that are copied before the next map.
const PIECES: usize = 32;

/// One vector of each map: its offset in the map, the lanes inside the image, and its
/// place in a row of the view.
#[derive(Clone, Copy)]
struct Piece<L: Lanes> {
    offset: isize,
    mask: L::Mask,
    at: usize,
}

/// For each map of `maps` and each position `(y, x)` of the region, writes the value at
/// `(y + shift.0, x + shift.1)`, or zero outside the image. Map
/// `maps.start` goes to the start of `view`, the next map [`row_stride`]
/// further.
#[inline(always)]
pub(crate) fn shifted<L: Lanes>(
    image: Image,
    maps: std::ops::Range<usize>,
    shift: (isize, isize),
    region: Region,
    view: &mut [f32],
) {
    let (stride, area) = (row_stride(region.len()), image.height * image.width);
    assert!(maps.end * area <= image.values.len());
    assert!(maps.len() * stride <= view.len());
    let mut start = region.start;
    while start < region.end {
        let (pieces, count, end) = pieces::<L>(image, shift, region, start);
        // Map by map, because neighbours in memory are faster to read than places that
        // are a map apart.
        for (index, map) in maps.clone().enumerate() {
            let from = image.values.as_ptr().wrapping_add(map * area);
            for piece in &pieces[..count] {
                // SAFETY: lanes outside of the image are masked off. A vector
                // begins within the region, so it ends within the stride,
                // which leaves room for it; the assertions above bound both
                // buffers.
                unsafe {
                    let value = L::load_masked(from.wrapping_offset(piece.offset), piece.mask);
                    L::store(view.as_mut_ptr().add(index * stride + piece.at), value);
                }
            }
        }
        start = end;
    }
}

/// The vectors of a region from position `start` on, their number, and
/// the position after the last one.
#[inline(always)]
fn pieces<L: Lanes>(
    image: Image,
    shift: (isize, isize),
    region: Region,
    start: usize,
) -> ([Piece<L>; PIECES], usize, usize) {
    let mut position = start;
    let mut count = 0;
    let pieces = std::array::from_fn(|_| {
        let (y, x) = (position / region.width, position % region.width);
        let (row, column) = (y as isize + shift.0, x as isize + shift.1);
        let inside = (0..image.height as isize).contains(&row);
        let first = (-column).max(0) as usize;
        let last = (image.width as isize - column).max(0) as usize;
        let last = if inside { last } else { 0 };
        let piece = Piece {
            offset: row * image.width as isize + column,
            // SAFETY: the level's instructions exist where this runs.
            mask: unsafe { L::mask(first, last) },
            at: position - region.start,
        };
        if position < region.end {
            let rest = (region.width - x).min(region.end - position);
            position += rest.min(L::WIDTH);
            count += 1;
        }
        piece
    });
    (pieces, count, position)
}

/// `to[j, i] = from[i, j]` for `rows x columns` entries of `from`, in
/// steps of eight; both buffers have space for whole steps.
#[inline(always)]
pub(crate) fn transpose<L: Lanes>(
    from: (&[f32], usize),
    (rows, columns): (usize, usize),
    to: (&mut [f32], usize),
) {
    let ((from, from_stride), (to, to_stride)) = (from, to);
    let (rows, columns) = (rows.next_multiple_of(8), columns.next_multiple_of(8));
    assert!((rows - 1) * from_stride + columns <= from.len());
    assert!((columns - 1) * to_stride + rows <= to.len());
    for i in (0..rows).step_by(8) {
        for j in (0..columns).step_by(8) {
            // SAFETY: the assertions above bound both blocks.
            unsafe {
                let from = from.as_ptr().add(i * from_stride + j);
                let to = to.as_mut_ptr().add(j * to_stride + i);
                L::transpose8(from, from_stride, to, to_stride);
            }
        }
    }
}
