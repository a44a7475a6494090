//! The scan on the CPU in f32: one operation forward, one backward.

use std::sync::{Mutex, PoisonError};

use candle_core::{CpuStorage, CustomOp3, Device, Layout, Result, Shape, Storage, Tensor, bail};
use rayon::prelude::*;

use super::Direction;
use super::cells::{self, Backward, Forward};
use super::product::{Blocks, Left, Panels, Product, Right, add_product};
use super::steps::Steps;
use crate::Level;
use crate::path::contiguous;
use crate::product::Matrix;

/// The scan as an operation on the sums, the weight and the initial states.
pub(super) struct Scan {
    level: Level,
    steps: Steps,
    batch: usize,
    maps: usize,
    /// What the backward pass needs of each group of images, if there will be one.
    kept: Option<Mutex<Vec<Kept>>>,
}

/// The numbers of a group of images. Pixels are in the order of the steps and lanes; the images of
/// the group are side by side at each pixel.
struct Kept {
    images: usize,
    /// `[pixel, image, 4m]`.
    gates: Vec<f32>,
    /// The cell states that each pixel reads, `[pixel, image, m]`.
    cells: Vec<f32>,
    /// The hidden states that each step reads, with one more lane on each side,
    /// `[step, lane, image, m]`, and after the last step.
    hidden: Vec<f32>,
}

/// The weight for the products of both passes, and the initial states.
struct Weights<'a> {
    forward: Panels,
    backward: Panels,
    initial: &'a [f32],
}

/// The gradients of one group.
struct Gradients {
    sums: Vec<f32>,
    /// `[tap, 4m, m]`.
    weight: Vec<f32>,
    initial: Vec<f32>,
}

impl Scan {
    pub(super) fn new(
        level: Level,
        sums: &Tensor,
        direction: Direction,
        tracked: bool,
    ) -> Result<Self> {
        let (batch, count, height, width) = sums.dims4()?;
        Ok(Self {
            level,
            steps: Steps::new(direction, (height, width)),
            batch,
            maps: count / 4,
            kept: tracked.then(|| Mutex::new(Vec::new())),
        })
    }

    /// Images that go through the scan together: more give larger products, fewer more groups for
    /// the threads. It depends only on the sizes, and so do all sums.
    fn together(&self) -> usize {
        (self.batch / 4).clamp(1, 4)
    }

    fn area(&self) -> usize {
        let (height, width) = self.steps.size();
        height * width
    }

