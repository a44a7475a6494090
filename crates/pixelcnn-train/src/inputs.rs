//! The inputs of a run: images with their conditions, and a tokenizer.

use std::path::{Path, PathBuf};

use candle_core::Device;
use pixelcnn_data::{BatchConfig, Batches, DataError, Dataset, Split};
use pixelcnn_models::{CaptionTokenizer, Conditioning, Model, Task, find_model};
use pixelcnn_system::check_memory;

use crate::conditioned_dataset::check_classes_differ;
use crate::optimiser::{Optimiser, OptimiserConfig};
use crate::state::state_path;
use crate::verification::check_pairs;
use crate::warm_start::{initial_model, pretrained_encoder};
use crate::{ConditionedDataset, Result, RunConfig, TrainError, Training};

/// The checked inputs of a run. They are checked before the run takes its folder.
pub(crate) struct RunInputs<'a> {
    /// The training images with their conditions.
    pub training: ConditionedDataset<'a>,
    /// The validation images with their conditions.
    pub valid: ConditionedDataset<'a>,
    /// The tokenizer of a model that reads captions.
    pub tokenizer: Option<CaptionTokenizer>,
}

impl<'a> RunInputs<'a> {
    /// The inputs of a run in the folder `out`, started or not.
    pub(crate) fn new(
        config: &RunConfig,
        dataset: &'a Dataset,
        out: &Path,
        device: &Device,
    ) -> Result<Self> {
        if !state_path(out).exists() {
            // A started run has its own copy of these weights.
            pretrained_encoder(config, device)?;
            initial_model(config, device)?;
        }
        if let Some(training) = &config.training {
            batches(config, training, dataset)?;
            check_batch(config, training)?;
            let by_name = !training.learning_rate_multipliers.is_empty()
                || matches!(training.optimiser, OptimiserConfig::Muon(_));
            if by_name {
                let (_, weights) = Model::initialise(&config.model, config.seed, device)?;
                Optimiser::new(&training.optimiser, &weights)?.with_learning_rate_multipliers(
                    &training.learning_rate_multipliers,
                    &weights,
                )?;
            }
        }
        if config.model.task() == Task::Verification {
            check_pairs(dataset.split(Split::Valid)?.len())?;
        }
        check_classes_differ(&config.model, dataset.split(Split::Train)?)?;
        Ok(Self {
            training: config.conditioned(dataset, Split::Train)?,
            valid: config.conditioned(dataset, Split::Valid)?,
            tokenizer: tokenizer(config, dataset, out)?,
        })
    }

    /// The same with the tokenizer in the folder of the run.
    pub(crate) fn with_tokenizer_of(mut self, out: &Path) -> Result<Self> {
        let path = out.join("tokenizer.json");
        if self.tokenizer.is_some() && path.exists() {
            self.tokenizer = Some(CaptionTokenizer::load(&path)?);
        }
        Ok(self)
    }
}

/// Refuses a batch whose outputs and their gradient do not fit into
/// memory.
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
        why: format!("{error}: a smaller batch needs less memory"),
    })
}

/// The tokenizer of the run: the one saved when the run started, that of the model whose weights
/// it starts from, the file of the configuration, or a new one learnt from the training captions.
fn tokenizer(
    config: &RunConfig,
    dataset: &Dataset,
    out: &Path,
) -> Result<Option<CaptionTokenizer>> {
    let Some(Conditioning::Caption(caption)) = config.model.conditioning() else {
        return Ok(None);
    };
    let path = out.join("tokenizer.json");
    // Another file of this name does not belong to this run.
    if path.exists() && state_path(out).exists() {
        return Ok(Some(CaptionTokenizer::load(&path)?));
    }
    // Weights of an embedding belong to the tokens that they were trained on.
    let given = match &config.init_from {
        Some(name) => Some(find_model(name)?.join("tokenizer.json")),
        None => config.tokenizer.as_ref().map(PathBuf::from),
    };
    let (tokenizer, whose) = match given {
        Some(path) => (CaptionTokenizer::load(&path)?, path.display().to_string()),
        None => {
            let captions = dataset.split(Split::Train)?.captions();
            let tokenizer = CaptionTokenizer::train(captions, caption.vocabulary)?;
            (tokenizer, "the captions".to_string())
        }
    };
    match tokenizer.vocabulary() {
        found if found <= caption.vocabulary => Ok(Some(tokenizer)),
        // In a learnt tokenizer, the letters alone may exceed the limit.
        found => Err(TrainError::Invalid {
            what: "model.conditioning.vocabulary".to_string(),
            why: format!("{found} tokens of {whose}, found {}", caption.vocabulary),
        }),
    }
}

/// The model with the tokenizer of its run.
pub(crate) fn with_tokenizer(model: Model, tokenizer: &Option<CaptionTokenizer>) -> Result<Model> {
    match tokenizer {
        Some(tokenizer) => Ok(model.with_tokenizer(tokenizer.clone())?),
        None => Ok(model),
    }
}

/// The training images in batches; an error if there are too few for one.
pub(crate) fn batches<'a>(
    config: &RunConfig,
    training: &Training,
    dataset: &'a Dataset,
) -> Result<Batches<'a>> {
    let batches = BatchConfig {
        batch: training.batch,
        images_per_class: training.images_per_class,
        seed: config.seed,
        flips: training.flips,
    };
    let training = dataset.split(Split::Train)?;
    Batches::new(training, batches).map_err(|error| match error {
        DataError::BatchSize { .. } | DataError::Groups { .. } => TrainError::Invalid {
            what: "training.batch".to_string(),
            why: error.to_string(),
        },
        other => other.into(),
    })
}
