//! The results of a run: a lower loss, the best model, averaged weights.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use candle_core::{Device, Tensor};
use pixelcnn_data::{Images, Split};
use pixelcnn_models::{Model, read_tensors};
use pixelcnn_train::{ConditionedDataset, Outcome, Progress, RunConfig, evaluate, train};

use crate::tiny::{
    ADAM, SHAPE, bits, config, config_with, dataset, finish, records, state, state_path,
    validations,
};

fn score(model: &Path, images: &Images, batch: usize) -> f64 {
    let model = Model::load(model, &Device::Cpu).unwrap();
    let likelihood = evaluate(
        model.density().unwrap(),
        &ConditionedDataset::new(model.config(), images, None).unwrap(),
        batch,
        &mut |_| (),
    );
    likelihood.unwrap().bits_per_dim()
}

#[test]
fn training_lowers_the_loss() {
    let folder = tempfile::tempdir().unwrap();
    let changes = [
        ("steps", "80"),
        ("learning_rate", "2e-2"),
        ("validate_every", "40"),
    ];
    let summary = finish(&config_with(&changes), folder.path());
    let records = records(folder.path());
    let losses: Vec<f64> = records.iter().filter_map(|r| r.train_score).collect();
    let (first, last) = (losses[0], losses[losses.len() - 1]);
    assert!((7.5..8.5).contains(&first), "{first}");
    assert!(last < first - 1.5, "{first} to {last}");
    assert!(summary.valid_score < first - 1.5, "{summary:?}");
}

/// Images that are very different from the training images.
fn noise() -> Images {
    let (channels, height, width) = SHAPE;
    let values = (0..6 * channels * height * width).map(|i| (i * 40_503 / 7 % 256) as u8);
    Images::new(SHAPE, values.collect(), vec![0; 6]).unwrap()
}

/// Validations at 8, 16, 24, 32 and 40 steps that get worse, because the validation images
/// are noise. Stops after `stop_after` steps.
fn overfit(out: &Path, stop_after: usize) -> Outcome {
    let config = config_with(&[
        ("steps", "40"),
        ("learning_rate", "2e-2"),
        ("validate_every", "8"),
    ]);
    let mut dataset = dataset();
    dataset = dataset.with_split(Split::Valid, noise());
    let stop = AtomicBool::new(false);
    let mut report = |progress| {
        if matches!(progress, Progress::Step { step, .. } if step == stop_after) {
            stop.store(true, Ordering::Relaxed);
        }
    };
    train(&config, &dataset, out, &Device::Cpu, &stop, &mut report).unwrap()
}

fn assert_best_is_lowest(out: &Path) {
    let scores = validations(out);
    let lowest = scores.iter().copied().fold(f64::INFINITY, f64::min);
    assert_eq!(scores.len(), 5);
    assert!(
        lowest < scores[4] - 0.1,
        "nothing was overfitted: {scores:?}"
    );
    assert!(scores[..2].contains(&lowest), "{scores:?}");
    assert_eq!(score(&out.join("best"), &noise(), 4), lowest);
    assert_eq!(score(&out.join("last"), &noise(), 4), scores[4]);
    assert_eq!(state(out).1["best"], lowest);
}

#[test]
fn the_best_model_is_that_of_the_lowest_validation_score() {
    let folder = tempfile::tempdir().unwrap();
    let Outcome::Finished(summary) = overfit(folder.path(), usize::MAX) else {
        panic!("nobody stopped it");
    };
    assert_best_is_lowest(folder.path());
    let scores = validations(folder.path());
    assert!(scores.contains(&summary.valid_score), "{summary:?}");
}

#[test]
fn a_resumed_run_keeps_the_best_model_of_before() {
    let folder = tempfile::tempdir().unwrap();
    let stopped = overfit(folder.path(), 20);
    assert_eq!(stopped, Outcome::Stopped { step: 20 });
    overfit(folder.path(), usize::MAX);
    assert_best_is_lowest(folder.path());
}

#[test]
fn the_averaged_weights_are_scored_and_saved() {
    let folder = tempfile::tempdir().unwrap();
    finish(&config(ADAM), folder.path());
    let (state, _) = read_tensors(state_path(folder.path()), &Device::Cpu).unwrap();
    let part = |prefix: &str| {
        let stripped = state.iter().filter_map(|(name, tensor)| {
            Some((name.strip_prefix(prefix)?.to_string(), tensor.clone()))
        });
        stripped.collect()
    };
    let saved = folder.path().join("last").join("model.safetensors");
    let (saved, _) = read_tensors(saved, &Device::Cpu).unwrap();
    assert!(bits(&saved) == bits(&part("average.")));
    assert!(bits(&saved) != bits(&part("weight.")));
    let last = validations(folder.path())[2];
    assert_eq!(
        score(
            &folder.path().join("last"),
            dataset().images(Split::Valid).unwrap(),
            4
        ),
        last
    );
}

#[test]
fn without_averaging_the_last_weights_are_saved() {
    let folder = tempfile::tempdir().unwrap();
    finish(&config_with(&[("ema_decay", "0.0")]), folder.path());
    let (state, _) = read_tensors(state_path(folder.path()), &Device::Cpu).unwrap();
    let saved = folder.path().join("last").join("model.safetensors");
    let (saved, _) = read_tensors(saved, &Device::Cpu).unwrap();
    assert!(!saved.is_empty());
    for (name, tensor) in saved {
        let weight: &Tensor = &state[&format!("weight.{name}")];
        let furthest = (weight - tensor).unwrap().abs().unwrap().max_all().unwrap();
        assert!(furthest.to_scalar::<f32>().unwrap() < 1e-6, "{name}");
    }
}

#[test]
fn the_folder_describes_the_model() {
    let folder = tempfile::tempdir().unwrap();
    let summary = finish(&config(ADAM), folder.path());
    let card = std::fs::read_to_string(folder.path().join("best/README.md")).unwrap();
    let score = format!("{:.4} bits/dim", summary.valid_score);
    for part in [
        "Gated PixelCNN",
        "`tiny`",
        &score,
        &summary.parameters.to_string(),
    ] {
        assert!(card.contains(part), "{part} is not in: {card}");
    }
    let curve = std::fs::read_to_string(folder.path().join("curve.svg")).unwrap();
    assert!(curve.starts_with("<svg"), "{curve}");
    assert_eq!(
        RunConfig::read(&folder.path().join("run.toml")).unwrap(),
        config(ADAM)
    );
}
