//! Convolutions without a mask, for what is no pixel order: encoders and
//! decoders.

use candle_core::Result;
use candle_nn::VarBuilder;

use crate::Convolution;
use crate::convolution::Bias;
use crate::pattern::{Pattern, half};

/// Half of the mean square is lost in a rectifier behind the convolution, a
/// little more in a smooth one.
const DEVIATION: f64 = std::f64::consts::SQRT_2;

impl Convolution {
    /// An unmasked convolution with bias, its odd kernel of `height` x `width`
    /// centred on the output's position.
    ///
    /// # Errors
    ///
    /// If a side of the kernel is even or the weights do not fit.
    ///
    /// # Example
    ///
    /// ```
    /// use candle_core::{DType, Device, Tensor};
    /// use candle_nn::VarBuilder;
    /// use pixelcnn_conv::Convolution;
    ///
    /// let weights = VarBuilder::zeros(DType::F32, &Device::Cpu);
    /// let convolution = Convolution::plain(3, 8, (3, 3), weights)?;
    /// let image = Tensor::zeros((2, 3, 5, 6), DType::F32, &Device::Cpu)?;
    /// assert_eq!(convolution.forward(&image)?.dims(), [2, 8, 5, 6]);
    /// # Ok::<(), candle_core::Error>(())
    /// ```
    pub fn plain(
        inputs: usize,
        outputs: usize,
        (height, width): (usize, usize),
        weights: VarBuilder,
    ) -> Result<Self> {
        let pattern = Pattern {
            inputs,
            outputs,
            rows: height,
            columns: width,
            above: half(height, &weights)?,
            left: half(width, &weights)?,
            dilation: 1,
            deviation: DEVIATION,
            centre: None,
        };
        Self::build(pattern, Bias::Learned, weights)
    }
}
