//! The condition of a training step: rows, their sums with maps, and the gradients of both.

use candle_core::{DType, Tensor};
use pixelcnn_testkit::wave;

use crate::host::{Launch, as_floats, can_run, close, floats, from_bf16, to_bf16};

/// Images, height times width, and channels: less than a thread takes, more than a block takes,
/// and vectors, which have one row for each image.
const SIZES: [[usize; 3]; 4] = [[2, 6, 3], [3, 200, 70], [1, 65, 8], [5, 1, 11]];

fn numbers(shape: &[usize], phase: f64) -> Tensor {
    let wave = wave(shape, phase).unwrap();
    wave.to_dtype(DType::F32).unwrap()
}

/// The numbers `[rows, channels]`, with a NaN after each row.
fn rows(tensor: &Tensor) -> (Vec<f32>, usize) {
    let channels = tensor.dim(1).unwrap();
    let all = floats(tensor);
    let rows = all.chunks(channels).map(|row| [row, &[f32::NAN]].concat());
    (rows.flatten().collect(), channels + 1)
}

/// Without what is after each row.
fn without_ends(rows: &[f32], channels: usize) -> Vec<f32> {
    let rows = rows.chunks(channels + 1);
    rows.flat_map(|row| row[..channels].to_vec()).collect()
}

#[test]
fn a_condition_has_its_channels_side_by_side_and_its_gradient_has_not() {
    if !can_run() {
        return;
    }
    for [b, area, channels] in SIZES {
        let condition = numbers(&[b, channels, area], 0.3);
        let turned = condition.transpose(1, 2).unwrap();
        let turned = turned.reshape((b * area, channels)).unwrap();
        let (expected, stride) = rows(&turned);
        let launch = |name: &str| {
            let sizes = [b * area, area, channels, stride];
            let launch = Launch::new(name, 2, 64);
            sizes
                .iter()
                .fold(launch, |launch, size| launch.number(*size as f64))
        };
        let empty = vec![f32::NAN; b * area * stride];
        let found = launch("condition_rows_f32").tensor(&condition);
        let found = as_floats(&found.floats(&empty).run()[1]);
        let what = format!("{b} images of {area}, {channels} channels");
        let inside = |rows: &[f32]| without_ends(rows, channels);
        close(&what, &inside(&found), &inside(&expected), 0.0);

        let found = launch("condition_gradient_f32").floats(&expected);
        let found = found.floats(&vec![f32::NAN; b * area * channels]).run();
        close(&what, &as_floats(&found[1]), &floats(&condition), 0.0);

        let empty = vec![0; 2 * b * area * stride];
        let found = launch("condition_rows_bf16").tensor(&condition);
        let found = &found.buffer(&empty).run()[1];
        close(&what, &inside(&from_bf16(found)), &inside(&expected), 4e-3);
        let found = launch("condition_gradient_bf16").buffer(found);
        let found = found.floats(&vec![f32::NAN; b * area * channels]).run();
        close(&what, &as_floats(&found[1]), &floats(&condition), 4e-3);
    }
}

#[test]
fn a_row_of_an_image_counts_at_all_of_its_pixels() {
    if !can_run() {
        return;
    }
    for [b, area, channels] in SIZES {
        let maps = numbers(&[b * area, channels], 0.3);
        let images = numbers(&[b, channels], 0.7);
        let wide = images.unsqueeze(1).unwrap();
        let wide = wide.broadcast_as((b, area, channels)).unwrap();
        let wide = wide.reshape((b * area, channels)).unwrap();
        let sum = floats(&(&maps + &wide).unwrap());
        let ((of_maps, stride), (of_images, _)) = (rows(&maps), rows(&images));
        let launch = |name: &str| {
            let sizes = [b * area, channels, stride, stride, stride, area];
            let launch = Launch::new(name, 2, 64);
            sizes
                .iter()
                .fold(launch, |launch, size| launch.number(*size as f64))
        };
        let empty = vec![f32::NAN; of_maps.len()];
        let found = launch("sum_with_images_f32").floats(&of_maps);
        let found = found.floats(&of_images).floats(&empty).run();
        let found = without_ends(&as_floats(&found[2]), channels);
        close("sum", &found, &sum, 1e-7);
        let found = launch("sum_with_images_bf16").buffer(&to_bf16(&of_maps));
        let found = found.buffer(&to_bf16(&of_images)).buffer(&to_bf16(&empty));
        let found = without_ends(&from_bf16(&found.run()[2]), channels);
        close("sum, bf16", &found, &sum, 0.01);
    }
}

#[test]
fn the_gradient_of_a_row_of_an_image_is_the_sum_over_its_pixels() {
    if !can_run() {
        return;
    }
    for [b, area, channels] in SIZES {
        let maps = numbers(&[b * area, channels], 0.3);
        let before = numbers(&[b, channels], 0.7);
        let sums = maps.reshape((b, area, channels)).unwrap().sum(1).unwrap();
        let ((of_maps, stride), (of_before, _)) = (rows(&maps), rows(&before));
        for adds in [false, true] {
            let expected = match adds {
                false => floats(&sums),
                true => floats(&(&sums + &before).unwrap()),
            };
            let launch = |name: &str| {
                let launch = Launch::new(name, b * channels.div_ceil(32), 256);
                [area, channels, stride]
                    .iter()
                    .fold(launch, |launch, size| launch.number(*size as f64))
            };
            let rest = |launch: Launch| launch.number(stride as f64).number(f64::from(adds));
            let found = rest(launch("sums_of_images_f32").floats(&of_maps));
            let found = found.floats(&of_before).run();
            let found = without_ends(&as_floats(&found[1]), channels);
            close("sums", &found, &expected, 1e-5);
            let found = rest(launch("sums_of_images_bf16").buffer(&to_bf16(&of_maps)));
            let found = found.buffer(&to_bf16(&of_before)).run();
            let found = without_ends(&from_bf16(&found[1]), channels);
            close("sums, bf16", &found, &expected, 0.02);
        }
    }
}
