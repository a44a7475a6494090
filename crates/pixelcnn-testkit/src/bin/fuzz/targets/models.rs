//! Weights of every kind of model. safetensors has no checksum: the weights must be those
//! of the file, and finite.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use anyhow::{Context, Result};
use candle_core::{DType, Device, Tensor};
use pixelcnn_models::{GaussianConfig, Model, ModelConfig};
use pixelcnn_testkit::{given, models, values};
use rand::Rng;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use serde_json::{Value, json};

use super::expected::write;
use super::{Target, Verdict};
use crate::{json, mutation};

/// Models that are not pixel networks.
const OTHERS: [&str; 3] = [
    r#"{"kind": "auto-encoder", "length": 3, "encoder_maps": [4], "hidden": 5, "image": IMAGE}"#,
    r#"{"kind": "embedding", "length": 3, "encoder_maps": [4], "margin": 1.0, "image": IMAGE}"#,
    r#"{"kind": "classifier", "classes": ["bird", "cat"], "encoder_maps": [4], "image": IMAGE}"#,
];

/// The files of a saved model.
pub(super) struct Seed {
    pub config: String,
    pub weights: Vec<u8>,
}

/// Models of the table that are small enough for a thousand reads per second.
///
/// # Errors
/// When one cannot be made or saved.
pub(super) fn seeds() -> Result<Vec<Seed>> {
    let image = r#"{"channels": 3, "height": 4, "width": 4, "levels": 256}"#;
    let others = OTHERS.map(|text| serde_json::from_str(&text.replace("IMAGE", image)));
    let others = others
        .into_iter()
        .collect::<Result<Vec<ModelConfig>, _>>()?;
    let table = models::table().into_iter().map(|case| case.config);
    let small = table.filter(|config| config.image().levels < 1000);
    let mut seeds = Vec::new();
    for config in small.chain(others) {
        let folder = tempfile::tempdir()?;
        made(&config)?.save(folder.path())?;
        let read = |name| std::fs::read(folder.path().join(name));
        seeds.push(Seed {
            config: String::from_utf8(read("config.json")?)?,
            weights: read("model.safetensors")?,
        });
    }
    Ok(seeds)
}

/// A model with valid weights.
fn made(config: &ModelConfig) -> Result<Model> {
    let image = config.image();
    Ok(match config.get::<GaussianConfig>() {
        Some(_) => {
            let shape = [60, image.channels, image.height, image.width];
            let images = values(&shape, image.levels)?.to_dtype(DType::U8)?;
            Model::fit_gaussian(config, &images, &images)?
        }
        None => Model::initialise(config, 1, &Device::Cpu)?.0,
    })
}

pub(super) struct Models {
    seeds: Vec<Seed>,
}

impl Models {
    /// # Errors
    /// When a seed cannot be made.
    pub(super) fn new(_folder: &Path) -> Result<Self> {
        Ok(Self { seeds: seeds()? })
    }
}

impl Target for Models {
    fn run(&mut self, random: &mut ChaCha8Rng, folder: &Path) -> Result<Verdict> {
        let seed = self.seeds.choose(random).context("there are no seeds")?;
        let other = self.seeds.choose(random).context("there are no seeds")?;
        let bytes = match random.random_range(0..6) {
            0 => header(random, &seed.weights)?,
            1 => converted(random, &seed.weights)?,
            2 => numbers(random, &seed.weights),
            _ => mutation::mutate(random, &seed.weights, &other.weights),
        };
        write(folder, "config.json", &seed.config)?;
        write(folder, "model.safetensors", &bytes)?;
        let model = match Model::load(folder, &Device::Cpu) {
            Ok(model) => model,
            Err(error) => return Ok(Verdict::Refused(error.to_string())),
        };
        if let Some(what) = difference(&model, &bytes, &seed.weights)? {
            return Ok(Verdict::Changed(what));
        }
        use_once(&model);
        Ok(Verdict::Accepted)
    }
}

/// Calls a model once; an error is an allowed result.
pub(super) fn use_once(model: &Model) {
    let image = model.config().image();
    let shape = [1, image.channels, image.height, image.width];
    if shape.iter().product::<usize>() < 1000
        && let Ok(images) = values(&shape, image.levels.min(256))
        && let Ok(given) = given(model.config(), 1, image.height, image.width)
        && let Ok(density) = model.density()
    {
        _ = density.bits_per_dim(&images, &given);
    }
}

/// Splits a file into its header and the numbers.
fn parts(bytes: &[u8]) -> Option<(Value, &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<8>()?;
    let (header, numbers) = rest.split_at_checked(u64::from_le_bytes(*length) as usize)?;
    Some((serde_json::from_slice(header).ok()?, numbers))
}

/// Another header before the same numbers.
fn header(random: &mut ChaCha8Rng, bytes: &[u8]) -> Result<Vec<u8>> {
    let (header, numbers) = parts(bytes).context("the seed has no header")?;
    let kinds = [
        "F8_E4M3", "F8_E5M2", "F64", "F16", "BF16", "I64", "I32", "U32", "U8", "BOOL", "F4", "F32",
        "C64",
    ];
    let mut words: Vec<Value> = kinds.iter().map(|kind| json!(kind)).collect();
    words.extend([
        json!([0, 0]),
        json!([0, 4]),
        json!([u64::MAX, 0]),
        json!([1_u64 << 40, 1_u64 << 40]),
    ]);
    let header = serde_json::to_vec(&json::mutate(random, &header, &words))?;
    Ok([&(header.len() as u64).to_le_bytes()[..], &header, numbers].concat())
}

