//! The gradients of the weight and the bias of a convolution.

use std::ops::Range;

use rayon::prelude::*;

use super::geometry::Geometry;
use crate::Level;
use crate::columns::{Image, Region, row_stride, shifted, transpose};
use crate::lanes::Lanes;
use crate::level::dispatch;
use crate::memory::{Maps, scratch};
use crate::product::{Chain, Matrix, Start, row_tiles, tile, tile_columns};

/// Output positions computed at a time, unless a row is longer.
const POSITIONS: usize = 256;
/// Output maps of one job.
const OUTPUTS: usize = 128;
/// Maximum number of parts of a batch that are summed separately.
const PARTS: usize = 8;

/// The data of one job: some images, some outputs.
struct Job<'a> {
    geometry: &'a Geometry,
    input: Maps<'a>,
    incoming: Maps<'a>,
    images: Range<usize>,
    outputs: Range<usize>,
    planes: &'a Planes,
}

/// The views of the image that are columns of the product, and the shifts
/// at which the product reads them.
struct Planes {
    /// Shifts of all input maps, one after the other.
    views: Vec<(isize, isize)>,
    /// Rows and columns by which the views extend beyond the output.
    halo: (usize, usize),
    /// Additional row and column shifts at which the views are read.
    reads: Vec<(usize, usize)>,
}

impl Planes {
    /// Each input map is one view, read at each tap. If there are fewer maps than lanes, or
    /// the halo has more numbers than the views of all taps, each tap of each map is a view.
    fn new(geometry: &Geometry, lanes: usize) -> Self {
        let taps = 0..geometry.taps();
        let ((height, width), dilation) = (geometry.kernel, geometry.dilation);
        let halo = ((height - 1) * dilation, (width - 1) * dilation);
        let (rows, columns) = (rows_together(geometry), geometry.to.1);
        let region = (rows + halo.0).saturating_mul(columns + halo.1);
        let of_taps = geometry.taps().saturating_mul(rows * columns);
        if geometry.inputs < lanes || region > of_taps {
            return Self {
                views: taps.map(|tap| geometry.shift(tap)).collect(),
                halo: (0, 0),
                reads: vec![(0, 0)],
            };
        }
        let read = |tap: usize| (tap / width * dilation, tap % width * dilation);
        Self {
            views: vec![geometry.shift(0)],
            halo,
            reads: taps.map(read).collect(),
        }
    }
}

/// For each output the gradients of its weights, in the order `[input, tap]`,
/// and of its bias: `[o, i kh kw + 1]`.
pub(crate) fn weight_gradient(
    level: Level,
    geometry: &Geometry,
    input: Maps,
    incoming: Maps,
) -> Vec<f32> {
    let planes = &Planes::new(geometry, level.width());
    let parts = geometry.batch.min(PARTS);
    let pieces = geometry.outputs.div_ceil(OUTPUTS);
    let cut =
        |whole: usize, parts: usize, part: usize| whole * part / parts..whole * (part + 1) / parts;
    let jobs = (0..pieces * parts).into_par_iter();
    let sums: Vec<Vec<f32>> = jobs
        .map(|index| {
            let job = &Job {
                geometry,
                input,
                incoming,
                images: cut(geometry.batch, parts, index % parts),
                outputs: cut(geometry.outputs, pieces, index / parts),
                planes,
            };
            let mut sums = vec![0.0; job.outputs.len() * row_length(geometry)];
            let to = sums.as_mut_slice();
            scratch(job.buffers(), |buffers| {
                dispatch!(level, sum(job: &Job, buffers: [&mut [f32]; 3], to: &mut [f32]));
            });
            sums
        })
        .collect();
    let pieces = sums.par_chunks(parts).map(|piece| {
        let mut total = piece[0].clone();
        for part in &piece[1..] {
            for (total, part) in total.iter_mut().zip(part) {
                *total += part;
            }
        }
        let mut gradient = Vec::with_capacity(total.len());
        for row in total.chunks(row_length(geometry)) {
            reorder(geometry, row, &mut gradient);
        }
        gradient
    });
    pieces.collect::<Vec<_>>().concat()
}

