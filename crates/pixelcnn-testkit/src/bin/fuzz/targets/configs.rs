//! `config.json` with its original weights, and the text of `run.toml`.

use std::path::Path;

use anyhow::{Context, Result};
use candle_core::Device;
use pixelcnn_models::Model;
use pixelcnn_train::RunConfig;
use rand::Rng;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

use super::expected::write;
use super::models::{Seed, difference, seeds, use_once};
use super::{Target, Verdict};
use crate::{json, mutation, text};

const WORDS: [&str; 34] = [
    "seed",
    "data",
    "shrink",
    "model",
    "kind",
    "gated-pixelcnn",
    "pixelcnn",
    "gaussian",
    "image",
    "levels",
    "channels",
    "height",
    "maps",
    "head",
    "blocks",
    "kernel",
    "first_kernel",
    "dilations",
    "conditioning",
    "class",
    "classes",
    "code",
    "training",
    "steps",
    "batch",
    "images_per_class",
    "learning_rate",
    "learning_rate_multipliers",
    "optimiser",
    "schedule",
    "max_grad_norm",
    "ema_decay",
    "validate_every",
    "horizontal",
];

/// Settings of every kind.
const RUNS: [&str; 3] = [
    include_str!("../../../../../../xtask/experiments/table1/smoke/gated-pixelcnn.toml"),
    include_str!("../../../../../../xtask/experiments/conditions/smoke/captions.toml"),
    include_str!("../../../../../../xtask/experiments/figure6/smoke/code-100.toml"),
];

pub(super) struct Configs {
    seeds: Vec<Seed>,
    runs: Vec<&'static str>,
}

impl Configs {
    /// # Errors
    /// When a seed cannot be made.
    pub(super) fn new(_folder: &Path) -> Result<Self> {
        for text in RUNS {
            RunConfig::parse(text)?;
        }
        Ok(Self {
            seeds: seeds()?,
            runs: RUNS.to_vec(),
        })
    }
}

/// The settings with other values, in TOML that can be parsed.
fn values(random: &mut ChaCha8Rng, seed: &str) -> Result<String> {
    let table: Value = toml::from_str(seed)?;
    let parts = [2, 3, 4, 7, 16, 100, 65_536].map(|number: u32| json!(number));
    loop {
        // TOML has no null, and no integers beyond i64.
        let other = json::mutate(random, &table, &parts);
        if let Ok(text) = toml::to_string(&other) {
            return Ok(text);
        }
    }
}

impl Target for Configs {
    fn run(&mut self, random: &mut ChaCha8Rng, folder: &Path) -> Result<Verdict> {
        match random.random_bool(0.5) {
            true => self.model(random, folder),
            false => self.training(random, folder),
        }
    }
}

impl Configs {
    fn model(&self, random: &mut ChaCha8Rng, folder: &Path) -> Result<Verdict> {
        let seed = self.seeds.choose(random).context("there are no seeds")?;
        let other = self.seeds.choose(random).context("there are no seeds")?;
        let (config, foreign): (Value, Value) = (
            serde_json::from_str(&seed.config)?,
            serde_json::from_str(&other.config)?,
        );
        let parts = [
            foreign.clone(),
            foreign["image"].clone(),
            foreign["conditioning"].clone(),
            json!(65_536),
            json!([1, 2]),
            json!(["a", "a"]),
            json!(3),
            json!(7),
        ];
        let bytes = match random.random_bool(0.7) {
            true => serde_json::to_vec(&json::mutate(random, &config, &parts))?,
            false => mutation::mutate(random, seed.config.as_bytes(), other.config.as_bytes()),
        };
        write(folder, "config.json", bytes)?;
        write(folder, "model.safetensors", &seed.weights)?;
        match Model::load(folder, &Device::Cpu) {
            Err(error) => Ok(Verdict::Refused(error.to_string())),
            Ok(model) => {
                if let Some(what) = difference(&model, &seed.weights, &seed.weights)? {
                    return Ok(Verdict::Changed(what));
                }
                use_once(&model);
                Ok(Verdict::Accepted)
            }
        }
    }

    fn training(&self, random: &mut ChaCha8Rng, folder: &Path) -> Result<Verdict> {
        let seed = self.runs.choose(random).copied().unwrap_or_default();
        let text = match random.random_range(0..4) {
            0 => mutation::mutate(random, seed.as_bytes(), seed.as_bytes()),
            1 => text::mutate(random, seed, &WORDS).into_bytes(),
            _ => values(random, seed)?.into_bytes(),
        };
        write(folder, "run.toml", &text)?;
        let config = match RunConfig::read(&folder.join("run.toml")) {
            Ok(config) => config,
            Err(error) => return Ok(Verdict::Refused(error.to_string())),
        };
        let again = config.to_toml().and_then(|text| RunConfig::parse(&text));
        match again {
            Ok(again) if again == config => {}
            Ok(_) => {
                return Ok(Verdict::Changed(
                    "written, it is another configuration".into(),
                ));
            }
            Err(error) => return Ok(Verdict::Changed(format!("written, it is refused: {error}"))),
        }
        Ok(
            match Model::initialise(&config.model, config.seed, &Device::Cpu) {
                Ok(_) => Verdict::Accepted,
                Err(error) => Verdict::Refused(error.to_string()),
            },
        )
    }
}
