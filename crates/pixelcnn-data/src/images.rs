//! Decoded images, in memory or in a file.

mod reading;

use std::fmt;
use std::sync::Arc;

use pixelcnn_image::{ImageShape, Reduction, check_bits};

use crate::change::Change;
use crate::store::Store;
use crate::{DataError, Values};

pub use reading::Blocks;

/// Decoded images of one size and number of levels, in `[n, c, h, w]` order. Each has a
/// label, and a caption if the data set has captions.
///
/// Labels and captions are in memory. The values may stay in a file, from which they are
/// read when they are needed. [`Images::first`], [`Images::select`], [`Images::shrunk`] and
/// similar methods then read no values. Clones share all data. If the file changes, the
/// next read is an error.
///
/// ```
/// use candle_core::Device;
/// use pixelcnn_data::Images;
///
/// // Two grey images of one row and three columns.
/// let images = Images::new((1, 1, 3), vec![1, 2, 3, 4, 5, 6], vec![0, 7])?;
/// assert_eq!((images.len(), images.shape()), (2, (1, 1, 3)));
/// assert_eq!(images.labels(), [0, 7]);
/// let second = images.tensor(1..2, &Device::Cpu)?;
/// assert_eq!(second.flatten_all()?.to_vec1::<u8>()?, [4, 5, 6]);
/// # Ok::<(), pixelcnn_data::DataError>(())
/// ```
#[derive(Clone)]
pub struct Images {
    channels: usize,
    height: usize,
    width: usize,
    levels: usize,
    store: Store,
    /// Indices in the store; without them, the first images of the store.
    order: Option<Arc<[usize]>>,
    /// Changes of the values after they are read, in this order.
    changes: Vec<Change>,
    labels: Arc<[u32]>,
    /// One caption for each image, or none.
    captions: Arc<[String]>,
}

impl Images {
    /// Images of `shape` (channels, height, width) and 256 levels, one for each label.
    ///
    /// # Errors
    ///
    /// [`DataError::ImageValues`] if the number of values is not that of
    /// `labels.len()` images, or a side or the number of channels is 0.
    pub fn new(
        shape: (usize, usize, usize),
        values: Vec<u8>,
        labels: Vec<u32>,
    ) -> Result<Self, DataError> {
        Self::from_values(shape, Values::U8(values), labels)
    }

    /// The same with as many levels as the values can have: 256 for bytes, 65,536 for two
    /// bytes each.
    ///
    /// # Errors
    ///
    /// As [`Images::new`].
    pub fn from_values(
        shape: (usize, usize, usize),
        values: Values,
        labels: Vec<u32>,
    ) -> Result<Self, DataError> {
        let given = values.len();
        let store = |size| Store::from_values(values, size);
        Self::checked(shape, given, labels, store)
    }

    /// Images with values in a store, one for each label.
    ///
    /// # Errors
    ///
    /// As [`Images::new`].
    pub(crate) fn from_store(
        shape: (usize, usize, usize),
        store: Store,
        labels: Vec<u32>,
    ) -> Result<Self, DataError> {
        let (channels, height, width) = shape;
        let size = channels.saturating_mul(height).saturating_mul(width);
        let values = store.images().saturating_mul(size);
        Self::checked(shape, values, labels, |_| store)
    }

    fn checked(
        shape: (usize, usize, usize),
        values: usize,
        labels: Vec<u32>,
        store: impl FnOnce(usize) -> Store,
    ) -> Result<Self, DataError> {
        let (channels, height, width) = shape;
        let size = channels
            .checked_mul(height)
            .and_then(|size| size.checked_mul(width));
        let expected = size.and_then(|size| size.checked_mul(labels.len()));
        let Some(size) = size.filter(|size| *size > 0 && expected == Some(values)) else {
            return Err(DataError::ImageValues {
                values,
                images: labels.len(),
                channels,
                height,
                width,
            });
        };
        let store = store(size);
        Ok(Self {
            channels,
            height,
            width,
            levels: store.width().most_levels(),
            store,
            order: None,
            changes: Vec::new(),
            labels: labels.into(),
            captions: Arc::new([]),
        })
    }

