//! What every conditional model refuses, and what it may see by its condition.

use candle_core::{DType, Device, Tensor};
use pixelcnn_models::audit::audit;
use pixelcnn_models::{Condition, Conditioning, Model, ModelConfig};
use pixelcnn_testkit::models::{ModelCase, networks};
use pixelcnn_testkit::{given, values};

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

/// One of each kind for two images of 3x4, none of a size that any model of
/// the table takes.
fn wrong() -> [Condition; 7] {
    let float = |shape: &[usize]| zeros(shape, DType::F32);
    let integer = |shape: &[usize]| zeros(shape, DType::U32);
    [
        Condition::None,
        Condition::Labels(vec![0; 3]),
        Condition::Vector(float(&[2, 17])),
        Condition::Map(float(&[2, 17, 3, 4])),
        Condition::Text(vec!["red".to_string(); 3]),
        Condition::Tokens(integer(&[3, 2])),
        Condition::Image(integer(&[2, 3, 6, 6])),
    ]
}

#[test]
fn an_error_says_what_the_model_expects_and_what_it_found() {
    for case in networks() {
        let model = drawn(&case.config);
        let image = case.config.image();
        let images = values(&[2, image.channels, 3, 4], image.levels).unwrap();
        let named = match case.config.conditioning() {
            None => "no condition",
            Some(Conditioning::Class { .. }) => "2 labels below 3 or a vector [2, 3]",
            Some(Conditioning::Vector { .. }) => "a vector [2, 5]",
            Some(Conditioning::Map { .. }) => "a map [2, 2, 3, 4]",
            Some(Conditioning::Caption(_)) => "2 texts or tokens [2, t] or a vector [2, 4]",
            Some(Conditioning::Image { .. }) => "an image [2, ",
            Some(_) => "an image [2, 3, 3, 4] or a vector [2, 4]",
        };
        for condition in wrong() {
            let found = model.nats(&images, &condition);
            if let (Condition::None, None) = (&condition, case.config.conditioning()) {
                assert!(found.is_ok(), "{}", case.name);
                continue;
            }
            let error = found.unwrap_err().to_string();
            let expected = format!("the model expects {named}");
            for part in [expected, format!("found {condition}")] {
                assert!(error.contains(&part), "{}: {part}: {error}", case.name);
            }
        }
    }
}

#[test]
fn a_label_beyond_the_classes_and_a_text_without_a_tokenizer_are_errors() {
    for (case, conditioning) in conditional() {
        let (condition, named) = match conditioning {
            Conditioning::Class { .. } => {
                let labels = Condition::Labels(vec![0, 3]);
                (labels, "label 3, the model expects labels below 3")
            }
            Conditioning::Caption(_) => {
                let texts = Condition::Text(vec![String::new(); 2]);
                (texts, "no tokenizer.json")
            }
            _ => continue,
        };
        let images = values(&[2, 3, 3, 4], case.config.image().levels).unwrap();
        let error = drawn(&case.config).nats(&images, &condition).unwrap_err();
        assert!(error.to_string().contains(named), "{}: {error}", case.name);
    }
}

#[test]
fn conditions_are_of_the_images_there_are() {
    for (case, _) in conditional() {
        let two = given(&case.config, 2, 3, 4).unwrap();
        assert_eq!(two.images(), Some(2), "{}", case.name);
        let three = two.select(&[1, 0, 1]).unwrap();
        assert_eq!(three.images(), Some(3), "{}", case.name);
        let error = two.select(&[0, 2]).unwrap_err().to_string();
        let named = format!("image 2 asked for, found {two}");
        assert!(error.contains(&named), "{}: {error}", case.name);
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
        let named = "not of this model: condition.surplus";
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

/// An encoder sees the whole image, the pixel that is predicted and those
/// after it too: that is what a code is for. Given the code, nothing does.
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
        // No value comes after the last one.
        let logits = |images: &Tensor, condition: &Condition| {
            let logits = model.outputs(images, condition).unwrap();
            logits.flatten_all().unwrap().to_vec1::<f32>().unwrap()
        };
        let code = |images: &Tensor| Condition::Image(images.clone());
        let before = logits(&first, &code(&first));
        assert_eq!(before, logits(&other, &code(&first)), "{}", case.name);
        assert_ne!(before, logits(&first, &code(&other)), "{}", case.name);
        let report = audit(&case.config, model.tensors()).unwrap();
        assert_eq!(report.findings, [], "{}", case.name);
    }
}
