//! `tokenizer.json` with settings of other programs. A text must always have the same
//! tokens; none may be added or cut off.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};
use candle_core::Device;
use pixelcnn_models::{CaptionTokenizer, ModelError};
use rand::Rng;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

use super::expected::write;
use super::{Target, Verdict};
use crate::{json, mutation};

const TEXTS: [&str; 6] = [
    "red apple",
    "green apple and a waving hand",
    "",
    "Ж 🍎",
    "redredredgreenhandhandapple",
    "a\u{301} \u{fb01}",
];

pub(super) struct Tokenizers {
    seeds: Vec<Value>,
    settings: Vec<(String, Value)>,
}

impl Tokenizers {
    /// # Errors
    /// When a seed cannot be made.
    pub(super) fn new(folder: &Path) -> Result<Self> {
        let texts = TEXTS.map(String::from);
        let path = folder.join("tokenizer.json");
        CaptionTokenizer::train(&texts, 60)?.save(&path)?;
        let trained: Value = serde_json::from_slice(&std::fs::read(&path)?)?;
        let mut seeds = vec![trained.clone()];
        for model in models() {
            let mut seed = trained.clone();
            seed["model"] = model;
            seeds.push(seed);
        }
        Ok(Self {
            seeds,
            settings: settings()?,
        })
    }
}

fn models() -> [Value; 3] {
    let vocabulary =
        json!({"[PAD]": 0, "[UNK]": 1, "red": 2, "apple": 3, "##e": 4, "a": 5, "green": 6});
    [
        json!({"type": "WordLevel", "vocab": vocabulary, "unk_token": "[UNK]"}),
        json!({"type": "WordPiece", "vocab": vocabulary, "unk_token": "[UNK]",
            "continuing_subword_prefix": "##", "max_input_chars_per_word": 100}),
        json!({"type": "Unigram", "unk_id": 1, "byte_fallback": false,
            "vocab": [["[PAD]", 0.0], ["[UNK]", 0.0], ["red", -1.0], ["e", -2.5], ["a", -2.0]]}),
    ]
}

/// Settings that change the tokens or cause errors, and their keys.
///
/// # Errors
/// When the file with the settings is not JSON.
fn settings() -> Result<Vec<(String, Value)>> {
    let text = include_str!("../../../../seeds/tokenizer-settings.json");
    let places: BTreeMap<String, Vec<Value>> = serde_json::from_str(text)?;
    let places = places.into_iter();
    let settings = places
        .flat_map(|(place, values)| values.into_iter().map(move |value| (place.clone(), value)));
    Ok(settings.collect())
}

/// Adds some of the settings under their keys.
fn foreign(random: &mut ChaCha8Rng, seed: &Value, settings: &[(String, Value)]) -> Value {
    let mut value = seed.clone();
    for _ in 0..random.random_range(1..=3) {
        let Some((key, setting)) = settings.choose(random) else {
            return value;
        };
        match value[key].as_array_mut() {
            Some(list) => list.push(setting.clone()),
            None => value[key] = setting.clone(),
        }
        if random.random_bool(0.3) && value["model"]["type"] == "BPE" {
            value["model"]["dropout"] = json!(random.random::<f32>());
        }
    }
    value
}

impl Target for Tokenizers {
    fn run(&mut self, random: &mut ChaCha8Rng, folder: &Path) -> Result<Verdict> {
        let seed = self.seeds.choose(random).context("there are no seeds")?;
        let bytes = match random.random_range(0..5) {
            0 => {
                let text = serde_json::to_vec_pretty(seed)?;
                mutation::mutate(random, &text, &text)
            }
            1 | 2 => {
                let parts: Vec<Value> = self.settings.iter().map(|it| it.1.clone()).collect();
                serde_json::to_vec(&json::mutate(random, seed, &parts))?
            }
            _ => serde_json::to_vec(&foreign(random, seed, &self.settings))?,
        };
        write(folder, "tokenizer.json", &bytes)?;
        let tokenizer = match CaptionTokenizer::load(folder.join("tokenizer.json")) {
            Ok(tokenizer) => tokenizer,
            Err(error) => return Ok(Verdict::Refused(error.to_string())),
        };
        let first = tokens(&tokenizer);
        for _ in 0..3 {
            let again = tokens(&tokenizer);
            if first.iter().zip(&again).any(|pair| !alike(pair)) {
                return Ok(Verdict::Changed("other tokens the second time".into()));
            }
        }
        let vocabulary = tokenizer.vocabulary();
        let beyond = |row: &Vec<u32>| row.iter().any(|&token| token as usize >= vocabulary);
        if first.iter().flatten().any(beyond) {
            return Ok(Verdict::Changed("a token beyond the vocabulary".into()));
        }
        Ok(nothing_added(folder, &bytes, &first)?.unwrap_or(Verdict::Accepted))
    }
}

/// The tokens of a text, or the error.
type Row = Result<Vec<u32>, ModelError>;

/// The tokens of each text.
fn tokens(tokenizer: &CaptionTokenizer) -> Vec<Row> {
    let row = |text: &str| {
        let tokens = tokenizer.tokens(&[text.to_owned()], &Device::Cpu)?;
        Ok(tokens.flatten_all()?.to_vec1()?)
    };
    TEXTS.map(row).into_iter().collect()
}

fn alike(pair: (&Row, &Row)) -> bool {
    match pair {
        (Ok(one), Ok(other)) => one == other,
        (one, other) => one.is_err() && other.is_err(),
    }
}

/// Compares with the same file without the settings that cut, pad or add.
fn nothing_added(folder: &Path, bytes: &[u8], found: &[Row]) -> Result<Option<Verdict>> {
    let Ok(mut value) = serde_json::from_slice::<Value>(bytes) else {
        return Ok(None);
    };
    for key in ["truncation", "padding", "post_processor"] {
        value[key] = Value::Null;
    }
    if value["model"]["dropout"].is_number() {
        value["model"]["dropout"] = Value::Null;
    }
    write(folder, "plain.json", serde_json::to_vec(&value)?)?;
    let Ok(plain) = CaptionTokenizer::load(folder.join("plain.json")) else {
        return Ok(None);
    };
    let differs = found.iter().zip(&tokens(&plain)).any(|pair| !alike(pair));
    Ok(differs.then(|| Verdict::Changed("a setting of the file acts on the tokens".into())))
}
