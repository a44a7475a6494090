//! Every layer: shapes, causality, gradients, names.

use std::fmt::Write;

use candle_core::{DType, Device, Tensor, Var};
use pixelcnn_conv::ColourGroups;
use pixelcnn_models::Parameters;
use pixelcnn_testkit::layers::{Forward, LayerCase, Sees, table};
use pixelcnn_testkit::wave;

fn build(case: &LayerCase) -> (Forward, Parameters) {
    let parameters = Parameters::drawn(1);
    let layer = (case.build)(parameters.builder(DType::F64, &Device::Cpu));
    let layer = layer.unwrap_or_else(|error| panic!("{}: {error}", case.name));
    (layer, parameters)
}

fn inputs(case: &LayerCase, b: usize, h: usize, w: usize) -> Vec<Var> {
    let maps = |groups: &ColourGroups| wave(&[b, groups.maps(), h, w], 0.3).unwrap();
    let maps = case.inputs.iter().map(maps);
    maps.map(|maps| Var::from_tensor(&maps).unwrap()).collect()
}

fn forward(layer: &Forward, inputs: &[Var]) -> Vec<Tensor> {
    let inputs: Vec<_> = inputs.iter().map(|v| v.as_tensor().clone()).collect();
    layer(&inputs).unwrap()
}

#[test]
fn shapes_at_odd_sizes() {
    for case in table().unwrap() {
        let (layer, _) = build(&case);
        for (b, h, w) in [(1, 1, 1), (2, 1, 5), (3, 4, 1), (1, 3, 2), (2, 9, 8)] {
            let outputs = forward(&layer, &inputs(&case, b, h, w));
            assert_eq!(outputs.len(), case.outputs.len(), "{}", case.name);
            for (output, groups) in outputs.iter().zip(&case.outputs) {
                assert_eq!(output.dims(), [b, groups.maps(), h, w], "{}", case.name);
            }
        }
    }
}

/// For the last map of every colour of every output, at every pixel: the gradient is
/// exactly zero where the layer must not look, and non-zero somewhere if it may look at
/// all.
#[test]
fn causality_by_gradients() {
    let (h, w) = (4, 5);
    for case in table().unwrap() {
        let (layer, _) = build(&case);
        let inputs = inputs(&case, 1, h, w);
        let outputs = forward(&layer, &inputs);
        for (output, (maps, groups)) in outputs.iter().zip(&case.outputs).enumerate() {
            let mut reached = vec![false; inputs.len()];
            for map in 0..groups.maps() {
                for (row, column) in [(0, 0), (1, w - 1), (2, 0), (2, 2), (h - 1, w - 1)] {
                    let value = maps.narrow(1, map, 1).unwrap();
                    let value = value
                        .narrow(2, row, 1)
                        .unwrap()
                        .narrow(3, column, 1)
                        .unwrap();
                    let gradients = value.sum_all().unwrap().backward().unwrap();
                    let at = (row as isize, column as isize, groups.group_of(map));
                    for (input, variable) in inputs.iter().enumerate() {
                        let sees = case.sees[output][input];
                        let seen = match gradients.get(variable) {
                            Some(gradient) => non_zero(gradient, &case.inputs[input]),
                            None => Vec::new(),
                        };
                        reached[input] |= !seen.is_empty();
                        for from in &seen {
                            assert!(
                                sees.allows(at, *from),
                                "{}: output {output} at {at:?} sees input {input} at {from:?}",
                                case.name
                            );
                        }
                    }
                }
            }
            for (input, reached) in reached.into_iter().enumerate() {
                // One pixel of one colour with mask A: there is nothing to see.
                let closed = case.name.ends_with("A, kernel 1, 1 channels");
                let expected = case.sees[output][input] != Sees::Nothing && !closed;
                assert_eq!(reached, expected, "{}: {output} from {input}", case.name);
            }
        }
    }
}

/// Row, column and colour of the entries of a gradient that are not zero.
fn non_zero(gradient: &Tensor, groups: &ColourGroups) -> Vec<(isize, isize, usize)> {
    let planes: Vec<Vec<Vec<f64>>> = gradient.squeeze(0).unwrap().to_vec3().unwrap();
    let mut found = Vec::new();
    for (map, plane) in planes.iter().enumerate() {
        for (row, line) in plane.iter().enumerate() {
            for (column, value) in line.iter().enumerate() {
                if *value != 0.0 {
                    found.push((row as isize, column as isize, groups.group_of(map)));
                }
            }
        }
    }
    found
}

#[test]
fn every_parameter_gets_a_gradient() {
    for case in table().unwrap() {
        let (layer, parameters) = build(&case);
        let outputs = forward(&layer, &inputs(&case, 2, 4, 5));
        let sums = outputs.iter().enumerate().map(|(index, output)| {
            let weights = wave(output.dims(), index as f64).unwrap();
            (output * weights).unwrap().sum_all().unwrap()
        });
        let loss = sums.reduce(|a, b| (a + b).unwrap()).unwrap();
        let gradients = loss.backward().unwrap();
        for (name, variable) in parameters.variables() {
            let gradient = gradients.get(&variable);
            let gradient = gradient.unwrap_or_else(|| panic!("{}: {name}", case.name));
            let total = gradient.abs().unwrap().sum_all().unwrap();
            // Mask A with one channel has no centre: with a kernel of one, no weight is
            // left.
            let empty = case.name.contains("A, kernel 1, 1 channels") && name == "weight";
            let total = total.to_scalar::<f64>().unwrap();
            assert_eq!(total > 0.0, !empty, "{}: {name}", case.name);
        }
    }
}

#[test]
fn names_and_shapes_of_the_weights() {
    let mut text = String::new();
    for case in table().unwrap() {
        if !(case.name.contains("kernel 3, 3 channels") || case.name.contains("head")) {
            continue;
        }
        let (_, parameters) = build(&case);
        writeln!(text, "{}", case.name).unwrap();
        for (name, tensor) in parameters.tensors() {
            writeln!(text, "  {name} {:?}", tensor.dims()).unwrap();
        }
    }
    insta::assert_snapshot!(text);
}
