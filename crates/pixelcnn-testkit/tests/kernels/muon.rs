//! A step of Muon, with candle's products in place of cuBLAS's.

use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor, Var};
use pixelcnn_testkit::wave;
use pixelcnn_train::optimiser::{MuonConfig, Optimiser, OptimiserConfig};

use crate::host::{Launch, as_floats, can_run, close, floats, to_bytes};

/// As in chunks.cuh.
const CHUNK: usize = 2048;
const THREADS: usize = 256;

/// Wide, tall with two chunks, and square.
const SIZES: [[usize; 2]; 3] = [[3, 40], [100, 90], [4, 4]];
const COEFFICIENTS: [f64; 3] = [3.4445, -4.775, 2.0315];
const RATE: f64 = 0.05;
const DECAY: f64 = 0.1;
const MOMENTUM: f64 = 0.95;
const SHARE: f32 = 0.25;

type Numbers = Vec<Vec<f32>>;

fn numbers(phase: f64) -> Numbers {
    let wave =
        |size: &[usize; 2]| floats(&wave(size, phase).unwrap().to_dtype(DType::F32).unwrap());
    SIZES.iter().map(wave).collect()
}

/// Gradients or momenta: the first weight has a masked entry, the last one only zeros.
fn with_zeros(phase: f64) -> Numbers {
    let mut numbers = numbers(phase);
    numbers[0][5] = 0.0;
    numbers[2].fill(0.0);
    numbers
}

fn tensor(numbers: &[f32], [rows, columns]: [usize; 2]) -> Tensor {
    let tensor = Tensor::new(numbers, &Device::Cpu).unwrap();
    tensor.reshape((rows, columns)).unwrap()
}

fn chunks(counts: impl Iterator<Item = usize>) -> Vec<u8> {
    let mut all = Vec::new();
    for (tensor, count) in counts.enumerate() {
        for chunk in 0..count.div_ceil(CHUNK) {
            all.extend((tensor as u32).to_le_bytes());
            all.extend((chunk as u32).to_le_bytes());
        }
    }
    all
}

fn counts() -> impl Iterator<Item = usize> {
    SIZES.iter().map(|[rows, columns]| rows * columns)
}

/// `MuonWeight` of muon.cu, with room for addresses.
fn rows() -> Vec<u8> {
    let (mut all, mut offset, mut first) = (Vec::new(), 0, 0);
    for ([rows, columns], count) in SIZES.iter().zip(counts()) {
        let rate = RATE * (*rows as f64 / *columns as f64).max(1.0).sqrt();
        let chunks = count.div_ceil(CHUNK);
        all.extend([0; 32]);
        all.extend((offset as u64).to_le_bytes());
        all.extend(
            [count, first, chunks]
                .map(|it| it as u32)
                .iter()
                .flat_map(|it| it.to_le_bytes()),
        );
        all.extend(
            [rate as f32, (1.0 - RATE * DECAY) as f32, SHARE]
                .iter()
                .flat_map(|it| it.to_le_bytes()),
        );
        offset += count;
        first += chunks;
    }
    all
}

/// A launch with tensors whose addresses are in the rows, each kind at its offset, the chunks,
/// and the norm.
fn launch(name: &str, tensors: &[(usize, &Numbers)], norm: f64) -> Launch {
    let chunks = chunks(counts());
    let mut launch = Launch::new(name, chunks.len() / 8, THREADS);
    let mut addresses = Vec::new();
    for (offset, numbers) in tensors {
        for (index, numbers) in numbers.iter().enumerate() {
            addresses.push((index * 64 + offset, addresses.len()));
            launch = launch.memory(&to_bytes(numbers));
        }
    }
    launch
        .buffer(&rows())
        .addresses(&addresses)
        .buffer(&chunks)
        .buffer(&norm.to_le_bytes())
}

/// The numbers of all weights one after the other, as tensors.
fn split(all: &[f32]) -> Vec<Tensor> {
    let mut rest = all;
    let sizes = SIZES.iter().zip(counts()).map(|(size, count)| {
        let (first, others) = rest.split_at(count);
        rest = others;
        tensor(first, *size)
    });
    sizes.collect()
}

fn joined(tensors: &[Tensor]) -> Vec<f32> {
    tensors.iter().flat_map(floats).collect()
}

/// One iteration, with a kernel for the polynomials.
fn iterate(matrices: &[Tensor]) -> Vec<Tensor> {
    let is_tall = |x: &Tensor| x.dims()[0] > x.dims()[1];
    let square = |x: &Tensor| match is_tall(x) {
        true => x.t().unwrap().matmul(x).unwrap(),
        false => x.matmul(&x.t().unwrap()).unwrap(),
    };
    let squares: Vec<Tensor> = matrices.iter().map(square).collect();
    let (mut rows, mut offset) = (Vec::new(), 0u64);
    for square in &squares {
        let (count, side) = (square.elem_count() as u32, square.dims()[0] as u32);
        rows.extend(offset.to_le_bytes());
        rows.extend(count.to_le_bytes());
        rows.extend(side.to_le_bytes());
        offset += u64::from(count);
    }
    let chunks = chunks(squares.iter().map(Tensor::elem_count));
    let [a, b, c] = COEFFICIENTS;
    let found = Launch::new("muon_polynomials", chunks.len() / 8, THREADS)
        .buffer(&rows)
        .buffer(&chunks)
        .number(a)
        .number(b)
        .floats(&joined(&squares))
        .floats(&vec![f32::NAN; offset as usize])
        .run();
    let polynomials = as_floats(found.last().unwrap());
    let mut rest = polynomials.as_slice();
    let next = |(x, square): (&Tensor, &Tensor)| {
        let (first, others) = rest.split_at(square.elem_count());
        rest = others;
        let sum = Tensor::new(first, &Device::Cpu).unwrap();
        let sum = sum.reshape(square.shape()).unwrap();
        let polynomial = (sum + (square.matmul(square).unwrap() * c).unwrap()).unwrap();
        match is_tall(x) {
            true => x.matmul(&polynomial).unwrap(),
            false => polynomial.matmul(x).unwrap(),
        }
    };
    matrices.iter().zip(&squares).map(next).collect()
}

