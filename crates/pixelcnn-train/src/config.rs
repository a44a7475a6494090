//! The configuration of a run.

use std::collections::BTreeMap;
use std::path::Path;

use pixelcnn_data::{Dataset, Flips, Loading, Split, load_with};
use pixelcnn_models::{Conditioning, ModelConfig, Precision, Task};
use pixelcnn_system::read_file;
use serde::{Deserialize, Serialize};

use crate::mistake::{described, old_names};
use crate::optimiser::OptimiserConfig;
use crate::schedule::Schedule;
use crate::{ConditionedDataset, Result, TrainError, read_condition_file};

/// Limit on the bytes of a configuration.
const LONGEST: u64 = 1 << 24;

/// A whole run: seed, data, model and training. Its length is in steps, never in time.
///
/// # Example
///
/// ```
/// use pixelcnn_train::RunConfig;
///
/// let config = RunConfig::parse(
///     r#"
///     seed = 1
///     data = "photos32"
///     [model]
///     kind = "uniform"
///     image = { channels = 3, height = 32, width = 32, levels = 256 }
///     "#,
/// )?;
/// assert!(config.training.is_none()); // nothing to train
/// # Ok::<(), pixelcnn_train::TrainError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunConfig {
    /// Seed of the weights and of the order of the data.
    pub seed: u64,
    /// The data spec, as in `pixelcnn-data`.
    pub data: String,
    /// Factor by which the images are shrunk (means of squares of this side); a power of
    /// two.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shrink: Option<usize>,
    /// Upper bits of each value that are kept, after shrinking. The model then has
    /// 2^bits levels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bits: Option<u32>,
    /// The name of the embedding network that the model is conditioned on, or of the
    /// auto-encoder of means whose weights initialise the encoder of the code, for
    /// [`find_model`](pixelcnn_models::find_model).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pretrained_encoder: Option<String>,
    /// The name of a model of the same settings, in the same way, whose weights the run starts
    /// from instead of random ones. The optimiser starts anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub init_from: Option<String>,
    /// The `tokenizer.json` for captions; by default one is learnt
    /// from the training captions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokenizer: Option<String>,
    /// Files of vectors or maps that the model is conditioned on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub condition_files: Option<ConditionFiles>,
    /// The model.
    pub model: ModelConfig,
    /// How a network is trained; `None` for the baselines of table 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub training: Option<Training>,
}

/// The files with a vector or maps for each image of a split, for
/// [`read_condition_file`](crate::read_condition_file).
///
/// # Example
///
/// ```
/// use pixelcnn_train::ConditionFiles;
///
/// let text = "train = \"train.npy\"\nvalid = \"valid.npy\"";
/// let files: ConditionFiles = toml::from_str(text)?;
/// assert_eq!(files.test, None);
/// # Ok::<(), toml::de::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConditionFiles {
    /// File of the training images.
    pub train: String,
    /// File of the validation images.
    pub valid: String,
    /// File of the test images.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test: Option<String>,
}

