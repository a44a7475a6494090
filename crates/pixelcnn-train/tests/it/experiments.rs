//! The experiments of the workspace.

use std::path::{Path, PathBuf};

use candle_core::Device;
use pixelcnn_data::{Dataset, Images};
use pixelcnn_models::{Conditioning, GatedPixelCnnConfig, Model, PixelCnnConfig};
use pixelcnn_train::{Outcome, RunConfig, Summary, train};

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
    let mut found = toml_files(&folder);
    found.retain(|path| !path.ends_with(VARIANTS));
    // Table 1: seven models in four presets. Table 2: four networks; figure 6: six; the
    // conditions: five; the cost: four; each in three presets. Figure 3: three networks; figure 4: three;
    // figure 7: two; each in four presets. Then three distributions, the base of
    // the ablations, and three other networks.
    let expected = 7 * 4 + (4 + 6 + 5 + 4) * 3 + (3 + 3 + 2) * 4 + 3 + 1 + 3;
    assert_eq!(found.len(), expected, "{found:?}");
    found
}

/// The changes of the ablations, which are no whole configurations.
const VARIANTS: &str = "ablations/variants.toml";

/// A table with the entries of another one, as `cargo xtask ablations` makes it.
fn merged(mut base: toml::Table, changes: &toml::Table) -> toml::Table {
    for (name, change) in changes {
        let new = match (base.remove(name), change) {
            (Some(toml::Value::Table(old)), toml::Value::Table(change))
                if !change.contains_key("kind") =>
            {
                merged(old, change).into()
            }
            (_, change) => change.clone(),
        };
        base.insert(name.clone(), new);
    }
    base
}

#[test]
fn every_variant_of_the_ablations_is_a_configuration_of_its_own() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../xtask/experiments");
    let read = |path: &str| -> toml::Table {
        let text = std::fs::read_to_string(folder.join(path)).unwrap();
        text.parse().unwrap()
    };
    let (base, variants) = (read("ablations/base.toml"), read(VARIANTS));
    let mut seen: Vec<RunConfig> = Vec::new();
    for variant in variants["variant"].as_array().unwrap() {
        let mut changes = variant.as_table().unwrap().clone();
        let name = changes.remove("name").unwrap();
        let text = merged(base.clone(), &changes).to_string();
        let config = RunConfig::parse(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(!seen.contains(&config), "{name} changes nothing");
        seen.push(config);
    }
    assert!(seen.len() > 20);
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

/// `count` images of the model's shape. Of four images, two have the same label, as an
/// embedding network needs.
fn images(config: &RunConfig, count: usize) -> Images {
    let image = config.model.image();
    let shape = (image.channels, image.height, image.width);
    let values = (0..count * image.dimensions()).map(|i| (i * 40_503 / 7 % 256) as u8);
    let labels = (0..count).map(|index| (2 * index / count) as u32);
    let captions = (0..count).map(|index| format!("image {index} of noise"));
    let images = Images::new(shape, values.collect(), labels.collect()).unwrap();
    images.with_captions(captions.collect()).unwrap()
}

/// One step of a run on noise; a pretrained encoder has random weights.
fn step(path: &Path, mut config: RunConfig) -> Summary {
    let folder = tempfile::tempdir().unwrap();
    if let Some(Conditioning::Embedding(_)) = config.model.conditioning() {
        let encoder = RunConfig::read(&path.with_file_name("embedding.toml")).unwrap();
        let (encoder, _) = Model::initialise(&encoder.model, 1, &Device::Cpu).unwrap();
        let path = folder.path().join("encoder");
        encoder.save(&path).unwrap();
        config.pretrained_encoder = Some(path.display().to_string());
    }
    let training = config.training.as_mut().unwrap();
    let (batch, valid) = match training.images_per_class {
        1 => (1, 1),
        each => (2 * each, 4),
    };
    (training.steps, training.batch, training.schedule.warmup) = (1, batch, 1);
    let data = Dataset::new(
        "noise",
        Vec::new(),
        [
            images(&config, batch.max(2)),
            images(&config, valid),
            images(&config, 1),
        ],
    );
    let (never, out) = (false.into(), folder.path().join("run"));
    let outcome = train(&config, &data, &out, &Device::Cpu, &never, &mut |_| ());
    let Ok(Outcome::Finished(summary)) = outcome else {
        panic!("{}: {outcome:?}", path.display());
    };
    summary
}

#[test]
fn the_networks_of_the_small_presets_take_a_step() {
    let mut taken = 0;
    for path in experiments().into_iter().filter(|path| is_small(path)) {
        let config = RunConfig::read(&path).unwrap();
        if config.training.is_none() {
            continue;
        }
        let likely = match config.model.score().is_bits_per_dim() {
            true => 7.0..=10.0,
            false => 0.0..=1.0,
        };
        let Summary {
            valid_score, unit, ..
        } = step(&path, config);
        let name = path.display();
        assert!(
            likely.contains(&valid_score),
            "{name}: {valid_score} {unit}"
        );
        taken += 1;
    }
    // Table 1 has five networks per preset; in the others, all models are networks.
    assert_eq!(taken, 5 * 3 + (4 + 3 + 6 + 2 + 5 + 3 + 4) * 2, "networks");
}

/// The two networks of the quick table must be comparable.
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
    first.learning_rate = second.learning_rate;
    assert_eq!(first, second);
    let [gated, plain] = [gated.model, plain.model].map(|config| {
        let (model, _) = Model::initialise(&config, 1, &Device::Cpu).unwrap();
        let gated = config
            .get::<GatedPixelCnnConfig>()
            .map(|config| config.blocks);
        let plain = config.get::<PixelCnnConfig>().map(|config| config.blocks);
        let blocks = gated.or(plain).unwrap();
        (model.parameters() as f64, blocks)
    });
    assert_eq!(gated.1, plain.1);
    let ratio = gated.0 / plain.0;
    assert!((0.95..1.05).contains(&ratio), "{ratio}");
}
