//! The plain PixelCNN.

use candle_core::Result;
use candle_nn::VarBuilder;
use pixelcnn_conv::{ColourGroups, Convolution, Mask};
use pixelcnn_layers::Graph;
use serde::{Deserialize, Serialize};

use crate::config::validate_network;
use crate::{Definition, Distribution, ImageShape, ModelError};

/// The PixelCNN that the paper starts from (section 2, figure 1 left and
/// middle): one stack of masked convolutions with ReLUs and residual
/// blocks. It has the blind spot of figure 1, top right.
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
    /// Shape of the images.
    pub image: ImageShape,
    /// Side of the first kernel, odd, at least 3.
    pub first_kernel: usize,
    /// Side of the kernels of the residual blocks, odd.
    pub kernel: usize,
    /// Number of residual blocks, at least 1.
    pub blocks: usize,
    /// Feature maps `p` inside a residual block; the stream has `2p`.
    pub maps: usize,
    /// Feature maps between the two 1x1 convolutions of the head.
    pub head: usize,
    /// The distribution of each value.
    #[serde(default, skip_serializing_if = "Distribution::is_softmax")]
    pub distribution: Distribution,
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
            distribution: Distribution::default(),
        }
    }
}

#[typetag::serde(name = "pixelcnn")]
impl Definition for PixelCnnConfig {
    fn name(&self) -> &'static str {
        "PixelCNN"
    }

    fn image(&self) -> ImageShape {
        self.image
    }

    fn validate(&self) -> std::result::Result<(), ModelError> {
        let (kernels, maps) = ([self.first_kernel, self.kernel], [self.maps, self.head]);
        validate_network(&self.image, kernels, maps, self.blocks)
    }

    /// The network: a convolution with mask A on the image, residual blocks with mask B,
    /// and the head. Weights have names such as `first.weight` and
    /// `blocks.0.narrow.bias`.
    fn network(&self, weights: VarBuilder) -> Result<Graph> {
        let image = self.distribution.groups(&self.image)?;
        let groups = |maps| ColourGroups::new(image.channels(), maps);
        let outputs = self.distribution.outputs(&self.image)?;
        let (stream, inside) = (groups(2 * self.maps)?, groups(self.maps)?);
        let first = weights.pp("first");
        let first = Convolution::masked(Mask::A, image, stream, self.first_kernel, first)?;
        let mut graph = Graph::new(image);
        let mut maps = graph.convolution(first, graph.image());
        for block in 0..self.blocks {
            let weights = weights.pp("blocks").pp(block);
            maps = graph.residual_block(maps, [stream, inside], self.kernel, weights)?;
        }
        let layers = [
            ("hidden", groups(self.head)?),
            (self.distribution.layer(), outputs),
        ];
        graph.with_layers_of_head((maps, stream), layers, weights.pp("head"))
    }

    fn distribution(&self) -> Distribution {
        self.distribution
    }

    fn boxed(&self) -> Box<dyn Definition> {
        Box::new(self.clone())
    }
}
