//! Decoded images in memory.

use std::fmt;
use std::ops::Range;

use candle_core::{Device, Tensor};

use pixelcnn_image::{ImageShape, Reduction, check_bits, fewer_bits};

use crate::{DataError, Values};

/// Decoded images of one size and number of levels, in memory in `[n, c, h, w]`
/// order. Each has a label, and a caption if the data set has captions.
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
#[derive(Clone, PartialEq, Eq)]
pub struct Images {
    channels: usize,
    height: usize,
    width: usize,
    levels: usize,
    values: Values,
    labels: Vec<u32>,
    /// One caption for each image, or none.
    captions: Vec<String>,
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
        let (channels, height, width) = shape;
        let size = channels
            .checked_mul(height)
            .and_then(|size| size.checked_mul(width));
        let expected = size.and_then(|size| size.checked_mul(labels.len()));
        if size == Some(0) || expected != Some(values.len()) {
            return Err(DataError::ImageValues {
                values: values.len(),
                images: labels.len(),
                channels,
                height,
                width,
            });
        }
        Ok(Self {
            channels,
            height,
            width,
            levels: values.most_levels(),
            values,
            labels,
            captions: Vec::new(),
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
    /// 2 or more than 65,536 levels.
    pub fn with_levels(self, levels: usize) -> Result<Self, DataError> {
        let most = self.values.max().unwrap_or(0);
        if !(2..=1 << 16).contains(&levels) || most as usize >= levels {
            return Err(DataError::Levels { levels, most });
        }
        Ok(Self { levels, ..self })
    }

    /// The same images with the upper `bits` bits of each value, see [`fewer_bits`].
    ///
    /// ```
    /// use pixelcnn_data::Images;
    ///
    /// let images = Images::new((1, 1, 2), vec![7, 255], vec![0])?.with_bits(5)?;
    /// assert_eq!((images.levels(), images.values().max()), (32, Some(31)));
    /// # Ok::<(), pixelcnn_data::DataError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`DataError::Image`] if the images have fewer bits, or `2^bits` does not divide their
    /// levels.
    pub fn with_bits(self, bits: u32) -> Result<Self, DataError> {
        let (from, levels) = (self.levels, 1 << bits.min(16));
        check_bits(bits, from)?;
        let values = self.values;
        Ok(Self {
            levels,
            values: values.map(levels, |value| fewer_bits(value, from, bits)),
            ..self
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
        Ok(Self {
            height,
            width,
            values: self.values.shrunk(h * w, w, factor),
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
        Ok(Self { captions, ..self })
    }

    /// The same images with other labels.
    ///
    /// # Errors
    ///
    /// [`DataError::ImageValues`] if there is not one label for each image.
    pub(crate) fn with_labels(self, labels: Vec<u32>) -> Result<Self, DataError> {
        let relabelled = Self::from_values(self.shape(), self.values, labels)?;
        Ok(Self {
            levels: self.levels,
            captions: self.captions,
            ..relabelled
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

    /// The values of all images, in `[n, c, h, w]` order.
    pub fn values(&self) -> &Values {
        &self.values
    }

    /// The label of each image.
    pub fn labels(&self) -> &[u32] {
        &self.labels
    }

    /// The caption of each image; empty if the images have no captions.
    pub fn captions(&self) -> &[String] {
        &self.captions
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
    /// [`DataError::Range`] if the range is reversed or beyond the last
    /// image, [`DataError::Tensor`] if the tensor does not fit on the device.
    pub fn tensor(&self, range: Range<usize>, device: &Device) -> Result<Tensor, DataError> {
        if range.start > range.end || range.end > self.len() {
            return Err(DataError::Range {
                range,
                images: self.len(),
            });
        }
        let size = self.image_size();
        let whole = std::iter::once(range.start * size..range.end * size);
        let shape = (range.len(), self.channels, self.height, self.width);
        self.values.gather(whole).into_tensor(shape, device)
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
    /// [`DataError::Index`] if an image does not exist,
    /// [`DataError::Tensor`] if the tensor does not fit on the device.
    pub fn gather(&self, indices: &[usize], device: &Device) -> Result<Tensor, DataError> {
        self.check(indices)?;
        let shape = (indices.len(), self.channels, self.height, self.width);
        self.values_of(indices).into_tensor(shape, device)
    }

    /// A copy of the images with these indices, in this order, with their
    /// labels and captions.
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

    /// A copy of the first `limit` images, or of all if there are fewer.
    pub fn first(&self, limit: usize) -> Self {
        let indices: Vec<usize> = (0..limit.min(self.len())).collect();
        self.subset(&indices)
    }

    /// The bytes of one image.
    #[cfg(test)]
    pub(crate) fn image(&self, index: usize) -> &[u8] {
        let size = self.image_size();
        &self.values.as_bytes().unwrap()[index * size..(index + 1) * size]
    }

    /// The concatenated values of these images; each index must be
    /// below [`Images::len`].
    pub(crate) fn values_of(&self, indices: &[usize]) -> Values {
        let size = self.image_size();
        let ranges = indices.iter().map(|index| index * size..(index + 1) * size);
        self.values.gather(ranges)
    }

    /// Splits off every tenth image; returns the others and the tenths. The choice depends
    /// only on the position, so that every run on the same file validates on the same
    /// images.
    pub(crate) fn hold_out_tenth(mut self) -> (Self, Self) {
        let (held_out, kept): (Vec<usize>, Vec<usize>) =
            (0..self.len()).partition(|index| index % 10 == 9);
        let held_out = self.subset(&held_out);
        self.keep(&kept);
        (self, held_out)
    }

    /// Keeps only the images with these indices, which must rise and be below
    /// [`Images::len`]. Works in place, because there may be gigabytes.
    pub(crate) fn keep(&mut self, indices: &[usize]) {
        let size = self.image_size();
        for (to, &from) in indices.iter().enumerate() {
            self.labels[to] = self.labels[from];
            if !self.captions.is_empty() {
                self.captions.swap(to, from);
            }
        }
        self.values.keep(indices, size);
        self.labels.truncate(indices.len());
        self.captions.truncate(indices.len());
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
        let captions = if self.captions.is_empty() {
            Vec::new()
        } else {
            let caption = |&index: &usize| self.captions[index].clone();
            indices.iter().map(caption).collect()
        };
        Self {
            values: self.values_of(indices),
            labels: indices.iter().map(|&index| self.labels[index]).collect(),
            captions,
            ..*self
        }
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
mod tests {
    use candle_core::DType;
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{assert_says, numbered};

    #[test]
    fn a_tensor_holds_the_images_of_its_range() {
        let images = numbered(5, (3, 2, 4));
        let tensor = images.tensor(1..3, &Device::Cpu).unwrap();
        assert_eq!(tensor.dims(), [2, 3, 2, 4]);
        assert_eq!(tensor.dtype(), DType::U8);
        let values = tensor.flatten_all().unwrap().to_vec1::<u8>().unwrap();
        assert_eq!(values, images.values().as_bytes().unwrap()[24..72]);
    }

    #[test]
    fn ranges_beyond_the_images_are_errors() {
        let images = numbered(5, (1, 1, 1));
        #[expect(clippy::reversed_empty_ranges)]
        for range in [4..6, 6..6, 3..2, 0..usize::MAX] {
            let error = images.tensor(range.clone(), &Device::Cpu).unwrap_err();
            assert!(matches!(error, DataError::Range { .. }), "{range:?}");
        }
        assert!(images.tensor(0..5, &Device::Cpu).is_ok());
        assert_eq!(images.tensor(5..5, &Device::Cpu).unwrap().dims()[0], 0);
    }

    #[test]
    fn values_must_match_the_labels_and_the_shape() {
        assert!(Images::new((1, 2, 2), vec![0; 8], vec![0; 2]).is_ok());
        assert!(Images::new((1, 2, 2), Vec::new(), Vec::new()).is_ok());
        for (shape, values) in [
            ((1, 2, 2), 7),
            ((1, 2, 2), 9),
            ((0, 2, 2), 0),
            ((usize::MAX, 2, 2), 8),
            ((1 << 32, 1 << 31, 1), 0),
        ] {
            let error = Images::new(shape, vec![0; values], vec![0; 2]).unwrap_err();
            assert!(matches!(error, DataError::ImageValues { .. }), "{shape:?}");
        }
        assert!(Images::new((1, 0, 1), Vec::new(), Vec::new()).is_err());
    }

    #[test]
    fn captions_stay_with_their_images() {
        let captions: Vec<String> = (0..20).map(|index| format!("image {index}")).collect();
        let images = numbered(20, (1, 1, 2)).with_captions(captions).unwrap();
        assert_eq!(images.first(2).captions(), ["image 0", "image 1"]);
        let chosen = images.select(&[7, 3, 7]).unwrap();
        assert_eq!(chosen.captions(), ["image 7", "image 3", "image 7"]);
        assert_eq!(chosen.labels(), [7, 3, 7]);
        let (kept, held_out) = images.hold_out_tenth();
        assert_eq!(held_out.captions(), ["image 9", "image 19"]);
        assert_eq!(kept.captions()[9], "image 10");
    }

    #[test]
    fn each_image_needs_a_caption() {
        for captions in [0, 1, 3] {
            let error = numbered(2, (1, 1, 1))
                .with_captions(vec![String::new(); captions])
                .unwrap_err();
            assert_says(
                &error,
                &[&format!("{captions} caption"), "for 2 images: each"],
            );
        }
    }

    #[test]
    fn images_that_are_not_there_cannot_be_chosen() {
        let images = numbered(5, (1, 1, 1));
        for index in [5, usize::MAX] {
            let error = images.select(&[0, index]).unwrap_err();
            assert_says(
                &error,
                &[&format!(
                    "image {index} (from 0) requested, but there are only 5"
                )],
            );
            assert!(images.gather(&[index], &Device::Cpu).is_err());
        }
        assert!(images.select(&[]).unwrap().is_empty());
        let none = images.gather(&[], &Device::Cpu).unwrap();
        assert_eq!(none.dims(), [0, 1, 1, 1]);
    }

    #[test]
    fn debug_is_short() {
        let text = format!("{:?}", numbered(200, (3, 4, 4)));
        assert_eq!(text, "Images { len: 200, shape: (3, 4, 4), .. }");
    }

    #[test]
    fn shrunk_images_keep_labels_captions_and_levels() {
        let images = Images::new((1, 2, 3), (0..12).collect(), vec![0, 1]).unwrap();
        let images = images.with_captions(vec!["a".into(), "b".into()]);
        let small = images.unwrap().shrunk(2).unwrap();
        // 0 1 2 over 3 4 5, then 6 more of each; the means are 2, 3.5 rounded up, 8, 9.5.
        assert_eq!(small.values().as_bytes().unwrap(), [2, 4, 8, 10]);
        assert_eq!((small.shape(), small.labels()), ((1, 1, 2), &[0, 1][..]));
        assert_eq!((small.captions().len(), small.levels()), (2, 256));
        assert!(small.shrunk(3).is_err());
    }

    #[test]
    fn two_bytes_a_value_are_kept_chosen_and_cut_to_fewer_bits() {
        let values: Vec<u16> = (0..12).map(|value| value * 5_957).collect();
        let images = Images::from_values((1, 2, 2), values.clone().into(), vec![0, 1, 2]);
        let images = images.unwrap();
        assert_eq!(images.levels(), 65_536);
        let tensor = images.gather(&[2, 0], &Device::Cpu).unwrap();
        assert_eq!(tensor.dtype(), DType::U32);
        let found = tensor.flatten_all().unwrap().to_vec1::<u32>().unwrap();
        let of = |range: Range<usize>| values[range].iter().map(|value| u32::from(*value));
        assert_eq!(found, of(8..12).chain(of(0..4)).collect::<Vec<_>>());
        let mut kept = images.clone();
        kept.keep(&[1]);
        assert_eq!(*kept.values(), Values::U16(values[4..8].to_vec()));
        let few = images.clone().with_bits(8).unwrap();
        let bytes: Vec<u8> = values.iter().map(|value| (value >> 8) as u8).collect();
        assert_eq!((few.values(), few.levels()), (&Values::U8(bytes), 256));
        assert_ne!(images.identity(), few.identity());
        assert!(few.with_bits(9).is_err());
        assert!(images.with_bits(0).is_err());
    }

    proptest! {
        #[test]
        fn first_is_a_prefix(len in 0_usize..30, limit in 0_usize..40) {
            let images = numbered(len, (2, 1, 3));
            let first = images.first(limit);
            let count = limit.min(len);
            prop_assert_eq!(first.len(), count);
            prop_assert_eq!(first.shape(), images.shape());
            prop_assert_eq!(first.labels(), &images.labels()[..count]);
            let bytes = |images: &Images| images.values().as_bytes().unwrap().to_vec();
            prop_assert_eq!(&bytes(&first), &bytes(&images)[..count * 6]);
        }

        #[test]
        fn what_is_chosen_is_what_is_gathered(
            indices in prop::collection::vec(0_usize..9, 0..12),
        ) {
            let images = numbered(9, (2, 1, 3));
            let chosen = images.select(&indices).unwrap();
            let gathered = images.gather(&indices, &Device::Cpu).unwrap();
            prop_assert_eq!(gathered.dims(), &[indices.len(), 2, 1, 3]);
            let values = gathered.flatten_all().unwrap().to_vec1::<u8>().unwrap();
            prop_assert_eq!(chosen.values().as_bytes().unwrap(), &values);
            for (position, &index) in indices.iter().enumerate() {
                prop_assert_eq!(chosen.image(position), images.image(index));
                prop_assert_eq!(chosen.labels()[position], index as u32);
            }
        }

        #[test]
        fn a_tenth_is_held_out_by_position(len in 0_usize..45) {
            let images = numbered(len, (1, 1, 2));
            let (kept, held_out) = images.clone().hold_out_tenth();
            let (tenth, rest): (Vec<u32>, Vec<u32>) =
                (0..len as u32).partition(|index| index % 10 == 9);
            prop_assert_eq!(kept.labels(), rest);
            prop_assert_eq!(held_out.labels(), tenth);
            for part in [kept, held_out] {
                for (index, &label) in part.labels().iter().enumerate() {
                    prop_assert_eq!(part.image(index), images.image(label as usize));
                }
            }
        }
    }
}