/// Replaces some numbers by NaN, infinities, or very large ones.
fn numbers(random: &mut ChaCha8Rng, bytes: &[u8]) -> Vec<u8> {
    let start = parts(bytes).map_or(0, |(_, numbers)| bytes.len() - numbers.len());
    let mut bytes = bytes.to_vec();
    let count = (bytes.len() - start) / 4;
    let special = [
        f32::NAN,
        f32::INFINITY,
        f32::NEG_INFINITY,
        f32::MAX,
        f32::MIN_POSITIVE,
        -0.0,
    ];
    for _ in 0..random.random_range(1..4) {
        let at = start + 4 * random.random_range(0..count.max(1));
        let number = special.choose(random).copied().unwrap_or_default();
        if let Some(place) = bytes.get_mut(at..at + 4) {
            place.copy_from_slice(&number.to_le_bytes());
        }
    }
    bytes
}

/// Stores one tensor as another type, filled with one number of this type.
fn converted(random: &mut ChaCha8Rng, bytes: &[u8]) -> Result<Vec<u8>> {
    let file = SafeTensors::deserialize(bytes)?;
    let names: Vec<&str> = file.names();
    let Some(chosen) = names.choose(random) else {
        return Ok(mutation::mutate(random, bytes, bytes));
    };
    let kinds = [
        (Dtype::F64, 1e300_f64.to_le_bytes().to_vec()),
        (Dtype::F64, 0.5_f64.to_le_bytes().to_vec()),
        (Dtype::F16, vec![0, 0x7c]),
        (Dtype::F16, vec![0, 0x38]),
        (Dtype::BF16, vec![0x80, 0x7f]),
        (Dtype::BF16, vec![0, 0x3f]),
        (Dtype::F8_E4M3, vec![0x38]),
        (Dtype::F8_E5M2, vec![0x38]),
        (Dtype::I64, vec![1, 0, 0, 0, 0, 0, 0, 0]),
        (Dtype::U8, vec![1]),
        (Dtype::BOOL, vec![1]),
    ];
    let (kind, number) = kinds.choose(random).context("no kinds")?;
    let other = file.tensor(chosen)?;
    let count: usize = other.shape().iter().product();
    let data = number.repeat(count);
    let mut views = BTreeMap::new();
    for (name, view) in file.tensors() {
        views.insert(name, view);
    }
    let view = TensorView::new(*kind, other.shape().to_vec(), &data)?;
    views.insert((*chosen).to_owned(), view);
    Ok(safetensors::serialize(
        views,
        None::<HashMap<String, String>>,
    )?)
}

/// Where the weights of a model differ from those of the file.
pub(super) fn difference(model: &Model, bytes: &[u8], seed: &[u8]) -> Result<Option<String>> {
    let (file, seed) = (
        SafeTensors::deserialize(bytes)?,
        SafeTensors::deserialize(seed)?,
    );
    for (name, tensor) in model.tensors() {
        let loaded = tensor
            .flatten_all()?
            .to_dtype(DType::F64)?
            .to_vec1::<f64>()?;
        if loaded.iter().any(|number| !number.is_finite()) {
            return Ok(Some(format!("{name}: a number that is not finite")));
        }
        let (Ok(view), Ok(before)) = (file.tensor(name), seed.tensor(name)) else {
            return Ok(Some(format!("{name}: not in the file")));
        };
        if view.shape() != tensor.dims() {
            return Ok(Some(format!("{name}: another shape")));
        }
        let Some(expected) = read(&view, tensor) else {
            continue;
        };
        let before = read(&before, tensor).unwrap_or_default();
        // Masked entries are zero, whatever the file contains.
        let wrong = (0..loaded.len()).find(|&at| {
            let masked = loaded[at] == 0.0 && before.get(at) == Some(&0.0);
            loaded[at].to_bits() != expected[at].to_bits() && !masked
        });
        if let Some(at) = wrong {
            let (found, expected) = (loaded[at], expected[at]);
            return Ok(Some(format!(
                "{name}: number {at} is {found}, not {expected}"
            )));
        }
    }
    Ok(None)
}

/// The numbers as they are in memory, if their type is F32 or F64.
fn read(view: &TensorView<'_>, tensor: &Tensor) -> Option<Vec<f64>> {
    let data = view.data();
    let wide: Vec<f64> = match view.dtype() {
        Dtype::F32 => data
            .as_chunks()
            .0
            .iter()
            .map(|it| f32::from_le_bytes(*it).into())
            .collect(),
        Dtype::F64 => data
            .as_chunks()
            .0
            .iter()
            .map(|it| f64::from_le_bytes(*it))
            .collect(),
        _ => return None,
    };
    let narrow = tensor.dtype() == DType::F32;
    Some(
        wide.into_iter()
            .map(|it| if narrow { f64::from(it as f32) } else { it })
            .collect(),
    )
}
