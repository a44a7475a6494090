//! One step or stage at some positions, by one member of a team.

use std::ops::Range;

use super::memory::{Shared, Span};
use super::product::{LANES, Piece, Strided, Weights, add_products};
use super::program::{Activation, Extent, Run, Stage, Step, Store};
use super::team::Member;
use crate::Level;
use crate::arithmetic::{Once, tanh_and_sigmoid};
use crate::lanes::Lanes;
use crate::level::dispatch;

/// Half of a tile: outputs of a gate.
const HALF: usize = LANES / 2;

/// A sum over runs.
struct Sum<'a> {
    bias: Option<&'a [f32]>,
    source: usize,
    runs: &'a [Run],
    weights: &'a Weights,
    target: usize,
}

/// A thread at work on a row of some images.
#[derive(Clone, Copy)]
pub(super) struct Worker<'a> {
    pub level: Level,
    pub memory: Shared<'a>,
    pub member: Member<'a>,
    pub images: usize,
    pub width: usize,
    pub row: isize,
}

impl Worker<'_> {
    /// Does this member's part of a step, at all positions of all images.
    pub fn step(&self, step: &Step) {
        let images = 0..self.images;
        let width = self.width;
        let spans = images.clone().map(|image| Span::Columns { image, width });
        match step {
            Step::Copy { source, target } => {
                spans.for_each(|span| self.copy(*source, *target, span));
            }
            Step::Product {
                bias,
                source,
                runs,
                weights,
                target,
            } => {
                let sum = Sum {
                    bias: bias.as_deref(),
                    source: *source,
                    runs,
                    weights,
                    target: *target,
                };
                let tiles = self.member.part(0..weights.tiles());
                for image in images {
                    self.product(&sum, tiles.clone(), self.span_of(*target, image));
                }
            }
            Step::Gate {
                source,
                term,
                maps,
                target,
            } => spans.for_each(|span| self.gate(*source, *term, *maps, *target, span)),
        }
    }

    /// One position where the buffer has one for the image, else all columns.
    fn span_of(&self, buffer: usize, image: usize) -> Span {
        match self.memory.extent(buffer) {
            Extent::Row => Span::Columns {
                image,
                width: self.width,
            },
            Extent::Image => Span::Columns { image, width: 1 },
        }
    }

    /// Copies an image's numbers to this member's part of the positions.
    fn copy(&self, source: usize, target: usize, span: Span) {
        let maps = self.memory.maps(target);
        let from = self.memory.strided(source, 0, span, (0, 0, maps));
        let to = self.memory.strided(target, self.row, span, (0, 0, maps));
        for position in self.member.part(0..span.positions()) {
            let to = to.start.wrapping_add(position * to.stride);
            // SAFETY: `strided` has checked both; they are different buffers,
            // and the position is this member's.
            unsafe { std::ptr::copy_nonoverlapping(from.start.cast_const(), to, maps) };
        }
    }

    /// Takes the chains of some tiles through all runs.
    fn product(&self, sum: &Sum, tiles: Range<usize>, span: Span) {
        let lanes = (0, 0, sum.weights.tiles() * LANES);
        let sums = self.memory.strided(sum.target, self.row, span, lanes);
        let mut first = 0;
        for run in sum.runs {
            let from = (run.column, 0, run.length);
            let row = self.row + run.row;
            let inputs = self.memory.strided(sum.source, row, span, from);
            let piece = Piece {
                weights: sum.weights,
                tiles: (tiles.start, tiles.end),
                first,
                length: run.length,
                positions: span.positions(),
                inputs: constant(inputs),
                bias: sum.bias.filter(|_| first == 0),
                sums,
            };
            // SAFETY: the addresses are checked for the whole span; the tiles
            // are this member's until the next barrier.
            unsafe { add_products(self.level, piece) };
            first += run.length;
        }
    }

    /// Gates this member's part of the positions of a row.
    fn gate(&self, source: usize, term: Option<usize>, maps: usize, target: usize, span: Span) {
        let doubled = (0, 0, 2 * maps);
        let row = self.row;
        let gating = Gating {
            maps,
            sums: constant(self.memory.strided(source, row, span, doubled)),
            term: term.map(|term| constant(self.memory.strided(term, row, span, doubled))),
            to: self.memory.strided(target, row, span, (0, 0, maps)),
            part: self.member.part(0..span.positions()),
        };
        let gating = &gating;
        dispatch!(self.level, gate_positions(gating: &Gating));
    }

    /// The pixels to the left, for all colours.
    pub fn stage_left(&self, stage: &Stage, span: Span) {
        let Some((runs, weights)) = &stage.left else {
            return;
        };
        // The same tiles as later at the centre: no barrier lies between.
        for group in &stage.groups {
            let sum = Sum {
                bias: stage.bias.as_deref(),
                source: stage.source,
                runs,
                weights,
                target: stage.sums,
            };
            self.product(&sum, self.member.part(group.tiles.clone()), span);
        }
    }

    /// The pixel itself, for one colour; then its outputs are written.
    pub fn stage_centre(&self, stage: &Stage, channel: usize, span: Span) {
        let group = &stage.groups[channel];
        let tiles = self.member.part(group.tiles.clone());
        let sums = (0, 0, stage.centre.tiles() * LANES);
        let sums = self.memory.strided(stage.sums, self.row, span, sums);
        let from = (0, 0, group.inputs);
        let inputs = self.memory.strided(stage.source, self.row, span, from);
        let piece = Piece {
            weights: &stage.centre,
            tiles: (tiles.start, tiles.end),
            first: 0,
            length: group.inputs,
            positions: span.positions(),
            inputs: constant(inputs),
            // Pixels to the left come first, where there are any.
            bias: stage.bias.as_deref().filter(|_| stage.left.is_none()),
            sums,
        };
        // SAFETY: as in `product`.
        unsafe { add_products(self.level, piece) };
        if stage.targets.is_empty() {
            return;
        }
        let lanes = match stage.activation {
            Activation::None => LANES,
            Activation::Gate => HALF,
        };
        let outputs = (0, group.outputs.start, group.outputs.len());
        let place = |buffer| self.memory.strided(buffer, self.row, span, outputs);
        let writing = &Writing {
            activation: stage.activation,
            sums: constant(sums),
            tiles: tiles.clone(),
            lanes,
            first_tile: group.tiles.start,
            outputs: group.outputs.len(),
            positions: span.positions(),
            residual: stage.residual.map(|buffer| constant(place(buffer))),
            targets: [0, 1].map(|index| {
                let target = stage.targets.get(index);
                target.map(|(buffer, store)| (place(*buffer), *store))
            }),
        };
        dispatch!(self.level, write_outputs(writing: &Writing));
    }
}

