//! The part of one member of a team in a step or stage, at some positions.

use std::ops::Range;

use super::memory::{Shared, Span};
use super::pointwise::{Operand, Operations, apply};
use super::product::{LANES, Piece, Strided, Weights, add_products};
use super::program::{
    Chain, Extent, Group, Instruction, MOST_POINTWISE, Pointwise, Run, Scan, Side, Stage,
};
use super::team::{Member, Met};
use crate::Level;
use crate::level::dispatch;

/// A sum over runs.
struct Sum<'a> {
    bias: Option<&'a [f32]>,
    source: usize,
    runs: &'a [Run],
    weights: &'a Weights,
    target: usize,
}

/// A thread that computes a row of some images.
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
    pub(super) fn step(&self, step: &Instruction) -> Met {
        let images = 0..self.images;
        let width = self.width;
        let spans = images.clone().map(|image| Span::Columns { image, width });
        match step {
            Instruction::Copy { source, target } => {
                spans.for_each(|span| self.copy(*source, *target, span));
            }
            Instruction::Product {
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
            Instruction::RowAbove {
                source,
                first,
                target,
            } => spans.for_each(|span| self.row_above(*source, first, *target, span)),
            // Above the first row, there is nothing to compute.
            Instruction::Late(step) => {
                let above = Self {
                    row: self.row - 1,
                    ..*self
                };
                if above.row >= 0 {
                    above.step(step)?;
                }
            }
            Instruction::Pointwise { maps, operations } => {
                spans.for_each(|span| {
                    let positions = self.member.part(0..span.positions());
                    self.in_a_row(operations, *maps, span, positions);
                });
            }
            Instruction::Beside {
                side,
                numbers,
                target,
            } => images.for_each(|image| self.beside(*side, numbers, *target, image)),
            Instruction::Scan(scan) => return self.scan(scan),
        }
        Ok(())
    }

    /// Elementwise operations on maps that are stored in order, not in tiles.
    fn in_a_row(&self, operations: &[Pointwise], maps: usize, span: Span, positions: Range<usize>) {
        let group = &Group {
            tiles: 0..maps.div_ceil(LANES),
            inputs: 0,
            outputs: 0..maps,
        };
        let part = (group.tiles.clone(), positions);
        self.pointwise(operations, (group, maps, LANES), None, span, part);
    }

    /// Continues chains and applies operations column by column, from the right.
    fn scan(&self, scan: &Scan) -> Met {
        let sum = &Sum {
            bias: None,
            source: scan.source,
            runs: &scan.runs,
            weights: &scan.weights,
            target: scan.target,
        };
        let images = self.images;
        for column in (0..self.width).rev() {
            let span = Span::Images { images, column };
            self.product(sum, self.member.part(0..sum.weights.tiles()), span);
            // The operations read the sums of all members.
            self.member.barrier.wait()?;
            self.in_a_row(
                &scan.operations,
                scan.maps,
                span,
                self.member.part(0..images),
            );
            self.member.barrier.wait()?;
        }
        Ok(())
    }

    /// Writes numbers beside the columns of all rows of an image.
    fn beside(&self, side: Side, numbers: &[f32], target: usize, image: usize) {
        let column = match side {
            Side::Left => -1,
            Side::Right => self.width as isize,
        };
        // One member is enough.
        for _ in self.member.part(0..1) {
            for row in 0..self.memory.rows(target) as isize {
                let span = Span::Columns { image, width: 1 };
                let to = self
                    .memory
                    .strided(target, row, span, (column, 0, numbers.len()));
                // SAFETY: `strided` has checked the address, and only this member writes.
                unsafe {
                    std::ptr::copy_nonoverlapping(numbers.as_ptr(), to.start, numbers.len());
                };
            }
        }
    }

    /// One position if the buffer has one for the image, else all columns.
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

    /// Copies the row above, or the numbers of the first row, to this member's part of the
    /// positions.
    fn row_above(&self, source: usize, first: &[f32], target: usize, span: Span) {
        let maps = (0, 0, first.len());
        let from = self.memory.strided(source, self.row - 1, span, maps);
        let to = self.memory.strided(target, self.row, span, maps);
        for position in self.member.part(0..span.positions()) {
            let from = match self.row {
                0 => first.as_ptr(),
                _ => from.start.wrapping_add(position * from.stride).cast_const(),
            };
            let to = to.start.wrapping_add(position * to.stride);
            // SAFETY: `strided` has checked both; they are different buffers, and the position
            // is this member's.
            unsafe { std::ptr::copy_nonoverlapping(from, to, first.len()) };
        }
    }

    /// Continues the chains of some tiles through all runs.
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

    /// The pixels to the left, for all colours.
    pub(super) fn stage_left(&self, stage: &Stage, span: Span) {
        let Some(chain) = &stage.chain else {
            return;
        };
        let mut bias = chain.bias.as_deref();
        let left = chain.left.iter();
        let left = left.map(|(runs, weights)| (chain.source, runs, weights));
        let state = chain.state.iter();
        let state = state.map(|(source, runs, weights)| (*source, runs, weights));
        for (source, runs, weights) in left.chain(state) {
            let sum = Sum {
                bias: bias.take(),
                source,
                runs,
                weights,
                target: chain.sums,
            };
            // These tiles must be those used later at the centre, because there is no barrier
            // between.
            for group in &stage.groups {
                self.product(&sum, self.member.part(group.tiles.clone()), span);
            }
        }
    }

    /// Adds the pixel itself for one colour group, and writes its outputs.
    pub(super) fn stage_centre(&self, stage: &Stage, group: usize, span: Span) {
        let maps = stage.groups.last().map_or(0, |group| group.outputs.end);
        let group = &stage.groups[group];
        let tiles = self.member.part(group.tiles.clone());
        let chain = stage.chain.as_ref();
        let sums = chain.map(|chain| self.centre(chain, group, tiles.clone(), span));
        if stage.operations.is_empty() {
            return;
        }
        let part = (tiles, 0..span.positions());
        let outputs = (group, maps, lanes(&stage.operations));
        self.pointwise(&stage.operations, outputs, sums, span, part);
    }

    /// Finishes the chains of some tiles, and returns their place.
    fn centre(
        &self,
        chain: &Chain,
        group: &Group,
        tiles: Range<usize>,
        span: Span,
    ) -> Strided<*const f32> {
        let sums = (0, 0, chain.centre.tiles() * LANES);
        let sums = self.memory.strided(chain.sums, self.row, span, sums);
        let from = (0, 0, group.inputs);
        let inputs = self.memory.strided(chain.source, self.row, span, from);
        let piece = Piece {
            weights: &chain.centre,
            tiles: (tiles.start, tiles.end),
            first: 0,
            length: group.inputs,
            positions: span.positions(),
            inputs: constant(inputs),
            // Pixels to the left come first, where there are any.
            bias: chain
                .bias
                .as_deref()
                .filter(|_| chain.left.is_none() && chain.state.is_none()),
            sums,
        };
        // SAFETY: as in `product`.
        unsafe { add_products(self.level, piece) };
        constant(sums)
    }

    /// Applies the elementwise operations to a group of `maps` outputs, `lanes` per tile,
    /// at this member's tiles and positions.
    fn pointwise(
        &self,
        operations: &[Pointwise],
        (group, maps, lanes): (&Group, usize, usize),
        sums: Option<Strided<*const f32>>,
        span: Span,
        (tiles, positions): (Range<usize>, Range<usize>),
    ) {
        let outputs = &group.outputs;
        let parts = parts(operations);
        let mut parts_now = parts;
        let mut places = [const { Operand::Relu }; MOST_POINTWISE];
        for (operation, to) in operations.iter().zip(&mut places) {
            if operation.parts() > 1 {
                parts_now = 1;
            }
            // Before a gate, the numbers of all its parts.
            let end = (parts_now - 1) * maps + outputs.len();
            let at = |buffer, column| {
                let from = (column, outputs.start, end);
                self.memory.strided(buffer, self.row, span, from)
            };
            let place = |buffer| at(buffer, 0);
            *to = match *operation {
                Pointwise::Load(buffer) => Operand::Load(constant(place(buffer))),
                Pointwise::Add(buffer) => Operand::Add(constant(place(buffer))),
                Pointwise::Store(buffer) => Operand::Store(place(buffer)),
                Pointwise::Relu => Operand::Relu,
                Pointwise::Elu => Operand::Elu,
                Pointwise::Gate => Operand::Gate,
                Pointwise::Lstm {
                    before,
                    column,
                    cell,
                } => Operand::Lstm {
                    before: constant(at(before, column)),
                    cell: place(cell),
                },
            };
        }
        let operations = &Operations {
            sums,
            lanes,
            first_tile: group.tiles.start,
            outputs: outputs.len(),
            parts,
            distance: maps,
            places: &places[..operations.len().min(MOST_POINTWISE)],
            tiles,
            positions,
        };
        dispatch!(self.level, apply(operations: &Operations));
    }
}

/// Outputs of a tile: fewer if there is a gate.
pub(super) fn lanes(operations: &[Pointwise]) -> usize {
    LANES / parts(operations)
}

/// How many parts of the maps the operations begin with, for each of their results.
pub(super) fn parts(operations: &[Pointwise]) -> usize {
    operations.iter().map(|it| it.parts()).max().unwrap_or(1)
}

fn constant(numbers: Strided<*mut f32>) -> Strided<*const f32> {
    Strided {
        start: numbers.start.cast_const(),
        stride: numbers.stride,
    }
}
