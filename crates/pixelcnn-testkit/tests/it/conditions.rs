//! Which conditions every conditional model refuses, and what it sees through its
//! condition.

use candle_core::{DType, Device, Tensor};
use pixelcnn_models::audit::audit;
use pixelcnn_models::{Condition, Conditioning, Given, Model, ModelConfig};
use pixelcnn_testkit::models::{ModelCase, networks};
use pixelcnn_testkit::{encoded, given, values};

fn conditional() -> impl Iterator<Item = (ModelCase, Conditioning)> {
    networks().into_iter().filter_map(|case| {
        let conditioning = case.config.conditioning().cloned()?;
        Some((case, conditioning))
    })
}

fn drawn(config: &ModelConfig) -> Model {
    Model::initialise(config, 3, &Device::Cpu).unwrap().0
}

fn zeros(shape: &[usize], dtype: DType) -> Tensor {
    Tensor::zeros(shape, dtype, &Device::Cpu).unwrap()
}

/// One condition of each kind for two images of 3x4; no model of the table accepts their
/// sizes.
fn wrong() -> [Given; 7] {
    let float = |shape: &[usize]| zeros(shape, DType::F32);
    let integer = |shape: &[usize]| zeros(shape, DType::U32);
    [
        Given::Nothing,
        Given::Labels(vec![9; 2]),
        Given::Vector(float(&[2, 17])),
        Given::Map(float(&[2, 17, 3, 4])),
        Given::Text(vec!["red".to_string(); 2]),
        Given::Tokens(integer(&[3, 2, 2])),
        Given::Image(integer(&[2, 3, 6, 6])),
    ]
}

#[test]
fn an_error_says_what_the_model_expects_and_what_it_found() {
    for case in networks() {
        let model = drawn(&case.config);
        let encoder = model.density().unwrap().condition_encoder();
        let named = match case.config.conditioning() {
            None => "no condition",
            Some(Conditioning::Class { .. }) => "labels below 3 or a vector [b, 3]",
            Some(Conditioning::Vector { .. }) => "a vector [b, 5]",
            Some(Conditioning::Map { .. }) => "a map [b, 2, 3, 4]",
            Some(Conditioning::Caption(_)) => "texts, tokens [b, t] or a vector [b, 4]",
            Some(Conditioning::Image { .. }) => "an image [b, ",
            Some(_) => "an image [b, 3, 3, 4] or a vector [b, 4]",
        };
        for given in wrong() {
            let found = encoder.encode(&given, (3, 4));
            if let (Given::Nothing, None) = (&given, case.config.conditioning()) {
                assert!(found.is_ok(), "{}", case.name);
                continue;
            }
            let error = found.unwrap_err().to_string();
            match (&given, case.config.conditioning()) {
                // The right kind, but the label is not a class of the model.
                (Given::Labels(_), Some(Conditioning::Class { .. })) => {
                    assert!(
                        error.contains("label 9, the model expects labels below 3"),
                        "{error}"
                    );
                    continue;
                }
                (Given::Text(_), Some(Conditioning::Caption(_))) => {
                    assert!(error.contains("no tokenizer.json"), "{error}");
                    continue;
                }
                _ => {}
            }
            let expected = format!("the model expects {named}");
            for part in [expected, format!("found {given}")] {
                assert!(error.contains(&part), "{}: {part}: {error}", case.name);
            }
        }
    }
}

#[test]
fn conditions_have_as_many_images_as_the_values() {
    for (case, _) in conditional() {
        let model = drawn(&case.config);
        let two = given(&case.config, 2, 3, 4).unwrap();
        assert_eq!(two.images(), Some(2), "{}", case.name);
        assert_eq!(two.one(1).unwrap().images(), Some(1), "{}", case.name);
        let error = two.one(2).unwrap_err().to_string();
        let named = format!("image 2 requested, found {two}");
        assert!(error.contains(&named), "{}: {error}", case.name);
        let two = encoded(&model, 2, 3, 4).unwrap();
        let three = two.select(&[1, 0, 1]).unwrap();
        assert_eq!(three.images(), Some(3), "{}", case.name);
        let error = two.select(&[0, 2]).unwrap_err().to_string();
        let named = format!("image 2 requested, found {two}");
        assert!(error.contains(&named), "{}: {error}", case.name);
        // The condition must have as many images as the values.
        let image = case.config.image();
        let images = values(&[3, image.channels, 3, 4], image.levels).unwrap();
        let density = model.density().unwrap();
        assert!(density.nats(&images, &three).is_ok(), "{}", case.name);
        let error = density.nats(&images, &two).unwrap_err().to_string();
        let named = format!("found {two}");
        assert!(error.contains(&named), "{}: {error}", case.name);
    }
}

