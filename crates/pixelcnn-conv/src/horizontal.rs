//! The convolution of the horizontal stack.

use candle_core::Result;
use candle_nn::VarBuilder;

use crate::convolution::Bias;
use crate::pattern::{Centre, Pattern, half};
use crate::{ColourGroups, Convolution, Mask};

impl Convolution {
    /// The `n x 1` masked convolution of the horizontal stack (figure 2,
    /// right): the pixels to the left, and at the centre what `mask` allows
    /// between colour groups, as a kernel of its `n / 2 + 1` live columns
    /// followed by a shift to the right (section 2.2).
    ///
    /// # Shapes
    ///
    /// `weight [outputs, inputs, 1, kernel / 2 + 1]`, `bias [outputs]`.
    ///
    /// # Errors
    ///
    /// If the kernel is even, the groups are of different images, the
    /// dilation is zero, or the weights do not fit.
    pub fn horizontal(
        mask: Mask,
        inputs: ColourGroups,
        outputs: ColourGroups,
        kernel: usize,
        dilation: usize,
        weights: VarBuilder,
    ) -> Result<Self> {
        let half = half(kernel, &weights)?;
        let pattern = Pattern {
            inputs: inputs.maps(),
            outputs: outputs.maps(),
            rows: 1,
            columns: half + 1,
            above: 0,
            left: half,
            dilation,
            deviation: 1.0,
            centre: Some(Centre::new(mask, inputs, outputs)?),
        };
        Self::build(pattern, Bias::Learned, weights)
    }
}
