//! Files of earlier versions: their results must never change, because old checkpoints and
//! everything made with them would change, too.
//!
//! `fixtures/golden/NAME` has a model of each kind of condition. `expected.safetensors` has
//! images, conditions of the blocks, and the results: the exact engine's logits and
//! samples, which must be the same to the bit, and the nats of the whole network, whose
//! last digits depend on the processor's instructions.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use pixelcnn_models::{Condition, ConditionShape, Model, ModelConfig, read_tensors, write_tensors};
use pixelcnn_sample::{Engine, SampleConfig, outputs, sample};
use pixelcnn_testkit::models::{ModelCase, networks};
use pixelcnn_testkit::{condition, encoded, size, values};

const IMAGES: usize = 2;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/golden")
}

/// A network of each kind, and of each kind of condition.
fn cases() -> Vec<ModelCase> {
    let mut cases = networks();
    let chosen = |case: &ModelCase| {
        case.config.conditioning().is_some()
            || [
                "gated, kernel 3, 3 channels",
                "gated, dilated",
                "plain, kernel 3, 3 channels",
            ]
            .contains(&case.name.as_str())
    };
    cases.retain(chosen);
    cases
}

fn file_name(case: &ModelCase) -> String {
    case.name.replace(", ", "-").replace(' ', "-")
}

type Tensors = BTreeMap<String, Tensor>;

/// Images, and the conditions of the blocks.
fn inputs(config: &ModelConfig) -> Tensors {
    let image = config.image();
    let (h, w) = size(config, (4, 5));
    let images = values(&[IMAGES, image.channels, h, w], image.levels).unwrap();
    let mut inputs = Tensors::from([("values".to_string(), images)]);
    let taken = condition(config.condition_shape(), IMAGES, h, w, DType::F32).unwrap();
    if let Condition::Vector(taken) | Condition::Map(taken) = taken {
        inputs.insert("condition".to_string(), taken);
    }
    inputs
}

/// The results for these inputs.
fn outcome(model: &Model, inputs: &Tensors) -> Tensors {
    let density = model.density().unwrap();
    let engine = Engine::new(density).unwrap();
    let images = &inputs["values"];
    let condition = match (model.config().condition_shape(), inputs.get("condition")) {
        (ConditionShape::Vector { .. }, Some(vector)) => Condition::Vector(vector.clone()),
        (ConditionShape::Map { .. }, Some(map)) => Condition::Map(map.clone()),
        _ => Condition::None,
    };
    let (_, _, height, width) = images.dims4().unwrap();
    let config = SampleConfig {
        count: IMAGES,
        seed: 7,
        height,
        width,
        ..SampleConfig::new(model.config().image())
    };
    let drawn = sample(&engine, &config, &condition, &|_, _, _| ()).unwrap();
    let logits = outputs(&engine, images, &condition).unwrap();
    // The nats use an encoded condition, whose sums depend on the encoder.
    let encoded = encoded(model, IMAGES, height, width).unwrap();
    let nats = density.nats(images, &encoded).unwrap();
    Tensors::from([
        ("samples".to_string(), drawn),
        ("logits".to_string(), logits),
        ("nats".to_string(), nats),
    ])
}

fn bits(tensor: &Tensor) -> Vec<u32> {
    let tensor = tensor.flatten_all().unwrap();
    match tensor.dtype() {
        DType::F32 => {
            let numbers = tensor.to_vec1::<f32>().unwrap();
            numbers.into_iter().map(f32::to_bits).collect()
        }
        _ => tensor.to_vec1().unwrap(),
    }
}

#[test]
fn old_models_give_the_same_results() {
    for case in cases() {
        let folder = folder().join(file_name(&case));
        let model = Model::load(&folder, &Device::Cpu).unwrap();
        assert_eq!(*model.config(), case.config, "{}", case.name);
        let (expected, _) =
            read_tensors(folder.join("expected.safetensors"), &Device::Cpu).unwrap();
        let found = outcome(&model, &expected);
        for name in ["samples", "logits"] {
            let same = bits(&found[name]) == bits(&expected[name]);
            assert!(same, "{}: other {name}", case.name);
        }
        let nats = |of: &Tensors| of["nats"].flatten_all().unwrap().to_vec1::<f64>().unwrap();
        for (found, expected) in nats(&found).iter().zip(nats(&expected)) {
            let error = (found - expected).abs() / expected;
            assert!(
                error < 1e-5,
                "{}: {found} nats, {expected} before",
                case.name
            );
        }
    }
}

/// Writes the missing folder of a case, with random weights.
#[test]
fn every_case_has_its_files() {
    for case in cases() {
        let folder = folder().join(file_name(&case));
        if !folder.exists() {
            let (model, _) = Model::initialise(&case.config, 3, &Device::Cpu).unwrap();
            model.save(&folder).unwrap();
            let mut tensors = inputs(&case.config);
            tensors.extend(outcome(&model, &tensors));
            write_tensors(folder.join("expected.safetensors"), &tensors, "").unwrap();
            panic!(
                "{}: written just now; look at it and commit it",
                folder.display()
            );
        }
    }
}
