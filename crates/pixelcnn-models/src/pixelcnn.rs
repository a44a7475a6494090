//! The plain PixelCNN.

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;
use pixelcnn_conv::{ColourGroups, Convolution, Mask};
use pixelcnn_layers::{Activation, Head, ResidualBlock};
use serde::{Deserialize, Serialize};

use crate::config::validate_network;
use crate::{ImageShape, ModelError};

/// Sizes of a [`PixelCnn`].
///
/// # Example
///
/// ```
/// use pixelcnn_models::PixelCnnConfig;
///
/// let config = PixelCnnConfig::cifar10();
/// assert_eq!((config.blocks, config.maps), (15, 128));
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PixelCnnConfig {
    /// The images it is for.
    pub image: ImageShape,
    /// Side of the first kernel, odd, at least 3.
    pub first_kernel: usize,
    /// Side of the residual blocks' kernels, odd.
    pub kernel: usize,
    /// Number of residual blocks, at least 1.
    pub blocks: usize,
    /// Feature maps `p` inside a residual block; the stream has `2p`.
    pub maps: usize,
    /// Feature maps between the two 1x1 convolutions of the head.
    pub head: usize,
}

impl PixelCnnConfig {
    /// The network behind the 3.14 of table 1, as its authors describe it
    /// (reference 30 of the paper): 7x7, then 15 residual blocks of 128 maps,
    /// and 1,024 maps in the head.
    pub fn cifar10() -> Self {
        Self {
            image: ImageShape {
                channels: 3,
                height: 32,
                width: 32,
                levels: 256,
            },
            first_kernel: 7,
            kernel: 3,
            blocks: 15,
            maps: 128,
            head: 1024,
        }
    }

    pub(crate) fn validate(&self) -> std::result::Result<(), ModelError> {
        let (kernels, maps) = ([self.first_kernel, self.kernel], [self.maps, self.head]);
        validate_network(&self.image, kernels, maps, self.blocks)
    }
}

/// The PixelCNN that the paper starts from (section 2, figure 1 left and
/// middle): one stack of masked convolutions with rectifiers and residual
/// blocks. It has the blind spot of figure 1, top right.
///
/// # Example
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use pixelcnn_models::{Activation, Parameters, PixelCnn, PixelCnnConfig};
///
/// let config = PixelCnnConfig { blocks: 2, maps: 6, head: 6, ..PixelCnnConfig::cifar10() };
/// let weights = Parameters::drawn(0).builder(DType::F32, &Device::Cpu);
/// let network = PixelCnn::new(&config, Activation::Paper, weights)?;
/// let image = Tensor::zeros((1, 3, 9, 5), DType::F32, &Device::Cpu)?;
/// assert_eq!(network.forward(&image)?.dims(), [1, 3, 256, 9, 5]);
/// # Ok::<(), candle_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct PixelCnn {
    first: Convolution,
    blocks: Vec<ResidualBlock>,
    head: Head,
}

impl PixelCnn {
    /// A network with weights `first`, `blocks.0`, `blocks.1`, ... and `head`.
    ///
    /// # Errors
    ///
    /// If a size is impossible or the weights do not fit.
    pub fn new(
        config: &PixelCnnConfig,
        activation: Activation,
        weights: VarBuilder,
    ) -> Result<Self> {
        let channels = config.image.channels;
        let groups = |maps| ColourGroups::new(channels, maps);
        let (stream, maps) = (groups(2 * config.maps)?, groups(config.maps)?);
        let image = groups(channels)?;
        let first = weights.pp("first");
        let first = Convolution::masked(Mask::A, image, stream, config.first_kernel, first)?;
        let block = |block: usize| {
            let weights = weights.pp("blocks").pp(block);
            ResidualBlock::new(stream, maps, config.kernel, activation, weights)
        };
        let blocks = (0..config.blocks).map(block).collect::<Result<_>>()?;
        let levels = config.image.levels;
        let head = groups(config.head)?;
        let head = Head::new(stream, head, levels, activation, weights.pp("head"))?;
        Ok(Self {
            first,
            blocks,
            head,
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
    /// If the image does not fit.
    pub fn forward(&self, image: &Tensor) -> Result<Tensor> {
        self.head.forward(&self.maps(image)?)
    }

    /// What the head makes logits of.
    pub(crate) fn maps(&self, image: &Tensor) -> Result<Tensor> {
        let mut stream = self.first.forward(image)?;
        for block in &self.blocks {
            stream = block.forward(&stream)?;
        }
        Ok(stream)
    }

    /// The first convolution.
    pub fn first(&self) -> &Convolution {
        &self.first
    }

    /// The residual blocks.
    pub fn blocks(&self) -> &[ResidualBlock] {
        &self.blocks
    }

    /// The head.
    pub fn head(&self) -> &Head {
        &self.head
    }
}
