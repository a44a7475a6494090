//! Either network, for what treats them alike.

use candle_core::{DType, Result, Tensor, bail};
use candle_nn::VarBuilder;
use pixelcnn_conv::Convolution;
use pixelcnn_layers::{Activation, Condition};

use crate::{GatedPixelCnn, ModelConfig, PixelCnn};

/// A network that maps an image to logits in one pass.
///
/// # Example
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use pixelcnn_models::{
///     Activation, Condition, ModelConfig, Network, Parameters, PixelCnnConfig,
/// };
///
/// let config = PixelCnnConfig { blocks: 1, maps: 3, head: 3, ..PixelCnnConfig::cifar10() };
/// let weights = Parameters::drawn(0).builder(DType::F64, &Device::Cpu);
/// let network = Network::new(&ModelConfig::PixelCnn(config), Activation::Paper, weights)?;
/// let image = Tensor::zeros((1, 3, 4, 4), DType::F64, &Device::Cpu)?;
/// let logits = network.forward(&image, &Condition::None)?;
/// assert_eq!(logits.dims(), [1, 3, 256, 4, 4]);
/// # Ok::<(), candle_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub enum Network {
    /// The plain PixelCNN.
    PixelCnn(PixelCnn),
    /// The Gated PixelCNN.
    GatedPixelCnn(GatedPixelCnn),
}

impl Network {
    /// The network of `config`.
    ///
    /// # Errors
    ///
    /// If `config` is of a model without a pixel order, or the weights do not
    /// fit.
    pub fn new(config: &ModelConfig, activation: Activation, weights: VarBuilder) -> Result<Self> {
        Ok(match config {
            ModelConfig::PixelCnn(config) => {
                Self::PixelCnn(PixelCnn::new(config, activation, weights)?)
            }
            ModelConfig::GatedPixelCnn(config) => {
                Self::GatedPixelCnn(GatedPixelCnn::new(config, activation, weights)?)
            }
            _ => bail!("{} has no pixel order", config.name()),
        })
    }

    /// Logits of every value given the values before it.
    ///
    /// # Shapes
    ///
    /// `[b, c, h, w]`, scaled to -1..1, to `[b, c, levels, h, w]`.
    ///
    /// # Errors
    ///
    /// If the image or the condition does not fit.
    pub fn forward(&self, image: &Tensor, condition: &Condition) -> Result<Tensor> {
        match (self, condition) {
            (Self::GatedPixelCnn(network), condition) => network.forward(image, condition),
            (Self::PixelCnn(network), Condition::None) => network.forward(image),
            (Self::PixelCnn(_), _) => bail!("the plain PixelCNN takes no condition"),
        }
    }

    /// Every convolution of the network.
    pub fn convolutions(&self) -> Vec<&Convolution> {
        match self {
            Self::PixelCnn(network) => {
                let blocks = network
                    .blocks()
                    .iter()
                    .flat_map(|block| block.convolutions());
                std::iter::once(network.first())
                    .chain(blocks)
                    .chain(network.head().convolutions())
                    .collect()
            }
            Self::GatedPixelCnn(network) => {
                let blocks = network
                    .blocks()
                    .iter()
                    .flat_map(|block| block.convolutions());
                blocks.chain(network.head().convolutions()).collect()
            }
        }
    }

    /// Number of weights and biases that are used; masked ones do not count.
    ///
    /// # Errors
    ///
    /// Those of the tensor operations.
    pub fn parameters(&self) -> Result<usize> {
        let mut total = 0;
        for convolution in self.convolutions() {
            total += convolution.parameters()?;
        }
        if let Self::GatedPixelCnn(network) = self {
            for term in network.blocks().iter().flat_map(|b| b.condition_terms()) {
                total += term.parameters()?;
            }
        }
        Ok(total)
    }
}

/// Integer values as a network reads them: 0 becomes -1, `levels - 1`
/// becomes 1.
///
/// # Errors
///
/// If there are fewer than two levels, and those of the tensor operations.
///
/// # Example
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use pixelcnn_models::scale;
///
/// let values = Tensor::new(&[0u8, 3], &Device::Cpu)?;
/// assert_eq!(scale(&values, 4, DType::F32)?.to_vec1::<f32>()?, [-1.0, 1.0]);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn scale(values: &Tensor, levels: usize, dtype: DType) -> Result<Tensor> {
    if levels < 2 {
        bail!("values: two levels at least expected, found {levels}");
    }
    values
        .to_dtype(dtype)?
        .affine(2.0 / (levels - 1) as f64, -1.0)
}
