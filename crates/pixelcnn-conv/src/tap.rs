//! The positions a convolution reads, relative to the one it writes.

use crate::Mask;

/// Which colour groups of its input a tap carries.
///
/// # Example
///
/// ```
/// use pixelcnn_conv::{Colours, Mask};
///
/// assert!(Colours::All.sees(0, 2));
/// assert!(!Colours::Masked(Mask::A).sees(0, 0));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colours {
    /// Every group to every group: the position is wholly known.
    All,
    /// Groups as the mask allows: the pixel being predicted.
    Masked(Mask),
}

impl Colours {
    /// Whether a map of group `output` sees a map of group `input`.
    pub fn sees(self, output: usize, input: usize) -> bool {
        match self {
            Colours::All => true,
            Colours::Masked(mask) => mask.sees(output, input),
        }
    }
}

/// One live position of a kernel.
///
/// The taps of all layers, added up, are the receptive field of a network.
///
/// # Example
///
/// ```
/// use candle_core::{DType, Device};
/// use candle_nn::VarBuilder;
/// use pixelcnn_conv::{Convolution, Rows};
///
/// let weights = VarBuilder::zeros(DType::F32, &Device::Cpu);
/// let vertical = Convolution::vertical(1, 4, 3, 1, Rows::Above, weights)?;
/// let rows: Vec<isize> = vertical.taps().iter().map(|tap| tap.row).collect();
/// assert_eq!(rows, [-1, -1, -1]);
/// # Ok::<(), candle_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tap {
    /// Rows below the output's row; negative is above.
    pub row: isize,
    /// Columns right of the output's column; negative is left.
    pub column: isize,
    /// What the tap carries.
    pub colours: Colours,
}
