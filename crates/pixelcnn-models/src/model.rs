//! A model of any kind: initialise, save, load.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::{DType, Device, Tensor, Var};

use crate::checkpoint::file_error;
use crate::gaussian::{IMAGES_PER_CHUNK, ImageSource, parts};
use crate::size::check_large;
use crate::weights::{WEIGHTS, read_weights, weights_file};
use crate::{
    AutoEncoder, CaptionTokenizer, Classifier, Conditioning, DensityModel, EmbeddingNetwork,
    Gaussian, ModelConfig, ModelError, Network, Parameters, write_file, write_tensors,
};

/// Prefix of the names of an encoder's weights.
pub(crate) const CONDITION: &str = "condition.";
/// Prefix of the names of a frozen embedding network's weights.
const FROZEN: &str = "condition.embedding.";
pub(crate) const TOKENIZER: &str = "tokenizer.json";

/// The weights of a model that training changes, by name, sorted.
pub type Variables = BTreeMap<String, Var>;

/// A model with its configuration and weights.
///
/// # Example
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use pixelcnn_models::{Condition, Model, ModelConfig, PixelCnnConfig};
///
/// let config = PixelCnnConfig { blocks: 1, maps: 3, head: 3, ..PixelCnnConfig::cifar10() };
/// let config = ModelConfig::from(config);
/// let (model, _) = Model::initialise(&config, 1, &Device::Cpu)?;
///
/// let folder = tempfile::tempdir()?;
/// model.save(folder.path())?;
/// let loaded = Model::load(folder.path(), &Device::Cpu)?;
///
/// let images = Tensor::zeros((1, 3, 4, 4), DType::U8, &Device::Cpu)?;
/// let (before, after) = (
///     model.density()?.nats(&images, &Condition::None)?,
///     loaded.density()?.nats(&images, &Condition::None)?,
/// );
/// assert_eq!(before.to_vec2::<f64>()?, after.to_vec2::<f64>()?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Model {
    config: ModelConfig,
    kind: Kind,
    tensors: BTreeMap<String, Tensor>,
}

/// The parts of a model.
#[derive(Clone, Debug)]
pub enum Kind {
    /// A distribution over images.
    Density(Box<DensityModel>),
    /// An auto-encoder of means.
    AutoEncoder(Box<AutoEncoder>),
    /// An embedding network, and the margin of its loss.
    Embedding(Box<EmbeddingNetwork>, f64),
    /// A classifier.
    Classifier(Box<Classifier>),
}

impl Model {
    /// A network with random initial weights from `seed`, and its weights as
    /// variables.
    ///
    /// # Errors
    ///
    /// If the configuration is invalid or that of a Gaussian, which is
    /// fitted instead ([`Model::fit_gaussian`]).
    pub fn initialise(
        config: &ModelConfig,
        seed: u64,
        device: &Device,
    ) -> Result<(Self, Variables), ModelError> {
        let drawn = Self::build(config, &Parameters::drawn(seed), DType::F32, device)?;
        // Masked entries always stay zero: files contain the zeros of the mask.
        if let Some(network) = drawn.0.network() {
            for convolution in network.convolutions() {
                let variable = drawn.1.get(&format!("{}.weight", convolution.name()));
                if let Some(variable) = variable.filter(|_| convolution.is_masked()) {
                    variable.set(&convolution.masked_weight()?.detach())?;
                }
            }
        }
        Ok(drawn)
    }

    /// A network with the given weights as variables, for further training.
    ///
    /// # Errors
    ///
    /// If the weights do not fit the configuration.
    pub fn trainable(
        config: &ModelConfig,
        tensors: BTreeMap<String, Tensor>,
        device: &Device,
    ) -> Result<(Self, Variables), ModelError> {
        Self::build(config, &Parameters::trainable(tensors), DType::F32, device)
    }

    /// A model with the given weights, for inference in `dtype`.
    ///
    /// # Errors
    ///
    /// If the weights do not fit the configuration.
    pub fn from_tensors(
        config: &ModelConfig,
        tensors: BTreeMap<String, Tensor>,
        dtype: DType,
        device: &Device,
    ) -> Result<Self, ModelError> {
        Ok(Self::build(config, &Parameters::fixed(tensors), dtype, device)?.0)
    }

    fn build(
        config: &ModelConfig,
        parameters: &Parameters,
        dtype: DType,
        device: &Device,
    ) -> Result<(Self, Variables), ModelError> {
        config.validate()?;
        config.check_memory()?;
        let weights = parameters.builder(dtype, device);
        let kind = config.build(weights)?;
        let left_over = parameters.left_over();
        if !left_over.is_empty() {
            let why = format!(
                "tensors that do not belong to this model: {}",
                left_over.join(", ")
            );
            return Err(ModelError::invalid("tensors", why));
        }
        let mut variables = parameters.variables();
        let mut model = Self {
            config: config.clone(),
            kind,
            tensors: parameters.tensors(),
        };
        if let (Some(network), true) = (model.network(), variables.is_empty()) {
            // A file of another program may contain any value in masked
            // entries; ours contain zeros.
            let masked = network.convolutions().into_iter().map(|convolution| {
                let name = format!("{}.weight", convolution.name());
                Ok((name, convolution.masked_weight()?))
            });
            let masked = masked.collect::<candle_core::Result<Vec<_>>>()?;
            model.tensors.extend(masked);
        }
        variables.retain(|name, _| !name.starts_with(FROZEN));
        Ok((model, variables))
    }

