//! Every model: shapes, gradients, files, names.

use std::fmt::Write;

use candle_core::{DType, Device, Tensor};
use pixelcnn_kernels::{Level, portable};
use pixelcnn_models::{Condition, GaussianConfig, Model, ModelError};
use pixelcnn_testkit::models::{ModelCase, networks, table};
use pixelcnn_testkit::{encoded, given, size, values, wave};

fn model(case: &ModelCase) -> Model {
    let made = match case.config.get::<GaussianConfig>() {
        Some(_) => {
            let image = case.config.image();
            let shape = [6, image.channels, image.height, image.width];
            let images = values(&shape, image.levels).unwrap();
            Model::fit_gaussian(&case.config, &images, &images)
        }
        None => Model::initialise(&case.config, 3, &Device::Cpu).map(|(model, _)| model),
    };
    made.unwrap_or_else(|error| panic!("{}: {error}", case.name))
}

fn images(model: &Model, b: usize, h: usize, w: usize) -> (Tensor, Condition) {
    let image = model.config().image();
    let (h, w) = size(model.config(), (h, w));
    let images = values(&[b, image.channels, h, w], image.levels).unwrap();
    (images, encoded(model, b, h, w).unwrap())
}

fn nats(model: &Model, images: &Tensor, condition: &Condition) -> Result<Tensor, ModelError> {
    model.density()?.nats(images, condition)
}

fn bits(tensor: &Tensor) -> Vec<u32> {
    let numbers: Vec<f32> = tensor.flatten_all().unwrap().to_vec1().unwrap();
    numbers.into_iter().map(f32::to_bits).collect()
}

#[test]
fn outputs_at_odd_sizes() {
    for case in networks() {
        let model = model(&case);
        let image = case.config.image();
        for (b, h, w) in [(1, 1, 1), (2, 1, 6), (1, 5, 1), (2, 3, 2)] {
            let (images, condition) = images(&model, b, h, w);
            let outputs = model
                .network()
                .unwrap()
                .outputs(&images, &condition)
                .unwrap();
            let (h, w) = size(&case.config, (h, w));
            let expected = case.config.distribution().outputs(&image).unwrap();
            let (groups, maps) = (expected.channels(), expected.maps());
            let expected = [b, groups, maps / groups, h, w];
            assert_eq!(outputs.dims(), expected, "{}", case.name);
        }
    }
}

#[test]
fn nats_of_a_batch_are_those_of_its_images() {
    for case in table() {
        let model = model(&case);
        let image = case.config.image();
        let (batch, all) = images(&model, 3, image.height, image.width);
        let together = nats(&model, &batch, &all)
            .unwrap()
            .to_vec2::<f64>()
            .unwrap();
        for (index, expected) in together.iter().enumerate() {
            let one = batch.narrow(0, index, 1).unwrap();
            let condition = all.select(&[index]).unwrap();
            let alone = nats(&model, &one, &condition)
                .unwrap()
                .to_vec2::<f64>()
                .unwrap();
            for (a, b) in alone[0].iter().zip(expected) {
                assert!((a - b).abs() < 1e-4 * b.abs(), "{}: {a} {b}", case.name);
            }
        }
    }
}

#[test]
fn values_may_be_u8_or_u32_and_nothing_else() {
    for case in table() {
        let image = case.config.image();
        if image.levels > 256 {
            continue;
        }
        let model = model(&case);
        let (images, condition) = images(&model, 1, image.height, image.width);
        let nats = |dtype| {
            let images = images.to_dtype(dtype).unwrap();
            nats(&model, &images, &condition).map(|nats| nats.to_vec2::<f64>().unwrap())
        };
        assert_eq!(
            nats(DType::U32).unwrap(),
            nats(DType::U8).unwrap(),
            "{}",
            case.name
        );
        assert!(nats(DType::F32).is_err(), "{}", case.name);
    }
}

