//! A data set of 24 small images, a network of one block, and the files of their runs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use candle_core::{DType, Device, Tensor};
use pixelcnn_data::{Dataset, Images};
use pixelcnn_models::read_tensors;
use pixelcnn_train::metrics::{self, Record};
use pixelcnn_train::{Outcome, Progress, Result, RunConfig, Summary, train};
use serde_json::Value;

/// Channels, height and width.
pub(crate) const SHAPE: (usize, usize, usize) = (3, 6, 6);

/// Three brightnesses, steps between channels and halves, and a little constant noise.
pub(crate) fn images(count: usize, first: usize) -> Images {
    let (channels, height, width) = SHAPE;
    let mut values = Vec::new();
    for image in first..first + count {
        for index in 0..channels * height * width {
            let (channel, row) = (index / (height * width), index / width % height);
            let noise = (image * 7919 + index * 104_729) / 13 % 4;
            let value = 40 + 60 * (image % 3) + 20 * channel + 10 * (row / 3) + noise;
            values.push(u8::try_from(value).unwrap());
        }
    }
    Images::new(SHAPE, values, vec![0; count]).unwrap()
}

pub(crate) fn dataset() -> Dataset {
    Dataset::new(
        "tiny",
        Vec::new(),
        [images(24, 0), images(6, 100), images(4, 200)],
    )
}

pub(crate) const ADAM: &str = r#"{ kind = "adam" }"#;

/// Eleven steps in almost two epochs, with a validation every 4 steps and a line of the log
/// every 3.
pub(crate) fn config(optimiser: &str) -> RunConfig {
    let text = format!(
        r#"
        seed = 5
        data = "tiny"
        [model]
        kind = "gated-pixelcnn"
        image = {{ channels = 3, height = 6, width = 6, levels = 256 }}
        first_kernel = 3
        kernel = 3
        blocks = 1
        maps = 6
        head = 6
        [training]
        steps = 11
        batch = 4
        learning_rate = 5e-3
        flips = "horizontal"
        optimiser = {optimiser}
        schedule = {{ warmup = 2, decay = {{ kind = "cosine" }} }}
        max_grad_norm = 1.0
        ema_decay = 0.9
        validate_every = 4
        log_every = 3
        "#
    );
    RunConfig::parse(&text).unwrap()
}

/// The same with some settings of `[training]` replaced.
pub(crate) fn config_with(changes: &[(&str, &str)]) -> RunConfig {
    let mut table: toml::Table = config(ADAM).to_toml().unwrap().parse().unwrap();
    let training = table["training"].as_table_mut().unwrap();
    for (name, value) in changes {
        let value: toml::Table = format!("value = {value}").parse().unwrap();
        let optional = ["second_ema_decay", "patience"];
        assert!(training.contains_key(*name) || optional.contains(name));
        training.insert((*name).to_string(), value["value"].clone());
    }
    RunConfig::parse(&table.to_string()).unwrap()
}

/// Trains on [`dataset`], stopping after `stop_after` steps.
pub(crate) fn run_until(config: &RunConfig, out: &Path, stop_after: usize) -> Result<Outcome> {
    let stop = AtomicBool::new(false);
    let mut report = |progress| {
        if matches!(progress, Progress::Step { step, .. } if step == stop_after) {
            stop.store(true, Ordering::Relaxed);
        }
    };
    train(config, &dataset(), out, &Device::Cpu, &stop, &mut report)
}

pub(crate) fn run(config: &RunConfig, out: &Path) -> Result<Outcome> {
    run_until(config, out, usize::MAX)
}

pub(crate) fn finish(config: &RunConfig, out: &Path) -> Summary {
    match run(config, out).unwrap() {
        Outcome::Finished(summary) | Outcome::FinishedBefore(summary) => summary,
        Outcome::Stopped { step } => panic!("stopped at {step}"),
    }
}

pub(crate) fn state_path(out: &Path) -> PathBuf {
    out.join("last").join("training.safetensors")
}

/// Tensors with all their bits.
pub(crate) type Bits = BTreeMap<String, (Vec<usize>, Vec<u64>)>;

pub(crate) fn bits(tensors: &BTreeMap<String, Tensor>) -> Bits {
    let of = |tensor: &Tensor| {
        let flat = tensor.flatten_all().unwrap();
        let bits = match flat.dtype() {
            DType::F64 => flat.to_vec1::<f64>().unwrap(),
            _ => flat
                .to_vec1::<f32>()
                .unwrap()
                .into_iter()
                .map(f64::from)
                .collect(),
        };
        (
            tensor.dims().to_vec(),
            bits.into_iter().map(f64::to_bits).collect(),
        )
    };
    tensors
        .iter()
        .map(|(name, tensor)| (name.clone(), of(tensor)))
        .collect()
}

/// The state of a run: tensors, and the counters without the seconds.
pub(crate) fn state(out: &Path) -> (Bits, Value) {
    let (tensors, note) = read_tensors(state_path(out), &Device::Cpu).unwrap();
    let mut counters: Value = serde_json::from_str(&note.unwrap()).unwrap();
    counters.as_object_mut().unwrap().remove("seconds").unwrap();
    (bits(&tensors), counters)
}

/// The lines of `metrics.jsonl` without the seconds.
pub(crate) fn records(out: &Path) -> Vec<Record> {
    let records = metrics::read(&out.join("metrics.jsonl")).unwrap();
    let timeless = |record| Record {
        seconds: 0.0,
        ..record
    };
    records.into_iter().map(timeless).collect()
}

pub(crate) fn validations(out: &Path) -> Vec<f64> {
    records(out)
        .iter()
        .filter_map(|record| record.valid_score)
        .collect()
}

/// Every file of a folder except the given ones, by its path.
pub(crate) fn files(out: &Path, without: &[&str]) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(out).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path, without));
        } else if !without.iter().any(|name| path.ends_with(name)) {
            found.insert(path.clone(), std::fs::read(&path).unwrap());
        }
    }
    found
}

/// Asserts that two finished runs had the same numbers and gave the same models.
pub(crate) fn assert_same(a: &Path, b: &Path, what: &str) {
    for file in [
        "best/model.safetensors",
        "best/config.json",
        "last/model.safetensors",
    ] {
        let read = |out: &Path| std::fs::read(out.join(file)).unwrap();
        assert!(read(a) == read(b), "{what}: {file} differs");
    }
    let ((tensors_a, counters_a), (tensors_b, counters_b)) = (state(a), state(b));
    assert!(tensors_a == tensors_b, "{what}: the state differs");
    assert_eq!(counters_a, counters_b, "{what}");
    assert_eq!(records(a), records(b), "{what}");
}
