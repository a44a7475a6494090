//! Images that are read in parts.

use std::ops::Range;

use candle_core::{Result, Tensor};

/// Images for fitting a [`Gaussian`](crate::Gaussian). The fit reads them several times, a
/// part at a time, so they need not be in memory together. A tensor `[n, c, h, w]` is an
/// image source.
///
/// # Example
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use pixelcnn_models::ImageSource;
///
/// let images = Tensor::zeros((5, 1, 2, 2), DType::U8, &Device::Cpu)?;
/// assert_eq!(images.count(), 5);
/// assert_eq!(images.part(3..5)?.dims(), [2, 1, 2, 2]);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub trait ImageSource {
    /// Number of images.
    fn count(&self) -> usize;

    /// The values of some images.
    ///
    /// # Shapes
    ///
    /// `[range.len(), c, h, w]`, `u8` or `u32`
    ///
    /// # Errors
    ///
    /// If the images cannot be read.
    fn part(&self, range: Range<usize>) -> Result<Tensor>;
}

impl ImageSource for Tensor {
    fn count(&self) -> usize {
        self.dims().first().copied().unwrap_or(0)
    }

    fn part(&self, range: Range<usize>) -> Result<Tensor> {
        match range == (0..self.count()) {
            true => Ok(self.clone()),
            false => self.narrow(0, range.start, range.len()),
        }
    }
}

/// The ranges of the parts of a source.
pub(crate) fn parts(count: usize, at_once: usize) -> impl Iterator<Item = Range<usize>> {
    (0..count)
        .step_by(at_once)
        .map(move |start| start..count.min(start + at_once))
}
