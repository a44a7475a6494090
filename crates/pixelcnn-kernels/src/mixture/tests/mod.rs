//! The two paths are compared with the definition.

mod behaviour;
pub(crate) mod reference;

use candle_core::{DType, Device, Tensor, Var};

use super::LogisticMixture;
use crate::{Level, portable};

/// Pixels with parameters and values.
#[derive(Clone)]
pub(crate) struct Case {
    pub mixture: LogisticMixture,
    /// `[pixel, parameter]`.
    pub parameters: Vec<f32>,
    /// `[pixel, channel]`.
    pub values: Vec<u32>,
}

/// Pseudorandom numbers between 0 and 1.
pub(crate) fn noise(seed: u64) -> impl FnMut() -> f32 {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1u64 << 24) as f32
    }
}

impl Case {
    /// Pixels with very different parameters: logits between -4 and 4, means near and
    /// outside the values and sometimes `far` away, scales from below the least one to
    /// several times the range.
    pub(crate) fn new(mixture: LogisticMixture, pixels: usize, far: f32) -> Self {
        let mut next = noise(mixture.levels as u64 + 100 * mixture.components as u64);
        let least = mixture.least_log_scale() as f32;
        let groups = match mixture.coupled {
            false => mixture.channels,
            true => 1,
        };
        let (k, c) = (mixture.components, mixture.channels / groups);
        let mut parameters = Vec::new();
        for _ in 0..pixels * groups {
            parameters.extend((0..k).map(|_| 8.0 * next() - 4.0));
            for _ in 0..k * c {
                let scale = if next() < 0.1 { far } else { 1.2 };
                parameters.push(scale * (2.0 * next() - 1.0));
            }
            parameters.extend((0..k * c).map(|_| least - 1.0 + next() * (3.0 - least)));
            let coefficients = k * c * (c - 1) / 2;
            parameters.extend((0..coefficients).map(|_| 4.0 * next() - 2.0));
        }
        let last = mixture.levels as u32 - 1;
        let values = (0..pixels * mixture.channels).map(|_| match next() {
            x if x < 0.15 => 0,
            x if x < 0.3 => last,
            _ => (next() * (last + 1) as f32) as u32,
        });
        let values = values.collect();
        Self {
            mixture,
            parameters,
            values,
        }
    }

    /// Nats `[pixel, channel]` by the definition.
    pub(crate) fn exact(&self) -> Vec<f64> {
        let parameters: Vec<f64> = self.parameters.iter().copied().map(f64::from).collect();
        let pixels = parameters.chunks(self.mixture.parameters());
        pixels
            .zip(self.values.chunks(self.mixture.channels))
            .flat_map(|(parameters, values)| reference::nats(&self.mixture, parameters, values))
            .collect()
    }

    /// Nats `[pixel, channel]` and, for the sum of nats times
    /// `1 + channel / 2`, the gradient `[pixel, parameter]`.
    pub(crate) fn pass(&self, dtype: DType) -> [Vec<f64>; 2] {
        let (planes, channels) = (self.mixture.parameters(), self.mixture.channels);
        let pixels = self.values.len() / channels;
        let parameters = Tensor::from_slice(&self.parameters, (1, pixels, planes), &Device::Cpu);
        let parameters = Var::from_tensor(&parameters.unwrap().to_dtype(dtype).unwrap()).unwrap();
        let values = Tensor::from_slice(&self.values, (1, pixels, channels), &Device::Cpu).unwrap();
        let image = |tensor: &Tensor| tensor.transpose(1, 2).unwrap().unsqueeze(2).unwrap();
        let found = self.mixture.nats(&image(&parameters), &image(&values));
        let nats = found.unwrap().squeeze(2).unwrap().transpose(1, 2).unwrap();
        let weights = (0..channels).map(|channel| 1.0 + 0.5 * channel as f64);
        let weights = Tensor::from_iter(weights, &Device::Cpu).unwrap();
        let weighed = nats.broadcast_mul(&weights.to_dtype(dtype).unwrap());
        let gradients = weighed.unwrap().sum_all().unwrap().backward().unwrap();
        let gradient = gradients.get(&parameters).unwrap().clone();
        [nats, gradient].map(|tensor| {
            let tensor = tensor.flatten_all().unwrap().to_dtype(DType::F64).unwrap();
            tensor.to_vec1().unwrap()
        })
    }
}

