//! Some pixels of a group of channels, side by side, and the posterior
//! weights of the components as the channels go by.

use super::layout::pair;
use super::{Component, Layout, component, ln, tanh, width};
use crate::arithmetic::exp_negative;
use crate::lanes::Lanes;

/// Pixels computed at a time: enough that the compiler keeps loops over them and vectorises
/// them.
pub(super) const CHUNK: usize = 64;

/// One number of each pixel.
pub(super) type Row = [f32; CHUNK];

/// A number for each lane. (The library's own functions for this are not compiled with the
/// caller's vector instructions.)
#[inline(always)]
pub(super) fn row(number: impl Fn(usize) -> f32) -> Row {
    let mut row = [0.0; CHUNK];
    for (lane, to) in row.iter_mut().enumerate() {
        *to = number(lane);
    }
    row
}

/// A group of channels at all pixels.
pub(super) struct Group<'a> {
    pub layout: Layout,
    /// `[planes, area]`.
    pub parameters: &'a [f32],
    /// `[channels, area]`.
    pub values: &'a [u32],
    pub area: usize,
}

impl Group<'_> {
    /// The numbers of a plane from `start` on; zeros beyond its end.
    #[inline(always)]
    pub(super) fn plane(&self, plane: usize, start: usize) -> Row {
        chunk(&self.parameters[plane * self.area..][..self.area], start)
    }
}

/// The numbers from `start` on; zeros beyond the end.
#[inline(always)]
pub(super) fn chunk<T: Copy + Default>(numbers: &[T], start: usize) -> [T; CHUNK] {
    let numbers = &numbers[start..];
    match numbers.first_chunk() {
        Some(full) => *full,
        None => {
            let mut row = [T::default(); CHUNK];
            row[..numbers.len()].copy_from_slice(numbers);
            row
        }
    }
}

/// The state of the computation for some pixels.
pub(super) struct Pixels {
    /// For each channel, the value minus the middle of all levels.
    pub centres: Vec<Row>,
    /// For each channel, the open side of its bin.
    sides: Vec<Row>,
    /// For each pair of channels, `tanh` of the components' coefficients.
    pub couplings: Vec<Row>,
    /// The components' weights given the channels so far are
    /// `e^(exponent - log total) factor`.
    exponents: Vec<Row>,
    factors: Vec<Row>,
    log_total: Row,
    /// The same, without logarithms: `weight / total`.
    weights: Vec<Row>,
    total: Row,
}

impl Pixels {
    pub(super) fn new(layout: &Layout) -> Self {
        let rows = |count: usize| vec![[0.0; CHUNK]; count];
        let components = layout.components;
        Self {
            centres: rows(layout.channels),
            sides: rows(layout.channels),
            couplings: rows(layout.pairs() * components),
            exponents: rows(components),
            factors: rows(components),
            log_total: [0.0; CHUNK],
            weights: rows(components),
            total: [0.0; CHUNK],
        }
    }

    /// Starts with other pixels: sets their values, and the weights before any channel.
    #[inline(always)]
    pub(super) fn start<L: Lanes>(&mut self, group: &Group, start: usize) {
        let Layout { levels, .. } = group.layout;
        let channels = self.centres.iter_mut().zip(&mut self.sides);
        for ((centres, sides), values) in channels.zip(group.values.chunks_exact(group.area)) {
            let values = chunk(values, start);
            for lane in 0..CHUNK {
                centres[lane] = levels.centre(values[lane]);
                sides[lane] = levels.side(values[lane]);
            }
        }
        let logits = self.exponents.iter_mut().zip(&mut self.factors);
        for (plane, (logits, factors)) in logits.enumerate() {
            *logits = group.plane(plane, start);
            *factors = [1.0; CHUNK];
        }
        self.settle::<L>();
    }

    /// Adds the value of the next channel; returns its nats.
    #[inline(always)]
    pub(super) fn next<L: Lanes>(
        &mut self,
        group: &Group,
        start: usize,
        channel: usize,
        mut slopes: impl FnMut(usize, Slopes),
    ) -> Row {
        for k in 0..group.layout.components {
            let found = self.component::<L>(group, start, channel, k);
            let (exponents, factors) = (&mut self.exponents[k], &mut self.factors[k]);
            for lane in 0..CHUNK {
                let log_factor = ln::<L>(factors[lane]) - self.log_total[lane];
                exponents[lane] = exponents[lane] + log_factor + found.exponents[lane];
            }
            *factors = found.factors;
            slopes(k, found.slopes);
        }
        self.settle::<L>()
    }