#[test]
fn a_value_beyond_the_levels_and_a_wrong_channel_are_errors() {
    for case in table() {
        let image = case.config.image();
        let model = model(&case);
        let (c, h, w) = (image.channels, image.height, image.width);
        let condition = encoded(&model, 1, h, w).unwrap();
        let too_high = Tensor::full(image.levels as u32, (1, c, h, w), &Device::Cpu).unwrap();
        let error = nats(&model, &too_high, &condition).unwrap_err().to_string();
        assert!(error.contains("levels"), "{}: {error}", case.name);
        let too_many = Tensor::zeros((1, c + 1, h, w), DType::U32, &Device::Cpu).unwrap();
        let error = nats(&model, &too_many, &condition).unwrap_err().to_string();
        assert!(error.contains("expected"), "{}: {error}", case.name);
        let none = Tensor::zeros((0, c, h, w), DType::U32, &Device::Cpu).unwrap();
        assert!(nats(&model, &none, &condition).is_err(), "{}", case.name);
    }
}

/// The error for an unexpected condition says which one the model expects.
#[test]
fn a_wrong_condition_is_an_error() {
    for case in table() {
        let image = case.config.image();
        let model = model(&case);
        let (images, right) = images(&model, 2, image.height, image.width);
        let zeros = |shape: &[usize]| Tensor::zeros(shape, DType::F32, &Device::Cpu).unwrap();
        let wrong = [
            Condition::None,
            Condition::Vector(zeros(&[2, 17])),
            Condition::Map(zeros(&[2, 17, image.height, image.width])),
        ];
        for condition in wrong {
            let both_none = matches!((&right, &condition), (Condition::None, Condition::None));
            let found = nats(&model, &images, &condition);
            assert_eq!(found.is_ok(), both_none, "{}: {condition:?}", case.name);
        }
    }
}

#[test]
fn every_parameter_gets_a_gradient() {
    for case in networks() {
        let (model, variables) = Model::initialise(&case.config, 3, &Device::Cpu).unwrap();
        let (h, w) = size(&case.config, (7, 8));
        let (images, _) = images(&model, 2, h, w);
        let given = given(&case.config, 2, h, w).unwrap();
        let encoder = model.density().unwrap().condition_encoder();
        let drawn = encoder.encode_drawn(&given, (h, w), 1, &[0, 1]);
        let (condition, _) = drawn.unwrap();
        let nats = model
            .network()
            .unwrap()
            .value_nats(&images, &condition)
            .unwrap();
        let loss = nats.mean_all().unwrap();
        let gradients = loss.backward().unwrap();
        for (name, variable) in variables {
            let gradient = gradients.get(&variable);
            let gradient = gradient.unwrap_or_else(|| panic!("{}: {name}", case.name));
            let total = gradient
                .abs()
                .unwrap()
                .sum_all()
                .unwrap()
                .to_scalar::<f32>()
                .unwrap();
            assert!(total > 0.0, "{}: {name}", case.name);
        }
    }
}

/// The CPU's own operations give the same results as candle's: nats and gradients of every
/// parameter, at every level of instructions.
#[test]
fn the_fast_path_equals_the_portable_one() {
    for case in networks() {
        let (model, variables) = Model::initialise(&case.config, 3, &Device::Cpu).unwrap();
        let (images, condition) = images(&model, 2, 7, 8);
        let pass = || {
            let nats = model
                .network()
                .unwrap()
                .value_nats(&images, &condition)
                .unwrap();
            let gradients = nats.mean_all().unwrap().backward().unwrap();
            let gradients = variables
                .values()
                .map(|of| gradients.get(of).unwrap().clone());
            let tensors: Vec<_> = [nats].into_iter().chain(gradients).collect();
            tensors
        };
        let slow = portable(pass);
        for level in Level::available() {
            for (fast, slow) in level.scope(pass).iter().zip(&slow) {
                let difference = (fast - slow).unwrap().abs().unwrap();
                let largest = difference.flatten_all().unwrap().max(0).unwrap();
                let largest = largest.to_scalar::<f32>().unwrap();
                assert!(largest < 2e-5, "{}, {level:?}: {largest}", case.name);
            }
        }
    }
}

