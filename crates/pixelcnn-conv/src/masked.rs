//! The `n x n` masked convolution of the plain PixelCNN.

use candle_core::Result;
use candle_nn::VarBuilder;

use crate::convolution::Bias;
use crate::pattern::{Centre, Pattern, half};
use crate::{ColourGroups, Convolution, Mask};

impl Convolution {
    /// The `kernel x kernel` masked convolution (figure 1, middle): rows above
    /// are open, in the centre row what is left of the centre, at the centre
    /// what `mask` allows between colour groups, nothing else.
    ///
    /// With `kernel` 1 this is the masked `1 x 1` convolution of the
    /// horizontal stack and the head.
    ///
    /// # Shapes
    ///
    /// `weight [outputs, inputs, kernel, kernel]`, `bias [outputs]`.
    ///
    /// # Errors
    ///
    /// If the kernel is even, the groups are of different images, or the
    /// weights do not fit.
    pub fn masked(
        mask: Mask,
        inputs: ColourGroups,
        outputs: ColourGroups,
        kernel: usize,
        weights: VarBuilder,
    ) -> Result<Self> {
        let half = half(kernel, &weights)?;
        let pattern = Pattern {
            inputs: inputs.maps(),
            outputs: outputs.maps(),
            rows: kernel,
            columns: kernel,
            above: half,
            left: half,
            dilation: 1,
            deviation: 1.0,
            centre: Some(Centre::new(mask, inputs, outputs)?),
        };
        Self::build(pattern, Bias::Learned, weights)
    }
}
