//! Constructors of convolutions: masked, for the vertical and the horizontal stack, and
//! unmasked.

use std::ops::RangeInclusive;

use candle_core::{Result, bail};
use candle_nn::VarBuilder;

use crate::convolution::Bias;
use crate::pattern::{Centre, Pattern, half};
use crate::{ColourGroups, Convolution, Mask};

/// The rows that a vertical convolution reads.
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
    /// Rows above and the current row: later layers, whose input no longer
    /// contains the current row of the image.
    AboveAndOwn,
}

/// A ReLU after the convolution removes half of the mean square, a SiLU a little
/// more.
const DEVIATION: f64 = std::f64::consts::SQRT_2;

impl Convolution {
    /// The `kernel x kernel` masked convolution (figure 1, middle). It reads rows
    /// above, pixels left of the centre in the centre row, and at the centre the
    /// colour groups that `mask` allows.
    ///
    /// With `kernel` 1 this is the masked `1 x 1` convolution of the
    /// horizontal stack and the head.
    ///
    /// It has no dilation. The sum of [`Convolution::vertical`] with [`Rows::Above`] and
    /// [`Convolution::horizontal`] reads the same positions, and both have one.
    ///
    /// # Shapes
    ///
    /// `weight [outputs, inputs, kernel, kernel]`, `bias [outputs]`.
    ///
    /// # Errors
    ///
    /// If the kernel is even, the groups belong to different numbers of channels, or
    /// the weights do not fit.
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

    /// The `n x n` convolution of the vertical stack (figure 2, left), for all
    /// columns and colours, as a kernel of its unmasked rows followed by a shift
    /// down (section 2.2): `n / 2` rows for [`Rows::Above`], one more for
    /// [`Rows::AboveAndOwn`].
    ///
    /// # Shapes
    ///
    /// `weight [outputs, inputs, rows, kernel]`, `bias [outputs]`.
    ///
    /// # Errors
    ///
    /// If the kernel is even, the kernel has no row, the dilation is zero, or the
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
                "vertical convolution {}: a first kernel of side 1 has no rows above",
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

    /// The `n x 1` masked convolution of the horizontal stack (figure 2,
    /// right). It reads the pixels to the left, and at the centre the colour groups
    /// that `mask` allows, as a kernel of its `n / 2 + 1` unmasked columns
    /// followed by a shift to the right (section 2.2).
    ///
    /// # Shapes
    ///
    /// `weight [outputs, inputs, 1, kernel / 2 + 1]`, `bias [outputs]`.
    ///
    /// # Errors
    ///
    /// If the kernel is even, the groups belong to different numbers of channels, the
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

    /// The unmasked `1 x 1` convolution without bias: the link from the
    /// vertical to the horizontal stack (figure 2) and `V * s` of eq. 5. The
    /// result is added to maps that already have a bias. With initial weights, the
    /// output has standard deviation `deviation` for inputs of standard deviation 1.
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

    /// An unmasked convolution with bias and an odd kernel of `height` x `width`,
    /// centred on the output position.
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

    /// An unmasked convolution with bias that reads a rectangle: these rows and columns,
    /// relative to the output position, of all colours. Negative rows are above, negative
    /// columns left.
    ///
    /// # Shapes
    ///
    /// `weight [outputs, inputs, rows, columns]`, `bias [outputs]`.
    ///
    /// # Errors
    ///
    /// If the rectangle is empty or begins below or right of the output position, or the
    /// weights do not fit.
    ///
    /// # Example
    ///
    /// ```
    /// use candle_core::{DType, Device, Tensor};
    /// use candle_nn::VarBuilder;
    /// use pixelcnn_conv::Convolution;
    ///
    /// let weights = VarBuilder::zeros(DType::F32, &Device::Cpu);
    /// // The two pixels above, without the current one.
    /// let above = Convolution::window(3, 8, -2..=-1, 0..=0, weights)?;
    /// assert_eq!(above.weight().dims(), [8, 3, 2, 1]);
    /// let image = Tensor::zeros((2, 3, 5, 6), DType::F32, &Device::Cpu)?;
    /// assert_eq!(above.forward(&image)?.dims(), [2, 8, 5, 6]);
    /// # Ok::<(), candle_core::Error>(())
    /// ```
    pub fn window(
        inputs: usize,
        outputs: usize,
        rows: RangeInclusive<isize>,
        columns: RangeInclusive<isize>,
        weights: VarBuilder,
    ) -> Result<Self> {
        for (what, range) in [("rows", &rows), ("columns", &columns)] {
            if range.is_empty() || *range.start() > 0 {
                bail!(
                    "convolution {}: {what} that begin at 0 or before expected, found {range:?}",
                    weights.prefix()
                );
            }
        }
        let length = |range: &RangeInclusive<isize>| 1 + range.end().abs_diff(*range.start());
        let pattern = Pattern {
            inputs,
            outputs,
            rows: length(&rows),
            columns: length(&columns),
            above: rows.start().unsigned_abs(),
            left: columns.start().unsigned_abs(),
            dilation: 1,
            deviation: 1.0,
            centre: None,
        };
        Self::build(pattern, Bias::Learned, weights)
    }
}