fn constant(numbers: Strided<*mut f32>) -> Strided<*const f32> {
    Strided {
        start: numbers.start.cast_const(),
        stride: numbers.stride,
    }
}

/// A gate over positions of a row.
struct Gating {
    maps: usize,
    sums: Strided<*const f32>,
    term: Option<Strided<*const f32>>,
    to: Strided<*mut f32>,
    part: Range<usize>,
}

#[inline(always)]
fn gate_positions<L: Lanes>(gating: &Gating) {
    let maps = gating.maps;
    for position in gating.part.clone() {
        // SAFETY: `strided` has checked the addresses for the whole span; this
        // member alone writes the position, and nobody writes what is read.
        let (sums, term, to) = unsafe {
            let sums = gating
                .sums
                .start
                .wrapping_add(position * gating.sums.stride);
            let term = gating.term.map(|term| {
                let start = term.start.wrapping_add(position * term.stride);
                std::slice::from_raw_parts(start, 2 * maps)
            });
            let to = gating.to.start.wrapping_add(position * gating.to.stride);
            (
                std::slice::from_raw_parts(sums, 2 * maps),
                term,
                std::slice::from_raw_parts_mut(to, maps),
            )
        };
        let (values, gates) = sums.split_at(maps);
        match term {
            None => {
                for ((to, a), b) in to.iter_mut().zip(values).zip(gates) {
                    let (tanh, sigmoid) = tanh_and_sigmoid::<Once>(*a, *b);
                    *to = tanh * sigmoid;
                }
            }
            Some(term) => {
                let (more, further) = term.split_at(maps);
                let sums = values.iter().zip(more).zip(gates.iter().zip(further));
                for (to, ((a, c), (b, d))) in to.iter_mut().zip(sums) {
                    let (tanh, sigmoid) = tanh_and_sigmoid::<Once>(a + c, b + d);
                    *to = tanh * sigmoid;
                }
            }
        }
    }
}