/// Rows of the output worked on at a time.
fn rows_together(geometry: &Geometry) -> usize {
    let (height, width) = geometry.to;
    (POSITIONS / width).clamp(1, height)
}

/// Weights and the bias of an output.
fn row_length(geometry: &Geometry) -> usize {
    geometry.summed() + 1
}

/// `[tap, input]` and the bias to `[input, tap]` and the bias.
fn reorder(geometry: &Geometry, row: &[f32], to: &mut Vec<f32>) {
    let (taps, inputs) = (geometry.taps(), geometry.inputs);
    for input in 0..inputs {
        to.extend((0..taps).map(|tap| row[tap * inputs + input]));
    }
    to.push(row[taps * inputs]);
}

impl Job<'_> {
    fn rows(&self) -> usize {
        rows_together(self.geometry)
    }

    /// Views of the image that are columns of the product.
    fn views(&self) -> usize {
        self.planes.views.len() * self.geometry.inputs
    }

    /// Lengths of buffers for views, columns and factors.
    fn buffers(&self) -> [usize; 3] {
        let (rows, width, halo) = (self.rows(), self.geometry.to.1, self.planes.halo);
        let (region, positions) = ((rows + halo.0) * (width + halo.1), rows * width);
        let (views, outputs) = (self.views(), self.outputs.len());
        let padded = |count: usize| count.next_multiple_of(8);
        [
            (padded(views) * row_stride(region)).max(padded(outputs) * row_stride(positions)),
            padded(region) * row_stride(views),
            padded(positions) * row_stride(outputs),
        ]
    }
}

/// The sums over the images of a job, in rows `[tap, input]` and the bias.
#[inline(always)]
fn sum<L: Lanes>(job: &Job, [view, columns, factors]: [&mut [f32]; 3], sums: &mut [f32]) {
    let (height, width) = job.geometry.to;
    let mut first = true;
    for image in job.images.clone() {
        for top in (0..height).step_by(job.rows()) {
            let rows = job.rows().min(height - top);
            read_columns::<L>(job, image, (top, rows), view, columns);
            read_factors::<L>(job, image, (top, rows), view, factors);
            products::<L>(job, rows, columns, factors, sums, first);
            add_bias(job, rows * width, factors, sums);
            first = false;
        }
    }
}

/// The views of some rows and their halo, transposed: `[position, view]`.
#[inline(always)]
fn read_columns<L: Lanes>(
    job: &Job,
    image: usize,
    (top, rows): (usize, usize),
    view: &mut [f32],
    columns: &mut [f32],
) {
    let (geometry, planes) = (job.geometry, job.planes);
    let values = job
        .input
        .image(image, geometry.inputs * geometry.input_area());
    if geometry.is_pointwise() {
        let width = geometry.to.1;
        let positions = top * width..(top + rows) * width;
        let to = (columns, row_stride(geometry.inputs));
        let maps = 0..geometry.inputs;
        return flat::<L>((values, geometry.input_area()), maps, positions, view, to);
    }
    let width = geometry.to.1 + planes.halo.1;
    let region = Region {
        width,
        start: top * width,
        end: (top + rows + planes.halo.0) * width,
    };
    let image = Image {
        values,
        height: geometry.from.0,
        width: geometry.from.1,
    };
    let stride = row_stride(region.len());
    for (index, shift) in planes.views.iter().enumerate() {
        let view = &mut view[index * geometry.inputs * stride..];
        shifted::<L>(image, 0..geometry.inputs, *shift, region, view);
    }
    let views = job.views();
    let shape = (views, region.len());
    transpose::<L>((view, stride), shape, (columns, row_stride(views)));
}

/// The incoming gradient of some rows, transposed: `[position, output]`.
#[inline(always)]
fn read_factors<L: Lanes>(
    job: &Job,
    image: usize,
    (top, rows): (usize, usize),
    view: &mut [f32],
    factors: &mut [f32],
) {
    let geometry = job.geometry;
    let (area, width) = (geometry.output_area(), geometry.to.1);
    let values = job.incoming.image(image, geometry.outputs * area);
    let positions = top * width..(top + rows) * width;
    let to = (factors, row_stride(job.outputs.len()));
    flat::<L>((values, area), job.outputs.clone(), positions, view, to);
}