/// How a network is trained.
///
/// # Example
///
/// ```
/// use pixelcnn_train::Training;
///
/// let training: Training = toml::from_str(
///     r#"
///     steps = 1000
///     batch = 8
///     learning_rate = 1e-3
///     flips = "horizontal"
///     optimiser = { kind = "adam" }
///     schedule = { warmup = 100, decay = { kind = "cosine" } }
///     max_grad_norm = 1.0
///     ema_decay = 0.999
///     validate_every = 250
///     log_every = 10
///     "#,
/// )?;
/// assert_eq!(training.steps, 1000);
/// # Ok::<(), toml::de::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Training {
    /// Number of updates.
    pub steps: usize,
    /// The steps at which the run ended before it was extended, rising. Up to each of
    /// them, the schedule is that of a run that ends there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub extended: Vec<usize>,
    /// Images per update.
    pub batch: usize,
    /// Number of images of one label next to each other in a batch; more than 1 for an
    /// embedding network.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub images_per_class: usize,
    /// Learning rate; the schedule multiplies it.
    pub learning_rate: f64,
    /// Factors of the learning rate for weights with a key in their name, see
    /// [`Optimiser::with_learning_rate_multipliers`](crate::optimiser::Optimiser::with_learning_rate_multipliers).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub learning_rate_multipliers: BTreeMap<String, f64>,
    /// Whether training images are mirrored at random.
    pub flips: Flips,
    /// Optimiser and its settings.
    pub optimiser: OptimiserConfig,
    /// The schedule of the learning rate.
    #[serde(default)]
    pub schedule: Schedule,
    /// Largest global norm of the gradient of the nats per dimension; a larger
    /// gradient is scaled down.
    pub max_grad_norm: f64,
    /// Decay of the moving average of the weights. The averaged weights are
    /// evaluated and saved as the model.
    pub ema_decay: f64,
    /// Decay of a second average, if there is one. A validation scores both, and the better
    /// one is saved as the model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub second_ema_decay: Option<f64>,
    /// Ends the run after this number of validations without a lower score.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patience: Option<usize>,
    /// Steps between validations, each of which saves a checkpoint.
    pub validate_every: usize,
    /// Steps between lines of `metrics.jsonl`.
    pub log_every: usize,
    /// On a GPU: whether each step waits for its loss and ends the run if the loss is not
    /// finite. Otherwise losses are read together, before a line of `metrics.jsonl` and
    /// before a checkpoint.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub check_every_step: bool,
    /// In which types a step computes. Only a CUDA device has others than f32. Validation is
    /// always in f32.
    #[serde(default, skip_serializing_if = "is_default")]
    pub precision: Precision,
}

fn one() -> usize {
    1
}

fn is_one(number: &usize) -> bool {
    *number == 1
}

fn is_default(precision: &Precision) -> bool {
    *precision == Precision::default()
}

impl RunConfig {
    /// Reads and checks a configuration.
    ///
    /// # Errors
    ///
    /// If the text is not TOML, a field is missing or unknown, or a value
    /// is invalid.
    pub fn parse(text: &str) -> Result<Self> {
        // Some editors write a byte-order mark.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let invalid = |why| TrainError::Invalid {
            what: "configuration".to_string(),
            why,
        };
        if let Some(why) = old_names(text) {
            return Err(invalid(why));
        }
        let config: Self =
            toml::from_str(text).map_err(|error| invalid(described(text, &error)))?;
        config.validate()?;
        Ok(config)
    }

    /// Reads and checks the configuration in a file.
    ///
    /// # Errors
    ///
    /// As [`RunConfig::parse`]; the error names the file.
    pub fn read(path: &Path) -> Result<Self> {
        let bytes = read_file(path, LONGEST).map_err(TrainError::read(path))?;
        let text = std::str::from_utf8(&bytes).map_err(|error| {
            let why = format!("not UTF-8 from byte {} (from 0) on", error.valid_up_to());
            TrainError::run(path, why)
        })?;
        Self::parse(text).map_err(|error| TrainError::run(path, error))
    }

    /// The configuration as TOML.
    ///
    /// # Errors
    ///
    /// If TOML cannot represent a number.
    pub fn to_toml(&self) -> Result<String> {
        toml::to_string(self).map_err(|error| TrainError::Invalid {
            what: "configuration".to_string(),
            why: error.to_string(),
        })
    }

    /// Refuses invalid values.
    ///
    /// # Errors
    ///
    /// The error has the setting and the reason.
    pub fn validate(&self) -> Result<()> {
        self.model.validate()?;
        self.validate_condition()?;
        let network = self.model.task() != Task::Fit;
        let name = self.model.name();
        let invalid = |why: String| TrainError::Invalid {
            what: "training".to_string(),
            why,
        };
        match &self.training {
            Some(training) if network => training.validate(&self.model),
            None if !network => Ok(()),
            Some(_) => Err(invalid(format!("{name} has no training steps"))),
            None => Err(invalid(format!("{name} needs this section"))),
        }
    }
}

