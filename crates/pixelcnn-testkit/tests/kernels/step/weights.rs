//! Parameters in the form for products, and their gradients back in their own shapes.

use super::{TYPES, Type, noise};
use crate::host::{Launch, as_floats, can_run, to_bytes};

/// As in step.cu.
const PIECE: usize = 4096;

/// Bytes of `Weight` of step.cu, and where its sizes start.
const WEIGHT: usize = 88;
const SIZES: usize = 56;

/// The parameters of a convolution.
struct Weight {
    /// Outputs, inputs, rows and columns.
    shape: [usize; 4],
    live: [usize; 2],
    has_mask: bool,
    has_bias: bool,
}

fn weights() -> [Weight; 6] {
    let weight = |shape, live, has_mask, has_bias| Weight {
        shape,
        live,
        has_mask,
        has_bias,
    };
    [
        weight([3, 7, 3, 4], [2, 3], true, true),
        weight([41, 20, 3, 3], [3, 3], false, false), // two pieces
        weight([1, 1, 1, 1], [1, 1], false, true),
        weight([16, 9, 3, 3], [1, 2], true, false),
        weight([20, 31, 3, 5], [2, 5], true, true), // two and three pieces
        weight([5, 2, 3, 3], [2, 2], false, true),  // dead without a mask
    ]
}

impl Weight {
    fn stride(&self) -> usize {
        (self.seen() + 1).next_multiple_of(8) + 8 * usize::from(self.has_mask)
    }

    fn seen(&self) -> usize {
        self.live[0] * self.live[1] * self.shape[1]
    }

    fn count(&self) -> usize {
        self.shape.iter().product()
    }

    fn biases(&self) -> usize {
        if self.has_bias { self.shape[0] } else { 0 }
    }

    /// Where a number of the weight is in the prepared form; none if it is in a dead row or column.
    fn column(&self, index: usize) -> Option<(usize, usize)> {
        let [_, inputs, rows, columns] = self.shape;
        let (output, input) = (
            index / (inputs * rows * columns),
            index / (rows * columns) % inputs,
        );
        let (r, s) = (index / columns % rows, index % columns);
        let live = r < self.live[0] && s < self.live[1];
        live.then(|| (output, (r * self.live[1] + s) * inputs + input))
    }

    /// 1 where a weight counts.
    fn mask(&self) -> Vec<f32> {
        let at = |index| match self.column(index) {
            Some(_) if !self.has_mask || index % 3 != 1 => 1.0,
            _ => 0.0,
        };
        (0..self.count()).map(at).collect()
    }

    /// Dead weights are NaN, to see that they are not read.
    fn weight(&self) -> Vec<f32> {
        let at = |index| match self.column(index) {
            Some(_) => noise(6, index, 0) as f32,
            None => f32::NAN,
        };
        (0..self.count()).map(at).collect()
    }

    fn bias(&self) -> Vec<f32> {
        let at = |output| noise(7, output, 0) as f32;
        (0..self.biases()).map(at).collect()
    }

    /// The gradient of the prepared form; what belongs to no parameter is NaN.
    fn gradient(&self) -> Vec<f32> {
        let last = self.seen() + usize::from(self.has_bias);
        let at = |index: usize| match index % self.stride() {
            column if column < last => noise(8, index / self.stride(), column) as f32,
            _ => f32::NAN,
        };
        (0..self.shape[0] * self.stride()).map(at).collect()
    }

    fn prepared(&self) -> Vec<f32> {
        let mut prepared = vec![0.0; self.shape[0] * self.stride()];
        let weight = self.weight().into_iter().zip(self.mask());
        for (index, (weight, mask)) in weight.enumerate() {
            if let Some((output, column)) = self.column(index) {
                prepared[output * self.stride() + column] = weight * mask;
            }
        }
        for (output, bias) in self.bias().iter().enumerate() {
            prepared[output * self.stride() + self.seen()] = *bias;
        }
        prepared
    }

    /// The gradient of the weight, and that of the bias.
    fn gradients(&self) -> [Vec<f32>; 2] {
        let gradient = self.gradient();
        let of = |(index, mask): (usize, &f32)| match self.column(index) {
            Some((output, column)) if *mask != 0.0 => gradient[output * self.stride() + column],
            _ => 0.0,
        };
        let of_weight = self.mask().iter().enumerate().map(of).collect();
        let of_bias = |output| gradient[output * self.stride() + self.seen()];
        [of_weight, (0..self.biases()).map(of_bias).collect()]
    }
}