/// Some positions of some maps of `area` positions each, transposed:
/// `[position, map]`.
#[inline(always)]
fn flat<L: Lanes>(
    (values, area): (&[f32], usize),
    maps: Range<usize>,
    positions: Range<usize>,
    view: &mut [f32],
    to: (&mut [f32], usize),
) {
    let shape = (maps.len(), positions.len());
    if shape.0.is_multiple_of(8) && shape.1.is_multiple_of(8) {
        let values = &values[maps.start * area + positions.start..];
        return transpose::<L>((values, area), shape, to);
    }
    // All positions as one row: a region without a border.
    let image = Image {
        values,
        height: 1,
        width: area,
    };
    let region = Region {
        width: area,
        start: positions.start,
        end: positions.end,
    };
    shifted::<L>(image, maps, (0, 0), region, view);
    transpose::<L>((view, row_stride(region.len())), shape, to);
}

/// Adds the contribution of some rows of an image.
#[inline(always)]
fn products<L: Lanes>(
    job: &Job,
    rows: usize,
    columns: &[f32],
    factors: &[f32],
    sums: &mut [f32],
    first: bool,
) {
    for column in (0..job.views()).step_by(tile_columns::<L>()) {
        for read in 0..job.planes.reads.len() {
            for row in row_tiles(job.outputs.len(), L::ROWS) {
                add_tile::<L>(
                    job,
                    rows,
                    columns,
                    factors,
                    sums,
                    first,
                    (row, read, column),
                );
            }
        }
    }
}

/// Adds to a tile of the gradient: some outputs, and the views from a column on, read at
/// one of the shifts.
#[inline(always)]
fn add_tile<L: Lanes>(
    job: &Job,
    rows: usize,
    columns: &[f32],
    factors: &[f32],
    sums: &mut [f32],
    first: bool,
    ((row, count_rows), read, column): ((usize, usize), usize, usize),
) {
    let (width, halo) = (job.geometry.to.1, job.planes.halo.1);
    let (stride, out_stride) = (row_stride(job.views()), row_stride(job.outputs.len()));
    let length = row_length(job.geometry);
    let count = (job.views() - column).min(tile_columns::<L>());
    let (down, right) = job.planes.reads[read];
    let from = (down * (width + halo) + right) * stride + column;
    let last = (rows - 1) * (width + halo) + width - 1;
    assert!(from + last * stride + tile_columns::<L>() <= columns.len());
    assert!((rows * width - 1) * out_stride + row + count_rows <= factors.len());
    let to = row * length + read * job.geometry.inputs + column;
    assert!(to + (count_rows - 1) * length + count <= sums.len());
    let to = Matrix {
        start: sums.as_mut_ptr().wrapping_add(to),
        stride: length,
    };
    let continued = Matrix {
        start: to.start.cast_const(),
        stride: length,
    };
    let start = Start {
        bias: None,
        maps: (!first).then_some(continued),
    };
    let chain = Chain {
        length: width,
        blocks: rows,
        skip: halo,
    };
    // SAFETY: the assertions bound what is read of columns and factors and
    // what is read and written of the sums.
    unsafe {
        tile::<L>(
            chain,
            Matrix {
                start: factors.as_ptr().add(row),
                stride: out_stride,
            },
            Matrix {
                start: columns.as_ptr().add(from),
                stride,
            },
            to,
            (count_rows, count),
            start,
        );
    }
}

/// Adds the incoming gradients to those of the biases.
#[inline(always)]
fn add_bias(job: &Job, positions: usize, factors: &[f32], sums: &mut [f32]) {
    let outputs = job.outputs.len();
    let length = row_length(job.geometry);
    let mut total = [0f32; OUTPUTS];
    for row in factors.chunks(row_stride(outputs)).take(positions) {
        for (total, factor) in total.iter_mut().zip(&row[..outputs]) {
            *total += factor;
        }
    }
    for (row, total) in sums.chunks_mut(length).zip(&total) {
        row[length - 1] += total;
    }
}
