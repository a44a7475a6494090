//! From texts to tokens.

use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};
use pixelcnn_system::{check_memory, guarded};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokenizers::models::TrainerWrapper;
use tokenizers::models::bpe::{BPE, BpeTrainer};
use tokenizers::normalizers::Lowercase;
use tokenizers::pre_tokenizers::whitespace::Whitespace;
use tokenizers::{AddedToken, ModelWrapper, NormalizerWrapper, PreTokenizerWrapper, Tokenizer};

use super::foreign::{longest_text, shortened, without_additions};
use crate::checkpoint::{file_error, json_error, read_text};
use crate::{ModelError, write_file};

/// Padding of the shorter texts of a batch: token 0.
const PADDING: &str = "[PAD]";
/// Characters without a token: token 1.
const UNKNOWN: &str = "[UNK]";
/// Limit on the bytes of a tokenizer.json, twice the size of those of the largest
/// language models.
const MOST_BYTES: u64 = 64 << 20;
/// Bytes of memory per byte of the file, during reading.
const MEMORY: u64 = 40;
/// Limit on the bytes of a text, because all parts of a word are tried.
const LONGEST: usize = 16 << 10;

/// A tokenizer of captions, in the format `tokenizer.json` of the `tokenizers`
/// library.
///
/// The tokens of a text are always those of the whole text and nothing else. The
/// stored settings for truncation, padding, special tokens around texts, and
/// the probability of leaving out merges (`dropout`) are ignored, and
/// [`CaptionTokenizer::save`] does not write them.
///
/// # Example
///
/// ```
/// use candle_core::Device;
/// use pixelcnn_models::CaptionTokenizer;
///
/// let captions = ["red apple".to_string(), "green apple".to_string()];
/// let tokenizer = CaptionTokenizer::train(&captions, 64)?;
/// let tokens = tokenizer.tokens(&["Red".to_string(), "red apple".to_string()], &Device::Cpu)?;
/// assert_eq!(tokens.dims()[0], 2);
/// let rows = tokens.to_vec2::<u32>()?;
/// assert_eq!(rows[0][0], rows[1][0]); // whatever the case
/// assert_eq!(rows[0].last(), Some(&0)); // filled up
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct CaptionTokenizer {
    tokenizer: Tokenizer,
    /// Limit on the bytes of a text.
    longest: usize,
    /// The file it was read from.
    path: Option<PathBuf>,
}

impl CaptionTokenizer {
    /// Learns at most `vocabulary` tokens from texts, by byte-pair encoding of
    /// their lower-case words.
    ///
    /// # Errors
    ///
    /// If there are no texts or the library refuses them.
    pub fn train(texts: &[String], vocabulary: usize) -> Result<Self, ModelError> {
        let failed = |error: tokenizers::Error| {
            ModelError::invalid("tokenizer", format!("cannot be trained: {error}"))
        };
        if texts.is_empty() {
            return Err(ModelError::invalid(
                "tokenizer",
                "there are no captions to learn from",
            ));
        }
        let model = BPE::builder()
            .unk_token(UNKNOWN.to_string())
            .build()
            .map_err(failed)?;
        let mut tokenizer = Tokenizer::new(model);
        tokenizer.with_normalizer(Some(Lowercase)).map_err(failed)?;
        tokenizer.with_pre_tokenizer(Some(Whitespace {}));
        let special = |text: &str| AddedToken::from(text.to_string(), true);
        let trainer = BpeTrainer::builder()
            .vocab_size(vocabulary)
            .show_progress(false)
            .special_tokens(vec![special(PADDING), special(UNKNOWN)])
            .build();
        let mut trainer = TrainerWrapper::from(trainer);
        tokenizer
            .train(&mut trainer, texts.iter())
            .map_err(failed)?;
        Ok(Self {
            tokenizer,
            longest: LONGEST,
            path: None,
        })
    }

