//! The Gated PixelCNN.

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;
use pixelcnn_conv::ColourGroups;
use pixelcnn_layers::{
    Activation, Condition, ConditionShape, GatedBlock, GatedBlockConfig, Head, Position,
};
use serde::{Deserialize, Serialize};

use crate::config::{MOST_DILATION, validate_network};
use crate::{Conditioning, ImageShape, ModelError};

/// Sizes of a [`GatedPixelCnn`].
///
/// # Example
///
/// ```
/// use pixelcnn_models::GatedPixelCnnConfig;
///
/// let config = GatedPixelCnnConfig::imagenet32();
/// assert_eq!((config.blocks, config.maps, config.kernel), (20, 384, 5));
/// assert_eq!(config.reach(), 3 + 20 * 2);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GatedPixelCnnConfig {
    /// The images it is for.
    pub image: ImageShape,
    /// Side of the first block's kernel, odd, at least 3.
    pub first_kernel: usize,
    /// Side of the later blocks' kernels, odd.
    pub kernel: usize,
    /// Number of blocks after the first, at least 1.
    pub blocks: usize,
    /// Feature maps `p` of each stack.
    pub maps: usize,
    /// Feature maps between the two 1x1 convolutions of the head.
    pub head: usize,
    /// Dilations of the later blocks, repeated in turn; `[1]` is the paper.
    #[serde(default = "undilated")]
    pub dilations: Vec<usize>,
    /// What the model is conditioned on, if on anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conditioning: Option<Conditioning>,
}

fn undilated() -> Vec<usize> {
    vec![1]
}

impl GatedPixelCnnConfig {
    /// The network of section 3.1 for ImageNet at 32x32: 20 layers of 384
    /// maps, 5x5. The text leaves the first kernel and the head open: 7x7, as
    /// in the network that the paper starts from, and as many maps as the
    /// stacks have.
    pub fn imagenet32() -> Self {
        Self {
            image: ImageShape {
                channels: 3,
                height: 32,
                width: 32,
                levels: 256,
            },
            first_kernel: 7,
            kernel: 5,
            blocks: 20,
            maps: 384,
            head: 384,
            dilations: undilated(),
            conditioning: None,
        }
    }

    /// How far the network sees up, left and right, in pixels:
    /// `(k0 - 1) / 2` plus `dilation (k - 1) / 2` for every later block.
    pub fn reach(&self) -> usize {
        let half = self.kernel / 2;
        let later = (0..self.blocks).map(|block| self.dilation(block).saturating_mul(half));
        later.fold(self.first_kernel / 2, usize::saturating_add)
    }

    /// What the blocks take as a condition.
    pub fn condition_shape(&self) -> ConditionShape {
        let conditioning = self.conditioning.as_ref();
        conditioning.map_or(ConditionShape::None, Conditioning::shape)
    }

    pub(crate) fn dilation(&self, block: usize) -> usize {
        match self.dilations.len() {
            0 => 1,
            length => self.dilations[block % length],
        }
    }

    pub(crate) fn validate(&self) -> std::result::Result<(), ModelError> {
        let (kernels, maps) = ([self.first_kernel, self.kernel], [self.maps, self.head]);
        validate_network(&self.image, kernels, maps, self.blocks)?;
        let possible = |dilation: &usize| (1..=MOST_DILATION).contains(dilation);
        if self.dilations.is_empty() || !self.dilations.iter().all(possible) {
            let why = format!("at least one expected, each from 1 to {MOST_DILATION}");
            return Err(ModelError::invalid("model.dilations", why));
        }
        match &self.conditioning {
            Some(conditioning) => conditioning.validate(&self.image),
            None => Ok(()),
        }
    }
}

/// The Gated PixelCNN of section 2: a first block that reads the image, the
/// later blocks of figure 2, and the head.
///
/// # Example
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use pixelcnn_models::{Activation, Condition, GatedPixelCnn, GatedPixelCnnConfig, Parameters};
///
/// let config = GatedPixelCnnConfig {
///     blocks: 2, maps: 6, head: 6, ..GatedPixelCnnConfig::imagenet32()
/// };
/// let weights = Parameters::drawn(0).builder(DType::F32, &Device::Cpu);
/// let network = GatedPixelCnn::new(&config, Activation::Paper, weights)?;
/// let image = Tensor::zeros((1, 3, 9, 5), DType::F32, &Device::Cpu)?; // any size
/// let logits = network.forward(&image, &Condition::None)?;
/// assert_eq!(logits.dims(), [1, 3, 256, 9, 5]);
/// # Ok::<(), candle_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct GatedPixelCnn {
    blocks: Vec<GatedBlock>,
    head: Head,
}

impl GatedPixelCnn {
    /// A network with weights `first`, `blocks.0`, `blocks.1`, ... and `head`.
    ///
    /// # Errors
    ///
    /// If a size is impossible or the weights do not fit.
    pub fn new(
        config: &GatedPixelCnnConfig,
        activation: Activation,
        weights: VarBuilder,
    ) -> Result<Self> {
        let channels = config.image.channels;
        let image = ColourGroups::new(channels, channels)?;
        let maps = ColourGroups::new(channels, config.maps)?;
        let first = GatedBlockConfig {
            position: Position::First,
            inputs: image,
            outputs: maps,
            kernel: config.first_kernel,
            dilation: 1,
            condition: config.condition_shape(),
            activation,
        };
        let mut blocks = vec![GatedBlock::new(&first, weights.pp("first"))?];
        for block in 0..config.blocks {
            let later = GatedBlockConfig {
                position: match block + 1 == config.blocks {
                    true => Position::Last,
                    false => Position::Middle,
                },
                inputs: maps,
                kernel: config.kernel,
                dilation: config.dilation(block),
                ..first
            };
            let weights = weights.pp("blocks").pp(block);
            blocks.push(GatedBlock::new(&later, weights)?);
        }
        let head = ColourGroups::new(channels, config.head)?;
        let levels = config.image.levels;
        let head = Head::new(maps, head, levels, activation, weights.pp("head"))?;
        Ok(Self { blocks, head })
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
        self.head.forward(&self.maps(image, condition)?)
    }

    /// What the head makes logits of.
    pub(crate) fn maps(&self, image: &Tensor, condition: &Condition) -> Result<Tensor> {
        let mut stacks = image.clone();
        for block in &self.blocks {
            stacks = block.forward(&stacks, condition)?;
        }
        Ok(stacks)
    }

    /// The blocks, the first one included.
    pub fn blocks(&self) -> &[GatedBlock] {
        &self.blocks
    }

    /// The head.
    pub fn head(&self) -> &Head {
        &self.head
    }
}
