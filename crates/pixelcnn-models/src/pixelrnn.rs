//! The PixelRNN.

use candle_core::Result;
use candle_nn::VarBuilder;
use pixelcnn_conv::{ColourGroups, Convolution, Mask};
use pixelcnn_layers::{ConditionShape, Graph, RecurrentLayer, RecurrentLayerConfig};
use serde::{Deserialize, Serialize};

use crate::config::validate_network;
use crate::{Classes, Conditioning, Definition, Distribution, ImageShape, ModelError};

/// The PixelRNN (reference 30 of the paper, table 1): a convolution with mask A, residual LSTM
/// layers, and the head. Its layers go through the image step by step: a state may depend on
/// everything before it, so that the network sees as far as the image goes.
///
/// # Example
///
/// ```
/// use pixelcnn_models::{PixelRnnConfig, RecurrentLayer};
///
/// let config = PixelRnnConfig::cifar10(RecurrentLayer::DiagonalBilstm);
/// assert_eq!((config.blocks, config.maps), (12, 128));
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PixelRnnConfig {
    /// Shape of the images.
    pub image: ImageShape,
    /// The kind of its layers.
    pub layer: RecurrentLayer,
    /// Side of the first kernel, odd, at least 3.
    pub first_kernel: usize,
    /// Number of LSTM layers, at least 1.
    pub blocks: usize,
    /// Hidden maps of an LSTM; the stream has twice as many.
    pub maps: usize,
    /// Feature maps between the two 1x1 convolutions of the head.
    pub head: usize,
    /// The distribution of each value.
    #[serde(default, skip_serializing_if = "Distribution::is_softmax")]
    pub distribution: Distribution,
    /// The conditioning of the model, if any; the original has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conditioning: Option<Conditioning>,
}

impl PixelRnnConfig {
    /// The networks behind the 3.07 (Row LSTM) and 3.00 (Diagonal BiLSTM) of table 1, as their
    /// authors describe them: 12 layers of 128 hidden maps, and 1,024 maps in the head.
    pub fn cifar10(layer: RecurrentLayer) -> Self {
        Self {
            image: ImageShape {
                channels: 3,
                height: 32,
                width: 32,
                levels: 256,
            },
            layer,
            first_kernel: 7,
            blocks: 12,
            maps: 128,
            head: 1024,
            distribution: Distribution::default(),
            conditioning: None,
        }
    }

    /// The network behind the 79.20 nats on binarised MNIST: 7 Diagonal BiLSTM layers of 16 hidden
    /// maps.
    pub fn mnist() -> Self {
        Self {
            image: ImageShape {
                channels: 1,
                height: 28,
                width: 28,
                levels: 2,
            },
            blocks: 7,
            maps: 16,
            head: 32,
            ..Self::cifar10(RecurrentLayer::DiagonalBilstm)
        }
    }

    fn condition_shape(&self) -> ConditionShape {
        let conditioning = self.conditioning.as_ref();
        conditioning.map_or(ConditionShape::None, Conditioning::shape)
    }
}

#[typetag::serde(name = "pixelrnn")]
impl Definition for PixelRnnConfig {
    fn name(&self) -> &'static str {
        match self.layer {
            RecurrentLayer::RowLstm => "PixelRNN (Row LSTM)",
            RecurrentLayer::DiagonalBilstm => "PixelRNN (Diagonal BiLSTM)",
        }
    }

    fn image(&self) -> ImageShape {
        self.image
    }

    fn validate(&self) -> std::result::Result<(), ModelError> {
        let (kernels, maps) = ([self.first_kernel, 1], [self.maps, self.head]);
        validate_network(&self.image, kernels, maps, self.blocks)
    }

    /// The network. Weights have names such as `first.weight`, `blocks.0.down.input.weight`,
    /// `blocks.0.left.state.hidden` and `blocks.0.output.bias`.
    fn network(&self, weights: VarBuilder) -> Result<Graph> {
        let image = self.distribution.groups(&self.image)?;
        let groups = |maps| ColourGroups::new(image.channels(), maps);
        let outputs = self.distribution.outputs(&self.image)?;
        let (stream, head) = (groups(2 * self.maps)?, groups(self.head)?);
        let first = weights.pp("first");
        let first = Convolution::masked(Mask::A, image, stream, self.first_kernel, first)?;
        let mut graph = Graph::new(image);
        let mut maps = graph.convolution(first, graph.image());
        let config = RecurrentLayerConfig {
            layer: self.layer,
            stream,
            hidden: groups(self.maps)?,
            condition: self.condition_shape(),
        };
        for block in 0..self.blocks {
            maps = graph.recurrent_layer(maps, &config, weights.pp("blocks").pp(block))?;
        }
        let layers = [("hidden", head), (self.distribution.layer(), outputs)];
        graph.with_layers_of_head((maps, stream), layers, weights.pp("head"))
    }

    fn conditioning(&self) -> Option<&Conditioning> {
        self.conditioning.as_ref()
    }

    fn classes_mut(&mut self) -> Option<&mut Classes> {
        self.conditioning.as_mut()?.classes_mut()
    }

    fn distribution(&self) -> Distribution {
        self.distribution
    }

    fn boxed(&self) -> Box<dyn Definition> {
        Box::new(self.clone())
    }
}
