//! One optimiser step of all parameters.

use candle_core::{DType, Device, Tensor, Var};
use pixelcnn_kernels::{Moments, Rule, Update, portable, update};
use pixelcnn_testkit::wave;

use crate::host::{Launch, as_floats, can_run, close, floats, to_bytes};

/// As in update.cu.
const CHUNK: usize = 2048;
const THREADS: usize = 256;

/// Sizes that do not fill a chunk, fill it, and need two.
const SIZES: [usize; 4] = [1, 300, CHUNK, CHUNK + 5];

/// Parameters as a device has them.
struct Parameters {
    gradients: Vec<Vec<f32>>,
    rates: Vec<f32>,
    keeps: Vec<f32>,
}

impl Parameters {
    fn new() -> Self {
        let gradient = |size: &usize| numbers(*size, 0.2);
        Self {
            gradients: SIZES.iter().map(gradient).collect(),
            rates: vec![0.05, 0.1, 0.02, 0.05],
            keeps: vec![1.0, 0.99, 1.0, 0.9],
        }
    }

    /// `Parameter` of update.cu, with room for addresses.
    fn bytes(&self) -> Vec<u8> {
        let mut all = Vec::new();
        for ((gradient, rate), keep) in self.gradients.iter().zip(&self.rates).zip(&self.keeps) {
            all.extend([0; 40]);
            all.extend((gradient.len() as u64).to_le_bytes());
            all.extend(rate.to_le_bytes());
            all.extend(keep.to_le_bytes());
        }
        all
    }

    fn chunks(&self) -> Vec<u8> {
        let mut all = Vec::new();
        for (parameter, gradient) in self.gradients.iter().enumerate() {
            for chunk in 0..gradient.len().div_ceil(CHUNK) {
                all.extend((parameter as u32).to_le_bytes());
                all.extend((chunk as u32).to_le_bytes());
            }
        }
        all
    }
}

fn numbers(size: usize, phase: f64) -> Vec<f32> {
    floats(&wave(&[size], phase).unwrap().to_dtype(DType::F32).unwrap())
}

/// A launch with the gradients as buffers 0.., and `others` after them; then the table with
/// the addresses of all, each kind at its offset, and the chunks.
fn launch(name: &str, parameters: &Parameters, others: &[(usize, Vec<Vec<f32>>)]) -> Launch {
    let chunks = parameters.chunks();
    let mut launch = Launch::new(name, chunks.len() / 8, THREADS);
    let mut addresses = Vec::new();
    let mut buffer = 0;
    let gradients = (8, parameters.gradients.clone());
    for (offset, tensors) in std::iter::once(&gradients).chain(others) {
        for (index, tensor) in tensors.iter().enumerate() {
            launch = launch.memory(&to_bytes(tensor));
            addresses.push((index * 56 + offset, buffer));
            buffer += 1;
        }
    }
    launch
        .buffer(&parameters.bytes())
        .addresses(&addresses)
        .buffer(&chunks)
}

#[test]
fn the_norm_spans_all_gradients_and_does_not_overflow() {
    if !can_run() {
        return;
    }
    for huge in [1.0f32, 1e30, f32::INFINITY, f32::NAN] {
        let mut parameters = Parameters::new();
        parameters.gradients[3][CHUNK + 4] *= huge;
        let chunks = parameters.chunks().len() / 8;
        let sums = launch("sums_of_squares", &parameters, &[])
            .buffer(&vec![0; 8 * chunks])
            .run();
        let found = Launch::new("norm_of_sums", 1, THREADS)
            .number(chunks as f64)
            .buffer(sums.last().unwrap())
            .buffer(&[0; 8])
            .run();
        let norm = f64::from_le_bytes(found[1].clone().try_into().unwrap());
        let squares = parameters.gradients.iter().flatten();
        let expected = squares
            .map(|value| f64::from(*value).powi(2))
            .sum::<f64>()
            .sqrt();
        match expected.is_finite() {
            true => assert!((norm / expected - 1.0).abs() < 1e-12, "{norm} {expected}"),
            false => assert!(!norm.is_finite(), "{norm}"),
        }
    }
}

