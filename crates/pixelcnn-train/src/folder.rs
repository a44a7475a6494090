//! The folder of a run: to which run it belongs, and its content.

use std::path::{Path, PathBuf};

use pixelcnn_models::{ModelConfig, read_note};
use pixelcnn_system::{remove_leftovers, write_file};

use crate::inputs::RunInputs;
use crate::outcome::Summary;
use crate::record::{DataRecord, mark, warn_unrecorded};
use crate::state::state_path;
use crate::warm_start::{initial_weights, pretrained_weights};
use crate::{Result, RunConfig, TrainError};

/// Files that only a started run leaves in its folder.
const STATE: [&str; 4] = ["last", "best", "metrics.jsonl", "summary.json"];

/// The folder of a run, and what its files must contain to belong to this run.
pub(crate) struct RunFolder<'a> {
    out: &'a Path,
    config: &'a RunConfig,
    /// The configuration, with the names of the data's classes.
    model: &'a ModelConfig,
    record: DataRecord,
}

/// The content of the folder.
pub(crate) enum Found {
    /// No run.
    Nothing,
    /// This run, not finished.
    Begun,
    /// This run, finished, and now extended.
    Shorter,
    /// This run, finished.
    Finished(Summary),
}

impl<'a> RunFolder<'a> {
    pub(crate) fn new(
        out: &'a Path,
        config: &'a RunConfig,
        model: &'a ModelConfig,
        record: DataRecord,
    ) -> Result<Self> {
        if out.to_str().is_none() {
            return Err(TrainError::run(out, "the name of the folder is not UTF-8"));
        }
        if out.exists() && !out.is_dir() {
            return Err(TrainError::run(
                out,
                "a folder for the run expected, found a file: choose another name",
            ));
        }
        Ok(Self {
            out,
            config,
            model,
            record,
        })
    }

    /// The [`mark`] of this run.
    pub(crate) fn mark(&self) -> Result<String> {
        mark(self.config, &self.record)
    }

    /// Checks the folder without changing it, and refuses another run.
    pub(crate) fn look(&self) -> Result<Found> {
        let path = self.out.join("run.toml");
        if !path.exists() {
            return match STATE.iter().find(|name| self.out.join(name).exists()) {
                None => Ok(Found::Nothing),
                Some(name) => Err(TrainError::run(
                    self.out,
                    format!(
                        "the folder has {name} but no run.toml, so its run is unknown; \
                         choose another folder, or restore run.toml"
                    ),
                )),
            };
        }
        let held = RunConfig::read(&path)?;
        if held != *self.config && !self.has_begun() {
            // The run was refused, or failed, before it had anything to save.
            return Ok(Found::Nothing);
        }
        let longer = self.config.extends(&held);
        if held != *self.config && !longer {
            return Err(TrainError::run(&path, another_run(&held, self.config)?));
        }
        self.check_data(&self.record)?;
        self.check_models()?;
        match (self.summary()?, longer) {
            (summary, true) => self.look_at_shorter(summary, &held),
            (Some(summary), false) if summary.steps == self.steps() || summary.stopped_early => {
                let best = self.out.join("best").join("model.safetensors");
                match best.exists() {
                    true => Ok(Found::Finished(summary)),
                    false => Err(TrainError::run(
                        &best,
                        "the run is finished, but its best model is missing; restore it, or \
                         choose another folder",
                    )),
                }
            }
            // The remains of a killed extension are not a result.
            (Some(summary), false) if !self.ends().contains(&summary.steps) => {
                let why = format!("of {} steps, {} expected", summary.steps, self.steps());
                Err(TrainError::run(&self.summary_path(), why))
            }
            (_, false) => Ok(Found::Begun),
        }
    }

    /// Checks that the run `held`, which this one extends, is finished.
    fn look_at_shorter(&self, summary: Option<Summary>, held: &RunConfig) -> Result<Found> {
        match summary {
            Some(summary) if summary.stopped_early => Err(TrainError::run(
                self.out,
                format!(
                    "the run ended at step {}, because its score did not improve any more \
                     (`patience`); it cannot be extended: start a run with init_from instead",
                    summary.steps
                ),
            )),
            Some(summary) if Some(summary.steps) == steps(held) => {
                match self.state_path().exists() {
                    true => Ok(Found::Shorter),
                    false => Err(TrainError::run(
                        &self.state_path(),
                        "the file is missing; a run can only be extended from the state in it",
                    )),
                }
            }
            _ => Err(TrainError::run(
                self.out,
                "the run is not finished and cannot be extended yet; resume it without --extend",
            )),
        }
    }

    /// Whether a run has left models or results there; a log without them belongs to
    /// lost steps.
    fn has_begun(&self) -> bool {
        let parts = ["last", "best", "summary.json"];
        parts.iter().any(|name| self.out.join(name).exists())
    }

    /// Makes the folder belong to this run, after it was locked.
    pub(crate) fn begin(&self, found: &Found, inputs: &RunInputs) -> Result<()> {
        let toml = self.out.join("run.toml");
        if let Found::Nothing | Found::Shorter = found {
            let text = self.config.to_toml()?;
            write_file(&toml, text.as_bytes()).map_err(TrainError::write(&toml))?;
        }
        let path = self.summary_path();
        if path.exists() {
            std::fs::remove_file(&path).map_err(TrainError::write(&path))?;
        }
        let record = self.record(found, inputs)?;
        let path = self.data_path();
        match (found, path.exists()) {
            (Found::Nothing, _) | (_, false) => {
                if self.has_begun() {
                    self.warn_unrecorded();
                }
                record.write(&path)
            }
            _ => self.check_data(&record),
        }
    }

