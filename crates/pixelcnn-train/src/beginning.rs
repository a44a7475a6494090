//! What a run begins with: weights, and a tokenizer.

use std::path::{Path, PathBuf};

use candle_core::Device;
use pixelcnn_data::{Dataset, Split};
use pixelcnn_models::{CaptionTokenizer, Conditioning, Model, ModelConfig, Variables};

use crate::{Result, RunConfig, TrainError};

/// A model with drawn weights; those of an embedding network that it is
/// conditioned on are read from its folder.
pub(crate) fn initialise(config: &RunConfig, device: &Device) -> Result<(Model, Variables)> {
    let drawn = Model::initialise(&config.model, config.seed, device)?;
    let Some(embedding) = embedding(config, device)? else {
        return Ok(drawn);
    };
    let mut tensors = drawn.0.tensors().clone();
    for (name, tensor) in embedding.tensors() {
        tensors.insert(format!("condition.embedding.{name}"), tensor.clone());
    }
    Ok(Model::trainable(&config.model, tensors, device)?)
}

/// The embedding network that the model is conditioned on, if it is; an error
/// if there is none of the size.
fn embedding(config: &RunConfig, device: &Device) -> Result<Option<Model>> {
    let Some(Conditioning::Embedding(tower)) = config.model.conditioning() else {
        return Ok(None);
    };
    let Some(folder) = &config.encoder else {
        let why = "the model needs the folder of a trained embedding network".to_string();
        return Err(TrainError::Invalid {
            what: "encoder".to_string(),
            why,
        });
    };
    let folder = model_folder(Path::new(folder));
    let embedding = Model::load(&folder, device)?;
    match embedding.config() {
        ModelConfig::Embedding(found)
            if found.tower() == *tower && found.image == config.model.image() =>
        {
            Ok(Some(embedding))
        }
        found => {
            let why = format!(
                "an embedding network of {tower:?} for {:?} expected, found {found:?}",
                config.model.image()
            );
            Err(TrainError::run(&folder, why))
        }
    }
}

/// Refuses an embedding network that a run could not begin with.
pub(crate) fn check_encoder(config: &RunConfig, device: &Device) -> Result<()> {
    embedding(config, device).map(|_| ())
}

/// The folder of a model, or of the best one of a run.
fn model_folder(folder: &Path) -> PathBuf {
    match folder.join("config.json").exists() {
        true => folder.to_path_buf(),
        false => folder.join("best"),
    }
}

/// The tokenizer of the run, learnt from the training captions when it began.
pub(crate) fn tokenizer(
    config: &RunConfig,
    dataset: &Dataset,
    out: &Path,
) -> Result<Option<CaptionTokenizer>> {
    let Some(Conditioning::Caption(caption)) = config.model.conditioning() else {
        return Ok(None);
    };
    let path = out.join("tokenizer.json");
    if path.exists() {
        return Ok(Some(CaptionTokenizer::load(&path)?));
    }
    let captions = dataset.split(Split::Train)?.captions();
    let tokenizer = CaptionTokenizer::train(captions, caption.vocabulary)?;
    tokenizer.save(&path)?;
    Ok(Some(tokenizer))
}

/// The model, reading captions by the tokenizer of its run.
pub(crate) fn with_tokenizer(model: Model, tokenizer: &Option<CaptionTokenizer>) -> Result<Model> {
    match tokenizer {
        Some(tokenizer) => Ok(model.with_tokenizer(tokenizer.clone())?),
        None => Ok(model),
    }
}