    fn weights<'a>(&self, weight: &[f32], initial: &'a [f32]) -> Weights<'a> {
        let (maps, (_, taps)) = (self.maps, self.steps.first_tap());
        Weights {
            forward: Panels::new(self.level, (taps * maps, 4 * maps), |row, output| {
                weight[(output * maps + row % maps) * taps + row / maps]
            }),
            backward: Panels::new(self.level, (taps * 4 * maps, maps), |row, input| {
                let (output, tap) = (row % (4 * maps), row / (4 * maps));
                weight[(output * maps + input) * taps + tap]
            }),
            initial,
        }
    }

    /// The hidden states, and what the backward pass needs.
    fn forward(&self, sums: &[f32], weights: &Weights) -> (Vec<f32>, Vec<Kept>) {
        let each = self.together();
        let (from, to) = (4 * self.maps * self.area(), self.maps * self.area());
        let mut output = vec![0.0; self.batch * to];
        let groups = sums.par_chunks(each * from);
        let groups = groups.zip(output.par_chunks_mut(each * to));
        let kept = groups.map(|(sums, output)| {
            let kept = self.forward_group(sums, weights, output);
            self.kept.is_some().then_some(kept)
        });
        let kept: Vec<_> = kept.collect();
        (output, kept.into_iter().flatten().collect())
    }

    fn forward_group(&self, sums: &[f32], weights: &Weights, output: &mut [f32]) -> Kept {
        let (maps, steps, area) = (self.maps, &self.steps, self.area());
        let images = sums.len() / (4 * maps * area);
        let lanes = area + steps.lanes(steps.count()).len() + 2 * (steps.count() + 1);
        let mut kept = Kept {
            images,
            gates: vec![0.0; area * images * 4 * maps],
            cells: vec![0.0; area * images * maps],
            // Products read whole tiles, beyond the last map.
            hidden: vec![0.0; lanes * images * maps + 2 * self.level.width()],
        };
        self.to_pixels(sums, &mut kept.gates, 4 * maps);
        let (hidden, cell) = weights.initial.split_at(maps);
        for step in 0..steps.count() {
            for lane in steps.begin(step) {
                let at = steps.index_with_sides(step, lane) * images * maps;
                fill(&mut kept.hidden[at..at + images * maps], hidden);
                let at = steps.index(step, lane) * images * maps;
                fill(&mut kept.cells[at..at + images * maps], cell);
            }
        }
        let mut new_cells = vec![0.0; steps.most_lanes() * images * maps];
        for step in 0..steps.count() {
            self.forward_step(step, &mut kept, &mut new_cells, weights);
        }
        self.of_hidden(&kept, output);
        kept
    }

    fn forward_step(&self, step: usize, kept: &mut Kept, new_cells: &mut [f32], weights: &Weights) {
        let (maps, steps, images) = (self.maps, &self.steps, kept.images);
        let (lanes, next) = (steps.lanes(step), steps.lanes(step + 1));
        let (first, pixels) = (steps.pixels_before(step) * images, lanes.len() * images);
        let gates = &mut kept.gates[first * 4 * maps..][..pixels * 4 * maps];
        let (tap, taps) = steps.first_tap();
        let seen = steps
            .index_with_sides(step, lanes.start)
            .wrapping_add_signed(tap);
        let seen = &kept.hidden[seen * images * maps..][..(lanes.len() + taps - 1) * images * maps];
        let product = Product {
            left: Left {
                start: seen.as_ptr(),
                row: maps,
                inner: 1,
            },
            right: weights.forward.from(0),
            blocks: Blocks {
                lengths: &[maps, maps, maps][..taps],
                skips: [(images - 1) * maps, 0],
            },
            to: Matrix {
                start: gates.as_mut_ptr(),
                stride: 4 * maps,
            },
            size: (pixels, 4 * maps),
        };
        // SAFETY: `seen` has all lanes of all taps, the panels whole tiles, `gates` all pixels.
        unsafe { add_product(self.level, product) };
        let (before, after) = kept.cells.split_at_mut((first + pixels) * maps);
        let to = steps.index_with_sides(step + 1, next.start) + lanes.start - next.start;
        let new_cells = &mut new_cells[..pixels * maps];
        cells::forward(
            self.level,
            Forward {
                maps,
                gates,
                cells_before: &before[first * maps..],
                cells: new_cells,
                hidden: &mut kept.hidden[to * images * maps..][..pixels * maps],
            },
        );
        // The cells of lanes that go on.
        let staying = lanes.start.max(next.start)..lanes.end.min(next.end);
        if !after.is_empty() && !staying.is_empty() {
            let from = (staying.start - lanes.start) * images * maps;
            let to = (staying.start - next.start) * images * maps;
            let length = staying.len() * images * maps;
            after[to..to + length].copy_from_slice(&new_cells[from..from + length]);
        }
    }

    fn backward(&self, kept: Vec<Kept>, weights: &Weights, incoming: &[f32]) -> Gradients {
        let (maps, area, each) = (self.maps, self.area(), self.together());
        let (_, taps) = self.steps.first_tap();
        let mut sums = vec![0.0; self.batch * 4 * maps * area];
        let groups = sums.par_chunks_mut(each * 4 * maps * area);
        let groups = groups.zip(incoming.par_chunks(each * maps * area));
        let groups = groups.zip(kept.into_par_iter());
        let parts = groups
            .map(|((sums, incoming), kept)| self.backward_group(kept, weights, incoming, sums));
        // Added in the order of the groups, whichever thread was first.
        let parts: Vec<_> = parts.collect();
        let (mut weight, mut initial) = (vec![0.0; taps * 4 * maps * maps], vec![0.0; 2 * maps]);
        for (of_weight, of_initial) in parts {
            add(&mut weight, &of_weight);
            add(&mut initial, &of_initial);
        }
        Gradients {
            sums,
            weight,
            initial,
        }
    }

    /// Writes the gradient of the sums; returns those of the weight and of the initial states.
    fn backward_group(
        &self,
        mut kept: Kept,
        weights: &Weights,
        incoming: &[f32],
        sums: &mut [f32],
    ) -> (Vec<f32>, Vec<f32>) {
        let (maps, steps, images) = (self.maps, &self.steps, kept.images);
        let mut outputs = vec![0.0; self.area() * images * maps];
        self.to_pixels(incoming, &mut outputs, maps);
        let wide = (steps.most_lanes() + 2) * images * maps;
        let mut initial = vec![0.0; 2 * maps];
        // Gradients of the states that the step after reads, and of those that this one reads.
        let (mut hidden_after, mut hidden) = (vec![0.0; wide], vec![0.0; wide]);
        let (mut cells_after, mut cells) = (vec![0.0; wide], vec![0.0; wide]);
        for step in (0..steps.count()).rev() {
            let (lanes, next) = (steps.lanes(step), steps.lanes(step + 1));
            let (first, pixels) = (steps.pixels_before(step) * images, lanes.len() * images);
            let of_hidden = &mut outputs[first * maps..][..pixels * maps];
            cells[..pixels * maps].fill(0.0);
            if step + 1 < steps.count() {
                let shift = (1 + lanes.start - next.start) * images * maps;
                add(of_hidden, &hidden_after[shift..][..pixels * maps]);
                let staying = lanes.start.max(next.start)..lanes.end.min(next.end);
                let to = (staying.start - lanes.start) * images * maps;
                let from = (staying.start - next.start) * images * maps;
                let length = staying.len() * images * maps;
                cells[to..to + length].copy_from_slice(&cells_after[from..from + length]);
            }
            let gates = &mut kept.gates[first * 4 * maps..][..pixels * 4 * maps];
            cells::backward(
                self.level,
                Backward {
                    maps,
                    gates,
                    cells_before: &kept.cells[first * maps..][..pixels * maps],
                    of_hidden,
                    of_cells: &mut cells[..pixels * maps],
                },
            );
            self.to_states(gates, weights, &mut hidden, images);
            for lane in steps.begin(step) {
                let at = (lane - lanes.start) * images * maps;
                let (of_hidden, of_cell) = initial.split_at_mut(maps);
                for image in 0..images {
                    let at = at + image * maps;
                    add(of_hidden, &hidden[at + images * maps..][..maps]);
                    add(of_cell, &cells[at..][..maps]);
                }
            }
            std::mem::swap(&mut hidden, &mut hidden_after);
            std::mem::swap(&mut cells, &mut cells_after);
        }
        let weight = self.of_weight(&kept);
        self.of_pixels(&kept.gates, sums, 4 * maps, |step, lane| {
            steps.index(step, lane)
        });
        (weight, initial)
    }

    /// The gradients of the hidden states that a step reads, with a lane on each side.
    fn to_states(&self, of_sums: &[f32], weights: &Weights, hidden: &mut [f32], images: usize) {
        let (maps, (_, taps)) = (self.maps, self.steps.first_tap());
        let pixels = of_sums.len() / (4 * maps);
        let hidden = &mut hidden[..(pixels + 2 * images) * maps];
        hidden.fill(0.0);
        for tap in 0..taps {
            let product = Product {
                left: Left {
                    start: of_sums.as_ptr(),
                    row: 4 * maps,
                    inner: 1,
                },
                right: weights.backward.from(tap * 4 * maps),
                blocks: Blocks {
                    lengths: &[4 * maps],
                    skips: [0, 0],
                },
                to: Matrix {
                    start: hidden[tap * images * maps..].as_mut_ptr(),
                    stride: maps,
                },
                size: (pixels, maps),
            };
            // SAFETY: `of_sums` has all pixels, the panels whole tiles, and `hidden` the pixels
            // and two lanes more, of which each tap skips at most as many.
            unsafe { add_product(self.level, product) };
        }
    }

    /// The gradient of the weight, `[tap, 4m, m]`, from the gradients of all sums.
    fn of_weight(&self, kept: &Kept) -> Vec<f32> {
        let (maps, steps, images) = (self.maps, &self.steps, kept.images);
        let (_, taps) = steps.first_tap();
        let lengths = (0..steps.count()).map(|step| steps.lanes(step).len() * images);
        let lengths: Vec<_> = lengths.collect();
        let mut weight = vec![0.0; taps * 4 * maps * maps];
        for (tap, weight) in weight.chunks_exact_mut(4 * maps * maps).enumerate() {
            let product = Product {
                left: Left {
                    start: kept.gates.as_ptr(),
                    row: 1,
                    inner: 4 * maps,
                },
                right: Right {
                    start: kept.hidden[tap * images * maps..].as_ptr(),
                    row: maps,
                    panel: 2 * self.level.width(),
                },
                blocks: Blocks {
                    lengths: &lengths,
                    skips: [0, 2 * images * maps],
                },
                to: Matrix {
                    start: weight.as_mut_ptr(),
                    stride: maps,
                },
                size: (4 * maps, maps),
            };
            // SAFETY: all steps are in `gates`, and in `hidden` with two lanes more each and
            // space for a whole tile at the end.
            unsafe { add_product(self.level, product) };
        }
        weight
    }

    /// Copies maps `[image, map, h, w]` of a group to `[pixel, image, map]`.
    fn to_pixels(&self, from: &[f32], to: &mut [f32], maps: usize) {
        let (area, images) = (self.area(), from.len() / (maps * self.area()));
        self.blocks(images, maps, |image, map, (step, lane), pixel| {
            let at = (self.steps.index(step, lane) * images + image) * maps;
            let length = BLOCK.min(maps - map);
            let from = &from[(image * maps + map) * area..];
            for (index, to) in to[at + map..at + map + length].iter_mut().enumerate() {
                *to = from[index * area + pixel];
            }
        });
    }

    /// The inverse of [`Scan::to_pixels`], from where `index` says that a lane of a step is.
    fn of_pixels(
        &self,
        from: &[f32],
        to: &mut [f32],
        maps: usize,
        index: impl Fn(usize, usize) -> usize,
    ) {
        let (area, images) = (self.area(), to.len() / (maps * self.area()));
        self.blocks(images, maps, |image, map, (step, lane), pixel| {
            let at = (index(step, lane) * images + image) * maps;
            let length = BLOCK.min(maps - map);
            let to = &mut to[(image * maps + map) * area..];
            for (index, from) in from[at + map..at + map + length].iter().enumerate() {
                to[index * area + pixel] = *from;
            }
        });
    }

    /// The hidden states after each step, which are those that the next one reads.
    fn of_hidden(&self, kept: &Kept, output: &mut [f32]) {
        let steps = &self.steps;
        self.of_pixels(&kept.hidden, output, self.maps, |step, lane| {
            let first = steps.index_with_sides(step + 1, steps.lanes(step + 1).start);
            first + lane - steps.lanes(step + 1).start
        });
    }

    /// Calls `copy` for each image, block of maps, and pixel (with its step and lane), in an
    /// order in which neighbouring numbers of both layouts stay in the cache.
    fn blocks(
        &self,
        images: usize,
        maps: usize,
        mut copy: impl FnMut(usize, usize, (usize, usize), usize),
    ) {
        let (height, width) = self.steps.size();
        for image in 0..images {
            for row in 0..height {
                for column in (0..width).step_by(BLOCK) {
                    for map in (0..maps).step_by(BLOCK) {
                        for column in column..width.min(column + BLOCK) {
                            let place = self.steps.of_pixel(row, column);
                            copy(image, map, place, row * width + column);
                        }
                    }
                }
            }
        }
    }
}

