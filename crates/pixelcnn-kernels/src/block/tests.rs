//! The block operation has the values and gradients of candle's own operations.

use candle_core::{DType, Device, Var};
use proptest::prelude::*;

use super::*;
use crate::{Level, is_fast, portable};

fn wave(shape: &[usize], phase: f64) -> Tensor {
    let count: usize = shape.iter().product();
    let values = (0..count).map(|i| 0.3 * (i as f64 * 0.7 + phase).sin());
    let tensor = Tensor::from_iter(values, &Device::Cpu).unwrap();
    tensor.reshape(shape).unwrap()
}

/// The block in candle's own operations.
fn by_operations(block: &Block, stacks: &Tensor, conditions: &ConditionTerms) -> Result<Tensor> {
    let gate = |maps: &Tensor, condition: &Option<Tensor>| {
        let sum = match condition {
            Some(condition) => maps.broadcast_add(condition)?,
            None => maps.clone(),
        };
        let halves = sum.chunk(2, 1)?;
        // The sigmoid of x is (1 + tanh(x / 2)) / 2.
        halves[0].tanh()? * (&halves[1] * 0.5)?.tanh()?.affine(0.5, 0.5)?
    };
    let (above, row) = match block.residual {
        false => (stacks.clone(), stacks.clone()),
        true => {
            let stacks = stacks.chunk(2, 1)?;
            (stacks[0].contiguous()?, stacks[1].contiguous()?)
        }
    };
    let rows_above = block.vertical.convolve(&above)?;
    let row_so_far = (block.horizontal.convolve(&row)? + block.link.convolve(&rows_above)?)?;
    let gated = gate(&row_so_far, &conditions.horizontal)?;
    let mut horizontal = block.output.convolve(&gated)?;
    if block.residual {
        horizontal = (horizontal + row)?;
    }
    if !block.vertical_after {
        return Ok(horizontal);
    }
    let mut vertical = gate(&rows_above, &conditions.vertical)?;
    if block.vertical_residual {
        vertical = (vertical + above)?;
    }
    Tensor::cat(&[&vertical, &horizontal], 1)
}

/// A block of a small network, its stacks and its conditions.
#[derive(Clone, Copy, Debug)]
struct Case {
    residual: bool,
    vertical_residual: bool,
    vertical_after: bool,
    condition: Option<bool>,
    bias: bool,
    batch: usize,
    maps: usize,
    kernel: usize,
    dilation: usize,
    size: (usize, usize),
}

const CASE: Case = Case {
    residual: true,
    vertical_residual: false,
    vertical_after: true,
    condition: None,
    bias: true,
    batch: 2,
    maps: 5,
    kernel: 3,
    dilation: 1,
    size: (7, 9),
};

impl Case {
    fn inputs(&self) -> usize {
        match self.residual {
            false => 3,
            true => self.maps,
        }
    }

    /// All tensors with a gradient: stacks, weights and biases, conditions.
    fn tensors(&self) -> Vec<Tensor> {
        let (p, i, k, (h, w)) = (self.maps, self.inputs(), self.kernel, self.size);
        let stacks = match self.residual {
            false => i,
            true => 2 * i,
        };
        let mut shapes = vec![vec![self.batch, stacks, h, w]];
        for (o, i, rows, columns) in [
            (2 * p, i, k / 2 + 1, k),
            (2 * p, 2 * p, 1, 1),
            (2 * p, i, 1, k / 2 + 1),
            (p, p, 1, 1),
        ] {
            shapes.push(vec![o, i, rows, columns]);
            shapes.push(vec![o]);
        }
        let (h, w) = if self.condition == Some(true) {
            (h, w)
        } else {
            (1, 1)
        };
        shapes.push(vec![self.batch, 2 * p, h, w]);
        shapes.push(vec![self.batch, 2 * p, h, w]);
        let tensors = shapes.iter().enumerate();
        tensors
            .map(|(index, shape)| wave(shape, index as f64))
            .collect()
    }

