//! A model of any kind: made, saved, loaded, asked for likelihoods.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::{DType, Device, Tensor, Var};
use pixelcnn_layers::{Activation, Condition};

use crate::checkpoint::file_error;
use crate::{
    Gaussian, ModelConfig, ModelError, Network, Parameters, cross_entropy, read_tensors, scale,
    uniform_nats, write_file, write_tensors,
};

/// The trainable weights of a model by name, sorted.
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
/// let config = ModelConfig::PixelCnn(config);
/// let (model, _) = Model::initialise(&config, 1, &Device::Cpu)?;
///
/// let folder = tempfile::tempdir()?;
/// model.save(folder.path())?;
/// let loaded = Model::load(folder.path(), &Device::Cpu)?;
///
/// let images = Tensor::zeros((1, 3, 4, 4), DType::U8, &Device::Cpu)?;
/// let (before, after) = (
///     model.nats(&images, &Condition::None)?,
///     loaded.nats(&images, &Condition::None)?,
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

#[derive(Clone, Debug)]
enum Kind {
    Uniform,
    Gaussian(Gaussian),
    Network(Box<Network>),
}

impl Model {
    /// A network with weights drawn from `seed`, and its weights as
    /// variables.
    ///
    /// # Errors
    ///
    /// If the configuration makes no sense or is of a Gaussian, which is
    /// fitted instead ([`Model::fit_gaussian`]).
    pub fn initialise(
        config: &ModelConfig,
        seed: u64,
        device: &Device,
    ) -> Result<(Self, Variables), ModelError> {
        let drawn = Self::build(config, &Parameters::drawn(seed), DType::F32, device)?;
        // Closed entries never change from zero: files hold the mask's zeros.
        if let Kind::Network(network) = &drawn.0.kind {
            for convolution in network.convolutions() {
                let variable = drawn.1.get(&format!("{}.weight", convolution.name()));
                if let (Some(variable), Some(_)) = (variable, convolution.mask()) {
                    variable.set(&convolution.masked_weight()?.detach())?;
                }
            }
        }
        Ok(drawn)
    }

