//! The gradient of the parameters.
//!
//! With `r_j` the weights of the components given the channels up to `j`, the
//! nats of channel `j` are `L_(j-1) - L_j`, where the derivative of `L_j` by
//! the logarithm of a component's mass in a channel up to `j` is the
//! component's weight in `r_j`. So, for incoming gradients `g_j`, from the
//! last channel to the first,
//!
//! ```text
//! by the logarithm of the mass in channel j = carried - g_j r_j
//! carried                                  += g_j (r_(j-1) - r_j)
//! ```
//!
//! and what is carried at the end is the gradient of the logits.

use std::mem::MaybeUninit;

use candle_core::{CpuStorage, CustomOp2, Layout as Storage, Result, Shape};
use rayon::prelude::*;

use super::Layout;
use super::layout::pair;
use super::loss::Nats;
use super::pixels::{CHUNK, Group, Pixels, Row, Slopes, chunk, row};
use crate::lanes::Lanes;
use crate::level::dispatch;
use crate::memory::written;
use crate::path::contiguous;

/// The gradient as an operation on the parameters and the incoming gradient.
pub(super) struct Gradient<'a>(pub &'a Nats);

impl CustomOp2 for Gradient<'_> {
    fn name(&self) -> &'static str {
        "mixture of logistics: gradient"
    }

    fn cpu_fwd(
        &self,
        parameters: &CpuStorage,
        parameters_stored: &Storage,
        incoming: &CpuStorage,
        incoming_stored: &Storage,
    ) -> Result<(CpuStorage, Shape)> {
        let shape = parameters_stored.shape();
        let (_, planes, area) = shape.dims3()?;
        let name = "mixture of logistics: parameters";
        let parameters = contiguous(name, parameters, parameters_stored)?;
        let name = "mixture of logistics: gradient";
        let incoming = contiguous(name, incoming, incoming_stored)?;
        let (level, length) = (self.0.level, self.0.layout.channels * area);
        let fill = |gradient: &mut [MaybeUninit<f32>]| {
            let outputs = gradient.par_chunks_mut(planes * area).enumerate();
            outputs.for_each(|(index, output)| {
                let group = &self.0.group(index, parameters, area);
                let incoming = &incoming[index * length..][..length];
                dispatch!(
                    level,
                    group_gradient(
                        group: &Group,
                        incoming: &[f32],
                        output: &mut [MaybeUninit<f32>],
                    )
                );
            });
        };
        // SAFETY: `group_gradient` writes all of each chunk.
        let gradient = unsafe { written(shape.elem_count(), fill) };
        Ok((CpuStorage::F32(gradient), shape.clone()))
    }
}

/// The results of the forward pass that the backward pass needs, by channel and component.
struct Passed {
    /// The weights given the channels before each one, and given all.
    weights: Vec<Vec<Row>>,
    slopes: Vec<Vec<Slopes>>,
}

impl Passed {
    fn new(layout: &Layout) -> Self {
        let zeros = [0.0; CHUNK];
        let slopes = Slopes {
            by_mean: zeros,
            by_log_scale: zeros,
        };
        Self {
            weights: vec![vec![zeros; layout.components]; layout.channels + 1],
            slopes: vec![vec![slopes; layout.components]; layout.channels],
        }
    }
}

/// The output for the gradients of some pixels.
struct Output<'a> {
    planes: &'a mut [MaybeUninit<f32>],
    area: usize,
    start: usize,
}

impl Output<'_> {
    #[inline(always)]
    fn write(&mut self, plane: usize, row: &Row) {
        let plane = &mut self.planes[plane * self.area..][..self.area];
        for (to, number) in plane[self.start..].iter_mut().zip(row) {
            to.write(*number);
        }
    }
}

/// Writes `[planes, area]`.
#[inline(always)]
fn group_gradient<L: Lanes>(group: &Group, incoming: &[f32], output: &mut [MaybeUninit<f32>]) {
    let layout = &group.layout;
    let (mut pixels, mut passed) = (Pixels::new(layout), Passed::new(layout));
    let mut carried = vec![[0.0; CHUNK]; layout.components];
    for start in (0..group.area).step_by(CHUNK) {
        forth::<L>(group, start, &mut pixels, &mut passed);
        let mut output = Output {
            planes: &mut *output,
            area: group.area,
            start,
        };
        carried.fill([0.0; CHUNK]);
        for channel in (0..layout.channels).rev() {
            let incoming = chunk(&incoming[channel * group.area..][..group.area], start);
            for (k, carried) in carried.iter_mut().enumerate() {
                let after = &passed.weights[channel + 1][k];
                let by_mass = row(|lane| carried[lane] - incoming[lane] * after[lane]);
                let slopes = &passed.slopes[channel][k];
                back(
                    layout,
                    &pixels,
                    (channel, k),
                    (&by_mass, slopes),
                    &mut output,
                );
                let before = &passed.weights[channel][k];
                for lane in 0..CHUNK {
                    carried[lane] += incoming[lane] * (before[lane] - after[lane]);
                }
            }
        }
        for (k, carried) in carried.iter().enumerate() {
            output.write(k, carried);
        }
    }
}

/// The forward pass through the channels; keeps the results for the backward pass.
#[inline(always)]
fn forth<L: Lanes>(group: &Group, start: usize, pixels: &mut Pixels, passed: &mut Passed) {
    pixels.start::<L>(group, start);
    pixels.weights(&mut passed.weights[0]);
    for channel in 0..group.layout.channels {
        let kept = &mut passed.slopes[channel];
        pixels.next::<L>(group, start, channel, |k, slopes| kept[k] = slopes);
        pixels.weights(&mut passed.weights[channel + 1]);
    }
}

/// The gradients of one component's parameters in one channel.
#[inline(always)]
fn back(
    layout: &Layout,
    pixels: &Pixels,
    (channel, k): (usize, usize),
    (by_mass, slopes): (&Row, &Slopes),
    output: &mut Output,
) {
    let half = layout.levels.half;
    let by_mean = row(|lane| by_mass[lane] * slopes.by_mean[lane]);
    let by_log_scale = row(|lane| by_mass[lane] * slopes.by_log_scale[lane]);
    output.write(layout.means(channel) + k, &row(|lane| half * by_mean[lane]));
    output.write(layout.log_scales(channel) + k, &by_log_scale);
    for earlier in 0..channel {
        let coupling = &pixels.couplings[pair(channel, earlier) * layout.components + k];
        let centre = &pixels.centres[earlier];
        let by_coefficient = row(|lane| {
            let slope = (1.0 - coupling[lane]) * (1.0 + coupling[lane]);
            slope * centre[lane] * by_mean[lane]
        });
        output.write(layout.coefficients(channel, earlier) + k, &by_coefficient);
    }
}