    /// The data and the other inputs of this run.
    fn record(&self, found: &Found, inputs: &RunInputs) -> Result<DataRecord> {
        let mut record = self.record.clone();
        if let Some(tokenizer) = &inputs.tokenizer {
            let path = self.out.join("tokenizer.json");
            if matches!(found, Found::Nothing) || !path.exists() {
                tokenizer.save(&path)?;
            }
            record.add("tokenizer", &path)?;
        }
        // A started run has its own copy of these weights.
        if !self.state_path().exists() {
            record.add_all("pretrained_encoder", &pretrained_weights(self.config)?)?;
            record.add_all("init_from", &initial_weights(self.config)?)?;
        }
        Ok(record)
    }

    /// Warns that the run was started by a version that did not record data.
    pub(crate) fn warn_unrecorded(&self) {
        if !self.data_path().exists() {
            warn_unrecorded(self.out);
        }
    }

    /// Removes partial files of killed processes.
    pub(crate) fn remove_leftovers(&self) -> Result<()> {
        for folder in [
            self.out.to_path_buf(),
            self.out.join("last"),
            self.out.join("best"),
        ] {
            if folder.is_dir() {
                remove_leftovers(&folder).map_err(TrainError::write(&folder))?;
            }
        }
        Ok(())
    }

    /// Writes the result: the run is finished.
    pub(crate) fn finish(&self, summary: &Summary) -> Result<()> {
        let path = self.summary_path();
        let line = serde_json::to_string(summary).map_err(|error| TrainError::run(&path, error))?;
        write_file(&path, (line + "\n").as_bytes()).map_err(TrainError::write(&path))
    }

    fn check_data(&self, now: &DataRecord) -> Result<()> {
        let path = self.data_path();
        let then = DataRecord::read(&path)?;
        match then.and_then(|then| then.difference(now)) {
            None => Ok(()),
            Some(difference) => Err(TrainError::run(
                &path,
                format!(
                    "the run started with other data: {difference}; restore them, or \
                     choose another folder"
                ),
            )),
        }
    }

    /// Checks that the models in the folder have this run's configuration (with or
    /// without names of classes) and its mark or none, because earlier versions had
    /// neither.
    fn check_models(&self) -> Result<()> {
        for folder in ["last", "best"] {
            let path = self.out.join(folder).join("config.json");
            if !path.exists() {
                continue;
            }
            let found = ModelConfig::read(&path)?;
            if found != *self.model && found != self.config.model {
                let why = "the model differs from that in run.toml: the folder has parts of two \
                           runs; choose another folder";
                return Err(TrainError::run(&path, why));
            }
            let path = path.with_file_name("model.safetensors");
            if !path.exists() {
                continue;
            }
            let mark = read_note(&path)?.unwrap_or_default();
            if !mark.is_empty() && mark != self.mark()? {
                let why = "the model of a run with other settings or data; choose another folder";
                return Err(TrainError::run(&path, why));
            }
        }
        Ok(())
    }

    fn summary(&self) -> Result<Option<Summary>> {
        let Some(summary) = Summary::read(self.out)? else {
            return Ok(None);
        };
        let path = self.summary_path();
        if summary.run.is_some() && summary.run != Some(self.mark()?) {
            let why = "the result of a run with other settings or data; choose another folder";
            return Err(TrainError::run(&path, why));
        }
        Ok(Some(summary))
    }

    fn steps(&self) -> usize {
        steps(self.config).unwrap_or(0)
    }

    fn ends(&self) -> &[usize] {
        let training = self.config.training.as_ref();
        training.map_or(&[], |training| &training.extended)
    }

    fn data_path(&self) -> PathBuf {
        self.out.join("data.json")
    }

    fn summary_path(&self) -> PathBuf {
        Summary::path(self.out)
    }

    fn state_path(&self) -> PathBuf {
        state_path(self.out)
    }
}

fn steps(config: &RunConfig) -> Option<usize> {
    config.training.as_ref().map(|training| training.steps)
}

/// How two configurations differ, and what the user can do.
fn another_run(held: &RunConfig, asked: &RunConfig) -> Result<String> {
    if let (Some(steps), true) = (steps(held), held.without_length() == asked.without_length()) {
        return Ok(format!(
            "the run has {steps} steps, not {}: use --extend STEPS to continue a finished run, \
             or --extend {steps} to resume one that was extended",
            self::steps(asked).unwrap_or(0)
        ));
    }
    let (held, asked) = (held.to_toml()?, asked.to_toml()?);
    let mut lines = held.lines().zip(asked.lines()).filter(|(a, b)| a != b);
    let difference = match lines.next() {
        Some((held, asked)) => format!("it has `{held}`, but `{asked}` is requested"),
        None => "one configuration has more settings than the other".to_string(),
    };
    Ok(format!(
        "the folder has another run: {difference}; choose another folder"
    ))
}