impl RunConfig {
    /// Loads the data set of the configuration, shrunk and with fewer bits if
    /// configured.
    ///
    /// # Errors
    ///
    /// If `data` is not a valid spec, or the files that are read immediately cannot be
    /// read.
    pub fn dataset(&self) -> Result<Dataset> {
        self.dataset_with(&Loading::default())
    }

    /// The same with another cache and with progress reports.
    ///
    /// # Errors
    ///
    /// As [`RunConfig::dataset`].
    pub fn dataset_with(&self, loading: &Loading) -> Result<Dataset> {
        Ok(self.reduced(load_with(&self.data.parse()?, loading)?))
    }

    /// A data set with the changes for the model of this run. If its images cannot be
    /// shrunk, or do not have these bits, opening a split is an error.
    pub fn reduced(&self, dataset: Dataset) -> Dataset {
        let dataset = match self.shrink {
            Some(factor) => dataset.map(move |images| images.shrunk(factor)),
            None => dataset,
        };
        match self.bits {
            Some(bits) => dataset.map(move |images| images.with_bits(bits)),
            None => dataset,
        }
    }

    /// The images of a split with their conditions.
    ///
    /// # Errors
    ///
    /// If the split is empty or does not have what the model needs.
    pub fn conditioned<'a>(
        &self,
        dataset: &'a Dataset,
        split: Split,
    ) -> Result<ConditionedDataset<'a>> {
        let images = dataset.split(split)?;
        let file = match (&self.condition_files, split) {
            (None, _) => None,
            (Some(files), Split::Train) => Some(&files.train),
            (Some(files), Split::Valid) => Some(&files.valid),
            (Some(files), Split::Test) => match &files.test {
                Some(file) => Some(file),
                None => {
                    return Err(TrainError::invalid(
                        "condition_files.test",
                        "nothing",
                        "a file",
                    ));
                }
            },
        };
        let given = file
            .map(|file| read_condition_file(Path::new(file)))
            .transpose()?;
        ConditionedDataset::new(&self.model, images, given).map_err(|error| match (error, file) {
            (TrainError::Invalid { what, why }, Some(file)) if what == "condition" => {
                TrainError::Invalid {
                    what: format!("condition_files.{split}"),
                    why: format!("{file}: {why}"),
                }
            }
            (TrainError::Invalid { what, why }, _) if what == "labels" => TrainError::Invalid {
                what,
                why: format!("{split} split: {why}"),
            },
            (other, _) => other,
        })
    }

    /// Refuses sources of conditions that the model does not use, and missing sources
    /// that it needs.
    fn validate_condition(&self) -> Result<()> {
        let conditioning = self.model.conditioning();
        let vectors = matches!(
            conditioning,
            Some(Conditioning::Vector { .. } | Conditioning::Map { .. })
        );
        let encoded = matches!(
            conditioning,
            Some(Conditioning::Embedding(_) | Conditioning::Code(_))
        );
        let invalid = |what: &str, why: &str| {
            Err(TrainError::Invalid {
                what: what.to_string(),
                why: why.to_string(),
            })
        };
        match (vectors, &self.condition_files) {
            (true, None) => {
                return invalid(
                    "condition_files",
                    "the model needs files of vectors or maps",
                );
            }
            (false, Some(_)) => {
                return invalid(
                    "condition_files",
                    "the model is not conditioned on vectors or maps",
                );
            }
            _ => {}
        }
        if let (false, Some(_)) = (
            matches!(conditioning, Some(Conditioning::Caption(_))),
            &self.tokenizer,
        ) {
            return invalid("tokenizer", "the model does not read captions");
        }
        for (name, other) in [
            ("pretrained_encoder", &self.pretrained_encoder),
            ("tokenizer", &self.tokenizer),
        ] {
            if self.init_from.is_some() && other.is_some() {
                return invalid(
                    "init_from",
                    &format!("the model has its own: leave out {name}"),
                );
            }
        }
        match (encoded, &self.pretrained_encoder) {
            (false, Some(_)) => invalid(
                "pretrained_encoder",
                "the model is not conditioned on an embedding or a code",
            ),
            _ if self
                .shrink
                .is_some_and(|factor| factor < 2 || !factor.is_power_of_two()) =>
            {
                invalid("shrink", "a power of two expected, at least 2")
            }
            _ => Ok(()),
        }
    }
}