/// Maps and pixels that are copied together.
const BLOCK: usize = 16;

/// Fills memory with copies of the numbers.
fn fill(to: &mut [f32], numbers: &[f32]) {
    for to in to.chunks_exact_mut(numbers.len()) {
        to.copy_from_slice(numbers);
    }
}

fn add(to: &mut [f32], more: &[f32]) {
    to.iter_mut().zip(more).for_each(|(to, more)| *to += more);
}

impl CustomOp3 for Scan {
    fn name(&self) -> &'static str {
        "lstm"
    }

    fn cpu_fwd(
        &self,
        sums: &CpuStorage,
        sums_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
        initial: &CpuStorage,
        initial_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let sums = contiguous("lstm: sums", sums, sums_layout)?;
        let weight = contiguous("lstm: weight", weight, weight_layout)?;
        let initial = contiguous("lstm: initial", initial, initial_layout)?;
        let (output, kept) = self.forward(sums, &self.weights(weight, initial));
        if let Some(place) = &self.kept {
            *place.lock().unwrap_or_else(PoisonError::into_inner) = kept;
        }
        let (height, width) = self.steps.size();
        let shape = (self.batch, self.maps, height, width);
        Ok((CpuStorage::F32(output), shape.into()))
    }

    fn bwd(
        &self,
        sums: &Tensor,
        weight: &Tensor,
        initial: &Tensor,
        _output: &Tensor,
        incoming: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let incoming = incoming.contiguous()?;
        let all = [sums, weight, initial, &incoming].map(Tensor::storage_and_layout);
        let numbers = |index: usize| match &*all[index].0 {
            Storage::Cpu(storage) => contiguous("lstm", storage, all[index].1),
            _ => bail!("lstm: a tensor is not on the CPU"),
        };
        let weights = self.weights(numbers(1)?, numbers(2)?);
        let kept = self.kept.as_ref().map(|kept| {
            let kept = &mut *kept.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(kept)
        });
        // A second backward pass computes them again.
        let kept = match kept.filter(|kept| !kept.is_empty()) {
            Some(kept) => kept,
            None => self.forward(numbers(0)?, &weights).1,
        };
        let gradients = self.backward(kept, &weights, numbers(3)?);
        let (outputs, inputs, rows, columns) = weight.dims4()?;
        let of_weight = Tensor::from_vec(
            gradients.weight,
            (rows * columns, outputs, inputs),
            &Device::Cpu,
        )?;
        let of_weight = of_weight.permute((1, 2, 0))?.contiguous()?;
        let of = |numbers, tensor: &Tensor| match tensor.track_op() {
            true => Tensor::from_vec(numbers, tensor.shape(), &Device::Cpu).map(Some),
            false => Ok(None),
        };
        Ok((
            of(gradients.sums, sums)?,
            Some(of_weight.reshape(weight.shape())?).filter(|_| weight.track_op()),
            of(gradients.initial, initial)?,
        ))
    }
}