    /// Reads a `tokenizer.json`.
    ///
    /// # Errors
    ///
    /// If it cannot be read, is not a tokenizer, is too large, or does not have `[PAD]`
    /// as token 0.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, ModelError> {
        let path = path.as_ref();
        let text = read_text(path, MOST_BYTES)?;
        check_memory(path.display().to_string(), MEMORY * text.len() as u64)?;
        let settings =
            serde_json::from_str(&text).map_err(|error| json_error(path, &text, &error))?;
        let settings = without_additions(settings).map_err(|why| file_error(path, why))?;
        let longest = longest_text(&settings, LONGEST);
        if longest == 0 {
            let why = "its normalizer and pre_tokenizer can make texts too long";
            return Err(file_error(path, why));
        }
        let read = guarded(|| Tokenizer::from_bytes(settings.to_string()));
        let read = read.unwrap_or_else(|panic| Err(panic.into()));
        let tokenizer = read.map_err(|error| {
            let why = refused(broken_part(&settings), &error.to_string());
            file_error(path, why)
        })?;
        let why = match tokenizer.token_to_id(PADDING) {
            Some(0) => {
                let path = Some(path.to_path_buf());
                return Ok(Self {
                    tokenizer,
                    longest,
                    path,
                });
            }
            Some(other) => format!("{PADDING} expected as token 0, found as token {other}"),
            None => format!("{PADDING} expected as token 0, but the token does not exist"),
        };
        Err(file_error(path, why))
    }

    /// Writes a `tokenizer.json`.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), ModelError> {
        let path = path.as_ref();
        let text = guarded(|| self.tokenizer.to_string(true));
        let text = text.unwrap_or_else(|panic| Err(panic.into()));
        let text = text.map_err(|error| file_error(path, refused("it", &error.to_string())))?;
        write_file(path, (text + "\n").as_bytes())
    }

    /// Number of tokens: the largest token plus one.
    pub fn vocabulary(&self) -> usize {
        let largest = self.tokenizer.get_vocab(true).into_values().max();
        largest.map_or(0, |token| token as usize + 1)
    }

    /// The tokens of texts; shorter texts are padded with 0.
    ///
    /// # Shapes
    ///
    /// `[texts, t]`, `u32`; `t` is the length of the longest text, at least 1.
    ///
    /// # Errors
    ///
    /// If a text is too long or the library refuses it.
    pub fn tokens(&self, texts: &[String], device: &Device) -> Result<Tensor, ModelError> {
        let mut rows = Vec::with_capacity(texts.len());
        for text in texts {
            let row = self.row(text).map_err(|why| {
                let why = format!("caption {}: {why}", shortened(text));
                match &self.path {
                    Some(path) => file_error(path, why),
                    None => ModelError::invalid("tokenizer", why),
                }
            });
            rows.push(row?);
        }
        let longest = rows.iter().map(Vec::len).max().unwrap_or(0).max(1);
        let bytes = rows.len().saturating_mul(longest).saturating_mul(8);
        check_memory(format!("{longest} tokens of each text"), bytes as u64)?;
        for row in &mut rows {
            row.resize(longest, 0);
        }
        let shape = (rows.len(), longest);
        Ok(Tensor::from_vec(rows.concat(), shape, device)?)
    }

    fn row(&self, text: &str) -> Result<Vec<u32>, String> {
        if text.len() > self.longest {
            let (found, most) = (text.len(), self.longest);
            let why = match most {
                LONGEST => "",
                _ => ", as this tokenizer can make texts many times longer",
            };
            return Err(format!("{found} bytes, at most {most} expected{why}"));
        }
        let encoding = guarded(|| self.tokenizer.encode(text, false));
        let encoding = encoding.unwrap_or_else(|panic| Err(panic.into()));
        let encoding = encoding.map_err(|error| refused("it", &error.to_string()))?;
        Ok(encoding.get_ids().to_vec())
    }
}