impl Training {
    fn validate(&self, model: &ModelConfig) -> Result<()> {
        let counts = [
            ("training.steps", self.steps),
            ("training.batch", self.batch),
            ("training.images_per_class", self.images_per_class),
            ("training.validate_every", self.validate_every),
            ("training.log_every", self.log_every),
        ];
        for (name, count) in counts {
            if count == 0 {
                return Err(TrainError::invalid(name, count, "at least 1"));
            }
        }
        self.validate_images_per_class(model.task() == Task::Verification)?;
        // The losses since the last line of the log are part of each checkpoint.
        if self.log_every > 100_000 {
            return Err(TrainError::invalid(
                "training.log_every",
                self.log_every,
                "at most 100000",
            ));
        }
        let map = matches!(model.conditioning(), Some(Conditioning::Map { .. }));
        if map && self.flips == Flips::Horizontal {
            let allowed = "none: maps cannot be mirrored with their images";
            return Err(TrainError::invalid("training.flips", "horizontal", allowed));
        }
        for (name, value) in [
            ("training.learning_rate", self.learning_rate),
            ("training.max_grad_norm", self.max_grad_norm),
        ] {
            if !(value > 0.0 && value.is_finite()) {
                return Err(TrainError::invalid(name, value, "positive"));
            }
        }
        for (name, decay) in [
            ("training.ema_decay", Some(self.ema_decay)),
            ("training.second_ema_decay", self.second_ema_decay),
        ] {
            if let Some(decay) = decay.filter(|decay| !(0.0..1.0).contains(decay)) {
                return Err(TrainError::invalid(name, decay, "in [0, 1)"));
            }
        }
        if self.patience == Some(0) {
            return Err(TrainError::invalid("training.patience", 0, "at least 1"));
        }
        self.optimiser.validate()?;
        self.validate_extended()?;
        let first_end = self.extended.first().unwrap_or(&self.steps);
        self.schedule.validate(*first_end)
    }

