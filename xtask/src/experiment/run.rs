//! One training run of an experiment.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Deserialize;

/// A run, trained or not.
#[derive(Debug)]
pub struct Run {
    pub name: &'static str,
    /// The file, and its text.
    pub config: PathBuf,
    pub text: String,
    pub seed: u64,
    /// Of the config, or what was asked for instead.
    pub data: String,
    /// What was asked for instead of the config's data.
    pub data_override: Option<String>,
    pub folder: PathBuf,
    /// Pixels a side that are averaged to one.
    pub shrink: Option<usize>,
    classes: Option<usize>,
    height: Option<usize>,
}

/// What a config of the program says that an experiment needs.
#[derive(Deserialize)]
struct Head {
    seed: u64,
    data: String,
    shrink: Option<usize>,
    #[serde(default)]
    model: Model,
}

#[derive(Default, Deserialize)]
struct Model {
    image: Option<Image>,
    classes: Option<usize>,
}

#[derive(Deserialize)]
struct Image {
    height: usize,
}

/// A data set as a page names it, shrunk or not.
pub fn named(data: &str, shrink: Option<usize>) -> String {
    match shrink {
        Some(factor) => format!("`{data}`, {factor}x{factor} pixels averaged"),
        None => format!("`{data}`"),
    }
}

impl Run {
    /// Reads `CONFIGS/NAME.toml`, to run in `OUT/NAME`.
    ///
    /// # Errors
    /// When the config cannot be read, or has no seed or data.
    pub fn read(
        configs: &Path,
        out: &Path,
        name: &'static str,
        data: Option<&str>,
    ) -> Result<Self> {
        let config = configs.join(format!("{name}.toml"));
        let text = std::fs::read_to_string(&config)
            .with_context(|| format!("cannot read the config {}", config.display()))?;
        let head: Head = toml::from_str(&text)
            .with_context(|| format!("cannot read seed and data from {}", config.display()))?;
        Ok(Self {
            name,
            config,
            text,
            seed: head.seed,
            data: data.map_or(head.data, str::to_owned),
            data_override: data.map(str::to_owned),
            folder: out.join(name),
            shrink: head.shrink,
            classes: head.model.classes,
            height: head.model.image.map(|image| image.height),
        })
    }

    /// Its images, as a page names them.
    pub fn images(&self) -> String {
        named(&self.data, self.shrink)
    }

    /// The directory of its model once it is trained.
    pub fn model(&self) -> PathBuf {
        self.folder.join("best")
    }

    /// What its images are enlarged by in pictures.
    pub fn zoom(&self) -> usize {
        let height = self.height.filter(|height| *height > 0);
        height.map_or(1, |height| (64 / height).clamp(1, 4))
    }

    /// How many classes its model tells apart.
    ///
    /// # Errors
    /// When its config names none.
    pub fn classes(&self) -> Result<usize> {
        let config = self.config.display();
        self.classes
            .with_context(|| format!("{config}: expected `classes` in [model]"))
    }
}
