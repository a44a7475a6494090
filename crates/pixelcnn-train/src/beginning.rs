//! What a run begins with: images and their conditions, a tokenizer, weights.

use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};
use pixelcnn_data::{Dataset, Split};
use pixelcnn_models::{
    AutoEncoderConfig, CaptionTokenizer, Conditioning, EmbeddingConfig, ImageShape, Model,
    ModelConfig, Task, TowerConfig, Variables,
};
use pixelcnn_system::check_memory;

use crate::error::list;
use crate::examples::check_classes_differ;
use crate::network_run::{batches, state_path};
use crate::optimiser::Optimiser;
use crate::{Examples, Result, RunConfig, TrainError, Training};

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
    if !folder.exists() {
        let asked = config.encoder.as_deref().unwrap_or_default();
        let why = "neither a model directory (no config.json) nor a run (no best/config.json)";
        let why = match Path::new(asked).exists() {
            true => why,
            false => "there is no such folder",
        };
        return Err(TrainError::run(Path::new(asked), why));
    }
    let found = Model::load(&folder, device)?;
    let image = config.model.image();
    let (fits, expected) = match (conditioning, found.config()) {
        (Some(Conditioning::Embedding(tower)), config) => {
            let found = config.get::<EmbeddingConfig>();
            let fits = found.is_some_and(|found| found.tower() == *tower && found.image == image);
            (
                fits,
                format!("an embedding network {}", sizes(tower, image)),
            )
        }
        (Some(Conditioning::Code(code)), config) => {
            let hidden = code.spatial.map(|spatial| spatial.hidden);
            let found = config.get::<AutoEncoderConfig>();
            let fits = found.is_some_and(|found| {
                found.tower() == code.tower()
                    && found.image == image
                    && hidden.is_none_or(|hidden| hidden == found.hidden)
            });
            let sizes = sizes(&code.tower(), image);
            let hidden = hidden.map(|hidden| format!(", hidden = {hidden}"));
            let hidden = hidden.unwrap_or_default();
            (fits, format!("an auto-encoder {sizes}{hidden}"))
        }
        _ => return Ok(None),
    };
    match fits {
        true => Ok(Some(found)),
        false => {
            let why = format!("{expected} expected, found {}", described(found.config()));
            Err(TrainError::run(&folder, why))
        }
    }
}

/// A model that is no encoder of this run, in words.
fn described(model: &ModelConfig) -> String {
    let image = model.image();
    if let Some(found) = model.get::<EmbeddingConfig>() {
        return format!("an embedding network {}", sizes(&found.tower(), image));
    }
    if let Some(found) = model.get::<AutoEncoderConfig>() {
        let sizes = sizes(&found.tower(), image);
        return format!("an auto-encoder {sizes}, hidden = {}", found.hidden);
    }
    format!("the model {}", model.name())
}

fn sizes(tower: &TowerConfig, image: ImageShape) -> String {
    let TowerConfig { length, encoder } = tower;
    let ImageShape {
        channels,
        height,
        width,
        levels,
    } = image;
    format!(
        "of {channels} x {height} x {width} with {levels} levels, length = {length}, encoder = {}",
        list(encoder)
    )
}

/// The file of the weights that the condition of a run begins with.
pub(crate) fn encoder_weights(config: &RunConfig) -> Option<PathBuf> {
    let folder = config.encoder.as_ref()?;
    Some(model_folder(Path::new(folder)).join("model.safetensors"))
}

/// The folder of a model, or of the best one of a run.
fn model_folder(folder: &Path) -> PathBuf {
    match folder.join("config.json").exists() {
        true => folder.to_path_buf(),
        false => folder.join("best"),
    }
}

/// What a run has been given, found to be right before its folder is claimed.
pub(crate) struct Beginning<'a> {
    /// The training images with their conditions.
    pub training: Examples<'a>,
    /// The validation images with theirs.
    pub valid: Examples<'a>,
    /// Of a model that reads captions.
    pub tokenizer: Option<CaptionTokenizer>,
}

impl<'a> Beginning<'a> {
    /// Of a run in the folder `out`, whether it has begun or not.
    pub fn new(
        config: &RunConfig,
        dataset: &'a Dataset,
        out: &Path,
        device: &Device,
    ) -> Result<Self> {
        if !state_path(out).exists() {
            // A run that has begun holds these weights itself.
            encoder(config, device)?;
        }
        if let Some(training) = &config.training {
            batches(config, training, dataset)?;
            check_batch(config, training)?;
            if !training.rates.is_empty() {
                let (_, weights) = Model::initialise(&config.model, config.seed, device)?;
                Optimiser::new(&training.optimiser, &weights)?
                    .with_rates(&training.rates, &weights)?;
            }
        }
        check_classes_differ(&config.model, dataset.split(Split::Train)?)?;
        Ok(Self {
            training: config.examples(dataset, Split::Train)?,
            valid: config.examples(dataset, Split::Valid)?,
            tokenizer: tokenizer(config, dataset, out)?,
        })
    }

    /// The same with the tokenizer that the run keeps in its folder.
    pub fn with_tokenizer_of(mut self, out: &Path) -> Result<Self> {
        let path = out.join("tokenizer.json");
        if self.tokenizer.is_some() && path.exists() {
            self.tokenizer = Some(CaptionTokenizer::load(&path)?);
        }
        Ok(self)
    }
}