/// The message if the library cannot use a part of a file. Its own message is for
/// programmers.
fn refused(part: &str, message: &str) -> String {
    tracing::debug!("tokenizers: {message}");
    format!("{part} is damaged or has an unsupported setting")
}

/// The part of a tokenizer.json that the library cannot read.
fn broken_part(settings: &Value) -> &'static str {
    fn is_broken<T: DeserializeOwned>(settings: &Value, part: &str) -> bool {
        let part = settings.get(part).cloned().unwrap_or_default();
        let read = guarded(|| serde_json::from_value::<Option<T>>(part).is_ok());
        read != Ok(true)
    }
    if is_broken::<NormalizerWrapper>(settings, "normalizer") {
        "its normalizer"
    } else if is_broken::<PreTokenizerWrapper>(settings, "pre_tokenizer") {
        "its pre_tokenizer"
    } else if is_broken::<ModelWrapper>(settings, "model") {
        "its model"
    } else {
        "it"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn captions() -> Vec<String> {
        ["red apple", "green apple", "waving hand", "hand"]
            .map(String::from)
            .to_vec()
    }

    #[test]
    fn training_twice_gives_the_same_file_and_it_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let paths = ["a.json", "b.json"].map(|name| folder.path().join(name));
        for path in &paths {
            let tokenizer = CaptionTokenizer::train(&captions(), 40).unwrap();
            tokenizer.save(path).unwrap();
        }
        let [first, second] = paths.each_ref().map(|path| std::fs::read(path).unwrap());
        assert_eq!(first, second);
        let loaded = CaptionTokenizer::load(&paths[0]).unwrap();
        let fresh = CaptionTokenizer::train(&captions(), 40).unwrap();
        let tokens = |tokenizer: &CaptionTokenizer| {
            let tokens = tokenizer.tokens(&captions(), &Device::Cpu).unwrap();
            tokens.to_vec2::<u32>().unwrap()
        };
        assert_eq!(tokens(&loaded), tokens(&fresh));
        assert!(fresh.vocabulary() <= 40);
    }

    #[test]
    fn unseen_characters_are_unknown_and_empty_texts_are_padding() {
        let tokenizer = CaptionTokenizer::train(&captions(), 40).unwrap();
        let rows = |text: &str| {
            let tokens = tokenizer.tokens(&[text.to_string()], &Device::Cpu);
            tokens.unwrap().to_vec2::<u32>().unwrap()
        };
        assert!(rows("Ж")[0].contains(&1));
        assert_eq!(rows(""), [[0]]);
    }

    #[test]
    fn files_without_a_tokenizer_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokenizer.json");
        assert!(CaptionTokenizer::load(&path).is_err());
        std::fs::write(&path, "{}").unwrap();
        let error = CaptionTokenizer::load(&path).unwrap_err().to_string();
        assert!(error.contains("tokenizer.json"), "{error}");
    }

    /// Loads the file of a small tokenizer with some parts changed.
    fn changed(
        change: impl FnOnce(&mut serde_json::Value),
    ) -> Result<CaptionTokenizer, ModelError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokenizer.json");
        let trained = CaptionTokenizer::train(&captions(), 40).unwrap();
        trained.save(&path).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let mut settings = serde_json::from_str(&text).unwrap();
        change(&mut settings);
        std::fs::write(&path, settings.to_string()).unwrap();
        CaptionTokenizer::load(&path)
    }

    fn tokens(tokenizer: &CaptionTokenizer) -> Vec<Vec<u32>> {
        let tokens = tokenizer.tokens(&captions(), &Device::Cpu).unwrap();
        tokens.to_vec2().unwrap()
    }

    #[test]
    fn stored_settings_do_not_act() {
        let expected = tokens(&CaptionTokenizer::train(&captions(), 40).unwrap());
        let truncation = json!({
            "direction": "Left", "max_length": 1, "strategy": "OnlyFirst", "stride": 0
        });
        let padding = |strategy| {
            json!({
                "strategy": strategy, "direction": "Left", "pad_to_multiple_of": 8,
                "pad_id": 3, "pad_type_id": 0, "pad_token": "[PAD]"
            })
        };
        let special = json!({"type": "BertProcessing", "sep": ["[UNK]", 1], "cls": ["[UNK]", 1]});
        for (part, value) in [
            ("truncation", truncation),
            ("padding", padding(json!("BatchLongest"))),
            ("padding", padding(json!({"Fixed": 1_000_000_000_000u64}))),
            ("post_processor", special.clone()),
            (
                "post_processor",
                json!({"type": "Sequence", "processors": [special]}),
            ),
        ] {
            let tokenizer = changed(|settings| settings[part] = value).unwrap();
            assert_eq!(tokens(&tokenizer), expected, "{part}");
        }
        let dropout = changed(|settings| settings["model"]["dropout"] = json!(0.9)).unwrap();
        for _ in 0..5 {
            assert_eq!(tokens(&dropout), expected);
        }
    }

    #[test]
    fn a_panic_of_the_library_is_an_error() {
        let error = changed(|settings| {
            let table = json!({"type": "Precompiled", "precompiled_charsmap": "/////w=="});
            settings["normalizer"] = table;
        });
        assert!(error.unwrap_err().to_string().contains("tokenizer.json"));
        let odd = changed(|settings| {
            settings["pre_tokenizer"] = json!({"type": "FixedLength", "length": 0});
        });
        let error = odd.unwrap().tokens(&captions(), &Device::Cpu).unwrap_err();
        assert!(
            error.to_string().contains(
                "tokenizer.json: caption \"red apple\": it is damaged or has an unsupported setting"
            ),
            "{error}"
        );
        for (part, name) in [
            ("normalizer", "its normalizer"),
            ("pre_tokenizer", "its pre_tokenizer"),
            ("model", "its model"),
        ] {
            let unknown = changed(|settings| settings[part] = json!({"type": "None such"}));
            let error = unknown.unwrap_err().to_string();
            let expected =
                format!("tokenizer.json: {name} is damaged or has an unsupported setting");
            assert!(error.contains(&expected), "{error}");
        }
    }

    #[test]
    fn texts_are_not_longer_than_can_be_read() {
        let tokenizer = CaptionTokenizer::train(&captions(), 40).unwrap();
        for text in [
            "a ".repeat(LONGEST / 2),
            "a".repeat(LONGEST),
            "\u{0}🏳️‍🌈\u{fdfa}".into(),
        ] {
            tokenizer.tokens(&[text], &Device::Cpu).unwrap();
        }
        let error = tokenizer.tokens(&["a".repeat(LONGEST + 1)], &Device::Cpu);
        let error = error.unwrap_err().to_string();
        assert!(
            error.contains("16385 bytes, at most 16384 expected"),
            "{error}"
        );
        assert!(error.len() < 200, "{error}");
        let grown = changed(|settings| {
            let content = "x".repeat(1 << 20);
            let pattern = json!({"String": "a"});
            settings["normalizer"] =
                json!({"type": "Replace", "pattern": pattern, "content": content});
        });
        let error = grown
            .unwrap()
            .tokens(&captions(), &Device::Cpu)
            .unwrap_err();
        let parts = [
            "tokenizer.json: caption",
            "at most 1 expected, as this tokenizer",
        ];
        for part in parts {
            assert!(error.to_string().contains(part), "{error}");
        }
        let endless = changed(|settings| {
            let step = json!({
                "type": "Replace", "pattern": {"String": "a"}, "content": "x".repeat(1 << 20)
            });
            settings["normalizer"] = json!({"type": "Sequence", "normalizers": [step, step]});
        });
        let error = endless.unwrap_err().to_string();
        assert!(error.contains("tokenizer.json: its normalizer"), "{error}");
    }
}