    /// Sets the tokenizer of the model; it is
    /// saved and loaded with the model.
    ///
    /// # Errors
    ///
    /// If the model is not conditioned on captions, or the tokenizer has too many
    /// tokens.
    pub fn with_tokenizer(mut self, tokenizer: CaptionTokenizer) -> Result<Self, ModelError> {
        let (Kind::Density(density), Some(Conditioning::Caption(config))) =
            (&mut self.kind, self.config.conditioning())
        else {
            let why = format!("{} does not read captions", self.config.name());
            return Err(ModelError::invalid("tokenizer", why));
        };
        if tokenizer.vocabulary() > config.vocabulary {
            let (found, known) = (tokenizer.vocabulary(), config.vocabulary);
            let why = format!("{found} tokens, but the model has {known}");
            return Err(ModelError::invalid("tokenizer", why));
        }
        density.encoder_mut().set_tokenizer(tokenizer);
        Ok(self)
    }

    /// Fits a Gaussian to images `[n, c, h, w]`, and chooses its shrinkage on
    /// `valid`; of both, some are in memory at a time. Its weights are kept in f32, as
    /// they are saved.
    ///
    /// # Errors
    ///
    /// If the configuration is that of another model or the images do not fit it.
    pub fn fit_gaussian(
        config: &ModelConfig,
        train: &dyn ImageSource,
        valid: &dyn ImageSource,
    ) -> Result<Self, ModelError> {
        for images in [train, valid] {
            let count = images.count();
            // Of none, the shape alone is wrong.
            let none = (count == 0).then_some(0..0);
            for range in none.into_iter().chain(parts(count, IMAGES_PER_CHUNK)) {
                config.image().check(&images.part(range)?)?;
            }
        }
        // Covariances, their decomposition and some images, in f64.
        let most = train.count().max(valid.count()).min(IMAGES_PER_CHUNK);
        let images = 4 * most as u128 * config.image().dimensions() as u128;
        let bytes = 8 * (6 * config.weights() + images);
        check_large(bytes, || "fitting the Gaussian".to_string())?;
        let fitted = Gaussian::fit(train, valid)?;
        tracing::info!(shrinkage = fitted.shrinkage(), "fitted a Gaussian");
        let tensors = [("mean", fitted.mean()), ("whitening", fitted.whitening())]
            .into_iter()
            .map(|(name, tensor)| Ok((name.to_string(), tensor.to_dtype(DType::F32)?)))
            .collect::<candle_core::Result<_>>()?;
        Self::from_tensors(config, tensors, DType::F32, &Device::Cpu)
    }

