//! From texts to tokens.

use std::path::Path;

use candle_core::{Device, Tensor};
use tokenizers::models::TrainerWrapper;
use tokenizers::models::bpe::{BPE, BpeTrainer};
use tokenizers::normalizers::Lowercase;
use tokenizers::pre_tokenizers::whitespace::Whitespace;
use tokenizers::{AddedToken, Tokenizer};

use crate::checkpoint::file_error;
use crate::{ModelError, write_file};

/// Fills up the shorter texts of a batch: token 0.
const PADDING: &str = "[PAD]";
/// What no token was learnt for: token 1.
const UNKNOWN: &str = "[UNK]";

/// A tokenizer of captions, in the format `tokenizer.json` of the `tokenizers`
/// library.
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
pub struct CaptionTokenizer(Tokenizer);

impl CaptionTokenizer {
    /// Learns at most `vocabulary` tokens from texts, by byte-pair encoding of
    /// their words in lower case.
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
                "no captions to learn from",
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
        Ok(Self(tokenizer))
    }

    /// Reads a `tokenizer.json`.
    ///
    /// # Errors
    ///
    /// If it cannot be read, is none, or has no `[PAD]` as token 0.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, ModelError> {
        let path = path.as_ref();
        let bytes = std::fs::read(path).map_err(|source| ModelError::Io {
            path: path.to_path_buf(),
            source,
        })?;
        let tokenizer = Tokenizer::from_bytes(&bytes).map_err(|error| file_error(path, error))?;
        match tokenizer.token_to_id(PADDING) {
            Some(0) => Ok(Self(tokenizer)),
            found => {
                let why = format!("{PADDING} expected as token 0, found {found:?}");
                Err(file_error(path, why))
            }
        }
    }

    /// Writes a `tokenizer.json`.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), ModelError> {
        let path = path.as_ref();
        let text = self.0.to_string(true);
        let text = text.map_err(|error| file_error(path, error))?;
        write_file(path, (text + "\n").as_bytes())
    }

    /// Tokens there are: one more than the largest.
    pub fn vocabulary(&self) -> usize {
        let largest = self.0.get_vocab(true).into_values().max();
        largest.map_or(0, |token| token as usize + 1)
    }

    /// The tokens of texts, the shorter ones filled up with 0.
    ///
    /// # Shapes
    ///
    /// `[texts, t]`, `u32`; `t` is the longest text's, at least 1.
    ///
    /// # Errors
    ///
    /// If the library refuses a text.
    pub fn tokens(&self, texts: &[String], device: &Device) -> Result<Tensor, ModelError> {
        let mut rows = Vec::with_capacity(texts.len());
        for text in texts {
            let encoding = self.0.encode(text.as_str(), false).map_err(|error| {
                ModelError::invalid("caption", format!("{text:?}: no tokens: {error}"))
            })?;
            rows.push(encoding.get_ids().to_vec());
        }
        let longest = rows.iter().map(Vec::len).max().unwrap_or(0).max(1);
        for row in &mut rows {
            row.resize(longest, 0);
        }
        let shape = (rows.len(), longest);
        Ok(Tensor::from_vec(rows.concat(), shape, device)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn what_was_never_seen_is_unknown_and_nothing_is_padding() {
        let tokenizer = CaptionTokenizer::train(&captions(), 40).unwrap();
        let rows = |text: &str| {
            let tokens = tokenizer.tokens(&[text.to_string()], &Device::Cpu);
            tokens.unwrap().to_vec2::<u32>().unwrap()
        };
        assert!(rows("Ж")[0].contains(&1));
        assert_eq!(rows(""), [[0]]);
    }

    #[test]
    fn files_that_are_no_tokenizer_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokenizer.json");
        assert!(CaptionTokenizer::load(&path).is_err());
        std::fs::write(&path, "{}").unwrap();
        let error = CaptionTokenizer::load(&path).unwrap_err().to_string();
        assert!(error.contains("tokenizer.json"), "{error}");
    }
}