/// Launches a block for each `(weight, number)` of the pieces. Returns, for each weight, what the
/// kernel leaves of the prepared form, the gradient of the weight, and that of the bias, which are
/// NaN before.
fn run(launch: Launch, kind: Type, pieces: &[(usize, usize)]) -> Vec<[Vec<f32>; 3]> {
    let (mut launch, mut table, mut addresses) = (launch, Vec::new(), Vec::new());
    for (number, weight) in weights().iter().enumerate() {
        let empty = |count: usize| vec![f32::NAN; count];
        let mask = if weight.has_mask {
            weight.mask()
        } else {
            Vec::new()
        };
        let memory = [
            to_bytes(&weight.weight()),
            to_bytes(&mask),
            to_bytes(&weight.bias()),
            kind.bytes(&empty(weight.shape[0] * weight.stride())),
            to_bytes(&weight.gradient()),
            to_bytes(&empty(weight.count())),
            to_bytes(&empty(weight.biases())),
        ];
        for (field, bytes) in memory.iter().enumerate() {
            launch = launch.memory(bytes);
            if !bytes.is_empty() {
                addresses.push((number * WEIGHT + 8 * field, number * memory.len() + field));
            }
        }
        table.extend([0; SIZES]);
        let sizes = weight.shape.iter().chain(&weight.live);
        for size in sizes.copied().chain([weight.stride()]) {
            table.extend((size as u32).to_le_bytes());
        }
        table.extend([0; 4]);
    }
    let all = pieces
        .iter()
        .flat_map(|(weight, number)| [*weight as u32, *number as u32]);
    let pieces: Vec<u8> = all.flat_map(u32::to_le_bytes).collect();
    let launch = launch.buffer(&table).addresses(&addresses).buffer(&pieces);
    let found = launch.run();
    let of = |memory: &[Vec<u8>]| {
        [
            kind.numbers(&memory[3]),
            as_floats(&memory[5]),
            as_floats(&memory[6]),
        ]
    };
    found
        .chunks_exact(7)
        .take(weights().len())
        .map(of)
        .collect()
}

/// The pieces of numbers, the last one first.
fn pieces(count: impl Fn(&Weight) -> usize) -> Vec<(usize, usize)> {
    let mut all = Vec::new();
    for (index, weight) in weights().iter().enumerate() {
        all.extend((0..count(weight).div_ceil(PIECE)).map(|number| (index, number)));
    }
    all.reverse();
    all
}

/// Fails unless the numbers of these pieces are as expected, and the others NaN as before.
fn check(what: &str, index: usize, pieces: &[(usize, usize)], found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (at, (found, expected)) in found.iter().zip(expected).enumerate() {
        let as_expected = match pieces.contains(&(index, at / PIECE)) {
            true => found == expected,
            false => found.is_nan(),
        };
        assert!(
            as_expected,
            "{what}: weight {index}, number {at}: {expected} expected, found {found}"
        );
    }
}

#[test]
fn parameters_are_prepared_for_products() {
    if !can_run() {
        return;
    }
    let all = pieces(|weight| weight.shape[0] * weight.stride());
    assert!(all.contains(&(1, 1)) && all.contains(&(4, 1)));
    for kind in TYPES {
        for (pieces, threads) in [(all.as_slice(), 256), (&[(1, 0), (4, 1)], 96)] {
            let launch = kind.launch("prepare", (pieces.len(), threads));
            let found = run(launch, kind, pieces);
            for (index, weight) in weights().iter().enumerate() {
                let expected = kind.numbers(&kind.bytes(&weight.prepared()));
                check("prepared", index, pieces, &found[index][0], &expected);
                let rest = found[index][1].iter().chain(&found[index][2]);
                assert!(rest.copied().all(f32::is_nan), "other memory changed");
            }
        }
    }
}

#[test]
fn gradients_are_those_of_the_numbers_that_count() {
    if !can_run() {
        return;
    }
    let all = pieces(|weight| weight.count() + weight.biases());
    assert!(all.contains(&(1, 1)) && all.contains(&(4, 2)));
    for (pieces, threads) in [(all.as_slice(), 256), (&[(1, 0), (4, 1)], 96)] {
        let launch = Launch::new("gradients_of_weights", pieces.len(), threads);
        let found = run(launch, Type::F32, pieces);
        for (index, weight) in weights().iter().enumerate() {
            let [of_weight, of_bias] = weight.gradients();
            let [prepared, found_weight, found_bias] = &found[index];
            // One row of numbers: the weight's, then the bias's.
            let found: Vec<f32> = found_weight.iter().chain(found_bias).copied().collect();
            let expected: Vec<f32> = of_weight.into_iter().chain(of_bias).collect();
            check("gradient", index, pieces, &found, &expected);
            assert!(
                prepared.iter().all(|it| it.is_nan()),
                "other memory changed"
            );
        }
    }
}