    /// Writes `config.json`, `model.safetensors` and, if the model reads
    /// captions, `tokenizer.json` to the folder `path`.
    ///
    /// # Errors
    ///
    /// If a file cannot be written.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), ModelError> {
        self.save_with_note(path, "")
    }

    /// The same with a note in `model.safetensors`, which
    /// [`read_note`](crate::read_note) reads.
    ///
    /// # Errors
    ///
    /// If a file cannot be written.
    pub fn save_with_note(&self, path: impl AsRef<Path>, note: &str) -> Result<(), ModelError> {
        let text = serde_json::to_string_pretty(&self.config);
        self.write(path.as_ref(), &self.tensors, text, note)
    }

    /// The same for publication: weights in `dtype`, one of F32, F16 and BF16, and a
    /// `config.json` with the fields `model_type` and `format_version`.
    ///
    /// # Errors
    ///
    /// If a file cannot be written, or a weight is too large for `dtype`.
    ///
    /// # Example
    ///
    /// ```
    /// use candle_core::{DType, Device};
    /// use pixelcnn_models::{Model, ModelConfig, PixelCnnConfig};
    ///
    /// let config = PixelCnnConfig { blocks: 1, maps: 3, head: 3, ..PixelCnnConfig::cifar10() };
    /// let (model, _) = Model::initialise(&ModelConfig::from(config), 1, &Device::Cpu)?;
    /// let folder = tempfile::tempdir()?;
    /// model.export(folder.path(), DType::BF16, "")?;
    /// let loaded = Model::load(folder.path(), &Device::Cpu)?;
    /// assert_eq!(loaded.config(), model.config());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn export(
        &self,
        path: impl AsRef<Path>,
        dtype: DType,
        note: &str,
    ) -> Result<(), ModelError> {
        if !matches!(dtype, DType::F32 | DType::F16 | DType::BF16) {
            let why = format!("F32, F16 or BF16 expected, found {}", dtype.as_str());
            return Err(ModelError::invalid("type of the weights", why));
        }
        let tensors = self.tensors.iter().map(|(name, tensor)| {
            let stored = tensor.to_dtype(dtype)?;
            let largest = stored.to_dtype(DType::F32)?.abs()?.flatten_all()?.max(0)?;
            match largest.to_scalar::<f32>()?.is_finite() {
                true => Ok((name.clone(), stored)),
                false => {
                    let why = format!(
                        "a weight is too large for {}: use another type",
                        dtype.as_str()
                    );
                    Err(ModelError::invalid(&format!("tensor {name}"), why))
                }
            }
        });
        let tensors = tensors.collect::<Result<_, ModelError>>()?;
        self.write(path.as_ref(), &tensors, self.config.published(), note)
    }

    /// Writes the files of a model directory.
    fn write(
        &self,
        path: &Path,
        tensors: &BTreeMap<String, Tensor>,
        config: serde_json::Result<String>,
        note: &str,
    ) -> Result<(), ModelError> {
        std::fs::create_dir_all(path).map_err(|source| ModelError::Io {
            path: path.to_path_buf(),
            source,
        })?;
        write_tensors(path.join(WEIGHTS), tensors, note)?;
        if let Kind::Density(density) = &self.kind
            && let Some(tokenizer) = density.condition_encoder().tokenizer()
        {
            tokenizer.save(path.join(TOKENIZER))?;
        }
        let file = path.join("config.json");
        let text = config.map_err(|error| file_error(&file, error))? + "\n";
        write_file(&file, text.as_bytes())
    }

    /// Reads a model that [`Model::save`] wrote, or one of the same layout whose weights are
    /// stored as f16, bf16, f32 or f64, in one file or in several with an index
    /// ([`weight_files`](crate::weight_files)). The model computes in f32 with the stored
    /// numbers.
    ///
    /// # Errors
    ///
    /// If a file is missing or damaged, the configuration has an unknown
    /// field, or the tensors do not fit it; the error names the file.
    pub fn load(path: impl AsRef<Path>, device: &Device) -> Result<Self, ModelError> {
        let file = path.as_ref().join("config.json");
        let config = ModelConfig::read(&file)?;
        config
            .check_memory()
            .map_err(|error| file_error(&file, error))?;
        let tensors = read_weights(path.as_ref(), device)?;
        let file = weights_file(path.as_ref());
        let model = Self::from_tensors(&config, tensors, DType::F32, device)
            .map_err(|error| file_error(&file, error))?;
        // A model without tokenizer reads only tokens and refuses texts.
        let file = path.as_ref().join(TOKENIZER);
        match file.symlink_metadata().is_ok() {
            false => Ok(model),
            true => model
                .with_tokenizer(CaptionTokenizer::load(&file)?)
                .map_err(|error| file_error(&file, error)),
        }
    }

    /// The configuration.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// The weights by name, sorted.
    pub fn tensors(&self) -> &BTreeMap<String, Tensor> {
        &self.tensors
    }

    /// The frozen weights: those of the embedding
    /// network that the model is conditioned on.
    pub fn frozen(&self) -> BTreeMap<String, Tensor> {
        let tensors = self.tensors.iter();
        let frozen = tensors.filter(|(name, _)| name.starts_with(FROZEN));
        frozen
            .map(|(name, tensor)| (name.clone(), tensor.clone()))
            .collect()
    }

    /// The parts of the model.
    pub fn kind(&self) -> &Kind {
        &self.kind
    }

    /// The model as a distribution over images.
    ///
    /// # Errors
    ///
    /// If it is another kind of model.
    pub fn density(&self) -> Result<&DensityModel, ModelError> {
        match &self.kind {
            Kind::Density(density) => Ok(density),
            _ => {
                let why = format!("{} has no likelihood", self.config.name());
                Err(ModelError::invalid("model", why))
            }
        }
    }

    /// The network, if the model is a pixel network.
    pub fn network(&self) -> Option<&Network> {
        match &self.kind {
            Kind::Density(density) => density.network(),
            _ => None,
        }
    }

    /// Number of weights and biases, without masked ones
    /// and without the zeros above the diagonal of a Gaussian's matrix.
    pub fn parameters(&self) -> usize {
        let size = self.config.image().dimensions();
        let all = |wanted: &dyn Fn(&str) -> bool| {
            let tensors = self.tensors.iter().filter(|(name, _)| wanted(name));
            tensors
                .map(|(_, tensor)| tensor.elem_count())
                .sum::<usize>()
        };
        match &self.kind {
            Kind::Density(density) => match density.network() {
                Some(network) => {
                    network.graph().parameters() + all(&|name| name.starts_with(CONDITION))
                }
                // A Gaussian, or no weights at all.
                None if self.tensors.is_empty() => 0,
                None => size + size * (size + 1) / 2,
            },
            Kind::AutoEncoder(_) | Kind::Embedding(..) | Kind::Classifier(_) => all(&|_| true),
        }
    }
}
