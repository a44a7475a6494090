//! Images, the ends of rows, gates, other units, sums, and rounding.

use super::{CHANNELS, GRIDS, KEPT, Rows, TYPES, Type, noise, stride_of};
use crate::host::{Launch, can_run, to_bytes};

const ROWS: usize = 75;

const SPECIAL: [f64; 9] = [
    0.0,
    -0.0,
    f64::NAN,
    f64::INFINITY,
    f64::NEG_INFINITY,
    1e-30,
    -1e-30,
    100.0,
    -100.0,
];

/// Noise with a special number in every third place.
fn special(row: usize, channel: usize) -> f64 {
    match (row + 4 * channel) % 3 {
        0 => SPECIAL[(row + 4 * channel) / 3 % SPECIAL.len()],
        _ => noise(1, row, channel),
    }
}

/// Every type, every number of channels, strides that are multiples of eight and one that is not,
/// and every grid: what to say, the type, channels, strides and grid.
fn each(test: impl Fn(&str, Type, usize, [usize; 3], (usize, usize))) {
    for kind in TYPES {
        for channels in CHANNELS {
            for (index, grid) in GRIDS.into_iter().enumerate() {
                let least = stride_of(2 * channels);
                let strides = [least + 8, least, least + 16];
                let odd = [least + 3, least + 1, 2 * channels + 1];
                let strides = [strides, odd][index];
                let what = format!("{kind:?}, {channels} channels, strides {strides:?}");
                test(&what, kind, channels, strides, grid);
            }
        }
    }
}

