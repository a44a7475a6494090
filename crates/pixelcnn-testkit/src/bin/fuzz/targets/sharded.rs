//! The index of weights in several files: every tensor must come from the file that it names.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use anyhow::{Context, Result};
use candle_core::Device;
use pixelcnn_models::Model;
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use safetensors::SafeTensors;
use serde_json::{Value, json};

use super::expected::write;
use super::models::{difference, seeds};
use super::{Target, Verdict};
use crate::{json, mutation};

/// The files with weights.
const FILES: [&str; 2] = [
    "model-00001-of-00002.safetensors",
    "model-00002-of-00002.safetensors",
];

pub(super) struct Sharded {
    index: Value,
    weights: Vec<u8>,
    /// Values that an index may have.
    parts: Vec<Value>,
}

impl Sharded {
    /// # Errors
    /// When a file cannot be written.
    pub(super) fn new(folder: &Path) -> Result<Self> {
        let seed = seeds()?.into_iter().next().context("there are no seeds")?;
        let file = SafeTensors::deserialize(&seed.weights)?;
        let mut views = [BTreeMap::new(), BTreeMap::new()];
        let mut names = BTreeMap::new();
        let mut tensors = file.tensors();
        tensors.sort_by(|one, other| one.0.cmp(&other.0));
        for (at, (name, view)) in tensors.into_iter().enumerate() {
            names.insert(name.clone(), FILES[at % 2]);
            views[at % 2].insert(name, view);
        }
        for (name, views) in FILES.iter().zip(views) {
            let bytes = safetensors::serialize(views, None::<HashMap<String, String>>)?;
            write(folder, name, bytes)?;
        }
        write(folder, "config.json", &seed.config)?;
        let elsewhere = [
            "../config.json",
            "/etc/passwd",
            "config.json",
            "a\\b.safetensors",
        ];
        let parts = FILES.iter().chain(&elsewhere).map(|text| json!(text));
        let parts = parts.collect();
        Ok(Self {
            index: json!({"metadata": {"total_size": 1}, "weight_map": names}),
            weights: seed.weights,
            parts,
        })
    }
}

impl Target for Sharded {
    fn run(&mut self, random: &mut ChaCha8Rng, folder: &Path) -> Result<Verdict> {
        let index = serde_json::to_vec(&self.index)?;
        let bytes = match random.random_bool(0.5) {
            true => serde_json::to_vec(&json::mutate(random, &self.index, &self.parts))?,
            false => mutation::mutate(random, &index, &index),
        };
        write(folder, "model.safetensors.index.json", bytes)?;
        let model = match Model::load(folder, &Device::Cpu) {
            Ok(model) => model,
            Err(error) => return Ok(Verdict::Refused(error.to_string())),
        };
        Ok(match difference(&model, &self.weights, &self.weights)? {
            Some(what) => Verdict::Changed(what),
            None => Verdict::Accepted,
        })
    }
}
