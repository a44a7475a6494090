//! The experiments that come with the workspace.

use std::path::{Path, PathBuf};

use candle_core::Device;
use pixelcnn_data::{Dataset, Images};
use pixelcnn_models::{Model, ModelConfig};
use pixelcnn_train::{Outcome, RunConfig, train};

fn toml_files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(toml_files(&path)),
            false
                if path
                    .extension()
                    .is_some_and(|extension| extension == "toml") =>
            {
                found.push(path);
            }
            false => {}
        }
    }
    found.sort();
    found
}

fn experiments() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../xtask/experiments");
    let found = toml_files(&folder);
    // Four models in four presets, and two beside them.
    assert_eq!(found.len(), 4 * 4 + 2, "{found:?}");
    found
}

/// Whether an experiment is small enough for this machine.
fn is_small(path: &Path) -> bool {
    let presets = ["smoke", "quick", "cpu"];
    path.components()
        .any(|part| presets.iter().any(|preset| part.as_os_str() == *preset))
}

#[test]
fn every_experiment_is_a_configuration() {
    for path in experiments() {
        let config = RunConfig::read(&path).unwrap_or_else(|error| panic!("{error}"));
        let text = config.to_toml().unwrap();
        assert_eq!(
            RunConfig::parse(&text).unwrap(),
            config,
            "{}",
            path.display()
        );
    }
}

/// Two images to train on and one to validate on, of the model's shape.
fn noise(config: &RunConfig) -> Dataset {
    let image = config.model.image();
    let images = |count: usize| {
        let shape = (image.channels, image.height, image.width);
        let values = (0..count * image.dimensions()).map(|i| (i * 40_503 / 7 % 256) as u8);
        Images::new(shape, values.collect(), vec![0; count]).unwrap()
    };
    Dataset {
        name: "noise".to_string(),
        train: images(2),
        valid: images(1),
        test: images(1),
        classes: Vec::new(),
    }
}

#[test]
fn the_networks_of_the_small_presets_take_a_step() {
    let mut taken = 0;
    for path in experiments().into_iter().filter(|path| is_small(path)) {
        let mut config = RunConfig::read(&path).unwrap();
        let Some(training) = &mut config.training else {
            continue;
        };
        (training.steps, training.batch, training.schedule.warmup) = (1, 1, 1);
        let folder = tempfile::tempdir().unwrap();
        let (data, never) = (noise(&config), false.into());
        let outcome = train(
            &config,
            &data,
            folder.path(),
            &Device::Cpu,
            &never,
            &mut |_| (),
        );
        let Ok(Outcome::Finished(summary)) = outcome else {
            panic!("{}: {outcome:?}", path.display());
        };
        let score = summary.valid_score;
        assert!((7.0..10.0).contains(&score), "{}: {score}", path.display());
        taken += 1;
    }
    assert_eq!(taken, 2 * 3, "networks");
}

/// What makes the two networks of the quick table comparable.
#[test]
fn the_networks_of_the_quick_table_differ_in_kind_and_rate_alone() {
    let read = |name: &str| {
        let ending = format!("quick/{name}.toml");
        let path = experiments()
            .into_iter()
            .find(|path| path.ends_with(&ending));
        RunConfig::read(&path.unwrap()).unwrap()
    };
    let (gated, plain) = (read("gated-pixelcnn"), read("pixelcnn"));
    let (mut first, second) = (gated.training.unwrap(), plain.training.unwrap());
    first.rate = second.rate;
    assert_eq!(first, second);
    let [gated, plain] = [gated.model, plain.model].map(|config| {
        let (model, _) = Model::initialise(&config, 1, &Device::Cpu).unwrap();
        let blocks = match config {
            ModelConfig::GatedPixelCnn(config) => config.blocks,
            ModelConfig::PixelCnn(config) => config.blocks,
            other => panic!("{other:?}"),
        };
        (model.parameters().unwrap() as f64, blocks)
    });
    assert_eq!(gated.1, plain.1);
    let ratio = gated.0 / plain.0;
    assert!((0.95..1.05).contains(&ratio), "{ratio}");
}
