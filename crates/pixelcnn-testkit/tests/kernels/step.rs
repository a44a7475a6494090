//! The kernels of a training step, against formulas in f64.
//!
//! What a kernel must not read is NaN, and what it must not write has a number that must stay.

mod softmax;
mod units;
mod weights;
mod windows;

use crate::host::{Launch, as_floats, from_bf16, to_bf16, to_bytes};

/// The types of maps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Type {
    F32,
    Bf16,
}

const TYPES: [Type; 2] = [Type::F32, Type::Bf16];

/// Less than eight channels, eight, and more; multiples of eight, and of four bytes only.
const CHANNELS: [usize; 7] = [1, 3, 7, 8, 9, 16, 20];

/// Blocks and threads, so that threads have several turns, or some of them none.
const GRIDS: [(usize, usize); 2] = [(2, 32), (5, 96)];

/// What is after the channels of a row that a kernel writes.
const KEPT: f32 = 77.5;

impl Type {
    /// A kernel for this type.
    fn launch(self, name: &str, (blocks, threads): (usize, usize)) -> Launch {
        let suffix = match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
        };
        Launch::new(&format!("{name}_{suffix}"), blocks, threads)
    }

    fn bytes(self, values: &[f32]) -> Vec<u8> {
        match self {
            Self::F32 => to_bytes(values),
            Self::Bf16 => to_bf16(values),
        }
    }

    fn numbers(self, bytes: &[u8]) -> Vec<f32> {
        match self {
            Self::F32 => as_floats(bytes),
            Self::Bf16 => from_bf16(bytes),
        }
    }

    fn rounded(self, value: f64) -> f64 {
        f64::from(self.numbers(&self.bytes(&[value as f32]))[0])
    }

    /// The largest difference by rounding: of the result, and of sums of numbers of this size.
    fn allowed(self, expected: f64, size: f64) -> f64 {
        let last = match self {
            Self::F32 => 4e-7,
            Self::Bf16 => 1.0 / 256.0,
        };
        last * expected.abs() + 1e-6 * size
    }
}

/// Numbers from -3 to 3 without order.
fn noise(seed: usize, row: usize, channel: usize) -> f64 {
    let phase = 12.9898 * seed as f64 + 78.233 * row as f64 + 37.719 * channel as f64;
    3.0 * (phase.sin() * 43_758.545_3).sin()
}

/// The least stride of rows that convolutions read.
fn stride_of(channels: usize) -> usize {
    (channels + 1).next_multiple_of(8)
}

/// Rows of maps.
#[derive(Clone, Debug)]
struct Rows {
    kind: Type,
    channels: usize,
    stride: usize,
    numbers: Vec<f32>,
}

impl Rows {
    /// Rows of `of(row, channel)`, rounded to the type, each with `end` after its channels.
    fn new(
        kind: Type,
        [rows, channels, stride]: [usize; 3],
        end: f32,
        of: impl Fn(usize, usize) -> f64,
    ) -> Self {
        let at = |index: usize| match index % stride {
            channel if channel < channels => of(index / stride, channel) as f32,
            _ => end,
        };
        let numbers: Vec<f32> = (0..rows * stride).map(at).collect();
        Self {
            kind,
            channels,
            stride,
            numbers: kind.numbers(&kind.bytes(&numbers)),
        }
    }

    /// Rows that a kernel reads.
    fn read(kind: Type, sizes: [usize; 3], of: impl Fn(usize, usize) -> f64) -> Self {
        Self::new(kind, sizes, f32::NAN, of)
    }

    /// Rows that a kernel writes: if it adds, there are numbers to add to.
    fn written(kind: Type, sizes: [usize; 3], adds: bool) -> Self {
        Self::new(kind, sizes, KEPT, |row, channel| match adds {
            true => noise(99, row, channel),
            false => f64::NAN,
        })
    }

    fn at(&self, row: usize, channel: usize) -> f64 {
        f64::from(self.numbers[row * self.stride + channel])
    }

    fn bytes(&self) -> Vec<u8> {
        self.kind.bytes(&self.numbers)
    }

    /// These rows as a kernel left them.
    fn left(&self, bytes: &[u8]) -> Self {
        Self {
            numbers: self.kind.numbers(bytes),
            ..self.clone()
        }
    }

    /// Fails unless the channels are as expected and the ends of the rows as they were before.
    /// Results are differences of numbers up to `size`, or exact but for the last bit if it is 0.
    fn check(&self, what: &str, before: &Self, size: f64, expected: impl Fn(usize, usize) -> f64) {
        assert_eq!(self.numbers.len(), before.numbers.len(), "{what}");
        for (index, (found, before)) in self.numbers.iter().zip(&before.numbers).enumerate() {
            let (row, channel) = (index / self.stride, index % self.stride);
            if channel >= self.channels {
                let same = found.to_bits() == before.to_bits();
                assert!(same, "{what}: after row {row}, {channel}: found {found}");
                continue;
            }
            let (found, expected) = (f64::from(*found), expected(row, channel));
            let allowed = self.kind.allowed(expected, size);
            let close = (found - expected).abs() <= allowed || found == expected;
            assert!(
                close || found.is_nan() && expected.is_nan(),
                "{what}: in row {row}, channel {channel}: {expected} expected, found {found}"
            );
        }
    }
}
