//! Muon's steps of all weights together.
//!
//! All tensors are made on the CPU, so that nothing but the steps runs on the device.

use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor, Var};
use pixelcnn_testkit::wave;
use pixelcnn_train::average::Average;
use pixelcnn_train::clip::global_norm;
use pixelcnn_train::optimiser::{MuonConfig, Optimiser, OptimiserConfig};

use crate::compare::{Wrong, both, device};

/// Tall, wide and square matrices, one of more than a chunk of the kernels, equal sizes under
/// different shapes, a row, and a vector, which Adam changes.
const SHAPES: [(&str, &[usize]); 9] = [
    ("tall", &[50, 7]),
    ("wide", &[7, 50]),
    ("square", &[24, 24]),
    ("masked", &[6, 5, 3, 3]),
    ("again", &[6, 45]),
    ("large", &[64, 200]),
    ("still", &[7, 50]),
    ("row", &[1, 9]),
    ("vector", &[11]),
];

fn tensor(shape: &[usize], phase: f64) -> Tensor {
    let tensor = wave(shape, phase).unwrap();
    tensor.to_dtype(DType::F32).unwrap()
}

/// Whether a mask of `[6, 5, 3, 3]` keeps an entry: those before the centre, and there some of the
/// inputs, others for each output.
fn is_kept(index: usize) -> bool {
    let (output, input, tap) = (index / 45, index / 9 % 5, index % 9);
    tap < 4 || (tap == 4 && input < output)
}

/// Numbers of the CPU on a device, with zeros as a mask leaves them, and where `still` is zero.
fn tensors(phase: f64, still: f64, device: &Device) -> BTreeMap<String, Tensor> {
    let named = SHAPES.iter().enumerate().map(|(index, (name, shape))| {
        let tensor = tensor(shape, phase + index as f64);
        let tensor = match *name {
            "masked" => {
                let kept = (0..6 * 5 * 9).map(is_kept).map(f32::from);
                let mask = Tensor::from_iter(kept, &Device::Cpu).unwrap();
                (tensor * mask.reshape(*shape).unwrap()).unwrap()
            }
            "still" => (tensor * still).unwrap(),
            _ => tensor,
        };
        (name.to_string(), tensor.to_device(device).unwrap())
    });
    named.collect()
}

/// Weights, their average, and the optimiser.
struct State {
    variables: BTreeMap<String, Var>,
    average: Average,
    optimiser: Optimiser,
}

impl State {
    fn new(device: &Device) -> Self {
        let variables: BTreeMap<String, Var> = tensors(0.1, 1.0, device)
            .into_iter()
            .map(|(name, tensor)| (name, Var::from_tensor(&tensor).unwrap()))
            .collect();
        let config = OptimiserConfig::Muon(MuonConfig {
            weight_decay: 0.1,
            ..MuonConfig::default()
        });
        Self {
            average: Average::new(0.9, &variables).unwrap(),
            optimiser: Optimiser::new(&config, &variables).unwrap(),
            variables,
        }
    }

    fn step(&mut self, gradients: &BTreeMap<String, Tensor>, most: f64) {
        let norm = global_norm(gradients).unwrap();
        let (clip, average) = ((&norm, most), Some(&self.average));
        self.optimiser
            .clipped_step(&self.variables, gradients, 0.05, clip, average)
            .unwrap();
    }

    fn all(&self) -> BTreeMap<String, Tensor> {
        let mut all = self.optimiser.state().unwrap();
        let averages = self.average.tensors().unwrap().into_iter();
        all.extend(averages.map(|(name, tensor)| (format!("average.{name}"), tensor)));
        let weights = self.variables.iter();
        all.extend(weights.map(|(name, variable)| (name.clone(), variable.copy().unwrap())));
        all
    }
}

/// Steps with gradients that f32 cannot square, the last two of them clipped.
#[test]
fn steps_of_muon_give_the_same_weights() {
    let Some(device) = device() else { return };
    let steps = [(1e-25, 1.0), (1.0, 1e6), (1.0, 50.0), (1e25, 1e24)];
    let after_all_steps = |device: &Device| {
        let mut state = State::new(device);
        for (step, (scale, most)) in steps.into_iter().enumerate() {
            let gradients = tensors(0.2 + step as f64, 0.0, &Device::Cpu);
            let gradients = gradients.into_iter().map(|(name, gradient)| {
                // Adam, which changes the vector, squares in f32.
                let scale = if name == "vector" { 1.0 } else { scale };
                let gradient = (gradient * scale).unwrap();
                (name, gradient.to_device(device).unwrap())
            });
            state.step(&gradients.collect(), most);
        }
        state.all()
    };
    let (there, here) = both(&device, after_all_steps);
    let mut wrong = Wrong::default();
    for (name, there) in &there {
        wrong.compare(name, there, &here[name], 1e-4);
    }
    let masked = there["masked"].to_device(&Device::Cpu).unwrap();
    let masked = masked.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    for (index, weight) in masked.iter().enumerate() {
        assert_eq!(*weight != 0.0, is_kept(index), "{index}: {weight}");
    }
}

fn bits(tensors: &BTreeMap<String, Tensor>) -> Vec<u32> {
    let numbers = tensors.values().flat_map(|tensor| {
        let tensor = tensor.to_device(&Device::Cpu).unwrap();
        tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap()
    });
    numbers.map(f32::to_bits).collect()
}

/// A norm that is not finite must not reach the weights, wherever it comes from.
#[test]
fn a_step_of_muon_without_a_finite_norm_changes_nothing() {
    let Some(device) = device() else { return };
    if !device.is_cuda() {
        return;
    }
    for (name, number) in [("tall", f32::NAN), ("vector", f32::INFINITY)] {
        let mut state = State::new(&device);
        state.step(&tensors(0.2, 0.0, &device), 1.0);
        let before = bits(&state.all());
        let mut gradients = tensors(0.3, 0.0, &Device::Cpu);
        let gradient = gradients.get_mut(name).unwrap();
        *gradient = (&*gradient * f64::from(number)).unwrap();
        let there = gradients.into_iter();
        let there = there.map(|(name, gradient)| (name, gradient.to_device(&device).unwrap()));
        state.step(&there.collect(), 1.0);
        assert_eq!(bits(&state.all()), before, "{number} in `{name}`");
    }
}

/// Two equal steps give the same bits.
#[test]
fn steps_of_muon_are_the_same_again() {
    let Some(device) = device() else { return };
    let run = || {
        let mut state = State::new(&device);
        state.step(&tensors(0.2, 0.0, &device), 1.0);
        bits(&state.all())
    };
    assert_eq!(run(), run());
}
