//! Sums of convolutions, and, with transposed weights, the gradients of their inputs.

use std::ops::Range;

use rayon::prelude::*;

use super::geometry::Geometry;
use super::weights::{SUMMED, Weights};
use crate::Level;
use crate::columns::{Image, Region, row_stride, shifted};
use crate::lanes::Lanes;
use crate::level::dispatch;
use crate::memory::{Maps, Target, scratch};
use crate::product::{Chain, Matrix, Start, tile, tile_columns};

/// Output positions computed at a time.
const POSITIONS: usize = 128;

/// One convolution of a sum.
#[derive(Clone, Copy)]
pub(crate) struct Term<'a> {
    pub geometry: &'a Geometry,
    pub input: Maps<'a>,
    pub weights: &'a Weights,
}

/// The initial value of a sum.
#[derive(Clone, Copy, Default)]
pub(crate) struct Begin<'a> {
    /// One number per map.
    pub bias: Option<&'a [f32]>,
    /// Maps of the output's shape.
    pub maps: Option<Maps<'a>>,
    /// Whether to start with the values in the output.
    pub output: bool,
}

/// The data of one piece of work.
struct Strip<'a> {
    terms: &'a [Term<'a>],
    begin: Begin<'a>,
    image: usize,
    region: Region,
    /// The image's first output map, at the region's first position.
    output: *mut f32,
}

/// Writes the whole `output`: the sum of several convolutions with the same number and size
/// of outputs. Each output is one chain of multiply-adds over all convolutions.
pub(crate) fn convolutions(level: Level, terms: &[Term], begin: Begin, output: Target) {
    let Some(Term { geometry, .. }) = terms.first() else {
        return;
    };
    for term in terms {
        assert!((term.geometry.to, term.geometry.outputs) == (geometry.to, geometry.outputs));
    }
    assert!(begin.bias.is_none_or(|bias| bias.len() == geometry.outputs));
    let area = geometry.output_area();
    let strips = area.div_ceil(POSITIONS);
    let length = area.div_ceil(strips).next_multiple_of(32);
    let rows = terms.iter().map(|term| SUMMED.min(term.geometry.summed()));
    let rows = rows.max().unwrap_or(0);
    let jobs = (0..geometry.batch * strips).into_par_iter();
    jobs.for_each(|job| {
        let (image, start) = (job / strips, job % strips * length);
        if start >= area {
            return;
        }
        let region = Region {
            width: geometry.to.1,
            start,
            end: area.min(start + length),
        };
        let size = geometry.outputs * area;
        let strip = &Strip {
            terms,
            begin,
            image,
            region,
            output: output.address(image, 0, size).wrapping_add(start),
        };
        scratch([rows * row_stride(region.len())], |[view]| {
            dispatch!(level, strip_outputs(strip: &Strip, view: &mut [f32]));
        });
    });
}

/// All output maps over the region of a strip.
#[inline(always)]
fn strip_outputs<L: Lanes>(strip: &Strip, view: &mut [f32]) {
    let mut first_of_all = true;
    for term in strip.terms {
        let summed = term.geometry.summed();
        for first in (0..summed).step_by(SUMMED) {
            let block = first..summed.min(first + SUMMED);
            fill::<L>(strip, term, block, view);
            for column in (0..strip.region.len()).step_by(tile_columns::<L>()) {
                for index in 0..term.weights.tiles.len() {
                    let start = start(strip, term, first_of_all, (index, column));
                    add_tile::<L>(strip, term, first, (index, column), start, view);
                }
            }
            first_of_all = false;
        }
    }
}

/// The initial values of the sums of a tile: first the requested ones, later the
/// partial sums.
#[inline(always)]
fn start(strip: &Strip, term: &Term, first: bool, (index, column): (usize, usize)) -> Start {
    let area = term.geometry.output_area();
    let (row, rows) = term.weights.tiles[index];
    let continued = Matrix {
        start: strip.output.wrapping_add(row * area + column).cast_const(),
        stride: area,
    };
    if !first {
        return Start {
            bias: None,
            maps: Some(continued),
        };
    }
    let maps = strip.begin.maps.map(|maps| Matrix {
        start: maps.image(strip.image, (row + rows) * area)[row * area..]
            [strip.region.start + column..]
            .as_ptr(),
        stride: area,
    });
    Start {
        bias: strip.begin.bias.map(|bias| bias[row..row + rows].as_ptr()),
        maps: if strip.begin.output {
            Some(continued)
        } else {
            maps
        },
    }
}

/// Adds the block of (tap, input) pairs that starts at `first` to a tile
/// of outputs.
#[inline(always)]
fn add_tile<L: Lanes>(
    strip: &Strip,
    term: &Term,
    first: usize,
    (index, column): (usize, usize),
    start: Start,
    view: &[f32],
) {
    let area = term.geometry.output_area();
    let stride = row_stride(strip.region.len());
    let columns = (strip.region.len() - column).min(tile_columns::<L>());
    let (row, rows) = term.weights.tiles[index];
    let (factors, skipped) = term.weights.tile(first, index);
    let length = factors.len() / rows;
    let view = &view[skipped * stride..];
    assert!(view.len() >= length * stride);
    // SAFETY: factors and view have a row for each index of the chain, and the view's rows
    // have space for a whole tile. The rows of `c` are output maps, and its columns are
    // positions of this strip, which no other thread writes. Their initial values are as
    // large, or are the outputs themselves.
    unsafe {
        tile::<L>(
            Chain {
                length,
                blocks: 1,
                skip: 0,
            },
            Matrix {
                start: factors.as_ptr(),
                stride: rows,
            },
            Matrix {
                start: view.as_ptr().add(column),
                stride,
            },
            Matrix {
                start: strip.output.add(row * area + column),
                stride: area,
            },
            (rows, columns),
            start,
        );
    }
}

/// The views of a block of (tap, input) pairs.
#[inline(always)]
fn fill<L: Lanes>(strip: &Strip, term: &Term, block: Range<usize>, view: &mut [f32]) {
    let geometry = term.geometry;
    let inputs = geometry.inputs;
    let stride = row_stride(strip.region.len());
    let image = Image {
        values: term
            .input
            .image(strip.image, inputs * geometry.input_area()),
        height: geometry.from.0,
        width: geometry.from.1,
    };
    let mut index = block.start;
    while index < block.end {
        let (tap, map) = (index / inputs, index % inputs);
        let end = inputs.min(map + block.end - index);
        let view = &mut view[(index - block.start) * stride..];
        shifted::<L>(image, map..end, geometry.shift(tap), strip.region, view);
        index += end - map;
    }
}