    #[inline(always)]
    fn component<L: Lanes>(
        &mut self,
        group: &Group,
        start: usize,
        channel: usize,
        k: usize,
    ) -> Components {
        let Layout {
            levels, components, ..
        } = group.layout;
        let means = group.plane(group.layout.means(channel) + k, start);
        let half = f64::from(levels.half);
        // In f64: a mean may be many thousands of scales away from 0.
        let centres = self.centres[channel];
        let mut distances = [0f64; CHUNK];
        for (lane, distance) in distances.iter_mut().enumerate() {
            *distance = f64::from(centres[lane]) - half * f64::from(means[lane]);
        }
        for earlier in 0..channel {
            let plane = group.layout.coefficients(channel, earlier) + k;
            let coefficients = group.plane(plane, start);
            let centres = self.centres[earlier];
            let kept = &mut self.couplings[pair(channel, earlier) * components + k];
            for lane in 0..CHUNK {
                let coupling = tanh(f64::from(coefficients[lane]));
                distances[lane] -= coupling * f64::from(centres[lane]);
                kept[lane] = coupling as f32;
            }
        }
        let log_scales = group.plane(group.layout.log_scales(channel) + k, start);
        let sides = self.sides[channel];
        let mut found = Components::default();
        for lane in 0..CHUNK {
            let width = width::<L>(&levels, log_scales[lane]);
            let one = component::<L>(distances[lane] as f32, sides[lane], &width);
            let open = one.outside || log_scales[lane] >= levels.least as f32;
            found.set(lane, &one, if open { 1.0 } else { 0.0 });
        }
        found
    }

    /// Sums the weights of the components; returns minus the logarithm of the sum.
    #[inline(always)]
    fn settle<L: Lanes>(&mut self) -> Row {
        let mut largest = [f32::NEG_INFINITY; CHUNK];
        for exponents in &self.exponents {
            for (largest, exponent) in largest.iter_mut().zip(exponents) {
                *largest = if *exponent > *largest {
                    *exponent
                } else {
                    *largest
                };
            }
        }
        let mut total = [0.0; CHUNK];
        let rows = self.weights.iter_mut().zip(&mut self.exponents);
        for ((weights, exponents), factors) in rows.zip(&self.factors) {
            for lane in 0..CHUNK {
                exponents[lane] -= largest[lane];
                weights[lane] = exp_negative::<L>(exponents[lane]) * factors[lane];
                total[lane] += weights[lane];
            }
        }
        self.total = total;
        self.log_total = row(|lane| ln::<L>(total[lane]));
        row(|lane| -(largest[lane] + self.log_total[lane]))
    }

    /// The weights of the components given the channels so far.
    #[inline(always)]
    pub(super) fn weights(&self, to: &mut [Row]) {
        let inverse = row(|lane| 1.0 / self.total[lane]);
        for (to, weights) in to.iter_mut().zip(&self.weights) {
            *to = row(|lane| weights[lane] * inverse[lane]);
        }
    }
}

/// The derivatives of the logarithm of one component's mass.
#[derive(Clone, Copy)]
pub(super) struct Slopes {
    /// By the mean, in levels.
    pub by_mean: Row,
    /// By the parameter for the logarithm of the scale.
    pub by_log_scale: Row,
}

/// One component of one channel.
struct Components {
    exponents: Row,
    factors: Row,
    slopes: Slopes,
}

impl Default for Components {
    #[inline(always)]
    fn default() -> Self {
        let zeros = [0.0; CHUNK];
        Self {
            exponents: zeros,
            factors: zeros,
            slopes: Slopes {
                by_mean: zeros,
                by_log_scale: zeros,
            },
        }
    }
}

impl Components {
    /// `open` is 1 where the clamp of the scale lets the gradient pass, else 0.
    #[inline(always)]
    fn set(&mut self, lane: usize, one: &Component, open: f32) {
        self.exponents[lane] = one.exponent;
        self.factors[lane] = one.factor;
        self.slopes.by_mean[lane] = one.by_mean;
        self.slopes.by_log_scale[lane] = one.by_log_scale * open;
    }
}
