//! What is to be run: the configs of a preset and what was asked for beside.

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::device::Device;
use super::program::Split;
use super::{Arguments, Inputs};

/// The models of table 1 that are built here, in the order they run.
pub const NAMES: [&str; 4] = ["uniform", "gaussian", "pixelcnn", "gated-pixelcnn"];

/// A set of configs, one a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Preset {
    /// Seconds: shows that everything runs; its numbers mean nothing
    Smoke,
    /// Small networks, trained briefly
    Quick,
    /// The longest runs meant for a computer without an accelerator
    Cpu,
    /// Meant for CIFAR-10 and the paper's numbers, on an accelerator
    Paper,
}

/// What is to be run.
pub struct Plan {
    pub preset: Preset,
    /// Of the configs, or what was asked for instead.
    pub data: String,
    /// What was asked for instead of the configs' data.
    pub data_override: Option<String>,
    pub device: Option<Device>,
    pub seed: u64,
    /// An absolute folder.
    pub out: PathBuf,
    pub runs: Vec<Run>,
}

/// One model.
#[derive(Debug)]
pub struct Run {
    pub name: &'static str,
    pub config: PathBuf,
    pub config_text: String,
}

/// What a config of the program says that the table repeats.
#[derive(Debug, Clone, PartialEq, Deserialize)]
struct Head {
    seed: u64,
    data: String,
}

impl Plan {
    /// Reads the preset's configs.
    ///
    /// # Errors
    /// When a config cannot be read, has no seed or data, or differs in them
    /// from the others: their numbers would not belong in one table.
    pub fn new(root: &Path, arguments: &Arguments) -> Result<Self> {
        let preset = arguments.preset;
        let folder = root.join(format!("xtask/experiments/table1/{preset}"));
        let mut runs = Vec::new();
        let mut first: Option<Head> = None;
        for name in NAMES {
            let (run, head) = read(&folder, name)?;
            let expected = first.get_or_insert_with(|| head.clone());
            if *expected != head {
                bail!(
                    "{}: {head:?}, other than {expected:?}",
                    run.config.display()
                );
            }
            runs.push(run);
        }
        let head = first.context("a table of no models")?;
        let out = arguments.out.clone();
        let out = out.unwrap_or_else(|| root.join(format!("runs/table1-{preset}")));
        Ok(Self {
            preset,
            data: arguments.data.clone().unwrap_or(head.data),
            data_override: arguments.data.clone(),
            device: arguments.device,
            seed: head.seed,
            out: std::path::absolute(out).context("cannot tell the current folder")?,
            runs,
        })
    }

    /// The folder of one model's run.
    pub fn run_folder(&self, run: &Run) -> PathBuf {
        self.out.join(run.name)
    }

    /// The file that keeps one model's results.
    pub fn result_path(&self, run: &Run) -> PathBuf {
        self.run_folder(run).join("result.json")
    }

    /// Everything that the results of a run depend on.
    pub fn inputs(&self, run: &Run) -> Inputs {
        Inputs {
            config: run.config_text.clone(),
            data: self.data.clone(),
            device: self.device.map(|device| device.to_string()),
            test_limit: self.limit(Split::Test),
            train_limit: self.limit(Split::Train),
        }
    }

    /// How many images of a split are evaluated; `None` for all.
    pub fn limit(&self, split: Split) -> Option<u64> {
        match (self.preset, split) {
            (Preset::Smoke, _) => Some(8),
            (_, Split::Test) => None,
            (_, Split::Train) => Some(512),
        }
    }
}

fn read(folder: &Path, name: &'static str) -> Result<(Run, Head)> {
    let config = folder.join(format!("{name}.toml"));
    let config_text = std::fs::read_to_string(&config)
        .with_context(|| format!("cannot read the config {}", config.display()))?;
    let head = toml::from_str(&config_text)
        .with_context(|| format!("cannot read seed and data from {}", config.display()))?;
    let run = Run {
        name,
        config,
        config_text,
    };
    Ok((run, head))
}

impl fmt::Display for Preset {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Smoke => "smoke",
            Self::Quick => "quick",
            Self::Cpu => "cpu",
            Self::Paper => "paper",
        })
    }
}