    /// A network with the given weights as variables, to be trained on.
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
        let weights = parameters.builder(dtype, device);
        let kind = match config {
            ModelConfig::Uniform(_) => Kind::Uniform,
            ModelConfig::Gaussian(baseline) => {
                let (image, size) = (baseline.image, baseline.image.dimensions());
                let mean = weights.get(size, "mean")?;
                let whitening = weights.get((size, size), "whitening")?;
                let (c, h, w) = (image.channels, image.height, image.width);
                Kind::Gaussian(Gaussian::from_tensors(c, h, w, mean, whitening)?)
            }
            ModelConfig::PixelCnn(_) | ModelConfig::GatedPixelCnn(_) => {
                Kind::Network(Box::new(Network::new(config, Activation::Paper, weights)?))
            }
        };
        let left_over = parameters.left_over();
        if !left_over.is_empty() {
            let why = format!("not of this model: {}", left_over.join(", "));
            return Err(ModelError::invalid("tensors", why));
        }
        let (mut tensors, variables) = (parameters.tensors(), parameters.variables());
        if let (Kind::Network(network), true) = (&kind, variables.is_empty()) {
            // Another program's file may hold anything where the mask is
            // closed; ours hold zeros.
            for convolution in network.convolutions() {
                let name = format!("{}.weight", convolution.name());
                tensors.insert(name, convolution.masked_weight()?);
            }
        }
        let model = Self {
            config: config.clone(),
            kind,
            tensors,
        };
        Ok((model, variables))
    }

    /// Fits a Gaussian to images `[n, c, h, w]`, its shrinkage chosen on
    /// `valid`. Its weights are kept in f32, as they are saved.
    ///
    /// # Errors
    ///
    /// If the configuration is of another model or the images do not fit it.
    pub fn fit_gaussian(
        config: &ModelConfig,
        train: &Tensor,
        valid: &Tensor,
    ) -> Result<Self, ModelError> {
        for images in [train, valid] {
            config.image().check(images)?;
        }
        let fitted = Gaussian::fit(train, valid)?;
        tracing::info!(shrinkage = fitted.shrinkage(), "fitted a Gaussian");
        let tensors = [("mean", fitted.mean()), ("whitening", fitted.whitening())]
            .into_iter()
            .map(|(name, tensor)| Ok((name.to_string(), tensor.to_dtype(DType::F32)?)))
            .collect::<candle_core::Result<_>>()?;
        Self::from_tensors(config, tensors, DType::F32, &Device::Cpu)
    }

    /// Writes `config.json` and `model.safetensors` to the folder `path`.
    ///
    /// # Errors
    ///
    /// If a file cannot be written.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), ModelError> {
        let path = path.as_ref();
        std::fs::create_dir_all(path).map_err(|source| ModelError::Io {
            path: path.to_path_buf(),
            source,
        })?;
        write_tensors(path.join("model.safetensors"), &self.tensors, "")?;
        let file = path.join("config.json");
        let text = serde_json::to_string_pretty(&self.config);
        let text = text.map_err(|error| file_error(&file, error))? + "\n";
        write_file(&file, text.as_bytes())
    }

    /// Reads a model that [`Model::save`] wrote, in f32.
    ///
    /// # Errors
    ///
    /// If a file is missing or broken, the configuration has an unknown
    /// field, or the tensors do not fit it; each names the file.
    pub fn load(path: impl AsRef<Path>, device: &Device) -> Result<Self, ModelError> {
        let file = path.as_ref().join("config.json");
        let text = std::fs::read_to_string(&file).map_err(|source| ModelError::Io {
            path: file.clone(),
            source,
        })?;
        let config: ModelConfig =
            serde_json::from_str(&text).map_err(|error| file_error(&file, error))?;
        config
            .validate()
            .map_err(|error| file_error(&file, error))?;
        let file = path.as_ref().join("model.safetensors");
        let (tensors, _) = read_tensors(&file, device)?;
        Self::from_tensors(&config, tensors, DType::F32, device)
            .map_err(|error| file_error(&file, error))
    }

    /// The configuration.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// The weights by name, sorted.
    pub fn tensors(&self) -> &BTreeMap<String, Tensor> {
        &self.tensors
    }

    /// The network, if the model is one.
    pub fn network(&self) -> Option<&Network> {
        match &self.kind {
            Kind::Network(network) => Some(network),
            Kind::Uniform | Kind::Gaussian(_) => None,
        }
    }

    /// Logits of every value given the values before it.
    ///
    /// # Shapes
    ///
    /// `values [b, c, h, w]` to `[b, c, levels, h, w]`.
    ///
    /// # Errors
    ///
    /// If the values or the condition do not fit, or the model has no logits:
    /// it is no network.
    pub fn logits(&self, values: &Tensor, condition: &Condition) -> Result<Tensor, ModelError> {
        let image = self.config.image();
        image.check(values)?;
        let Some(network) = self.network() else {
            let why = format!("{} has none: it is no network", self.config.name());
            return Err(ModelError::invalid("logits", why));
        };
        let dtype = self
            .tensors
            .values()
            .next()
            .map_or(DType::F32, Tensor::dtype);
        Ok(network.forward(&scale(values, image.levels, dtype)?, condition)?)
    }

    /// Nats `-log p(x)` of each image and channel, in f64; their sum over
    /// channels is the image's. A Gaussian's are an upper bound.
    ///
    /// # Shapes
    ///
    /// `values [b, c, h, w]` to `[b, c]`, on the CPU.
    ///
    /// # Errors
    ///
    /// If the values or the condition do not fit.
    pub fn nats(&self, values: &Tensor, condition: &Condition) -> Result<Tensor, ModelError> {
        match (&self.kind, condition) {
            (Kind::Network(_), _) => {
                let logits = self.logits(values, condition)?;
                let nats = cross_entropy(&logits, values)?;
                // Not every device has f64.
                let nats = nats.to_device(&Device::Cpu)?.to_dtype(DType::F64)?;
                Ok(nats.sum((2, 3))?)
            }
            (Kind::Uniform, Condition::None) => {
                self.config.image().check(values)?;
                Ok(uniform_nats(values, self.config.image().levels)?)
            }
            (Kind::Gaussian(gaussian), Condition::None) => {
                self.config.image().check(values)?;
                gaussian.nats(values)
            }
            (Kind::Uniform | Kind::Gaussian(_), _) => {
                let why = format!("{} takes none", self.config.name());
                Err(ModelError::invalid("condition", why))
            }
        }
    }

    /// Number of weights and biases that are used: masked ones do not count,
    /// nor the zeros above the diagonal of a Gaussian's matrix.
    ///
    /// # Errors
    ///
    /// Those of the tensor operations.
    pub fn parameters(&self) -> Result<usize, ModelError> {
        let size = self.config.image().dimensions();
        match &self.kind {
            Kind::Uniform => Ok(0),
            Kind::Gaussian(_) => Ok(size + size * (size + 1) / 2),
            Kind::Network(network) => Ok(network.parameters()?),
        }
    }
}
