//! The loss of a step: nats, the gradient of logits, and their mean.

use super::{Rows, TYPES, Type, noise, stride_of};
use crate::host::{Launch, as_floats, can_run, to_bytes};

const ROWS: usize = 7;
const SCALE: f64 = 0.125;

/// Logits of a softmax, and the value that is there.
struct Case {
    levels: usize,
    channels: usize,
    logits: Vec<f32>,
    values: Vec<u32>,
}

impl Case {
    fn new(levels: usize, channels: usize) -> Self {
        let count = ROWS * channels;
        let logit = |index: usize| logit(index / levels, index % levels, levels) as f32;
        let value = |it: usize| match it % 9 {
            7 => levels + it % 2,        // does not exist
            8 => u32::MAX as usize - it, // neither
            _ => it * 5 % levels,
        };
        Self {
            levels,
            channels,
            logits: (0..count * levels).map(logit).collect(),
            values: (0..count).map(|it| value(it) as u32).collect(),
        }
    }

    /// Nats and gradients, of which each value has `levels`.
    fn expected(&self) -> (Vec<f64>, Vec<f64>) {
        let (mut nats, mut gradients) = (Vec::new(), Vec::new());
        for (logits, value) in self.logits.chunks(self.levels).zip(&self.values) {
            let logits: Vec<f64> = logits.iter().map(|it| f64::from(*it)).collect();
            let value = *value as usize;
            let Some(picked) = logits.get(value) else {
                nats.push(f64::NAN);
                gradients.extend(vec![f64::NAN; self.levels]);
                continue;
            };
            let least = f64::NEG_INFINITY;
            let largest = logits.iter().fold(least, |most, it| most.max(*it));
            // Differences first: the logarithm is lost in a logit of 1e30.
            let sum: f64 = logits.iter().map(|it| (it - largest).exp()).sum();
            nats.push(sum.ln() + (largest - picked));
            gradients.extend(logits.iter().enumerate().map(|(level, it)| {
                let probability = (it - largest).exp() / sum;
                (probability - f64::from(u8::from(level == value))) * SCALE
            }));
        }
        (nats, gradients)
    }

    fn check(&self, kind: Type, grid: (usize, usize)) {
        let (levels, channels) = (self.levels, self.channels);
        let what = format!("{kind:?}, {levels} levels, {channels} channels, {grid:?}");
        let count = ROWS * channels;
        let stride = stride_of(channels * levels) + 8;
        let before = Rows::written(kind, [ROWS, channels * levels, stride], false);
        let values: Vec<u8> = self.values.iter().flat_map(|it| it.to_le_bytes()).collect();
        let found = kind
            .launch("softmax", grid)
            .number(count as f64)
            .number(levels as f64)
            .number(channels as f64)
            .number(stride as f64)
            .buffer(&to_bytes(&self.logits))
            .buffer(&values)
            .number(SCALE)
            .buffer(&to_bytes(&vec![f32::NAN; count]))
            .buffer(&before.bytes())
            .run();
        let (nats, gradients) = self.expected();
        for (index, (found, expected)) in as_floats(&found[2]).iter().zip(&nats).enumerate() {
            let difference = (f64::from(*found) - expected).abs();
            let same = f64::from(*found) == *expected || found.is_nan() && expected.is_nan();
            assert!(
                same || difference <= 1e-6 * expected.abs().max(1.0),
                "{what}: value {index}: {expected} nats expected, found {found}"
            );
        }
        before
            .left(&found[3])
            .check(&what, &before, SCALE, |row, channel| {
                gradients[row * channels * levels + channel]
            });
    }
}

/// Logits of usual size, and in some places of other sizes.
fn logit(value: usize, level: usize, levels: usize) -> f64 {
    let usual = noise(3, value, level);
    match value % 8 {
        1 => 1e4 + usual,
        2 if level != value % levels => -1e30,
        3 => -1e30,
        4 => 1e4 * usual,
        5 if level.is_multiple_of(3) => f64::NEG_INFINITY,
        6 if value > 8 && level == levels / 2 => f64::NAN,
        _ => usual,
    }
}

/// Warps without a value, values that do not fill the warps of a block, and several turns.
#[test]
fn nats_and_gradients_are_those_of_the_softmax() {
    if !can_run() {
        return;
    }
    for levels in [2, 31, 32, 33, 256] {
        for channels in [1, 3] {
            let case = Case::new(levels, channels);
            for kind in TYPES {
                for grid in [(1, 32), (2, 96), (5, 256)] {
                    case.check(kind, grid);
                }
            }
        }
    }
}

/// Also a sum of numbers that a sum in f32 does not hold.
#[test]
fn sums_are_scaled() {
    if !can_run() {
        return;
    }
    for count in [1, 2, 1000, 1024, 1025, 5000] {
        let large = |it: usize| if it.is_multiple_of(2) { 3e7 } else { -3e7 };
        let mut numbers: Vec<f32> = (0..count)
            .map(|it| (noise(5, it, 0) + large(it)) as f32)
            .collect();
        let expected: f64 = numbers.iter().map(|it| f64::from(*it)).sum();
        numbers.push(f32::NAN);
        let found = Launch::new("scaled_sum", 1, 1024)
            .number(count as f64)
            .buffer(&to_bytes(&numbers))
            .number(0.25)
            .buffer(&to_bytes(&[f32::NAN]))
            .run();
        let found = f64::from(as_floats(&found[1])[0]);
        let expected = expected * 0.25;
        let allowed = 1e-6 * expected.abs();
        assert!(
            (found - expected).abs() <= allowed,
            "{count}: {found} {expected}"
        );
    }
}