    /// The output, and the gradients of all inputs.
    fn pass(&self, dtype: DType) -> Vec<Tensor> {
        let variables: Vec<_> = self
            .tensors()
            .iter()
            .map(|tensor| Var::from_tensor(&tensor.to_dtype(dtype).unwrap()).unwrap())
            .collect();
        let half = (self.kernel / 2 * self.dilation) as isize;
        let kernel = |index: usize, padding: Padding| Kernel {
            weight: variables[2 * index + 1].as_tensor().clone(),
            bias: (self.bias && index != 1).then(|| variables[2 * index + 2].as_tensor().clone()),
            padding,
            dilation: self.dilation,
        };
        let block = Block {
            vertical: kernel(
                0,
                Padding {
                    top: half,
                    bottom: 0,
                    left: half,
                    right: half,
                },
            ),
            link: kernel(1, Padding::default()),
            horizontal: kernel(
                2,
                Padding {
                    left: half,
                    ..Padding::default()
                },
            ),
            output: kernel(3, Padding::default()),
            residual: self.residual,
            vertical_residual: self.vertical_residual,
            vertical_after: self.vertical_after,
        };
        let condition = |index: usize| Some(variables[index].as_tensor().clone());
        let conditions = match self.condition {
            None => ConditionTerms::default(),
            Some(_) => ConditionTerms {
                vertical: condition(9),
                horizontal: condition(10),
            },
        };
        let output = match is_fast(&variables[0]) {
            true => block.forward(&variables[0], &conditions).unwrap(),
            false => by_operations(&block, &variables[0], &conditions).unwrap(),
        };
        let weights = wave(output.dims(), 0.1).to_dtype(dtype).unwrap();
        let loss = (&output * weights).unwrap().sum_all().unwrap();
        let gradients = loss.backward().unwrap();
        let gradients = variables
            .iter()
            .filter_map(|variable| gradients.get(variable).cloned());
        [output].into_iter().chain(gradients).collect()
    }

    fn check(&self) {
        let exact = self.pass(DType::F64);
        for level in Level::available() {
            let fast = level.scope(|| self.pass(DType::F32));
            assert_eq!(fast.len(), exact.len(), "{self:?}");
            for (index, (fast, exact)) in fast.iter().zip(&exact).enumerate() {
                assert_eq!(fast.dims(), exact.dims());
                let difference = (fast.to_dtype(DType::F64).unwrap() - exact).unwrap();
                let largest = difference
                    .abs()
                    .unwrap()
                    .flatten_all()
                    .unwrap()
                    .max(0)
                    .unwrap();
                let largest = largest.to_scalar::<f64>().unwrap();
                assert!(
                    largest < 1e-4,
                    "{self:?} {level:?} tensor {index}: {largest}"
                );
            }
        }
    }
}

#[test]
fn equals_candle_with_and_without_each_path_under_every_condition() {
    for (residual, vertical_residual, vertical_after) in [
        (false, false, false),
        (false, false, true),
        (true, false, false),
        (true, false, true),
        (true, true, false),
        (true, true, true),
    ] {
        for condition in [None, Some(false), Some(true)] {
            Case {
                residual,
                vertical_residual,
                vertical_after,
                condition,
                ..CASE
            }
            .check();
        }
    }
}

#[test]
fn equals_candle_at_odd_sizes() {
    Case {
        bias: false,
        ..CASE
    }
    .check();
    Case {
        kernel: 5,
        dilation: 2,
        ..CASE
    }
    .check();
    Case {
        batch: 1,
        maps: 1,
        size: (1, 1),
        ..CASE
    }
    .check();
    Case {
        maps: 40,
        size: (2, 33),
        ..CASE
    }
    .check();
    Case {
        batch: 9,
        size: (13, 3),
        ..CASE
    }
    .check();
    Case {
        batch: 1,
        maps: 18,
        size: (40, 40),
        residual: false,
        ..CASE
    }
    .check();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn equals_candle_over_random_sizes(
        (batch, maps, height, width) in (1usize..4, 1usize..24, 1usize..12, 1usize..24),
        (half, dilation) in (0usize..3, 1usize..3),
        (residual, both, vertical_after) in any::<(bool, bool, bool)>(),
        condition in prop_oneof![Just(None), Just(Some(false)), Just(Some(true))],
        bias in any::<bool>(),
    ) {
        let kernel = 2 * half + 1;
        let size = (height, width);
        let vertical_residual = residual && both;
        Case {
            residual, vertical_residual, vertical_after, condition, bias, batch, maps, kernel,
            dilation, size
        }.check();
    }
}

