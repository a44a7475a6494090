//! The folder of a run that was stopped: its state, its configuration, its log.
//!
//! Only the checksum of the state protects the weights in it. Changes of other files must
//! not change the result of the run.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, ensure};
use candle_core::Device;
use pixelcnn_data::{Dataset, Images};
use pixelcnn_models::Model;
use pixelcnn_train::{Outcome, Progress, RunConfig, TrainError, train};
use rand::Rng;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;

use super::expected::{noise, write};
use super::{Target, Verdict};
use crate::findings::copy;
use crate::mutation;

const CONFIG: &str = r#"
seed = 5
data = "made up"
[model]
kind = "gated-pixelcnn"
image = { channels = 1, height = 3, width = 3, levels = 256 }
first_kernel = 3
kernel = 3
blocks = 1
maps = 1
head = 1
[training]
steps = 3
batch = 2
learning_rate = 5e-3
flips = "horizontal"
optimiser = { kind = "adam" }
schedule = { warmup = 2, decay = { kind = "cosine" } }
max_grad_norm = 1.0
ema_decay = 0.9
validate_every = 2
log_every = 1
"#;

const STATE: &str = "last/training.safetensors";

pub(super) struct States {
    config: RunConfig,
    dataset: Dataset,
    /// The stopped run.
    seed: tempfile::TempDir,
    files: Vec<String>,
    /// The weights at the end of the run.
    expected: Vec<u8>,
}

impl States {
    /// # Errors
    /// When the run of the seeds fails.
    pub(super) fn new(folder: &Path) -> Result<Self> {
        let config = RunConfig::parse(CONFIG)?;
        let dataset = dataset()?;
        let seed = tempfile::tempdir_in(folder.parent().unwrap_or(folder))?;
        let stop = AtomicBool::new(false);
        let mut report = |progress: Progress| {
            if matches!(progress, Progress::Step { step: 2, .. }) {
                stop.store(true, Ordering::Relaxed);
            }
        };
        let outcome = train(
            &config,
            &dataset,
            seed.path(),
            &Device::Cpu,
            &stop,
            &mut report,
        )?;
        ensure!(
            matches!(outcome, Outcome::Stopped { .. }),
            "the run did not stop"
        );
        let mut files = Vec::new();
        list(seed.path(), "", &mut files)?;
        let mut states = Self {
            config,
            dataset,
            seed,
            files,
            expected: Vec::new(),
        };
        let run = states.fresh(folder)?;
        states.resume(&run)?;
        states.expected = std::fs::read(run.join("best/model.safetensors"))?;
        Ok(states)
    }

    /// A copy of the stopped run.
    fn fresh(&self, folder: &Path) -> Result<std::path::PathBuf> {
        let run = folder.join("run");
        if run.exists() {
            std::fs::remove_dir_all(&run)?;
        }
        copy(self.seed.path(), &run)?;
        Ok(run)
    }

    fn resume(&self, run: &Path) -> Result<Outcome, TrainError> {
        let stop = AtomicBool::new(false);
        train(
            &self.config,
            &self.dataset,
            run,
            &Device::Cpu,
            &stop,
            &mut |_| (),
        )
    }
}

fn dataset() -> Result<Dataset> {
    let images = |count, seed| Images::new((1, 3, 3), noise(count * 9, seed), vec![0; count]);
    Ok(Dataset::new(
        "made up",
        Vec::new(),
        [images(6, 1)?, images(2, 2)?, images(2, 3)?],
    ))
}

/// The non-empty files of a folder, sorted.
fn list(folder: &Path, prefix: &str, files: &mut Vec<String>) -> Result<()> {
    let mut entries = std::fs::read_dir(folder)?.collect::<Result<Vec<_>, _>>()?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        match entry.file_type()?.is_dir() {
            true => list(&entry.path(), &format!("{name}/"), files)?,
            false if entry.metadata()?.len() > 0 => files.push(name),
            false => {}
        }
    }
    Ok(())
}

impl Target for States {
    fn run(&mut self, random: &mut ChaCha8Rng, folder: &Path) -> Result<Verdict> {
        let run = self.fresh(folder)?;
        // The state is the most important file.
        let name = match random.random_bool(0.5) {
            true => STATE,
            false => self.files.choose(random).context("there are no files")?,
        };
        let (seed, other) = (
            std::fs::read(run.join(name))?,
            std::fs::read(run.join("run.toml"))?,
        );
        write(&run, name, mutation::mutate(random, &seed, &other))?;
        match self.resume(&run) {
            Err(error) => return Ok(Verdict::Refused(error.to_string())),
            Ok(Outcome::Stopped { step }) => {
                return Ok(Verdict::Changed(format!(
                    "stopped at step {step} by itself"
                )));
            }
            Ok(_) => {}
        }
        let found = std::fs::read(run.join("best/model.safetensors"))?;
        if found == self.expected {
            return Ok(Verdict::Accepted);
        }
        if name != STATE {
            return Ok(Verdict::Changed(format!("{name} changes the weights")));
        }
        Ok(match Model::load(run.join("best"), &Device::Cpu) {
            Ok(_) => Verdict::Accepted,
            Err(error) => Verdict::Changed(format!("the result cannot be read: {error}")),
        })
    }
}
