//! One configuration, one result.

use candle_core::Device;
use pixelcnn_models::{Model, read_tensors};

use crate::tiny::{ADAM, assert_same, config, config_with, finish, records, state};

#[test]
fn two_runs_of_one_configuration_give_the_same_bits() {
    let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let one = finish(&config(ADAM), a.path());
    let two = finish(&config(ADAM), b.path());
    assert_same(a.path(), b.path(), "the second run");
    assert_eq!(one.valid_score.to_bits(), two.valid_score.to_bits());
    assert_eq!((one.steps, one.images_seen), (11, 44));
}

#[test]
fn another_seed_gives_other_weights() {
    let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    finish(&config(ADAM), a.path());
    let mut other = config(ADAM);
    other.seed += 1;
    finish(&other, b.path());
    assert_ne!(records(a.path()), records(b.path()));
    assert!(state(a.path()).0 != state(b.path()).0);
}

#[test]
fn the_log_has_a_line_each_few_steps_and_one_for_each_validation() {
    let folder = tempfile::tempdir().unwrap();
    finish(&config(ADAM), folder.path());
    let found: Vec<_> = records(folder.path())
        .iter()
        .map(|record| (record.step, record.images, record.valid_score.is_some()))
        .collect();
    let expected = [
        (3, 12, false),
        (4, 16, true),
        (6, 24, false),
        (8, 32, true),
        (9, 36, false),
        (11, 44, true),
    ];
    assert_eq!(found, expected);
}

#[test]
fn the_first_weights_are_those_of_the_seed() {
    let folder = tempfile::tempdir().unwrap();
    let config = config_with(&[("steps", "2"), ("learning_rate", "1e-30")]);
    finish(&config, folder.path());
    let path = folder.path().join("last").join("model.safetensors");
    let (saved, _) = read_tensors(path, &Device::Cpu).unwrap();
    let (drawn, _) = Model::initialise(&config.model, config.seed, &Device::Cpu).unwrap();
    assert_eq!(saved.len(), drawn.tensors().len());
    for (name, tensor) in drawn.tensors() {
        let furthest = (tensor - &saved[name]).unwrap().abs().unwrap();
        let furthest = furthest.max_all().unwrap().to_scalar::<f32>().unwrap();
        assert!(furthest < 1e-20, "{name}: {furthest}");
    }
}

#[test]
fn flips_change_the_training_images() {
    let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    finish(&config(ADAM), a.path());
    finish(&config_with(&[("flips", "\"none\"")]), b.path());
    assert_ne!(records(a.path()), records(b.path()));
}
