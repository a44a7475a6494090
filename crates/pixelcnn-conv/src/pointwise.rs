//! The unmasked 1x1 convolution.

use candle_core::Result;
use candle_nn::VarBuilder;

use crate::Convolution;
use crate::convolution::Bias;
use crate::pattern::Pattern;

impl Convolution {
    /// The unmasked `1 x 1` convolution without bias: the link from the
    /// vertical to the horizontal stack (figure 2) and `V * s` of eq. 5. What
    /// it is added to has a bias of its own. Drawn weights give a result of the
    /// deviation `deviation` for inputs of deviation 1.
    ///
    /// # Shapes
    ///
    /// `weight [outputs, inputs, 1, 1]`.
    ///
    /// # Errors
    ///
    /// If the weights do not fit.
    pub fn pointwise(
        inputs: usize,
        outputs: usize,
        deviation: f64,
        weights: VarBuilder,
    ) -> Result<Self> {
        let pattern = Pattern {
            inputs,
            outputs,
            rows: 1,
            columns: 1,
            above: 0,
            left: 0,
            dilation: 1,
            deviation,
            centre: None,
        };
        Self::build(pattern, Bias::None, weights)
    }
}