    /// The same images with fewer levels: values from 0 to
    /// `levels - 1`.
    ///
    /// ```
    /// use pixelcnn_data::Images;
    ///
    /// let codes = Images::new((1, 1, 2), vec![0, 15], vec![0])?.with_levels(16)?;
    /// assert_eq!(codes.levels(), 16);
    /// assert!(codes.with_levels(15).is_err());
    /// # Ok::<(), pixelcnn_data::DataError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`DataError::Levels`] if a value is not below `levels`, or there are fewer than
    /// 2 or more than 65,536 levels. Also if the values cannot be read.
    pub fn with_levels(self, levels: usize) -> Result<Self, DataError> {
        let some = (2..=1 << 16).contains(&levels);
        // Values are always below the present number of levels.
        if !some || levels < self.levels {
            let most = self.max()?.unwrap_or(0);
            if !some || most as usize >= levels {
                return Err(DataError::Levels { levels, most });
            }
        }
        Ok(Self { levels, ..self })
    }

    /// The same, without a check of the values.
    pub(crate) fn with_known_levels(self, levels: usize) -> Self {
        Self { levels, ..self }
    }

    /// The same images with the upper `bits` bits of each value, see
    /// [`fewer_bits`](pixelcnn_image::fewer_bits).
    ///
    /// ```
    /// use pixelcnn_data::Images;
    ///
    /// let images = Images::new((1, 1, 2), vec![7, 255], vec![0])?.with_bits(5)?;
    /// assert_eq!((images.levels(), images.max()?), (32, Some(31)));
    /// # Ok::<(), pixelcnn_data::DataError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`DataError::Image`] if the images have fewer bits, or `2^bits` does not divide their
    /// levels.
    pub fn with_bits(self, bits: u32) -> Result<Self, DataError> {
        let levels = self.levels;
        check_bits(bits, levels)?;
        let changed = self.changed(Change::Bits { levels, bits })?;
        Ok(Self {
            levels: 1 << bits,
            ..changed
        })
    }

    /// The same images, shrunk by `factor` (means of squares), see
    /// [`Reduction::Shrunk`](pixelcnn_image::Reduction).
    ///
    /// # Errors
    ///
    /// [`DataError::Image`] if the factor is not a power of two from 2 to 65,536.
    pub fn shrunk(self, factor: usize) -> Result<Self, DataError> {
        let (c, h, w) = self.shape();
        let (channels, height, width) = (c, h, w);
        let shape = ImageShape {
            channels,
            height,
            width,
            levels: self.levels,
        };
        let reduction = Reduction::Shrunk { factor };
        reduction.validate(&shape)?;
        let [_, height, width] = reduction.shape(c, (h, w));
        let changed = self.changed(Change::Shrunk {
            area: h * w,
            width: w,
            factor,
        })?;
        Ok(Self {
            height,
            width,
            ..changed
        })
    }

    /// Applies a change now to values in memory, and to values in a file when they are
    /// read.
    fn changed(mut self, change: Change) -> Result<Self, DataError> {
        if !self.store.is_in_memory() {
            self.changes.push(change);
            return Ok(self);
        }
        let values = change.apply(self.read(0..self.len())?);
        // Without images the size does not matter.
        let size = (values.len() / self.len().max(1)).max(1);
        Ok(Self {
            store: Store::from_values(values, size),
            order: None,
            changes: Vec::new(),
            ..self
        })
    }

    /// The same images with captions.
    ///
    /// ```
    /// use pixelcnn_data::Images;
    ///
    /// let images = Images::new((1, 1, 1), vec![1, 2], vec![0, 0])?;
    /// assert!(images.captions().is_empty());
    /// let images = images.with_captions(vec!["dark".into(), "less dark".into()])?;
    /// assert_eq!(images.captions()[1], "less dark");
    /// # Ok::<(), pixelcnn_data::DataError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`DataError::Captions`] if there is not one caption for each image.
    pub fn with_captions(self, captions: Vec<String>) -> Result<Self, DataError> {
        if captions.len() != self.len() {
            return Err(DataError::Captions {
                captions: captions.len(),
                images: self.len(),
            });
        }
        Ok(Self {
            captions: captions.into(),
            ..self
        })
    }

