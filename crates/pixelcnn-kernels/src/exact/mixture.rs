//! From the parameters of a mixture of logistics to the logarithms of the
//! probabilities of all values.
//!
//! All sums are in the order of the components, and lanes are different
//! values, so every level gives the same bits.

use candle_core::{Result, bail};

use crate::Level;
use crate::arithmetic::{Once, exp_negative};
use crate::lanes::Lanes;
use crate::level::dispatch;
use crate::mixture::{Layout, Levels, LogisticMixture, Width, component, ln, tanh, width};

/// Values computed at a time.
const CHUNK: usize = 64;

/// Writes `ln p(v)` of every value `v`.
pub(super) fn log_probabilities(
    mixture: &LogisticMixture,
    parameters: &[f32],
    earlier: &[u32],
    logits: &mut Vec<f32>,
) -> Result<()> {
    check(mixture, parameters, earlier)?;
    let layout = &Layout::of(mixture);
    let earlier = match mixture.coupled {
        false => &[],
        true => earlier,
    };
    logits.clear();
    logits.resize(mixture.levels, 0.0);
    dispatch!(
        Level::current(),
        fill(
            layout: &Layout,
            parameters: &[f32],
            earlier: &[u32],
            logits: &mut [f32],
        )
    );
    Ok(())
}

fn check(mixture: &LogisticMixture, parameters: &[f32], earlier: &[u32]) -> Result<()> {
    mixture.check()?;
    let (expected, found) = (Layout::of(mixture).planes(), parameters.len());
    if found != expected {
        bail!("mixture of logistics: {expected} parameters expected, found {found}");
    }
    if let Some(index) = parameters.iter().position(|number| !number.is_finite()) {
        let found = parameters[index];
        bail!("mixture of logistics: parameter {index}: a finite number expected, found {found}");
    }
    let (most, found) = (mixture.channels - 1, earlier.len());
    if found > most {
        bail!("mixture of logistics: at most {most} earlier values expected, found {found}");
    }
    let levels = mixture.levels;
    if let Some(value) = earlier.iter().find(|value| **value as usize >= levels) {
        bail!("mixture of logistics: earlier values below {levels} expected, found {value}");
    }
    Ok(())
}

#[inline(always)]
fn fill<L: Lanes>(layout: &Layout, parameters: &[f32], earlier: &[u32], logits: &mut [f32]) {
    let mut weights = Weights::new(&parameters[..layout.components]);
    for (channel, value) in earlier.iter().enumerate() {
        let channel = Channel::new(layout, parameters, &earlier[..channel]);
        for k in 0..layout.components {
            let [[exponent], [factor]] = channel.masses(k, *value);
            weights.exponents[k] = weights.logarithms[k] + exponent;
            weights.factors[k] = factor;
        }
        weights.settle();
    }
    let channel = Channel::new(layout, parameters, earlier);
    let mut rows = vec![[[0.0; CHUNK]; 2]; layout.components];
    for (index, logits) in logits.chunks_mut(CHUNK).enumerate() {
        let start = (index * CHUNK) as u32;
        let found = channel.logarithms(&weights.logarithms, start, &mut rows);
        logits.copy_from_slice(&found[..logits.len()]);
    }
}

/// The weights of the components given the channels so far.
struct Weights {
    logarithms: Vec<f32>,
    /// The unnormalised weights with the next channel: `e^exponent factor`.
    exponents: Vec<f32>,
    factors: Vec<f32>,
}

impl Weights {
    /// The softmax of logits.
    #[inline(always)]
    fn new(logits: &[f32]) -> Self {
        let mut weights = Self {
            logarithms: logits.to_vec(),
            exponents: logits.to_vec(),
            factors: vec![1.0; logits.len()],
        };
        weights.settle();
        weights
    }

    /// Normalises the weights.
    #[inline(always)]
    fn settle(&mut self) {
        let mut largest = f32::NEG_INFINITY;
        for exponent in &self.exponents {
            largest = if *exponent > largest {
                *exponent
            } else {
                largest
            };
        }
        let mut total = 0.0;
        for (exponent, factor) in self.exponents.iter_mut().zip(&self.factors) {
            *exponent -= largest;
            total += exp_negative::<Once>(*exponent) * factor;
        }
        let log_total = ln::<Once>(total);
        for (k, logarithm) in self.logarithms.iter_mut().enumerate() {
            *logarithm = self.exponents[k] + (ln::<Once>(self.factors[k]) - log_total);
        }
    }
}

/// The components of one channel, given the values of the earlier ones.
struct Channel<'a> {
    levels: &'a Levels,
    /// In levels, relative to the centre. In f64, because they may be many
    /// thousands of scales away from it.
    means: Vec<f64>,
    widths: Vec<Width>,
}

impl<'a> Channel<'a> {
    #[inline(always)]
    fn new(layout: &'a Layout, parameters: &[f32], earlier: &[u32]) -> Self {
        let (levels, channel) = (&layout.levels, earlier.len());
        let (mut means, mut widths) = (Vec::new(), Vec::new());
        for k in 0..layout.components {
            let mean = parameters[layout.means(channel) + k];
            let mut mean = f64::from(levels.half) * f64::from(mean);
            for (index, value) in earlier.iter().enumerate() {
                let coefficient = parameters[layout.coefficients(channel, index) + k];
                let centre = f64::from(levels.centre(*value));
                mean += tanh(f64::from(coefficient)) * centre;
            }
            means.push(mean);
            let log_scale = parameters[layout.log_scales(channel) + k];
            widths.push(width::<Once>(levels, log_scale));
        }
        Self {
            levels,
            means,
            widths,
        }
    }

    /// Exponents and factors of a component's masses at the values from
    /// `start` on; any numbers beyond the last value.
    #[inline(always)]
    fn masses<const LANES: usize>(&self, k: usize, start: u32) -> [[f32; LANES]; 2] {
        let (mean, width) = (self.means[k], self.widths[k]);
        let (mut exponents, mut factors) = ([0.0; LANES], [0.0; LANES]);
        let lanes = exponents.iter_mut().zip(&mut factors);
        for ((exponent, factor), value) in lanes.zip(start..) {
            let distance = f64::from(self.levels.centre(value)) - mean;
            let side = self.levels.side(value);
            let mass = component::<Once>(distance as f32, side, &width);
            (*exponent, *factor) = (mass.exponent, mass.factor);
        }
        [exponents, factors]
    }

    /// Logarithms of the probabilities of the values from `start` on.
    #[inline(always)]
    fn logarithms(
        &self,
        log_weights: &[f32],
        start: u32,
        rows: &mut [[[f32; CHUNK]; 2]],
    ) -> [f32; CHUNK] {
        let mut largest = [f32::NEG_INFINITY; CHUNK];
        for (k, row) in rows.iter_mut().enumerate() {
            *row = self.masses(k, start);
            for (exponent, largest) in row[0].iter_mut().zip(&mut largest) {
                *exponent += log_weights[k];
                *largest = if *exponent > *largest {
                    *exponent
                } else {
                    *largest
                };
            }
        }
        let mut total = [0.0; CHUNK];
        for [exponents, factors] in rows.iter() {
            for lane in 0..CHUNK {
                let weight = exp_negative::<Once>(exponents[lane] - largest[lane]);
                total[lane] += weight * factors[lane];
            }
        }
        let mut logarithms = [0.0; CHUNK];
        for lane in 0..CHUNK {
            logarithms[lane] = largest[lane] + ln::<Once>(total[lane]);
        }
        logarithms
    }
}

#[cfg(test)]
mod tests;
