//! A model of any kind: made, saved, loaded, asked for likelihoods.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::{DType, Device, Tensor, Var};
use pixelcnn_kernels::is_fast;
use pixelcnn_layers::{Condition, Pass};

use crate::checkpoint::file_error;
use crate::size::check_large;
use crate::{
    AutoEncoder, Bottleneck, CaptionTokenizer, Classifier, Conditioning, EmbeddingNetwork, Encoder,
    Gaussian, Likelihood, ModelConfig, ModelError, Network, Parameters, read_tensors, scale,
    uniform_nats, write_file, write_tensors,
};

/// Before the names of a condition's weights.
const CONDITION: &str = "condition.";
/// Before those of an embedding network that is conditioned on.
const FROZEN: &str = "condition.embedding.";
const TOKENIZER: &str = "tokenizer.json";
/// Outputs that are made at a time for likelihoods: 256 MB.
const MOST_OUTPUTS: usize = 1 << 26;

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

/// What a model is made of.
#[derive(Clone, Debug)]
pub enum Kind {
    /// Nothing: the uniform distribution.
    Uniform,
    /// A Gaussian.
    Gaussian(Gaussian),
    /// A network of pixels in order, and what turns its condition into what
    /// its blocks take.
    Network(Box<Network>, Box<Encoder>),
    /// An auto-encoder of means.
    AutoEncoder(Box<AutoEncoder>),
    /// An embedding network, and the margin of its loss.
    Embedding(Box<EmbeddingNetwork>, f64),
    /// A classifier.
    Classifier(Box<Classifier>),
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
        if let Kind::Network(network, _) = &drawn.0.kind {
            for convolution in network.convolutions() {
                let variable = drawn.1.get(&format!("{}.weight", convolution.name()));
                if let Some(variable) = variable.filter(|_| convolution.is_masked()) {
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
        config.check_memory()?;
        let weights = parameters.builder(dtype, device);
        let kind = config.build(weights)?;
        let left_over = parameters.left_over();
        if !left_over.is_empty() {
            let why = format!("not of this model: {}", left_over.join(", "));
            return Err(ModelError::invalid("tensors", why));
        }
        let (mut tensors, mut variables) = (parameters.tensors(), parameters.variables());
        if let (Kind::Network(network, _), true) = (&kind, variables.is_empty()) {
            // Another program's file may hold anything where the mask is
            // closed; ours hold zeros.
            for convolution in network.convolutions() {
                let name = format!("{}.weight", convolution.name());
                tensors.insert(name, convolution.masked_weight()?);
            }
        }
        variables.retain(|name, _| !name.starts_with(FROZEN));
        let model = Self {
            config: config.clone(),
            kind,
            tensors,
        };
        Ok((model, variables))
    }

    /// Gives the model the tokenizer that turns texts into its tokens; it is
    /// saved and loaded with the model.
    ///
    /// # Errors
    ///
    /// If the model is not conditioned on captions, or there are more tokens
    /// than it knows.
    pub fn with_tokenizer(mut self, tokenizer: CaptionTokenizer) -> Result<Self, ModelError> {
        let (Kind::Network(_, encoder), Some(Conditioning::Caption(config))) =
            (&mut self.kind, self.config.conditioning())
        else {
            let why = format!("{} reads no captions", self.config.name());
            return Err(ModelError::invalid("tokenizer", why));
        };
        if tokenizer.vocabulary() > config.vocabulary {
            let (found, known) = (tokenizer.vocabulary(), config.vocabulary);
            let why = format!("{found} tokens, the model knows {known}");
            return Err(ModelError::invalid("tokenizer", why));
        }
        encoder.set_tokenizer(tokenizer);
        Ok(self)
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
        // Covariances, their decomposition and the images, in f64.
        let images = (train.elem_count() + valid.elem_count()) as u128;
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

    /// Writes `config.json`, `model.safetensors` and, where the model reads
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
        let path = path.as_ref();
        std::fs::create_dir_all(path).map_err(|source| ModelError::Io {
            path: path.to_path_buf(),
            source,
        })?;
        write_tensors(path.join("model.safetensors"), &self.tensors, note)?;
        if let Some(tokenizer) = self.encoder().and_then(Encoder::tokenizer) {
            tokenizer.save(path.join(TOKENIZER))?;
        }
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
        let config = ModelConfig::read(&file)?;
        config
            .check_memory()
            .map_err(|error| file_error(&file, error))?;
        let file = path.as_ref().join("model.safetensors");
        let (tensors, _) = read_tensors(&file, device)?;
        let model = Self::from_tensors(&config, tensors, DType::F32, device)
            .map_err(|error| file_error(&file, error))?;
        // A model may read tokens alone; texts are refused then.
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

    /// The weights that training leaves as they are: those of the embedding
    /// network that the model is conditioned on.
    pub fn frozen(&self) -> BTreeMap<String, Tensor> {
        let tensors = self.tensors.iter();
        let frozen = tensors.filter(|(name, _)| name.starts_with(FROZEN));
        frozen
            .map(|(name, tensor)| (name.clone(), tensor.clone()))
            .collect()
    }

    /// What the model is made of.
    pub fn kind(&self) -> &Kind {
        &self.kind
    }

    /// The network, if the model is one of pixels in order.
    pub fn network(&self) -> Option<&Network> {
        match &self.kind {
            Kind::Network(network, _) => Some(network),
            _ => None,
        }
    }

    /// What turns the network's condition into what its blocks take.
    pub fn encoder(&self) -> Option<&Encoder> {
        match &self.kind {
            Kind::Network(_, encoder) => Some(encoder),
            _ => None,
        }
    }

    /// Images as the model's networks read them: -1..1, of its type, on its
    /// device.
    ///
    /// # Errors
    ///
    /// If the values do not fit.
    pub fn scaled(&self, values: &Tensor) -> Result<Tensor, ModelError> {
        let image = self.config.image();
        image.check(values)?;
        let one = self.tensors.values().next();
        let (dtype, device) = one.map_or((DType::F32, values.device()), |tensor| {
            (tensor.dtype(), tensor.device())
        });
        Ok(scale(&values.to_device(device)?, image.levels, dtype)?)
    }

    /// The parameters of the distribution of every value given the values before it:
    /// logits of a softmax.
    ///
    /// # Shapes
    ///
    /// `values [b, c, h, w]` to `[b, groups, parameters, h, w]`; of a softmax `[b, c,
    /// levels, h, w]`.
    ///
    /// # Errors
    ///
    /// If the values or the condition do not fit, or the model has no pixel order.
    pub fn outputs(&self, values: &Tensor, condition: &Condition) -> Result<Tensor, ModelError> {
        let rows = values.dims().get(2).copied().unwrap_or(1);
        let (network, maps) = self.maps(values, condition, rows)?;
        Ok(network.outputs(&maps)?)
    }

    /// Nats `-log p(x|h)` of every value given the values before it, with gradients
    /// where the model has variables: what training lowers.
    ///
    /// # Shapes
    ///
    /// `values [b, c, h, w]` to the same, of the model's type and on its device.
    ///
    /// # Errors
    ///
    /// If the values or the condition do not fit, or the model has no pixel order.
    pub fn value_nats(&self, values: &Tensor, condition: &Condition) -> Result<Tensor, ModelError> {
        let rows = self.rows(values);
        let (network, maps) = self.maps(values, condition, rows)?;
        Ok(network.nats(&maps, &values.to_device(maps.device())?, rows)?)
    }

    /// The network and the maps that its head makes logits of, where there is
    /// memory for them and for the logits of `rows`.
    fn maps(
        &self,
        values: &Tensor,
        condition: &Condition,
        rows: usize,
    ) -> Result<(&Network, Tensor), ModelError> {
        let Kind::Network(network, encoder) = &self.kind else {
            let why = format!("{} has none: it has no pixel order", self.config.name());
            return Err(ModelError::invalid("logits", why));
        };
        if let &[b, _, h, w] = values.dims() {
            let pass = Pass {
                height: h,
                rows,
                gradients: self.is_trained(),
                kernels: self.tensors.values().next().is_some_and(is_fast),
            };
            self.config.check_pass(network.graph(), [b, w], pass)?;
        }
        let images = self.scaled(values)?;
        let (b, _, h, w) = images.dims4()?;
        let condition = encoder.encode(condition, (b, h, w))?;
        Ok((network, network.maps(&images, &condition)?))
    }

    /// Whether gradients are kept.
    fn is_trained(&self) -> bool {
        self.tensors.values().any(Tensor::track_op)
    }

    /// Rows of images whose outputs are made at a time; all of them where
    /// gradients need all outputs anyway.
    fn rows(&self, values: &Tensor) -> usize {
        let (&[b, _, h, w], Some(network)) = (values.dims(), self.network()) else {
            return 1;
        };
        let graph = network.graph();
        let outputs = graph.maps(graph.ends().1);
        let row = outputs.saturating_mul(b).saturating_mul(w);
        match self.is_trained() {
            true => h,
            false => (MOST_OUTPUTS / row.max(1)).clamp(1, h.max(1)),
        }
    }

    /// Number of values of a code that is drawn, of a model with a Gaussian
    /// bottleneck.
    pub fn code_length(&self) -> Option<usize> {
        match self.config.conditioning() {
            Some(Conditioning::Code(config)) => match config.bottleneck {
                Bottleneck::Gaussian { .. } => Some(config.length),
                Bottleneck::Plain {} => None,
            },
            _ => None,
        }
    }

    /// The condition with a code drawn for each image, by standard normal
    /// numbers `[b, m]`, and the nats of each value's divergence from the
    /// prior, `[b, m]`: with the nats of the images given the code, a bound on
    /// those of the images. A model without a Gaussian bottleneck, or one that
    /// is given a code, keeps its condition.
    ///
    /// # Errors
    ///
    /// If the condition or the numbers do not fit.
    pub fn draw_code(
        &self,
        condition: &Condition,
        normal: &Tensor,
    ) -> Result<(Condition, Option<Tensor>), ModelError> {
        let latent = match self.encoder() {
            Some(encoder) => encoder.latent(condition)?,
            None => None,
        };
        Ok(match latent {
            None => (condition.clone(), None),
            Some(latent) => {
                let mean = &latent.mean;
                let normal = normal.to_device(mean.device())?.to_dtype(mean.dtype())?;
                let code = Condition::Vector(latent.draw(&normal)?);
                (code, Some(latent.divergence()?))
            }
        })
    }

    /// Nats `-log p(x|h)` of each image and channel, in f64; their sum over
    /// channels is the image's. A Gaussian's are an upper bound. Where a network's
    /// numbers overflow they are not finite.
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
            (Kind::Network(..), _) => {
                let nats = self.value_nats(values, condition)?;
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
            (Kind::AutoEncoder(_) | Kind::Embedding(..) | Kind::Classifier(_), _) => {
                let why = format!("{} has none", self.config.name());
                Err(ModelError::invalid("likelihood", why))
            }
        }
    }

    /// The likelihood of images given their condition, in bits/dim: what
    /// [`Likelihood::add`] adds up over several batches. The size is that of the
    /// images, whatever the model was trained on;
    /// [`Definition::score`](crate::Definition::score) says whether the number is a likelihood of the
    /// images at all.
    ///
    /// # Shapes
    ///
    /// `images [b, c, h, w]`.
    ///
    /// # Errors
    ///
    /// If the images or the condition do not fit, or the model has no
    /// likelihood.
    ///
    /// # Example
    ///
    /// ```
    /// use candle_core::{DType, Device, Tensor};
    /// use pixelcnn_models::{Condition, Model, ModelConfig, PixelCnnConfig};
    ///
    /// let config = PixelCnnConfig { blocks: 1, maps: 3, head: 3, ..PixelCnnConfig::cifar10() };
    /// let (model, _) = Model::initialise(&ModelConfig::from(config), 1, &Device::Cpu)?;
    /// let images = Tensor::zeros((2, 3, 5, 7), DType::U8, &Device::Cpu)?;
    /// let likelihood = model.bits_per_dim(&images, &Condition::None)?;
    /// // Before it has learnt anything.
    /// assert!((likelihood.bits_per_dim() - 8.0).abs() < 0.5);
    /// assert_eq!(likelihood.std_err(), Some(0.0)); // both images are alike
    /// # Ok::<(), pixelcnn_models::ModelError>(())
    /// ```
    pub fn bits_per_dim(
        &self,
        images: &Tensor,
        condition: &Condition,
    ) -> Result<Likelihood, ModelError> {
        let mut likelihood = Likelihood::new();
        likelihood.add(self, images, condition)?;
        Ok(likelihood)
    }

    /// Number of weights and biases that are used: masked ones do not count,
    /// nor the zeros above the diagonal of a Gaussian's matrix.
    pub fn parameters(&self) -> usize {
        let size = self.config.image().dimensions();
        let all = |wanted: &dyn Fn(&str) -> bool| {
            let tensors = self.tensors.iter().filter(|(name, _)| wanted(name));
            tensors
                .map(|(_, tensor)| tensor.elem_count())
                .sum::<usize>()
        };
        match &self.kind {
            Kind::Uniform => 0,
            Kind::Gaussian(_) => size + size * (size + 1) / 2,
            Kind::Network(network, _) => {
                network.graph().parameters() + all(&|name| name.starts_with(CONDITION))
            }
            Kind::AutoEncoder(_) | Kind::Embedding(..) | Kind::Classifier(_) => all(&|_| true),
        }
    }
}