    fn validate_images_per_class(&self, embedding: bool) -> Result<()> {
        let each = self.images_per_class;
        let name = "training.images_per_class";
        let (name, found, allowed) = match each {
            1 if embedding => (name, each, "at least 2 for an embedding network"),
            2.. if !embedding => (name, each, "1, which only an embedding network changes"),
            _ if embedding && self.batch / 2 < each => {
                let allowed = "at least 2 * images_per_class, for images of two labels";
                ("training.batch", self.batch, allowed)
            }
            _ => return Ok(()),
        };
        Err(TrainError::invalid(name, found, allowed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"
        seed = 1
        data = "photos32"
        [model]
        kind = "pixelcnn"
        image = { channels = 3, height = 32, width = 32, levels = 256 }
        first_kernel = 7
        kernel = 3
        blocks = 2
        maps = 6
        head = 6
        [training]
        steps = 10
        batch = 2
        learning_rate = 1e-3
        flips = "none"
        optimiser = { kind = "rms-prop" }
        max_grad_norm = 1.0
        ema_decay = 0.9
        validate_every = 5
        log_every = 1
    "#;

    #[test]
    fn survives_toml() {
        let config = RunConfig::parse(TEXT).unwrap();
        assert_eq!(
            RunConfig::parse(&config.to_toml().unwrap()).unwrap(),
            config
        );
    }

    #[test]
    fn a_precision_is_read_and_written_and_f32_needs_no_key() {
        let config = RunConfig::parse(TEXT).unwrap();
        assert!(!config.to_toml().unwrap().contains("precision"));
        for precision in Precision::ALL {
            let text = TEXT.replace(
                "log_every = 1",
                &format!("log_every = 1\nprecision = \"{precision}\""),
            );
            let found = RunConfig::parse(&text).unwrap();
            assert_eq!(found.training.as_ref().unwrap().precision, precision);
            let again = RunConfig::parse(&found.to_toml().unwrap()).unwrap();
            assert_eq!(again, found);
            assert_eq!(again == config, precision == Precision::F32);
        }
    }

    #[test]
    fn mistakes_are_named() {
        let refused = |from: &str, to: &str| {
            assert!(TEXT.contains(from));
            RunConfig::parse(&TEXT.replace(from, to))
                .unwrap_err()
                .to_string()
        };
        assert!(refused("steps = 10", "step = 10").contains("step"));
        assert!(refused("kernel = 3", "kernel = 4").contains("model.kernel"));
        assert!(refused("maps = 6", "maps = 2").contains("model.maps"));
        assert!(
            refused("learning_rate = 1e-3", "learning_rate = -1.0")
                .contains("training.learning_rate")
        );
        assert!(
            refused("learning_rate = 1e-3", "learning_rate = nan")
                .contains("training.learning_rate")
        );
        assert!(refused("batch = 2", "batch = 0").contains("training.batch"));
        assert!(refused("head = 6", "head = 6\nwidth = 3").contains("width"));
        assert!(refused("levels = 256", "levels = 1").contains("levels"));
        assert!(refused("\"pixelcnn\"", "\"pixelmlp\"").contains("pixelmlp"));
        let gated = TEXT.replace("\"pixelcnn\"", "\"gated-pixelcnn\"");
        for (condition, named) in [
            ("{ kind = \"vector\", length = 3 }", "condition_files"),
            ("{ kind = \"class\", length = 3 }", "length"),
            (
                "{ kind = \"class\", classes = 0 }",
                "model.conditioning.length",
            ),
        ] {
            let text = gated.replace("head = 6", &format!("head = 6\nconditioning = {condition}"));
            let error = RunConfig::parse(&text).unwrap_err().to_string();
            assert!(error.contains(named), "{error}");
        }
        let text = format!(
            "condition_files = {{ train = \"a.npy\", valid = \"b.npy\" }}\n{}",
            gated.replace(
                "head = 6",
                "head = 6\nconditioning = { kind = \"map\", maps = 1 }"
            )
        );
        assert!(RunConfig::parse(&text).is_ok());
        let error = RunConfig::parse(&text.replace("\"none\"", "\"horizontal\"")).unwrap_err();
        assert!(error.to_string().contains("training.flips"), "{error}");
    }

    #[test]
    fn the_line_of_a_mistake_is_named_in_one_line() {
        let error = RunConfig::parse("seed = 1\ndata = \"x\"\nsed = 2\n").unwrap_err();
        let expected = "invalid configuration: line 3, column 1: unknown field `sed`";
        assert!(error.to_string().starts_with(expected), "{error}");
        let error = RunConfig::parse("seed = 1\n\ndata =")
            .unwrap_err()
            .to_string();
        assert!(error.contains("line 3, column 7: "), "{error}");
        assert!(!error.contains('\n'), "{error}");
    }

    #[test]
    fn a_network_needs_training_and_a_baseline_has_none() {
        let (head, _) = TEXT.split_once("[training]").unwrap();
        let error = RunConfig::parse(head).unwrap_err().to_string();
        assert!(error.contains("PixelCNN needs"), "{error}");
    }
}
