//! The convolution of the vertical stack.

use candle_core::{Result, bail};
use candle_nn::VarBuilder;

use crate::Convolution;
use crate::convolution::Bias;
use crate::pattern::{Pattern, half};

/// Which rows a vertical convolution reads.
///
/// # Example
///
/// ```
/// use pixelcnn_conv::Rows;
///
/// // The current row is excluded once, in the first layer. To exclude it in
/// // every layer would leave a blind spot.
/// let of_layer = |layer| if layer == 0 { Rows::Above } else { Rows::AboveAndOwn };
/// assert_eq!(of_layer(0), Rows::Above);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rows {
    /// Rows strictly above: the first layer, whose input is the image.
    Above,
    /// Rows above and the own row: later layers, whose input has the current
    /// row of the image left out already.
    AboveAndOwn,
}

impl Convolution {
    /// The `n x n` convolution of the vertical stack (figure 2, left), all
    /// columns and colours, as a kernel of its live rows followed by a shift
    /// down (section 2.2): `n / 2` rows for [`Rows::Above`], one more for
    /// [`Rows::AboveAndOwn`].
    ///
    /// # Shapes
    ///
    /// `weight [outputs, inputs, rows, kernel]`, `bias [outputs]`.
    ///
    /// # Errors
    ///
    /// If the kernel is even, no row is left, the dilation is zero, or the
    /// weights do not fit.
    pub fn vertical(
        inputs: usize,
        outputs: usize,
        kernel: usize,
        dilation: usize,
        rows: Rows,
        weights: VarBuilder,
    ) -> Result<Self> {
        let half = half(kernel, &weights)?;
        let live = match rows {
            Rows::Above => half,
            Rows::AboveAndOwn => half + 1,
        };
        if live == 0 {
            bail!(
                "vertical convolution {}: a first kernel of 1 has no rows above",
                weights.prefix()
            );
        }
        let pattern = Pattern {
            inputs,
            outputs,
            rows: live,
            columns: kernel,
            above: half,
            left: half,
            dilation,
            deviation: 1.0,
            centre: None,
        };
        Self::build(pattern, Bias::Learned, weights)
    }
}
