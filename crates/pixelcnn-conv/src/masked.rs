//! The `n x n` masked convolution of the plain PixelCNN.

use candle_core::Result;
use candle_nn::VarBuilder;

use crate::convolution::{Bias, Maps, Pattern, half};
use crate::{ColourGroups, Colours, Convolution, Mask};

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
        same_image(inputs, outputs)?;
        let half = half(kernel, &weights)?;
        let cell = |row: usize, column: usize| match (row, column) {
            (r, c) if (r, c) == (half, half) => Some(Colours::Masked(mask)),
            (r, c) if (r, c) < (half, half) => Some(Colours::All),
            _ => None,
        };
        let row = |r: usize| (0..kernel).map(|c| cell(r, c)).collect();
        let kernel = Pattern {
            cells: (0..kernel).map(row).collect(),
            above: half,
            left: half,
            dilation: 1,
            deviation: 1.0,
        };
        let (inputs, outputs) = (Maps::Grouped(inputs), Maps::Grouped(outputs));
        Self::build(inputs, outputs, &kernel, Bias::Learned, weights)
    }
}

pub(crate) fn same_image(inputs: ColourGroups, outputs: ColourGroups) -> Result<()> {
    if inputs.channels() != outputs.channels() {
        candle_core::bail!(
            "masked convolution: inputs are grouped by {} colours, outputs by {}",
            inputs.channels(),
            outputs.channels()
        );
    }
    Ok(())
}