/// Masked entries are initially zero and get no gradient.
#[test]
fn masked_entries_are_zero_and_stay_so() {
    for case in networks() {
        let (model, variables) = Model::initialise(&case.config, 3, &Device::Cpu).unwrap();
        let (images, condition) = images(&model, 1, 7, 8);
        let nats = model
            .network()
            .unwrap()
            .value_nats(&images, &condition)
            .unwrap();
        let loss = nats.mean_all().unwrap();
        let gradients = loss.backward().unwrap();
        for convolution in model.network().unwrap().convolutions() {
            let Some(mask) = convolution.mask().unwrap() else {
                continue;
            };
            let closed = mask.affine(-1.0, 1.0).unwrap();
            let variable = &variables[&format!("{}.weight", convolution.name())];
            for tensor in [variable.as_tensor(), gradients.get(variable).unwrap()] {
                let inside = (tensor * &closed)
                    .unwrap()
                    .abs()
                    .unwrap()
                    .sum_all()
                    .unwrap();
                let name = convolution.name();
                assert_eq!(
                    inside.to_scalar::<f32>().unwrap(),
                    0.0,
                    "{}: {name}",
                    case.name
                );
            }
        }
    }
}

#[test]
fn a_saved_model_is_the_same_model() {
    for case in table() {
        let model = model(&case);
        let folder = tempfile::tempdir().unwrap();
        model.save(folder.path()).unwrap();
        let loaded = Model::load(folder.path(), &Device::Cpu).unwrap();
        assert_eq!(loaded.config(), model.config());
        let image = case.config.image();
        let (images, condition) = images(&model, 2, image.height, image.width);
        let nats = |model: &Model| nats(model, &images, &condition).unwrap().to_vec2::<f64>();
        assert_eq!(
            nats(&model).unwrap(),
            nats(&loaded).unwrap(),
            "{}",
            case.name
        );
        if model.network().is_some() {
            let outputs = |model: &Model| {
                bits(
                    &model
                        .network()
                        .unwrap()
                        .outputs(&images, &condition)
                        .unwrap(),
                )
            };
            assert_eq!(outputs(&model), outputs(&loaded), "{}", case.name);
        }
        // Equal models give equal files.
        let again = tempfile::tempdir().unwrap();
        loaded.save(again.path()).unwrap();
        for file in ["config.json", "model.safetensors"] {
            let read =
                |folder: &tempfile::TempDir| std::fs::read(folder.path().join(file)).unwrap();
            assert_eq!(read(&folder), read(&again), "{}", case.name);
        }
    }
}

/// Values of a file at masked entries have no effect, and are zero in the next file.
#[test]
fn a_file_from_elsewhere_is_masked() {
    for case in networks() {
        let model = model(&case);
        let noisy = model.tensors().iter().map(|(name, tensor)| {
            let noise = wave(tensor.dims(), 0.7)
                .unwrap()
                .to_dtype(DType::F32)
                .unwrap();
            (name.clone(), (tensor + noise).unwrap())
        });
        let noisy: std::collections::BTreeMap<_, _> = noisy.collect();
        let tensors = || noisy.clone();
        let loaded = Model::from_tensors(&case.config, tensors(), DType::F32, &Device::Cpu);
        let loaded = loaded.unwrap();
        for convolution in loaded.network().unwrap().convolutions() {
            let name = format!("{}.weight", convolution.name());
            let expected = match convolution.mask().unwrap() {
                Some(mask) => (&noisy[&name] * mask).unwrap(),
                None => noisy[&name].clone(),
            };
            assert_eq!(bits(&loaded.tensors()[&name]), bits(&expected), "{name}");
        }
    }
}

#[test]
fn names_and_shapes_of_the_weights() {
    let mut text = String::new();
    for case in table() {
        let model = model(&case);
        writeln!(text, "{}: {} parameters", case.name, model.parameters()).unwrap();
        for (name, tensor) in model.tensors() {
            writeln!(text, "  {name} {:?}", tensor.dims()).unwrap();
        }
    }
    insta::assert_snapshot!(text);
}
