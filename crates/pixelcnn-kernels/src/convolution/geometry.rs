//! The sizes of a convolution.

use candle_core::{Result, Tensor, bail};

use crate::memory::Maps;

/// Rows and columns of zeros added at each side of an image; a negative number crops.
///
/// # Example
///
/// ```
/// use pixelcnn_kernels::Padding;
///
/// // Two rows on top, one cropped below: everything moves down.
/// let padding = Padding { top: 2, bottom: -1, left: 1, right: 1 };
/// assert_eq!(padding.height(5), 6);
/// assert_eq!(padding.width(5), 7);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Padding {
    /// Rows added above.
    pub top: isize,
    /// Rows added below.
    pub bottom: isize,
    /// Columns added on the left.
    pub left: isize,
    /// Columns added on the right.
    pub right: isize,
}

impl Padding {
    /// Height of an image of `height` rows after padding; may be negative if
    /// cropping exceeds the image.
    pub fn height(&self, height: usize) -> isize {
        height as isize + self.top + self.bottom
    }

    /// Width of an image of `width` columns after padding.
    pub fn width(&self, width: usize) -> isize {
        width as isize + self.left + self.right
    }
}

/// The checked sizes of one convolution.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Geometry {
    pub batch: usize,
    pub inputs: usize,
    pub outputs: usize,
    /// Height and width of the input.
    pub from: (usize, usize),
    /// Height and width of the output.
    pub to: (usize, usize),
    /// Height and width of the kernel.
    pub kernel: (usize, usize),
    pub dilation: usize,
    /// Rows of padding above and columns of padding left of the image.
    pub before: (isize, isize),
}

impl Geometry {
    pub(crate) fn new(
        input: &Tensor,
        weight: &Tensor,
        bias: Option<&Tensor>,
        padding: Padding,
        dilation: usize,
    ) -> Result<Self> {
        let (Ok((b, i, h, w)), Ok((o, wi, kh, kw))) = (input.dims4(), weight.dims4()) else {
            bail!(
                "convolve: input [b, i, h, w] and weight [o, i, kh, kw] expected, found {:?} and {:?}",
                input.shape(),
                weight.shape()
            );
        };
        if i != wi {
            bail!("convolve: weight is for {wi} maps, input has {i}");
        }
        if [b, i, h, w, o, kh, kw, dilation].contains(&0) {
            bail!(
                "convolve: a size is zero: input {:?}, weight {:?}, dilation {dilation}",
                input.shape(),
                weight.shape()
            );
        }
        // Larger than any image; sums of such numbers do not overflow.
        const MOST: usize = 1 << 30;
        let sides = [padding.top, padding.bottom, padding.left, padding.right];
        let sides = sides.map(isize::unsigned_abs).into_iter();
        if sides.chain([dilation, kh, kw]).any(|size| size > MOST) {
            bail!(
                "convolve: at most {MOST} expected, found {padding:?}, dilation {dilation}, \
                 a kernel of {kh} x {kw}"
            );
        }
        if let Some(bias) = bias
            && bias.dims() != [o]
        {
            bail!("convolve: bias [{o}] expected, found {:?}", bias.shape());
        }
        let height = padding.height(h) - ((kh - 1) * dilation) as isize;
        let width = padding.width(w) - ((kw - 1) * dilation) as isize;
        if height < 1 || width < 1 {
            bail!(
                "convolve: the output of {h} x {w} is empty with {padding:?} \
                 and a kernel of {kh} x {kw}, dilation {dilation}"
            );
        }
        let to = (height as usize, width as usize);
        // Far more than any memory. Unsafe code relies on products that do not overflow.
        const MOST_NUMBERS: u128 = 1 << 48;
        let count = |sizes: [usize; 4]| {
            let sizes = sizes.into_iter().map(|size| size as u128);
            sizes.fold(1, u128::saturating_mul)
        };
        for sizes in [[b, i, h, w], [b, o, to.0, to.1], [o, i, kh, kw]] {
            if count(sizes) > MOST_NUMBERS {
                bail!("convolve: at most {MOST_NUMBERS} numbers expected, found {sizes:?}");
            }
        }
        Ok(Self {
            batch: b,
            inputs: i,
            outputs: o,
            from: (h, w),
            to,
            kernel: (kh, kw),
            dilation,
            before: (padding.top, padding.left),
        })
    }

    /// The convolution for gradients from the output back to the
    /// input: the kernel rotated by 180 degrees, inputs and outputs exchanged.
    pub(crate) fn transposed(&self) -> Self {
        let last = |kernel: usize, before: isize| ((kernel - 1) * self.dilation) as isize - before;
        Self {
            inputs: self.outputs,
            outputs: self.inputs,
            from: self.to,
            to: self.from,
            before: (
                last(self.kernel.0, self.before.0),
                last(self.kernel.1, self.before.1),
            ),
            ..*self
        }
    }

    /// Contiguous numbers as input maps.
    pub(crate) fn input<'a>(&self, values: &'a [f32]) -> Maps<'a> {
        let stride = self.inputs * self.input_area();
        Maps { values, stride }
    }

    /// Contiguous numbers as output maps.
    pub(crate) fn output<'a>(&self, values: &'a [f32]) -> Maps<'a> {
        let stride = self.outputs * self.output_area();
        Maps { values, stride }
    }

    /// Whether each output depends only on inputs at its own position.
    pub(crate) fn is_pointwise(&self) -> bool {
        self.taps() == 1 && self.from == self.to && self.before == (0, 0)
    }

    pub(crate) fn taps(&self) -> usize {
        self.kernel.0 * self.kernel.1
    }

    /// Number of (tap, input) pairs that an output sums over.
    pub(crate) fn summed(&self) -> usize {
        self.taps() * self.inputs
    }

    /// The position that a tap reads, relative to the output position.
    pub(crate) fn shift(&self, tap: usize) -> (isize, isize) {
        let (row, column) = (tap / self.kernel.1, tap % self.kernel.1);
        (
            (row * self.dilation) as isize - self.before.0,
            (column * self.dilation) as isize - self.before.1,
        )
    }

    /// Positions of an input map.
    pub(crate) fn input_area(&self) -> usize {
        self.from.0 * self.from.1
    }

    /// Positions of an output map.
    pub(crate) fn output_area(&self) -> usize {
        self.to.0 * self.to.1
    }
}