/// Weights and momenta after a step of the optimiser.
fn expected(
    [weights, gradients, momenta]: [&Numbers; 3],
    scale: f64,
) -> BTreeMap<String, Vec<f32>> {
    let named = |all: &Numbers, start: &str| -> BTreeMap<String, Tensor> {
        let tensors = all.iter().zip(SIZES).enumerate();
        let named =
            tensors.map(|(i, (numbers, size))| (format!("{start}{i}"), tensor(numbers, size)));
        named.collect()
    };
    let variables: BTreeMap<String, Var> = named(weights, "w")
        .into_iter()
        .map(|(name, tensor)| (name, Var::from_tensor(&tensor).unwrap()))
        .collect();
    let config = OptimiserConfig::Muon(MuonConfig {
        momentum: MOMENTUM,
        weight_decay: DECAY,
        ..MuonConfig::default()
    });
    let mut optimiser = Optimiser::new(&config, &variables).unwrap();
    optimiser
        .load_state(&named(momenta, "momentum.w"), 1)
        .unwrap();
    let gradients = named(gradients, "w");
    optimiser
        .step(&variables, &gradients, RATE, scale, None)
        .unwrap();
    let mut all = optimiser.state().unwrap();
    all.extend(
        variables
            .iter()
            .map(|(name, variable)| (name.clone(), variable.as_tensor().clone())),
    );
    all.iter()
        .map(|(name, tensor)| (name.clone(), floats(tensor)))
        .collect()
}

#[test]
fn a_step_of_muon_is_that_of_the_optimiser() {
    if !can_run() {
        return;
    }
    let (weights, averages) = (numbers(0.1), numbers(0.2));
    // Gradients that f32 cannot square, clipped to a quarter, and normal ones that are not.
    for (size, norm, most, scale) in [(1e25, 4e25, 1e25, 0.25), (1.0, 4.0, 5.0, 1.0)] {
        let scaled = |all: Numbers| -> Numbers {
            let scaled = |numbers: Vec<f32>| numbers.iter().map(|it| it * size as f32).collect();
            all.into_iter().map(scaled).collect()
        };
        let (gradients, momenta) = (scaled(with_zeros(0.3)), scaled(with_zeros(0.4)));
        let count: usize = counts().sum();
        let blocks = chunks(counts()).len() / 8;
        let found = launch("muon_directions", &[(8, &gradients), (16, &momenta)], norm)
            .number(most)
            .number(MOMENTUM)
            .floats(&vec![f32::NAN; count])
            .buffer(&vec![0; 8 * blocks])
            .run();
        let after: Numbers = found[3..6].iter().map(|bytes| as_floats(bytes)).collect();
        let found = launch("muon_normalised", &[], norm)
            .buffer(&found[10])
            .buffer(&found[9])
            .run();
        let mut matrices = split(&as_floats(found.last().unwrap()));
        assert_eq!(floats(&matrices[2]), [0.0; 16]);
        for _ in 0..MuonConfig::default().iterations {
            matrices = iterate(&matrices);
        }
        let tensors = [(0, &weights), (16, &after), (24, &averages)];
        let found = launch("muon_changes", &tensors, norm)
            .floats(&joined(&matrices))
            .run();
        let expected = expected([&weights, &gradients, &momenta], scale);
        for index in 0..SIZES.len() {
            let momentum = &expected[&format!("momentum.w{index}")];
            close("momentum", &after[index], momentum, 1e-6);
            let weight = &expected[&format!("w{index}")];
            close("weight", &as_floats(&found[index]), weight, 1e-5);
            let average = averages[index].iter().zip(weight);
            let average: Vec<f32> = average.map(|(a, w)| a + (w - a) * SHARE).collect();
            close("average", &as_floats(&found[6 + index]), &average, 1e-5);
        }
        // What does not move only decays.
        let kept = (1.0 - RATE * DECAY) as f32;
        assert_eq!(as_floats(&found[0])[5], weights[0][5] * kept);
        assert_eq!(as_floats(&found[2])[3], weights[2][3] * kept);
    }
}

/// A norm that is not finite must not reach weights or momenta.
#[test]
fn a_norm_that_is_not_finite_changes_nothing() {
    if !can_run() {
        return;
    }
    let [weights, gradients, momenta, averages] = [0.1, 0.2, 0.3, 0.4].map(numbers);
    let count: usize = counts().sum();
    let blocks = chunks(counts()).len() / 8;
    for norm in [f64::NAN, f64::INFINITY] {
        let found = launch("muon_directions", &[(8, &gradients), (16, &momenta)], norm)
            .number(1.0)
            .number(MOMENTUM)
            .floats(&vec![0.0; count])
            .buffer(&vec![0; 8 * blocks])
            .run();
        for (found, before) in found[3..6].iter().zip(&momenta) {
            assert_eq!(&as_floats(found), before);
        }
        let tensors = [(0, &weights), (16, &momenta), (24, &averages)];
        let found = launch("muon_changes", &tensors, norm)
            .floats(&vec![1.0; count])
            .run();
        for (found, before) in found.iter().zip(tensors.iter().flat_map(|(_, all)| *all)) {
            assert_eq!(&as_floats(found), before);
        }
    }
}