pub(crate) fn mixtures() -> Vec<LogisticMixture> {
    let mut mixtures = Vec::new();
    for levels in [2, 3, 16, 256, 65_536] {
        for components in [1, 2, 10] {
            for (channels, coupled) in [(1, false), (3, false), (1, true), (3, true), (4, true)] {
                mixtures.push(LogisticMixture {
                    components,
                    levels,
                    channels,
                    coupled,
                });
            }
        }
    }
    mixtures
}

/// The largest `|found - exact| / max(1, |exact|)`.
fn largest_error(found: &[f64], exact: &[f64]) -> f64 {
    assert_eq!(found.len(), exact.len());
    let errors = found.iter().zip(exact);
    let errors = errors.map(|(found, exact)| (found - exact).abs() / exact.abs().max(1.0));
    errors.fold(0.0, |a: f64, b| if b > a || b.is_nan() { b } else { a })
}

#[test]
fn nats_are_those_of_the_definition() {
    for mixture in mixtures() {
        let case = Case::new(mixture, 70, 1e3);
        let exact = case.exact();
        let [found, _] = portable(|| case.pass(DType::F64));
        let error = largest_error(&found, &exact);
        assert!(error < 1e-9, "{mixture:?}, f64: {error:e}");
        for level in Level::available() {
            let [found, _] = level.scope(|| case.pass(DType::F32));
            let error = largest_error(&found, &exact);
            assert!(error < 1e-5, "{mixture:?} {level:?}: {error:e}");
        }
    }
}

/// Above the least scale, so that the clamp has no effect.
#[test]
fn portable_gradients_are_finite_differences() {
    for mixture in mixtures() {
        let mut case = Case::new(mixture, 6, 3.0);
        let least = mixture.least_log_scale() as f32;
        for number in &mut case.parameters {
            *number = number.max(least + 0.01);
        }
        let [_, found] = portable(|| case.pass(DType::F64));
        let exact = differences(&case);
        let half = 0.5 * (mixture.levels - 1) as f64;
        // With a steeper distribution, the differences have fewer correct digits.
        let error = largest_error(&found, &exact);
        assert!(error < 5e-6 * half.max(6.0), "{mixture:?}: {error:e}");
    }
}

/// The gradient of [`Case::pass`] by finite differences of the definition.
fn differences(case: &Case) -> Vec<f64> {
    let (planes, channels) = (case.mixture.parameters(), case.mixture.channels);
    let loss = |pixel: usize, parameters: &[f64]| -> f64 {
        let values = &case.values[pixel * channels..][..channels];
        let nats = reference::nats(&case.mixture, parameters, values);
        let weighed = nats.iter().enumerate();
        weighed
            .map(|(channel, nats)| nats * (1.0 + 0.5 * channel as f64))
            .sum()
    };
    let mut gradient = Vec::new();
    for (pixel, parameters) in case.parameters.chunks(planes).enumerate() {
        let mut parameters: Vec<f64> = parameters.iter().copied().map(f64::from).collect();
        for index in 0..planes {
            let (here, step) = (parameters[index], 1e-4 / case.mixture.levels as f64);
            parameters[index] = here + step;
            let above = loss(pixel, &parameters);
            parameters[index] = here - step;
            let below = loss(pixel, &parameters);
            parameters[index] = here;
            gradient.push((above - below) / (2.0 * step));
        }
    }
    gradient
}

#[test]
fn gradients_of_both_paths_agree() {
    for mixture in mixtures() {
        let case = Case::new(mixture, 70, 1e3);
        let [_, exact] = portable(|| case.pass(DType::F64));
        for level in Level::available() {
            let [_, found] = level.scope(|| case.pass(DType::F32));
            let error = largest_error(&found, &exact);
            assert!(error < 1e-4, "{mixture:?} {level:?}: {error:e}");
        }
    }
}

#[test]
fn other_dtypes_are_computed_as_f32() {
    let mixture = LogisticMixture {
        components: 3,
        levels: 256,
        channels: 3,
        coupled: true,
    };
    let case = Case::new(mixture, 9, 1.0);
    for dtype in [DType::BF16, DType::F16] {
        let [nats, gradient] = case.pass(dtype);
        assert!(nats.iter().all(|nats| nats.is_finite()));
        assert!(gradient.iter().any(|number| *number != 0.0));
    }
}
