//! What a run begins with: weights, and a tokenizer.

use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};
use pixelcnn_data::{Dataset, Split};
use pixelcnn_models::{CaptionTokenizer, Conditioning, Model, ModelConfig, Variables};

use crate::{Result, RunConfig, TrainError};

/// A model with drawn weights, but for those that its condition begins with.
pub(crate) fn initialise(config: &RunConfig, device: &Device) -> Result<(Model, Variables)> {
    let drawn = Model::initialise(&config.model, config.seed, device)?;
    let Some(encoder) = encoder(config, device)? else {
        return Ok(drawn);
    };
    let mut tensors = drawn.0.tensors().clone();
    for (name, tensor) in encoder.tensors() {
        let name = match config.model.conditioning() {
            Some(Conditioning::Embedding(_)) => format!("condition.embedding.{name}"),
            _ => match of_auto_encoder(name) {
                Some(name) => name,
                None => continue,
            },
        };
        let Some(drawn) = tensors.get(&name) else {
            continue; // a decoder, where h has no position
        };
        let begun = match drawn.dim(0)?.checked_sub(tensor.dim(0)?) {
            None | Some(0) => tensor.clone(),
            // A Gaussian bottleneck has log variances behind its means.
            Some(more) => Tensor::cat(&[tensor, &drawn.narrow(0, more, more)?], 0)?,
        };
        tensors.insert(name, begun);
    }
    Ok(Model::trainable(&config.model, tensors, device)?)
}

/// The name in a model conditioned on a code of a weight of an auto-encoder of
/// means; none of its last convolution, which makes colours.
fn of_auto_encoder(name: &str) -> Option<String> {
    match (name.strip_prefix("encoder."), name.strip_prefix("decoder.")) {
        (Some(rest), _) => Some(format!("condition.code.{rest}")),
        (_, Some(rest)) if !rest.starts_with("last.") => Some(format!("condition.spatial.{rest}")),
        _ => None,
    }
}

/// The network in the folder `encoder` of the configuration; an error if it is
/// not what the model is conditioned on, or there must be one.
fn encoder(config: &RunConfig, device: &Device) -> Result<Option<Model>> {
    let conditioning = config.model.conditioning();
    let folder = match (conditioning, &config.encoder) {
        (Some(Conditioning::Embedding(_)), None) => {
            let why = "the model needs the folder of a trained embedding network".to_string();
            return Err(TrainError::Invalid {
                what: "encoder".to_string(),
                why,
            });
        }
        (_, None) => return Ok(None),
        (_, Some(folder)) => model_folder(Path::new(folder)),
    };
    let found = Model::load(&folder, device)?;
    let image = config.model.image();
    let (fits, expected) = match (conditioning, found.config()) {
        (Some(Conditioning::Embedding(tower)), config) => {
            let fits = matches!(config, ModelConfig::Embedding(found)
                if found.tower() == *tower && found.image == image);
            (fits, format!("an embedding network of {tower:?}"))
        }
        (Some(Conditioning::Code(code)), config) => {
            let hidden = code.spatial.map(|spatial| spatial.hidden);
            let fits = matches!(config, ModelConfig::AutoEncoder(found)
                if found.tower() == code.tower()
                    && found.image == image
                    && hidden.is_none_or(|hidden| hidden == found.hidden));
            (
                fits,
                format!("an auto-encoder of {:?}, hidden {hidden:?}", code.tower()),
            )
        }
        _ => return Ok(None),
    };
    match fits {
        true => Ok(Some(found)),
        false => {
            let found = found.config();
            let why = format!("{expected} for {image:?} expected, found {found:?}");
            Err(TrainError::run(&folder, why))
        }
    }
}

/// Refuses an encoder that a run could not begin with.
pub(crate) fn check_encoder(config: &RunConfig, device: &Device) -> Result<()> {
    encoder(config, device).map(|_| ())
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
