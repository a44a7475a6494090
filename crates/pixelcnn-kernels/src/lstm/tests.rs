use candle_core::{DType, Device, Tensor, Var};

use super::*;
use crate::{Level, portable as by_candle};

const DIRECTIONS: [Direction; 3] = [Direction::Down, Direction::Right, Direction::Left];

/// Numbers without a pattern.
fn numbers(shape: &[usize], seed: f64) -> Tensor {
    let count: usize = shape.iter().product();
    let value = |index: usize| ((index as f64 * 12.9898 + seed).sin() * 43_758.545).fract();
    let values: Vec<f64> = (0..count).map(value).collect();
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

/// Sums, weight and initial states.
fn operands(direction: Direction, [b, maps, h, w]: [usize; 4], dtype: DType) -> [Var; 3] {
    let (rows, columns) = direction.kernel();
    [
        numbers(&[b, 4 * maps, h, w], 0.1),
        numbers(&[4 * maps, maps, rows, columns], 0.2),
        numbers(&[2, maps], 0.3),
    ]
    .map(|tensor| Var::from_tensor(&tensor.to_dtype(dtype).unwrap()).unwrap())
}

fn run([sums, weight, initial]: &[Var; 3], direction: Direction) -> Tensor {
    lstm(sums, weight, initial, direction).unwrap()
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// A row and a column.
type Place = (isize, isize);

/// The pixel before in the direction of the scan, and the pixels whose hidden states are read, in
/// the order of the kernel.
fn places(direction: Direction, (row, column): Place) -> (Place, Vec<Place>) {
    match direction {
        Direction::Down => {
            let above = [-1, 0, 1].map(|side| (row - 1, column + side));
            ((row - 1, column), above.to_vec())
        }
        Direction::Right => (
            (row, column - 1),
            vec![(row - 1, column), (row, column - 1)],
        ),
        Direction::Left => (
            (row, column + 1),
            vec![(row - 1, column), (row, column + 1)],
        ),
    }
}

/// The states of an image by the equations, pixel by pixel and map by map.
struct Reference {
    direction: Direction,
    maps: usize,
    width: isize,
    weight: Vec<f64>,
    initial: Vec<f64>,
    /// `[map, pixel]`.
    hidden: Vec<f64>,
    cells: Vec<f64>,
}

impl Reference {
    /// The index of a map at a pixel, if it is inside the image.
    fn at(&self, map: usize, (row, column): Place) -> Option<usize> {
        let area = self.hidden.len() / self.maps;
        let inside = row >= 0 && (0..self.width).contains(&column);
        inside.then(|| map * area + (row * self.width + column) as usize)
    }

    /// A hidden state that a pixel reads; `first` if it is the first of its scan.
    fn state(&self, map: usize, from: Place, before: Place, first: bool) -> f64 {
        let is_initial = match self.direction {
            Direction::Down => (0..self.width).contains(&from.1),
            Direction::Right | Direction::Left => from == before,
        };
        match first && is_initial {
            true => self.initial[map],
            false => self.at(map, from).map_or(0.0, |index| self.hidden[index]),
        }
    }

    /// Computes a pixel from its sums `[4 maps]`.
    fn step(&mut self, place: Place, sums: &[f64], content: fn(f64) -> f64) {
        let (before, taps) = places(self.direction, place);
        let first = self.at(0, before).is_none();
        let gate = |output: usize| {
            let mut sum = sums[output];
            for input in 0..self.maps {
                for (tap, from) in taps.iter().enumerate() {
                    let index = (output * self.maps + input) * taps.len() + tap;
                    sum += self.weight[index] * self.state(input, *from, before, first);
                }
            }
            sum
        };
        let new: Vec<_> = (0..self.maps)
            .map(|map| {
                let [o, f, i, g] = [0, 1, 2, 3].map(|part| gate(part * self.maps + map));
                let initial = self.initial[self.maps + map];
                let before = self
                    .at(map, before)
                    .map_or(initial, |index| self.cells[index]);
                let cell = sigmoid(f) * before + sigmoid(i) * content(g);
                (cell, sigmoid(o) * cell.tanh())
            })
            .collect();
        for (map, (cell, state)) in new.into_iter().enumerate() {
            let index = self.at(map, place).unwrap();
            (self.cells[index], self.hidden[index]) = (cell, state);
        }
    }
}

/// The hidden states by the equations, with this function of the content gate.
fn reference(operands: &[Var; 3], direction: Direction, content: fn(f64) -> f64) -> Vec<f64> {
    let (b, count, h, w) = operands[0].dims4().unwrap();
    let [sums, weight, initial] = [0, 1, 2].map(|index| {
        operands[index]
            .flatten_all()
            .unwrap()
            .to_vec1::<f64>()
            .unwrap()
    });
    let mut all = Vec::new();
    for image in 0..b {
        let mut states = Reference {
            direction,
            maps: count / 4,
            width: w as isize,
            weight: weight.clone(),
            initial: initial.clone(),
            hidden: vec![0.0; count / 4 * h * w],
            cells: vec![0.0; count / 4 * h * w],
        };
        for row in 0..h {
            for step in 0..w {
                let left = direction == Direction::Left;
                let column = if left { w - 1 - step } else { step };
                let sums =
                    (0..count).map(|map| sums[((image * count + map) * h + row) * w + column]);
                let place = (row as isize, column as isize);
                states.step(place, &sums.collect::<Vec<_>>(), content);
            }
        }
        all.extend(states.hidden);
    }
    all
}

/// At odd sizes: wider and higher images, single rows and columns.
#[test]
fn the_portable_scan_is_its_equations() {
    for direction in DIRECTIONS {
        for shape in [
            [1, 1, 1, 1],
            [2, 3, 1, 5],
            [2, 2, 4, 1],
            [2, 3, 3, 5],
            [1, 2, 6, 4],
        ] {
            let operands = operands(direction, shape, DType::F64);
            let found = run(&operands, direction).flatten_all().unwrap();
            let expected = reference(&operands, direction, f64::tanh);
            for (one, other) in found.to_vec1::<f64>().unwrap().iter().zip(&expected) {
                assert!(
                    (one - other).abs() < 1e-12,
                    "{direction:?} {shape:?}: {one} {other}"
                );
            }
        }
    }
}

/// As in published code: a sigmoid in place of the tanh of the content gate.
#[test]
fn a_sigmoid_for_the_content_gate_would_be_noticed() {
    let operands = operands(Direction::Down, [1, 2, 3, 3], DType::F64);
    let found = run(&operands, Direction::Down).flatten_all().unwrap();
    let wrong = reference(&operands, Direction::Down, sigmoid);
    let differences = found.to_vec1::<f64>().unwrap();
    let differences = differences
        .iter()
        .zip(&wrong)
        .map(|(one, other)| (one - other).abs());
    assert!(differences.fold(0.0, f64::max) > 0.1);
}

fn loss(states: &Tensor) -> Tensor {
    let weights = numbers(states.dims(), 0.7)
        .to_dtype(states.dtype())
        .unwrap();
    (states * weights).unwrap().sum_all().unwrap()
}

#[test]
fn gradients_are_finite_differences() {
    for direction in DIRECTIONS {
        let operands = operands(direction, [2, 2, 3, 4], DType::F64);
        let gradients = loss(&run(&operands, direction)).backward().unwrap();
        for (index, operand) in operands.iter().enumerate() {
            let values = operand.flatten_all().unwrap().to_vec1::<f64>().unwrap();
            let gradient = gradients.get(operand).unwrap().flatten_all().unwrap();
            let gradient = gradient.to_vec1::<f64>().unwrap();
            for place in (0..values.len()).step_by(7) {
                let at = |change: f64| {
                    let mut values = values.clone();
                    values[place] += change;
                    let mut changed = operands.clone();
                    let tensor = Tensor::from_vec(values, operand.shape(), &Device::Cpu).unwrap();
                    changed[index] = Var::from_tensor(&tensor).unwrap();
                    loss(&run(&changed, direction)).to_scalar::<f64>().unwrap()
                };
                let difference = (at(1e-5) - at(-1e-5)) / 2e-5;
                assert!(
                    (difference - gradient[place]).abs() < 1e-8,
                    "{direction:?}, operand {index}: {difference} {}",
                    gradient[place]
                );
            }
        }
    }
}

/// States and gradients of the operands.
fn all(operands: &[Var; 3], direction: Direction) -> Vec<Vec<f32>> {
    let states = run(operands, direction);
    let gradients = loss(&states).backward().unwrap();
    let gradients = operands.iter().map(|of| gradients.get(of).unwrap().clone());
    let tensors = std::iter::once(states).chain(gradients);
    let numbers = tensors.map(|tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap());
    numbers.collect()
}

/// Sizes below and above a tile, batches below and above a group.
#[test]
fn the_fast_scan_equals_the_portable_one() {
    for direction in DIRECTIONS {
        for shape in [
            [1, 1, 1, 1],
            [2, 3, 1, 5],
            [2, 5, 7, 1],
            [3, 2, 3, 9],
            [9, 5, 8, 3],
            [17, 20, 5, 6],
        ] {
            let operands = operands(direction, shape, DType::F32);
            let slow = by_candle(|| all(&operands, direction));
            for level in Level::available() {
                let fast = level.scope(|| all(&operands, direction));
                for (part, (fast, slow)) in fast.iter().zip(&slow).enumerate() {
                    let most = slow
                        .iter()
                        .fold(1f32, |most, number| most.max(number.abs()));
                    for (one, other) in fast.iter().zip(slow) {
                        assert!(
                            (one - other).abs() < 1e-5 * most,
                            "{direction:?} {shape:?} {level:?}, {part}: {one} {other}"
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn bits_do_not_depend_on_threads() {
    for direction in DIRECTIONS {
        let operands = operands(direction, [13, 6, 5, 7], DType::F32);
        let [one, three] = [1, 3].map(|threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
            pool.unwrap().install(|| all(&operands, direction))
        });
        assert_eq!(one, three, "{direction:?}");
    }
}

/// A second backward pass through the same states.
#[test]
fn gradients_can_be_asked_for_twice() {
    let operands = operands(Direction::Right, [2, 3, 4, 3], DType::F32);
    let states = run(&operands, Direction::Right);
    let [one, other] = [0, 1].map(|_| {
        let gradients = loss(&states).backward().unwrap();
        let gradient = gradients.get(&operands[1]).unwrap().flatten_all().unwrap();
        gradient.to_vec1::<f32>().unwrap()
    });
    assert_eq!(one, other);
}

#[test]
fn shapes_that_do_not_fit_are_refused() {
    let zeros = |shape: &[usize]| Tensor::zeros(shape, DType::F32, &Device::Cpu).unwrap();
    let error = |sums: &[usize], weight: &[usize], initial: &[usize]| {
        let direction = Direction::Down;
        let made = lstm(&zeros(sums), &zeros(weight), &zeros(initial), direction);
        made.unwrap_err().to_string()
    };
    let (sums, weight, initial) = ([1, 8, 2, 2], [8, 2, 1, 3], [2, 2]);
    assert!(error(&[1, 6, 2, 2], &weight, &initial).contains("four gates"));
    assert!(error(&[1, 8, 0, 2], &weight, &initial).contains("four gates"));
    assert!(error(&sums, &[8, 2, 2, 1], &initial).contains("a weight [8, 2, 1, 3] expected"));
    assert!(error(&sums, &weight, &[2, 3]).contains("initial states [2, 2] expected"));
}