/// The bits do not depend on the other images: the number of drawn images must not change a
/// sample.
#[test]
fn images_are_encoded_as_if_alone() {
    for (case, _) in conditional() {
        let model = drawn(&case.config);
        let encoder = model.density().unwrap().condition_encoder();
        let three = given(&case.config, 3, 3, 4).unwrap();
        let together = encoder.encode_each(&three, (3, 4)).unwrap();
        for image in 0..3 {
            let alone = encoder.encode(&three.one(image).unwrap(), (3, 4)).unwrap();
            let one = together.select(&[image]).unwrap();
            let bits = |condition: &Condition| {
                let (Condition::Vector(numbers) | Condition::Map(numbers)) = condition else {
                    panic!("{condition}");
                };
                let numbers: Vec<f32> = numbers.flatten_all().unwrap().to_vec1().unwrap();
                numbers.into_iter().map(f32::to_bits).collect::<Vec<_>>()
            };
            assert_eq!(bits(&alone), bits(&one), "{}", case.name);
        }
    }
}

#[test]
fn weights_of_a_condition_are_named_where_they_do_not_fit() {
    let mut encoders = 0;
    for (case, _) in conditional() {
        let tensors = drawn(&case.config).tensors().clone();
        let refused = |tensors| {
            let made = Model::from_tensors(&case.config, tensors, DType::F32, &Device::Cpu);
            made.unwrap_err().to_string()
        };
        let mut more = tensors.clone();
        more.insert("condition.surplus".to_string(), zeros(&[1], DType::F32));
        let error = refused(more);
        let named = "do not belong to this model: condition.surplus";
        assert!(error.contains(named), "{}: {error}", case.name);
        let names = tensors.keys().filter(|name| name.starts_with("condition."));
        for name in names {
            let mut fewer = tensors.clone();
            fewer.remove(name).unwrap();
            let error = refused(fewer);
            assert!(error.contains(name), "{}: {error}", case.name);
            encoders += 1;
        }
    }
    assert!(encoders > 0);
}

/// An encoder sees the whole image, including the predicted pixel and those after it. With
/// a given code, the network does not see them.
#[test]
fn a_code_knows_later_pixels_and_the_network_does_not() {
    for (case, conditioning) in conditional() {
        let (Conditioning::Code(_) | Conditioning::Embedding(_)) = conditioning else {
            continue;
        };
        let model = drawn(&case.config);
        let one = values(&[1, 3, 3, 4], 4).unwrap();
        let last = |value: u32| {
            let mut all: Vec<u32> = one.flatten_all().unwrap().to_vec1().unwrap();
            all[35] = value;
            Tensor::from_vec(all, (1, 3, 3, 4), &Device::Cpu).unwrap()
        };
        let [first, other] = [last(0), last(3)];
        // No value follows the last one, so changing it may only change the code.
        let logits = |images: &Tensor, condition: &Condition| {
            let logits = model.network().unwrap().outputs(images, condition).unwrap();
            logits.flatten_all().unwrap().to_vec1::<f32>().unwrap()
        };
        let code = |images: &Tensor| {
            let encoder = model.density().unwrap().condition_encoder();
            encoder
                .encode(&Given::Image(images.clone()), (3, 4))
                .unwrap()
        };
        let before = logits(&first, &code(&first));
        assert_eq!(before, logits(&other, &code(&first)), "{}", case.name);
        assert_ne!(before, logits(&first, &code(&other)), "{}", case.name);
        let report = audit(&case.config, model.tensors()).unwrap();
        assert_eq!(report.findings, [], "{}", case.name);
    }
}
