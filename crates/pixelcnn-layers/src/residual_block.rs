//! The residual block of the plain PixelCNN.

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;
use pixelcnn_conv::{ColourGroups, Convolution, Mask};

use crate::Activation;

/// The masked residual block with rectifiers, of the network that the paper
/// starts from (its reference 30): a stream of `2p` maps is narrowed to `p`,
/// convolved and widened again.
///
/// ```text
/// x' = x + widen(relu(convolve(relu(narrow(relu(x))))))
/// ```
///
/// `narrow` and `widen` are 1x1, `convolve` is `n x n`, all with mask B.
///
/// # Example
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use candle_nn::{VarBuilder, VarMap};
/// use pixelcnn_conv::ColourGroups;
/// use pixelcnn_layers::{Activation, ResidualBlock};
///
/// let (stream, maps) = (ColourGroups::new(3, 12)?, ColourGroups::new(3, 6)?);
/// let weights = VarMap::new();
/// let weights = VarBuilder::from_varmap(&weights, DType::F32, &Device::Cpu);
/// let block = ResidualBlock::new(stream, maps, 3, Activation::Paper, weights)?;
/// let x = Tensor::zeros((2, 12, 5, 5), DType::F32, &Device::Cpu)?;
/// assert_eq!(block.forward(&x)?.dims(), [2, 12, 5, 5]);
/// # Ok::<(), candle_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct ResidualBlock {
    activation: Activation,
    narrow: Convolution,
    convolve: Convolution,
    widen: Convolution,
}

impl ResidualBlock {
    /// A block on a `stream` of maps, `maps` of them inside, with weights
    /// `narrow`, `convolve` and `widen`.
    ///
    /// # Errors
    ///
    /// If the kernel is even or the weights do not fit.
    pub fn new(
        stream: ColourGroups,
        maps: ColourGroups,
        kernel: usize,
        activation: Activation,
        weights: VarBuilder,
    ) -> Result<Self> {
        let masked = |inputs, outputs, kernel, name: &str| {
            Convolution::masked(Mask::B, inputs, outputs, kernel, weights.pp(name))
        };
        Ok(Self {
            activation,
            narrow: masked(stream, maps, 1, "narrow")?,
            convolve: masked(maps, maps, kernel, "convolve")?,
            widen: masked(maps, stream, 1, "widen")?,
        })
    }

    /// The stream after this block.
    ///
    /// # Shapes
    ///
    /// `[b, stream, h, w]` to the same.
    ///
    /// # Errors
    ///
    /// If the maps do not fit.
    pub fn forward(&self, stream: &Tensor) -> Result<Tensor> {
        let mut maps = stream.clone();
        for convolution in self.convolutions() {
            maps = convolution.forward(&self.activation.rectify(&maps)?)?;
        }
        stream + maps
    }

    /// The `n x n` convolution.
    pub fn convolution(&self) -> &Convolution {
        &self.convolve
    }

    /// Every convolution, in order: narrow, convolve, widen.
    pub fn convolutions(&self) -> [&Convolution; 3] {
        [&self.narrow, &self.convolve, &self.widen]
    }
}