#[test]
fn stacks_that_are_not_contiguous_are_read_right() {
    let (maps, h, w) = (4, 5, 6);
    let kernel = |shape: [usize; 4], left: isize| Kernel {
        weight: wave(&shape, 0.3).to_dtype(DType::F32).unwrap(),
        bias: None,
        padding: Padding {
            left,
            ..Padding::default()
        },
        dilation: 1,
    };
    let block = Block {
        vertical: kernel([2 * maps, maps, 1, 1], 0),
        link: kernel([2 * maps, 2 * maps, 1, 1], 0),
        horizontal: kernel([2 * maps, maps, 1, 2], 1),
        output: kernel([maps, maps, 1, 1], 0),
        residual: true,
        vertical_residual: false,
        vertical_after: true,
    };
    let turned = wave(&[2, 2 * maps, w, h], 1.0)
        .to_dtype(DType::F32)
        .unwrap();
    let turned = turned.transpose(2, 3).unwrap();
    assert!(!turned.is_contiguous());
    let outputs = [&turned, &turned.contiguous().unwrap()].map(|stacks| {
        let output = block.forward(stacks, &ConditionTerms::default()).unwrap();
        output.flatten_all().unwrap().to_vec1::<f32>().unwrap()
    });
    assert_eq!(outputs[0], outputs[1]);
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    let case = Case {
        maps: 20,
        batch: 3,
        size: (9, 20),
        condition: Some(false),
        ..CASE
    };
    let bits = |threads: usize| -> Vec<Vec<u32>> {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        let bits = |tensor: &Tensor| {
            let values = tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            values.into_iter().map(f32::to_bits).collect()
        };
        pool.install(|| case.pass(DType::F32))
            .iter()
            .map(bits)
            .collect()
    };
    let one = bits(1);
    assert!(one == bits(2) && one == bits(5));
}

#[test]
fn a_second_pass_backward_gives_the_same() {
    let kernel = |shape: &[usize]| Kernel {
        weight: wave(shape, 0.0).to_dtype(DType::F32).unwrap(),
        bias: None,
        padding: Padding::default(),
        dilation: 1,
    };
    let block = Block {
        vertical: kernel(&[4, 2, 1, 1]),
        link: kernel(&[4, 4, 1, 1]),
        horizontal: kernel(&[4, 2, 1, 1]),
        output: kernel(&[2, 2, 1, 1]),
        residual: true,
        vertical_residual: false,
        vertical_after: false,
    };
    let stacks = wave(&[2, 4, 3, 3], 1.0).to_dtype(DType::F32).unwrap();
    let stacks = Var::from_tensor(&stacks).unwrap();
    let output = block.forward(&stacks, &ConditionTerms::default()).unwrap();
    let pass = || {
        let gradients = output.backward().unwrap();
        let gradient = gradients.get(&stacks).unwrap().flatten_all().unwrap();
        gradient.to_vec1::<f32>().unwrap()
    };
    assert_eq!(pass(), pass());
}

#[test]
fn arguments_that_do_not_fit_are_named() {
    let single = |shape: &[usize]| wave(shape, 0.0).to_dtype(DType::F32).unwrap();
    let kernel = |shape: &[usize]| Kernel {
        weight: single(shape),
        bias: None,
        padding: Padding::default(),
        dilation: 1,
    };
    let block = Block {
        vertical: kernel(&[4, 2, 1, 1]),
        link: kernel(&[4, 4, 1, 1]),
        horizontal: kernel(&[4, 2, 1, 1]),
        output: kernel(&[2, 2, 1, 1]),
        residual: true,
        vertical_residual: false,
        vertical_after: true,
    };
    let none = ConditionTerms::default();
    let message = |block: &Block, shape: &[usize], conditions: &ConditionTerms| {
        let error = block.forward(&single(shape), conditions).unwrap_err();
        error.to_string()
    };
    assert!(block.forward(&single(&[1, 4, 3, 3]), &none).is_ok());
    let elsewhere = portable(|| message(&block, &[1, 4, 3, 3], &none));
    assert!(elsewhere.contains("f32 on the CPU expected"), "{elsewhere}");
    assert!(message(&block, &[1, 3, 3, 3], &none).contains("even number"));
    assert!(message(&block, &[1, 6, 3, 3], &none).contains("weight is for 2 maps, input has 3"));
    assert!(message(&block, &[0, 4, 3, 3], &none).contains("zero"));
    let wrong = Block {
        link: kernel(&[4, 4, 2, 1]),
        ..block.clone()
    };
    assert!(message(&wrong, &[1, 4, 3, 3], &none).contains("link"));
    let image = Block {
        residual: false,
        vertical_residual: true,
        ..block.clone()
    };
    assert!(message(&image, &[1, 2, 3, 3], &none).contains("only beside the horizontal one"));
    let term = |shape: &[usize]| Some(single(shape));
    let one = ConditionTerms {
        vertical: term(&[1, 4, 1, 1]),
        horizontal: None,
    };
    assert!(message(&block, &[1, 4, 3, 3], &one).contains("both stacks"));
    let other = ConditionTerms {
        vertical: term(&[1, 4, 1, 1]),
        horizontal: term(&[1, 5, 1, 1]),
    };
    assert!(message(&block, &[1, 4, 3, 3], &other).contains("[1, 5, 1, 1]"));
}