/// What a stage writes of one colour.
struct Writing {
    activation: Activation,
    sums: Strided<*const f32>,
    /// This member's tiles.
    tiles: Range<usize>,
    /// Outputs of a tile.
    lanes: usize,
    /// Of the colour.
    first_tile: usize,
    outputs: usize,
    positions: usize,
    residual: Option<Strided<*const f32>>,
    targets: [Option<(Strided<*mut f32>, Store)>; 2],
}

#[inline(always)]
fn write_outputs<L: Lanes>(writing: &Writing) {
    for position in 0..writing.positions {
        for tile in writing.tiles.clone() {
            let first = (tile - writing.first_tile) * writing.lanes;
            let count = writing.outputs.saturating_sub(first).min(writing.lanes);
            // SAFETY: `strided` has checked the addresses for the whole span
            // and all outputs of the colour; these are this member's.
            unsafe {
                let sums = writing
                    .sums
                    .start
                    .wrapping_add(position * writing.sums.stride);
                let sums = sums.wrapping_add(tile * LANES).cast::<[f32; LANES]>();
                let mut outputs = activate(writing.activation, &sums.read());
                if let Some(residual) = writing.residual {
                    let from = residual
                        .start
                        .wrapping_add(position * residual.stride + first);
                    let residual = read(from, count);
                    for (output, residual) in outputs.iter_mut().zip(&residual) {
                        *output += residual;
                    }
                }
                for (target, store) in writing.targets.iter().flatten() {
                    let to = target.start.wrapping_add(position * target.stride + first);
                    match store {
                        Store::AsIs => write(to, count, &outputs),
                        Store::Rectified => write(to, count, &outputs.map(rectified)),
                    }
                }
            }
        }
    }
}

#[inline(always)]
fn rectified(number: f32) -> f32 {
    if number > 0.0 { number } else { 0.0 }
}

/// Some numbers, then zeros. Whole and half tiles, which are nearly all, are
/// vectors.
///
/// # Safety
///
/// `count` numbers can be read, at most a tile.
#[inline(always)]
unsafe fn read(from: *const f32, count: usize) -> [f32; LANES] {
    let mut numbers = [0.0; LANES];
    let to = numbers.as_mut_ptr();
    // SAFETY: the caller's.
    unsafe {
        match count {
            LANES => std::ptr::copy_nonoverlapping(from, to, LANES),
            HALF => std::ptr::copy_nonoverlapping(from, to, HALF),
            _ => std::ptr::copy_nonoverlapping(from, to, count),
        }
    }
    numbers
}

/// Writes the first of some numbers.
///
/// # Safety
///
/// `count` numbers can be written, at most a tile.
#[inline(always)]
unsafe fn write(to: *mut f32, count: usize, numbers: &[f32; LANES]) {
    let from = numbers.as_ptr();
    // SAFETY: the caller's.
    unsafe {
        match count {
            LANES => std::ptr::copy_nonoverlapping(from, to, LANES),
            HALF => std::ptr::copy_nonoverlapping(from, to, HALF),
            _ => std::ptr::copy_nonoverlapping(from, to, count),
        }
    }
}

/// The outputs of a tile, eight of a gate.
#[inline(always)]
fn activate(activation: Activation, sums: &[f32; LANES]) -> [f32; LANES] {
    match activation {
        Activation::None => *sums,
        Activation::Gate => {
            let mut outputs = [0.0; LANES];
            for lane in 0..HALF {
                let (tanh, sigmoid) = tanh_and_sigmoid::<Once>(sums[lane], sums[HALF + lane]);
                outputs[lane] = tanh * sigmoid;
            }
            outputs
        }
    }
}