/// Refuses a batch whose outputs and their gradient alone are more than there
/// is memory for.
fn check_batch(config: &RunConfig, training: &Training) -> Result<()> {
    let image = config.model.image();
    if config.model.task() != Task::Likelihood {
        return Ok(());
    }
    let outputs = config.model.distribution().outputs(&image);
    let outputs = outputs.map_or(0, |outputs| outputs.maps());
    let outputs = [image.height, image.width, outputs, training.batch, 4, 2];
    let bytes = outputs
        .iter()
        .fold(1u64, |bytes, count| bytes.saturating_mul(*count as u64));
    let what = format!("a step of {} images", training.batch);
    check_memory(what, bytes).map_err(|error| TrainError::Invalid {
        what: "training.batch".to_string(),
        why: format!("{error}: a smaller batch needs less"),
    })
}

/// The tokenizer of the run: as it was when the run began, by the file that the
/// configuration names or learnt from the training captions.
fn tokenizer(
    config: &RunConfig,
    dataset: &Dataset,
    out: &Path,
) -> Result<Option<CaptionTokenizer>> {
    let Some(Conditioning::Caption(caption)) = config.model.conditioning() else {
        return Ok(None);
    };
    let path = out.join("tokenizer.json");
    // Another file of that name is none of this run.
    if path.exists() && state_path(out).exists() {
        return Ok(Some(CaptionTokenizer::load(&path)?));
    }
    let (tokenizer, whose) = match &config.tokenizer {
        Some(path) => (CaptionTokenizer::load(path)?, path.as_str()),
        None => {
            let captions = dataset.split(Split::Train)?.captions();
            let tokenizer = CaptionTokenizer::train(captions, caption.vocabulary)?;
            (tokenizer, "the captions")
        }
    };
    match tokenizer.vocabulary() {
        found if found <= caption.vocabulary => Ok(Some(tokenizer)),
        // Of learnt ones the letters alone may be more.
        found => Err(TrainError::Invalid {
            what: "model.conditioning.vocabulary".to_string(),
            why: format!("{found} tokens of {whose}, found {}", caption.vocabulary),
        }),
    }
}

/// The model, reading captions by the tokenizer of its run.
pub(crate) fn with_tokenizer(model: Model, tokenizer: &Option<CaptionTokenizer>) -> Result<Model> {
    match tokenizer {
        Some(tokenizer) => Ok(model.with_tokenizer(tokenizer.clone())?),
        None => Ok(model),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(model: &str, encoder: &Path) -> RunConfig {
        let text = format!(
            r#"
            seed = 1
            data = "none"
            encoder = "{}"
            [model]
            {model}
            image = {{ channels = 3, height = 8, width = 8, levels = 256 }}
            "#,
            encoder.display()
        );
        toml::from_str(&text).unwrap()
    }

    fn numbers(tensor: &Tensor) -> Vec<f32> {
        tensor.flatten_all().unwrap().to_vec1().unwrap()
    }

    #[test]
    fn a_code_begins_with_what_an_auto_encoder_has_learnt() {
        let folder = tempfile::tempdir().unwrap();
        let means = r#"kind = "auto-encoder"
            length = 3
            encoder = [4]
            hidden = 5"#;
        let means = run(means, folder.path()).model;
        let (means, _) = Model::initialise(&means, 9, &Device::Cpu).unwrap();
        means.save(folder.path()).unwrap();
        for bottleneck in [
            r#"{ kind = "plain" }"#,
            r#"{ kind = "gaussian", weight = 1.0, free_bits = 0.0 }"#,
        ] {
            let model = |length: usize| {
                let spatial = "{ maps = 2, hidden = 5 }";
                [
                    r#"kind = "gated-pixelcnn""#,
                    "first_kernel = 3\nkernel = 3\nblocks = 1\nmaps = 4\nhead = 4",
                    r#"conditioning.kind = "code""#,
                    "conditioning.encoder = [4]",
                    &format!("conditioning.length = {length}"),
                    &format!("conditioning.bottleneck = {bottleneck}"),
                    &format!("conditioning.spatial = {spatial}"),
                ]
                .join("\n")
            };
            let config = run(&model(3), folder.path());
            let (begun, variables) = initialise(&config, &Device::Cpu).unwrap();
            assert_eq!(begun.tensors().len(), variables.len());
            let [theirs, ours] = [&means, &begun].map(Model::tensors);
            for (their, our) in [
                (
                    "encoder.stages.0.1.weight",
                    "condition.code.stages.0.1.weight",
                ),
                ("encoder.linear.weight", "condition.code.linear.weight"),
                ("decoder.first.weight", "condition.spatial.first.weight"),
            ] {
                let expected = numbers(&theirs[their]);
                assert_eq!(numbers(&ours[our])[..expected.len()], expected, "{our}");
            }
            let last = "condition.spatial.last.weight";
            let (drawn, _) = Model::initialise(&config.model, 1, &Device::Cpu).unwrap();
            assert_eq!(numbers(&ours[last]), numbers(&drawn.tensors()[last]));
            let other = run(&model(2), folder.path());
            let error = initialise(&other, &Device::Cpu).unwrap_err().to_string();
            assert!(
                error.contains("length = 2") && error.contains("length = 3"),
                "{error}"
            );
        }
    }
}