    /// The same images with other labels.
    ///
    /// # Errors
    ///
    /// [`DataError::ImageValues`] if there is not one label for each image.
    pub(crate) fn with_labels(self, labels: Vec<u32>) -> Result<Self, DataError> {
        if labels.len() == self.len() {
            let labels = labels.into();
            return Ok(Self { labels, ..self });
        }
        let (channels, height, width) = self.shape();
        Err(DataError::ImageValues {
            values: self.len() * channels * height * width,
            images: labels.len(),
            channels,
            height,
            width,
        })
    }

    /// Number of images.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there are no images.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Channels, height and width of every image.
    pub fn shape(&self) -> (usize, usize, usize) {
        (self.channels, self.height, self.width)
    }

    /// The number of levels: values are from 0 to `levels - 1`.
    pub fn levels(&self) -> usize {
        self.levels
    }

    /// The label of each image.
    pub fn labels(&self) -> &[u32] {
        &self.labels
    }

    /// The caption of each image; empty if the images have no captions.
    pub fn captions(&self) -> &[String] {
        &self.captions
    }

    /// The images with these indices, in this order, with their labels and captions. Copies
    /// no values.
    ///
    /// ```
    /// use pixelcnn_data::Images;
    ///
    /// let images = Images::new((1, 1, 1), vec![10, 11, 12], vec![5, 6, 7])?;
    /// assert_eq!(images.select(&[2, 0])?.labels(), [7, 5]);
    /// assert!(images.select(&[3]).is_err());
    /// # Ok::<(), pixelcnn_data::DataError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`DataError::Index`] if an image does not exist.
    pub fn select(&self, indices: &[usize]) -> Result<Self, DataError> {
        self.check(indices)?;
        Ok(self.subset(indices))
    }

    /// The first `limit` images, or all if there are fewer. Copies no values.
    pub fn first(&self, limit: usize) -> Self {
        let count = limit.min(self.len());
        if count == self.len() {
            return self.clone();
        }
        Self {
            labels: self.labels[..count].into(),
            captions: self.captions[..count.min(self.captions.len())].into(),
            ..self.clone()
        }
    }

    /// The bytes of one image.
    #[cfg(test)]
    pub(crate) fn image(&self, index: usize) -> Vec<u8> {
        let values = self.read(index..index + 1).unwrap();
        values.as_bytes().unwrap().to_vec()
    }

    /// The bytes of all images.
    #[cfg(test)]
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let values = self.read(0..self.len()).unwrap();
        values.as_bytes().unwrap().to_vec()
    }

    /// Splits off every tenth image; returns the others and the tenths. The choice depends
    /// only on the position, so that every run on the same file validates on the same
    /// images.
    pub(crate) fn hold_out_tenth(&self) -> (Self, Self) {
        let (held_out, kept): (Vec<usize>, Vec<usize>) =
            (0..self.len()).partition(|index| index % 10 == 9);
        (self.subset(&kept), self.subset(&held_out))
    }

    fn check(&self, indices: &[usize]) -> Result<(), DataError> {
        let images = self.len();
        match indices.iter().find(|&&index| index >= images) {
            Some(&index) => Err(DataError::Index { index, images }),
            None => Ok(()),
        }
    }

    /// The images with these indices; each must be below [`Images::len`].
    pub(crate) fn subset(&self, indices: &[usize]) -> Self {
        let caption = |index: &usize| self.captions.get(*index).cloned();
        let order = indices.iter().map(|&index| self.place(index));
        Self {
            order: Some(order.collect()),
            labels: indices.iter().map(|&index| self.labels[index]).collect(),
            captions: indices.iter().filter_map(caption).collect(),
            changes: self.changes.clone(),
            store: self.store.clone(),
            ..*self
        }
    }

    /// The index of an image in the store.
    fn place(&self, index: usize) -> usize {
        self.order.as_ref().map_or(index, |order| order[index])
    }

    fn image_size(&self) -> usize {
        self.channels * self.height * self.width
    }
}

/// Only the number and shape: nobody can read millions of values.
impl fmt::Debug for Images {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Images")
            .field("len", &self.len())
            .field("shape", &self.shape())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