/// A launch with the number of rows and channels, and strides.
fn launch(
    name: &str,
    kind: Type,
    channels: usize,
    strides: &[usize],
    grid: (usize, usize),
) -> Launch {
    let start = kind.launch(name, grid).number(ROWS as f64);
    let start = start.number(channels as f64);
    let strides = strides.iter();
    strides.fold(start, |launch, stride| launch.number(*stride as f64))
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

#[test]
fn rows_end_with_one_and_zeros() {
    if !can_run() {
        return;
    }
    each(|what, kind, channels, [long, ..], grid| {
        for stride in [long, channels, channels + 1] {
            let before = Rows::written(kind, [ROWS, channels, stride], true);
            let found = launch("ends", kind, channels, &[stride], grid).buffer(&before.bytes());
            let found = before.left(&found.run()[0]);
            for row in 0..ROWS {
                for channel in 0..stride {
                    let expected = match channel {
                        _ if channel < channels => before.at(row, channel),
                        _ if channel == channels => 1.0,
                        _ => 0.0,
                    };
                    assert_eq!(found.at(row, channel), expected, "{what}: {row}, {channel}");
                }
            }
        }
    });
}

#[test]
fn images_are_scaled_values() {
    if !can_run() {
        return;
    }
    each(|what, kind, channels, [stride, ..], grid| {
        let values: Vec<u32> = (0..ROWS * channels).map(|it| it as u32 * 7 % 256).collect();
        let bytes: Vec<u8> = values.iter().flat_map(|it| it.to_le_bytes()).collect();
        let before = Rows::written(kind, [ROWS, channels, stride], false);
        let found = kind
            .launch("image", grid)
            .number((ROWS * channels) as f64)
            .number(channels as f64)
            .number(stride as f64)
            .buffer(&bytes)
            .number(-1.0)
            .number(2.0 / 255.0)
            .buffer(&before.bytes())
            .run();
        before
            .left(&found[1])
            .check(what, &before, 1.0, |row, channel| {
                f64::from(values[row * channels + channel]) / 127.5 - 1.0
            });
    });
}

#[test]
fn gates_and_their_gradients_are_the_formulas() {
    if !can_run() {
        return;
    }
    each(|what, kind, channels, [a, b, c], grid| {
        let sums = Rows::read(kind, [ROWS, 2 * channels, a], special);
        let before = Rows::written(kind, [ROWS, channels, b], false);
        let found = launch("row_gate", kind, channels, &[a, b], grid)
            .buffer(&sums.bytes())
            .buffer(&before.bytes())
            .run();
        before
            .left(&found[1])
            .check(what, &before, 3.0, |row, channel| {
                sums.at(row, channel).tanh() * sigmoid(sums.at(row, channels + channel))
            });

        let incoming = Rows::read(kind, [ROWS, channels, b], |row, it| noise(2, row, it));
        for adds in [false, true] {
            let before = Rows::written(kind, [ROWS, 2 * channels, c], adds);
            let found = launch("row_gate_gradient", kind, channels, &[a, b, c], grid)
                .buffer(&sums.bytes())
                .buffer(&incoming.bytes())
                .number(f64::from(u8::from(adds)))
                .buffer(&before.bytes())
                .run();
            let found = before.left(&found[2]);
            found.check(what, &before, 3.0, |row, at| {
                let channel = at % channels;
                let value = sums.at(row, channel).tanh();
                let open = sigmoid(sums.at(row, channels + channel));
                let slope = match at < channels {
                    true => open * (1.0 - value * value),
                    false => value * open * (1.0 - open),
                };
                let base = if adds { before.at(row, at) } else { 0.0 };
                base + incoming.at(row, channel) * slope
            });
        }
    });
}

/// The gradient has only the outputs, so their signs tell on which side of zero the inputs were.
#[test]
fn units_and_their_gradients_are_the_formulas() {
    if !can_run() {
        return;
    }
    each(|what, kind, channels, [a, b, c], grid| {
        for unit in [0, 1] {
            let what = format!("{what}, unit {unit}");
            let inputs = Rows::read(kind, [ROWS, channels, a], special);
            let before = Rows::written(kind, [ROWS, channels, b], false);
            let found = launch("row_unit", kind, channels, &[a, b], grid)
                .number(f64::from(unit))
                .buffer(&inputs.bytes())
                .buffer(&before.bytes())
                .run();
            let outputs = before.left(&found[1]);
            outputs.check(&what, &before, 0.0, |row, channel| {
                match inputs.at(row, channel) {
                    x if x < 0.0 && unit == 0 => 0.0,
                    x if x < 0.0 => x.exp_m1(),
                    x => x,
                }
            });
            let incoming = Rows::read(kind, [ROWS, channels, c], |row, it| noise(2, row, it));
            for adds in [false, true] {
                let before = Rows::written(kind, [ROWS, channels, a], adds);
                let strides = [b, c, a];
                let found = launch("row_unit_gradient", kind, channels, &strides, grid)
                    .number(f64::from(unit))
                    .buffer(&outputs.bytes())
                    .buffer(&incoming.bytes())
                    .number(f64::from(u8::from(adds)))
                    .buffer(&before.bytes())
                    .run();
                let mut found = before.left(&found[2]);
                // The gradient at NaN is any number.
                let nowhere = |row, channel| inputs.at(row, channel).is_nan();
                for (row, channel) in
                    (0..ROWS).flat_map(|row| (0..channels).map(move |it| (row, it)))
                {
                    if nowhere(row, channel) {
                        found.numbers[row * a + channel] = 0.0;
                    }
                }
                found.check(&what, &before, 3.0, |row, channel| {
                    let slope = match inputs.at(row, channel) {
                        x if x.is_nan() => return 0.0,
                        x if x < 0.0 && unit == 0 => 0.0,
                        x if x < 0.0 => outputs.at(row, channel) + 1.0,
                        _ => 1.0,
                    };
                    let base = if adds { before.at(row, channel) } else { 0.0 };
                    base + incoming.at(row, channel) * slope
                });
            }
        }
    });
}

#[test]
fn sums_take_one_or_two_maps_and_may_be_in_place() {
    if !can_run() {
        return;
    }
    each(|what, kind, channels, [a, b, c], grid| {
        let new = |stride: usize, seed: usize, end: f32| {
            let of = |row, channel| noise(seed, row, channel);
            Rows::new(kind, [ROWS, channels, stride], end, of)
        };
        let (one, other) = (new(a, 1, f32::NAN), new(b, 2, f32::NAN));
        let empty = Rows::written(kind, [ROWS, channels, c], false);
        let sum = |one: &Rows, other: &Rows, to: usize| {
            let strides = [one.stride, other.stride, to];
            let start = launch("row_sum", kind, channels, &strides, grid);
            start.buffer(&one.bytes())
        };
        let apart = sum(&one, &other, c).buffer(&other.bytes());
        let found = apart.buffer(&empty.bytes()).run();
        let of_both = |row, channel| one.at(row, channel) + other.at(row, channel);
        empty.left(&found[2]).check(what, &empty, 3.0, of_both);

        let found = sum(&one, &other, c).null().buffer(&empty.bytes()).run();
        let copy = empty.left(&found[1]);
        copy.check(what, &empty, 0.0, |row, channel| one.at(row, channel));

        let target = new(a, 1, KEPT);
        let found = sum(&target, &other, a)
            .buffer(&other.bytes())
            .again(0)
            .run();
        target.left(&found[0]).check(what, &target, 3.0, of_both);
        let target = new(b, 2, KEPT);
        let found = sum(&one, &target, b).buffer(&target.bytes()).again(1).run();
        target.left(&found[1]).check(what, &target, 3.0, of_both);
    });
}

#[test]
fn rounding_keeps_all_numbers() {
    if !can_run() {
        return;
    }
    each(|what, kind, channels, [stride, ..], grid| {
        let at = |index: usize| special(index / channels, index % channels) as f32;
        let wide: Vec<f32> = (0..ROWS * channels).map(at).collect();
        let before = Rows::written(kind, [ROWS, channels, stride], false);
        let found = launch("row_rounded", kind, channels, &[stride], grid)
            .buffer(&to_bytes(&wide))
            .buffer(&before.bytes())
            .run();
        let found = before.left(&found[1]);
        found.check(what, &before, 0.0, |row, channel| {
            kind.rounded(f64::from(wide[row * channels + channel]))
        });
    });
}
