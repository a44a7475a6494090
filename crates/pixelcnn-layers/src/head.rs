//! From feature maps to logits.

use candle_core::{DType, Result, Tensor, bail};
use candle_nn::VarBuilder;
use pixelcnn_conv::{ColourGroups, Convolution, Mask};

use crate::Activation;

/// The head of either network: ReLU, 1x1, ReLU, 1x1, all masked B, to one
/// softmax over `levels` values for each channel.
///
/// # Example
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use candle_nn::{VarBuilder, VarMap};
/// use pixelcnn_conv::ColourGroups;
/// use pixelcnn_layers::{Activation, Head};
///
/// let (inputs, maps) = (ColourGroups::new(3, 8)?, ColourGroups::new(3, 16)?);
/// let weights = VarMap::new();
/// let weights = VarBuilder::from_varmap(&weights, DType::F32, &Device::Cpu);
/// let head = Head::new(inputs, maps, 256, Activation::Paper, weights)?;
/// let x = Tensor::zeros((2, 8, 5, 4), DType::F32, &Device::Cpu)?;
/// assert_eq!(head.forward(&x)?.dims(), [2, 3, 256, 5, 4]);
/// # Ok::<(), candle_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Head {
    activation: Activation,
    levels: usize,
    hidden: Convolution,
    logits: Convolution,
}

impl Head {
    /// A head with weights `hidden` and `logits`.
    ///
    /// # Errors
    ///
    /// If the weights do not fit.
    pub fn new(
        inputs: ColourGroups,
        maps: ColourGroups,
        levels: usize,
        activation: Activation,
        weights: VarBuilder,
    ) -> Result<Self> {
        let channels = inputs.channels();
        let outputs = ColourGroups::new(channels, channels * levels)?;
        let masked = |inputs, outputs, name: &str| {
            Convolution::masked(Mask::B, inputs, outputs, 1, weights.pp(name))
        };
        Ok(Self {
            activation,
            levels,
            hidden: masked(inputs, maps, "hidden")?,
            logits: masked(maps, outputs, "logits")?,
        })
    }

    /// The logits of every value of every channel.
    ///
    /// # Shapes
    ///
    /// `[b, inputs, h, w]` to `[b, c, levels, h, w]`.
    ///
    /// # Errors
    ///
    /// If the maps do not fit, or are not finite.
    pub fn forward(&self, maps: &Tensor) -> Result<Tensor> {
        let (b, _, h, w) = maps.dims4()?;
        // A rectifier makes zero of what is no number.
        let sum = maps.detach().sum_all()?.to_dtype(DType::F32)?;
        if !sum.to_scalar::<f32>()?.is_finite() {
            bail!("the network's numbers overflow");
        }
        let hidden = self.hidden.forward(&self.activation.rectify(maps)?)?;
        let logits = self.logits.forward(&self.activation.rectify(&hidden)?)?;
        logits.reshape((b, (), self.levels, h, w))
    }

    /// Both convolutions: hidden, logits.
    pub fn convolutions(&self) -> [&Convolution; 2] {
        [&self.hidden, &self.logits]
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    #[test]
    fn what_is_no_number_has_no_logits() {
        let (inputs, maps) = (ColourGroups::new(1, 2), ColourGroups::new(1, 2));
        let weights = VarBuilder::zeros(DType::F32, &Device::Cpu);
        let head = Head::new(
            inputs.unwrap(),
            maps.unwrap(),
            4,
            Activation::Paper,
            weights,
        );
        let head = head.unwrap();
        for (number, right) in [(1.0, true), (f32::NAN, false), (f32::INFINITY, false)] {
            let maps = Tensor::new(&[[[[number]], [[0.0]]]], &Device::Cpu).unwrap();
            assert_eq!(head.forward(&maps).is_ok(), right, "{number}");
        }
    }
}
