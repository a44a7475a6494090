//! One model in the list of all models.

use std::path::Path;

use anyhow::Result;
use candle_core::Device;
use pixelcnn_models::{Model, ModelConfig, ModelError, find_model, read_note, weight_files};
use pixelcnn_system::counted;
use pixelcnn_train::{Measure, Provenance, Summary};
use serde_json::{Value, json};

/// A model that `--model` finds.
pub(super) struct Entry {
    /// The text for `--model`.
    pub name: String,
    /// `included`, `hub` or `run`.
    source: &'static str,
    model: Result<Described, ModelError>,
}

/// What can be said of a model.
struct Described {
    config: ModelConfig,
    parameters: usize,
    measure: Option<Measure>,
    /// Bytes of its weights.
    bytes: u64,
}

impl Entry {
    /// The model in a folder, whose text for `--model` is `name`.
    pub(super) fn of(name: String, source: &'static str, folder: &Path) -> Self {
        Self {
            name,
            source,
            model: Described::read(folder),
        }
    }

    pub(super) fn json(&self) -> Value {
        let (name, source) = (&self.name, self.source);
        match &self.model {
            Err(error) => json!({ "name": name, "source": source, "error": error.to_string() }),
            Ok(model) => json!({
                "name": name,
                "source": source,
                "kind": model.config.name(),
                "image": model.config.image(),
                "parameters": model.parameters,
                "score": model.measure,
                "bytes": model.bytes,
                "error": null,
            }),
        }
    }

    /// The line for people, with names of `width` characters.
    pub(super) fn line(&self, width: usize) -> String {
        let name = format!("{:width$}", self.name);
        match &self.model {
            Err(error) => format!("{name}  cannot be used: {error}"),
            Ok(model) => {
                let image = model.config.image();
                let (c, h, w, levels) = (image.channels, image.height, image.width, image.levels);
                let score = model.measure.as_ref().map(|measure| {
                    let (split, data) = (&measure.split, &measure.data);
                    format!(", {measure} on {split} of {data}")
                });
                format!(
                    "{name}  {}, {c} x {h} x {w} with {levels} levels, {}, {:.1} MB{}",
                    model.config.name(),
                    counted(model.parameters, "parameter"),
                    model.bytes as f64 / 1e6,
                    score.unwrap_or_default()
                )
            }
        }
    }
}

impl Described {
    fn read(folder: &Path) -> Result<Self, ModelError> {
        let run = Summary::read(folder).ok().flatten();
        let data = run_data(folder);
        let folder = find_model(folder)?;
        let config = ModelConfig::read(folder.join("config.json"))?;
        let files = weight_files(&folder)?;
        let mut bytes = 0;
        for file in &files {
            let found = file.metadata().map_err(|source| ModelError::Io {
                path: file.clone(),
                source,
            })?;
            bytes += found.len();
        }
        let exported = match files.as_slice() {
            [file] => read_note(file)?.and_then(|note| Provenance::read(&note)),
            _ => None,
        };
        let (parameters, measure) = match (run, exported) {
            (Some(run), _) => {
                let measure = data.map(|data| Measure::of_run(&data, &run));
                (run.parameters, measure)
            }
            (None, Some(exported)) => {
                let tested = exported.measures.iter().position(|one| one.split == "test");
                let measure = exported.measures.into_iter().nth(tested.unwrap_or(0));
                (exported.parameters, measure)
            }
            // Only the weights say how many of them are masked.
            (None, None) => (Model::load(&folder, &Device::Cpu)?.parameters(), None),
        };
        Ok(Self {
            config,
            parameters,
            measure,
            bytes,
        })
    }
}

/// The data set of the run in a folder.
fn run_data(folder: &Path) -> Option<String> {
    let path = folder.join("run.toml");
    let run = pixelcnn_train::RunConfig::read(&path).ok()?;
    Some(run.data)
}
