//! Reading the values of images.

use std::ops::Range;

use candle_core::{DType, Device, Tensor};

use super::Images;
use crate::bytes::BLOCK;
use crate::change::Change;
use crate::store::Width;
use crate::{DataError, Values};

impl Images {
    /// The concatenated values of the images of `range`.
    ///
    /// ```
    /// use pixelcnn_data::Images;
    ///
    /// let images = Images::new((1, 1, 2), vec![1, 2, 3, 4, 5, 6], vec![0, 0, 0])?;
    /// assert_eq!(images.read(1..3)?.as_bytes(), Some(&[3, 4, 5, 6][..]));
    /// # Ok::<(), pixelcnn_data::DataError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`DataError::Range`] if the range is reversed or beyond the last
    /// image; [`DataError::Read`] if the file with the values cannot be read or
    /// has changed.
    pub fn read(&self, range: Range<usize>) -> Result<Values, DataError> {
        if range.start > range.end || range.end > self.len() {
            return Err(DataError::Range {
                range,
                images: self.len(),
            });
        }
        let indices: Vec<usize> = range.collect();
        self.values_of(&indices)
    }

    /// The values of all images in blocks of some megabytes, for sets that are larger than
    /// the memory.
    ///
    /// ```
    /// use pixelcnn_data::Images;
    ///
    /// let images = Images::new((1, 1, 1), vec![1, 2, 3], vec![0, 0, 0])?;
    /// let mut sum = 0;
    /// for values in images.blocks() {
    ///     sum += values?.as_bytes().unwrap_or_default().iter().map(|&it| u32::from(it)).sum::<u32>();
    /// }
    /// assert_eq!(sum, 6);
    /// # Ok::<(), pixelcnn_data::DataError>(())
    /// ```
    pub fn blocks(&self) -> Blocks<'_> {
        let raw = self.store.image_bytes().max(1);
        Blocks {
            images: self,
            next: 0,
            at_once: (BLOCK / raw).max(1),
        }
    }

    /// The largest value; `None` if there are no images. Reads all values.
    ///
    /// # Errors
    ///
    /// As [`Images::read`].
    pub fn max(&self) -> Result<Option<u32>, DataError> {
        let mut most = None;
        for values in self.blocks() {
            most = most.max(values?.max());
        }
        Ok(most)
    }

    /// The type of [`Images::tensor`]: u8, or u32 for values of two bytes.
    pub fn dtype(&self) -> DType {
        let bits = self.changes.iter().rev().find_map(|change| match change {
            Change::Bits { bits, .. } => Some(*bits),
            Change::Shrunk { .. } => None,
        });
        let width = match bits {
            Some(bits) => Width::for_levels(1 << bits),
            None => self.store.width(),
        };
        match width {
            Width::Byte => DType::U8,
            Width::Two => DType::U32,
        }
    }

    /// The images of `range` as a tensor on `device`: u8, or u32 for more
    /// than 256 levels.
    ///
    /// # Shapes
    ///
    /// `[range.len(), c, h, w]`
    ///
    /// # Errors
    ///
    /// As [`Images::read`]; [`DataError::Tensor`] if the tensor does not fit on the
    /// device.
    pub fn tensor(&self, range: Range<usize>, device: &Device) -> Result<Tensor, DataError> {
        let shape = (range.len(), self.channels, self.height, self.width);
        self.read(range)?.into_tensor(shape, device)
    }

    /// The images with these indices, in this order, as by [`Images::tensor`].
    ///
    /// ```
    /// use candle_core::Device;
    /// use pixelcnn_data::Images;
    ///
    /// let images = Images::new((1, 1, 1), vec![10, 11, 12], vec![0, 0, 0])?;
    /// let chosen = images.gather(&[2, 0], &Device::Cpu)?;
    /// assert_eq!(chosen.flatten_all()?.to_vec1::<u8>()?, [12, 10]);
    /// # Ok::<(), pixelcnn_data::DataError>(())
    /// ```
    ///
    /// # Shapes
    ///
    /// `[indices.len(), c, h, w]`
    ///
    /// # Errors
    ///
    /// [`DataError::Index`] if an image does not exist; otherwise as [`Images::tensor`].
    pub fn gather(&self, indices: &[usize], device: &Device) -> Result<Tensor, DataError> {
        self.check(indices)?;
        let shape = (indices.len(), self.channels, self.height, self.width);
        self.values_of(indices)?.into_tensor(shape, device)
    }

    /// The concatenated values of these images; each index must be
    /// below [`Images::len`].
    pub(crate) fn values_of(&self, indices: &[usize]) -> Result<Values, DataError> {
        let values = match &self.order {
            None => self.store.read(indices)?,
            Some(order) => {
                let places: Vec<usize> = indices.iter().map(|&index| order[index]).collect();
                self.store.read(&places)?
            }
        };
        Ok(self
            .changes
            .iter()
            .fold(values, |values, change| change.apply(values)))
    }
}

/// Compares values, labels, captions, shape and levels, not where values are stored.
/// Images that cannot be read are not equal to any images.
impl PartialEq for Images {
    fn eq(&self, other: &Self) -> bool {
        let alike = self.shape() == other.shape()
            && self.levels() == other.levels()
            && self.labels() == other.labels()
            && self.captions() == other.captions();
        let step = (BLOCK / self.image_size()).max(1);
        alike
            && (0..self.len()).step_by(step).all(|start| {
                let range = start..self.len().min(start + step);
                match (self.read(range.clone()), other.read(range)) {
                    (Ok(own), Ok(others)) => own == others,
                    _ => false,
                }
            })
    }
}

/// The blocks of [`Images::blocks`].
#[derive(Clone, Debug)]
pub struct Blocks<'a> {
    images: &'a Images,
    next: usize,
    at_once: usize,
}

impl Iterator for Blocks<'_> {
    type Item = Result<Values, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        let start = self.next;
        self.next = self.images.len().min(start.saturating_add(self.at_once));
        (start < self.next).then(|| self.images.read(start..self.next))
    }
}
