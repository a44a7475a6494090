//! The masked and the shifted form of every convolution agree, and the taps are exactly the
//! positions that are read.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use candle_core::{DType, Device, Tensor, Var};
use candle_nn::{VarBuilder, VarMap};
use pixelcnn_conv::{ColourGroups, Convolution, Mask, Padding, Rows, convolve};

const CHANNELS: [usize; 3] = [1, 3, 4];

/// Every kind of convolution with kernels 1 to 7, and its input groups.
fn all() -> Vec<(Convolution, ColourGroups, ColourGroups, usize)> {
    let mut found = Vec::new();
    for channels in CHANNELS {
        let inputs = ColourGroups::new(channels, channels + 1).unwrap();
        let outputs = ColourGroups::new(channels, 2 * channels + 1)
            .unwrap()
            .repeated(2);
        for kernel in [1, 3, 5, 7] {
            for dilation in [1, 2] {
                for convolution in of_kernel(inputs, outputs, kernel, dilation) {
                    found.push((convolution, inputs, outputs, dilation));
                }
            }
        }
    }
    found
}

fn of_kernel(
    inputs: ColourGroups,
    outputs: ColourGroups,
    kernel: usize,
    dilation: usize,
) -> Vec<Convolution> {
    // Weights from candle's generator; the values do not matter here.
    let weights = || VarBuilder::from_varmap(&VarMap::new(), DType::F64, &Device::Cpu);
    let (i, o) = (inputs.maps(), outputs.maps());
    let mut found =
        vec![Convolution::vertical(i, o, kernel, dilation, Rows::AboveAndOwn, weights()).unwrap()];
    if kernel > 1 {
        found.push(Convolution::vertical(i, o, kernel, dilation, Rows::Above, weights()).unwrap());
    }
    for mask in [Mask::A, Mask::B] {
        let horizontal =
            Convolution::horizontal(mask, inputs, outputs, kernel, dilation, weights());
        found.push(horizontal.unwrap());
        if dilation == 1 {
            found.push(Convolution::masked(mask, inputs, outputs, kernel, weights()).unwrap());
        }
    }
    found.push(Convolution::pointwise(i, o, 1.0, weights()).unwrap());
    if dilation == 1 {
        let side = kernel as isize;
        found.push(Convolution::window(i, o, -side..=-1, 0..=0, weights()).unwrap());
        found.push(Convolution::window(i, o, 0..=0, -side..=side - 1, weights()).unwrap());
    }
    found
}

fn image(maps: usize, height: usize, width: usize) -> Tensor {
    Tensor::randn(0f64, 1., (1, maps, height, width), &Device::Cpu).unwrap()
}

#[test]
fn masked_form_equals_shifted_form() {
    for (convolution, inputs, _, dilation) in all() {
        for (height, width) in [(1, 1), (2, 9), (7, 3)] {
            let input = image(inputs.maps(), height, width);
            let shifted = convolution.forward(&input).unwrap();
            let kernel = convolution.masked_form().unwrap();
            // A pointwise convolution always has dilation 1.
            let side = ((kernel.dim(2).unwrap() / 2) * dilation) as isize;
            let padding = Padding {
                top: side,
                bottom: side,
                left: side,
                right: side,
            };
            let masked = convolve(&input, &kernel, None, padding, dilation).unwrap();
            // Biases start at zero.
            let difference = (shifted - masked).unwrap().abs().unwrap();
            let largest = difference.flatten_all().unwrap().max(0).unwrap();
            assert!(
                largest.to_scalar::<f64>().unwrap() < 1e-12,
                "{convolution:?}"
            );
        }
    }
}

/// The gradient of one output map at the middle of an image is non-zero at
/// each tap for each colour it carries, and exactly zero everywhere else.
#[test]
fn gradients_are_the_taps() {
    let (height, width) = (15, 15);
    let (row, column) = (height / 2, width / 2);
    for (convolution, inputs, outputs, _) in all() {
        let input = Var::from_tensor(&image(inputs.maps(), height, width)).unwrap();
        let output = convolution.forward(&input).unwrap();
        for map in 0..outputs.maps() {
            let value = output.narrow(1, map, 1).unwrap();
            let value = value
                .narrow(2, row, 1)
                .unwrap()
                .narrow(3, column, 1)
                .unwrap();
            let gradients = value.sum_all().unwrap().backward().unwrap();
            let gradient = gradients.get(&input).unwrap().squeeze(0).unwrap();
            let gradient: Vec<Vec<Vec<f64>>> = gradient.to_vec3().unwrap();
            for (from, plane) in gradient.iter().enumerate() {
                for (r, line) in plane.iter().enumerate() {
                    for (c, value) in line.iter().enumerate() {
                        let offset = (r as isize - row as isize, c as isize - column as isize);
                        let open = convolution.taps().iter().any(|tap| {
                            (tap.row, tap.column) == offset
                                && tap
                                    .colours
                                    .sees(outputs.group_of(map), inputs.group_of(from))
                        });
                        assert_eq!(*value != 0.0, open, "{} {offset:?}", convolution.name());
                    }
                }
            }
        }
    }
}

#[test]
fn live_rows_and_columns() {
    let weights = || VarBuilder::zeros(DType::F32, &Device::Cpu);
    let shape = |convolution: Convolution| convolution.weight().dims().to_vec();
    let first = Convolution::vertical(3, 8, 7, 1, Rows::Above, weights()).unwrap();
    assert_eq!(shape(first), [8, 3, 3, 7]);
    let later = Convolution::vertical(4, 8, 3, 1, Rows::AboveAndOwn, weights()).unwrap();
    assert_eq!(shape(later), [8, 4, 2, 3]);
    let (image, maps) = (
        ColourGroups::new(3, 3).unwrap(),
        ColourGroups::new(3, 8).unwrap(),
    );
    let horizontal = Convolution::horizontal(Mask::A, image, maps, 7, 1, weights()).unwrap();
    assert_eq!(shape(horizontal), [8, 3, 1, 4]);
}

#[test]
fn even_kernels_and_empty_rows_are_errors() {
    let weights = || VarBuilder::zeros(DType::F32, &Device::Cpu);
    let even = Convolution::vertical(3, 8, 4, 1, Rows::Above, weights());
    assert!(even.unwrap_err().to_string().contains("odd"));
    let none = Convolution::vertical(3, 8, 1, 1, Rows::Above, weights());
    assert!(none.unwrap_err().to_string().contains("no rows"));
    let flat = Convolution::vertical(3, 8, 3, 0, Rows::Above, weights());
    assert!(flat.unwrap_err().to_string().contains("dilation"));
}

#[test]
fn closed_entries_do_not_count_as_parameters() {
    let weights = VarBuilder::zeros(DType::F32, &Device::Cpu);
    let groups = ColourGroups::new(3, 3).unwrap();
    let convolution = Convolution::masked(Mask::A, groups, groups, 3, weights).unwrap();
    // Four open positions of nine weights, three weights at the centre, three biases.
    assert_eq!(convolution.parameters(), 4 * 9 + 3 + 3);
}
