//! The Gated PixelCNN.

use candle_core::Result;
use candle_nn::VarBuilder;
use pixelcnn_conv::ColourGroups;
use pixelcnn_layers::{ConditionShape, GatedBlock, GatedBlockConfig, Graph, Position};
use serde::{Deserialize, Serialize};

use crate::config::{MOST_DILATION, validate_network};
use crate::{Conditioning, ImageShape, ModelError};

/// The Gated PixelCNN of section 2: a first block that reads the image, the
/// later blocks of figure 2, and the head.
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

    /// The network, figure 2 of the paper for each block, with weights named as
    /// in `first.vertical.weight` and `blocks.0.output.bias`: a first block of
    /// mask A on the image, `blocks` of mask B, and the head.
    pub(crate) fn network(&self, weights: VarBuilder) -> Result<Graph> {
        let channels = self.image.channels;
        let groups = |maps| ColourGroups::new(channels, maps);
        let (image, maps, head) = (groups(channels)?, groups(self.maps)?, groups(self.head)?);
        let mut graph = Graph::new(image);
        let mut config = GatedBlockConfig {
            position: Position::First,
            inputs: image,
            outputs: maps,
            kernel: self.first_kernel,
            dilation: 1,
            condition: self.condition_shape(),
        };
        let first = GatedBlock::new(&config, weights.pp("first"))?;
        let mut stacks = graph.gated_block(first, [graph.image(); 2]);
        (config.inputs, config.kernel) = (maps, self.kernel);
        for block in 0..self.blocks {
            config.position = match block + 1 == self.blocks {
                true => Position::Last,
                false => Position::Middle,
            };
            config.dilation = self.dilation(block);
            let weights = weights.pp("blocks").pp(block);
            stacks = graph.gated_block(GatedBlock::new(&config, weights)?, stacks);
        }
        let [_, horizontal] = stacks;
        let logits = groups(channels * self.image.levels)?;
        graph.with_layers_of_head(horizontal, [maps, head, logits], weights.pp("head"))
    }
}