/// Weights, moments and averages after a step of the portable path.
fn expected(
    parameters: &Parameters,
    index: usize,
    (rule, scale, average): (Rule, f64, f64),
    state: [&[f32]; 4],
) -> Vec<Vec<f32>> {
    let new = |values: &[f32]| Var::new(values, &Device::Cpu).unwrap();
    let [weight, first, second, averaged] = state.map(new);
    let gradient = Tensor::new(parameters.gradients[index].as_slice(), &Device::Cpu).unwrap();
    let rate = f64::from(parameters.rates[index]);
    let step = Update {
        rule,
        learning_rate: rate,
        scale,
        weight_decay: (1.0 - f64::from(parameters.keeps[index])) / rate,
        ema_decay: average,
    };
    let has_first = !matches!(rule, Rule::RmsProp { momentum, .. } if momentum == 0.0);
    let moments = Moments {
        first: has_first.then_some(&first),
        second: &second,
        average: Some(&averaged),
    };
    portable(|| update(&weight, &gradient, moments, &step)).unwrap();
    let all = [weight, first, second, averaged];
    all.iter().map(|var| floats(var.as_tensor())).collect()
}

/// `Rule` of update.cu.
fn rule_bytes(rule: Rule, average: f64) -> Vec<u8> {
    let (kind, numbers) = match rule {
        Rule::Adam {
            beta1,
            beta2,
            epsilon,
            step,
        } => {
            let corrected = |beta: f64| 1.0 / (1.0 - beta.powf(step as f64));
            let (mean, root) = (corrected(beta1), corrected(beta2).sqrt());
            (
                0u32,
                [beta1, 1.0 - beta1, beta2, 1.0 - beta2, mean, root, epsilon],
            )
        }
        Rule::RmsProp {
            decay,
            momentum,
            epsilon,
        } => (1, [momentum, 1.0, decay, 1.0 - decay, 1.0, 1.0, epsilon]),
    };
    let mut bytes = kind.to_le_bytes().to_vec();
    let all = numbers.into_iter().chain([1.0 - average]);
    bytes.extend(all.flat_map(|number| (number as f32).to_le_bytes()));
    bytes
}

#[test]
fn all_parameters_change_as_one_by_one() {
    if !can_run() {
        return;
    }
    let parameters = Parameters::new();
    let of =
        |phase: f64| -> Vec<Vec<f32>> { SIZES.iter().map(|size| numbers(*size, phase)).collect() };
    let (weights, first, averages) = (of(0.3), of(0.4), of(0.6));
    let mut second = of(0.5);
    second
        .iter_mut()
        .flatten()
        .for_each(|value| *value = value.abs());
    let adam = Rule::Adam {
        beta1: 0.9,
        beta2: 0.99,
        epsilon: 1e-8,
        step: 3,
    };
    let rms = |momentum| Rule::RmsProp {
        decay: 0.95,
        momentum,
        epsilon: 1e-6,
    };
    // A norm below the largest allowed, and one of twice that.
    for (rule, norm, scale) in [(adam, 0.5, 1.0), (rms(0.9), 2.0, 0.5), (rms(0.0), 2.0, 0.5)] {
        let average = 0.9;
        let mut others = vec![
            (0, weights.clone()),
            (24, second.clone()),
            (32, averages.clone()),
        ];
        let has_first = rule != rms(0.0);
        if has_first {
            others.push((16, first.clone()));
        }
        let found = launch("update", &parameters, &others)
            .buffer(&f64::to_le_bytes(norm))
            .number(1.0)
            .bytes(&rule_bytes(rule, average))
            .run();
        let count = SIZES.len();
        for index in 0..count {
            let state = [&weights, &first, &second, &averages].map(|of| of[index].as_slice());
            let settings = (rule, scale, average);
            let expected = expected(&parameters, index, settings, state);
            // The buffers: gradients, weights, second moments, averages, first moments.
            let groups = [(1, 0), (2, 2), (3, 3), (4, 1)];
            for (group, which) in groups.into_iter().take(3 + usize::from(has_first)) {
                let what = format!("{rule:?}, parameter {index}, part {which}");
                let found = as_floats(&found[group * count + index]);
                close(&what, &found, &expected[which], 2e-6);
            }
        }
    }
}

/// A norm that is not finite must not reach the weights.
#[test]
fn a_norm_that_is_not_finite_changes_nothing() {
    if !can_run() {
        return;
    }
    let parameters = Parameters::new();
    let of =
        |phase: f64| -> Vec<Vec<f32>> { SIZES.iter().map(|size| numbers(*size, phase)).collect() };
    let others = [(0, of(0.3)), (24, of(0.5)), (32, of(0.6))];
    let rule = Rule::RmsProp {
        decay: 0.95,
        momentum: 0.0,
        epsilon: 1e-6,
    };
    for norm in [f64::NAN, f64::INFINITY] {
        let found = launch("update", &parameters, &others)
            .buffer(&norm.to_le_bytes())
            .number(1.0)
            .bytes(&rule_bytes(rule, 0.9))
            .run();
        let before = others.iter().flat_map(|(_, tensors)| tensors);
        for (found, before) in found[SIZES.len()..].iter().zip(before) {
            assert_eq!(&as_floats(found), before);
        }
    }
}
