//! A network of another crate, from a configuration to samples.

use std::sync::atomic::AtomicBool;

use candle_core::{Device, Tensor};
use pixelcnn_data::Split;
use pixelcnn_models::{Condition, Model};
use pixelcnn_sample::{Engine, SampleConfig, outputs, sample};
use pixelcnn_testkit as _; // registers the kind of the network
use pixelcnn_train::{ConditionedDataset, Outcome, RunConfig, evaluate, train};

/// On photographs of 8 x 8.
const RUN: &str = r#"
    seed = 1
    data = "photos32"
    shrink = 4
    [model]
    kind = "odd"
    image = { channels = 3, height = 8, width = 8, levels = 256 }
    maps = 12
    dilations = [1, 2]
    [training]
    steps = 500
    batch = 16
    learning_rate = 0.004
    learning_rate_multipliers = { head = 4.0, embedding = 4.0 }
    flips = "horizontal"
    optimiser = { kind = "adam" }
    max_grad_norm = 1.0
    ema_decay = 0.9
    validate_every = 250
    log_every = 20
"#;

#[test]
fn a_network_of_another_crate_learns_photographs_and_draws_samples() {
    let config = RunConfig::parse(RUN).unwrap();
    let dataset = config.dataset().unwrap();
    let (folder, never) = (tempfile::tempdir().unwrap(), AtomicBool::new(false));
    let device = Device::Cpu;
    let outcome = train(
        &config,
        &dataset,
        folder.path(),
        &device,
        &never,
        &mut |_| (),
    );
    let Outcome::Finished(summary) = outcome.unwrap() else {
        panic!("nobody stopped it");
    };
    let model = Model::load(&summary.model, &device).unwrap();
    let density = model.density().unwrap();
    let valid = dataset.split(Split::Valid).unwrap();
    let conditioned = ConditionedDataset::new(model.config(), valid, None).unwrap();
    let score = evaluate(density, &conditioned, 16, &mut |_| ()).unwrap();
    assert_eq!(score.bits_per_dim(), summary.valid_score);
    // The lowest bits/dim for a model of single values.
    let alone = entropy(&valid.tensor(0..valid.len(), &device).unwrap());
    assert!(summary.valid_score < alone - 0.3, "{summary:?} {alone}");
    let engine = Engine::new(density).unwrap();
    let drawing = SampleConfig {
        count: 3,
        ..SampleConfig::new(density.image())
    };
    let images = sample(&engine, &drawing, &Condition::None, &|_, _, _| ()).unwrap();
    let found = outputs(&engine, &images, &Condition::None).unwrap();
    let expected = density
        .network()
        .unwrap()
        .outputs(&images, &Condition::None);
    let difference = (found - expected.unwrap()).unwrap().abs().unwrap();
    let largest = difference.flatten_all().unwrap().max(0).unwrap();
    assert!(largest.to_scalar::<f32>().unwrap() < 1e-3);
}

/// Bits of a value with the frequencies of the levels in all images.
fn entropy(values: &Tensor) -> f64 {
    let values = values.flatten_all().unwrap().to_vec1::<u8>().unwrap();
    let mut counts = [0usize; 256];
    for value in &values {
        counts[usize::from(*value)] += 1;
    }
    let shares = counts
        .iter()
        .map(|count| *count as f64 / values.len() as f64);
    shares
        .filter(|share| *share > 0.0)
        .map(|share| -share * share.log2())
        .sum()
}
