//! All images of a split in order, batch by batch.

use candle_core::Device;

use crate::{Batch, DataError, Images};

/// The batches of a pass over images in order, on the CPU. The last batch has the remaining
/// images.
///
/// Training takes its batches from [`Batches`](crate::Batches) instead: they are shuffled
/// and addressed by step.
///
/// ```
/// use pixelcnn_data::Images;
///
/// let images = Images::new((1, 1, 1), vec![1, 2, 3], vec![5, 6, 7])?;
/// let mut seen = Vec::new();
/// for batch in images.in_order(2)? {
///     seen.push(batch?.labels);
/// }
/// assert_eq!(seen, [vec![5, 6], vec![7]]);
/// # Ok::<(), pixelcnn_data::DataError>(())
/// ```
#[derive(Clone, Debug)]
pub struct InOrder<'a> {
    images: &'a Images,
    size: usize,
    next: usize,
}

impl Images {
    /// The images in order, `size` at a time.
    ///
    /// # Errors
    ///
    /// [`DataError::BatchSize`] if there is no image, or `size` is 0.
    pub fn in_order(&self, size: usize) -> Result<InOrder<'_>, DataError> {
        match size == 0 || self.is_empty() {
            false => Ok(InOrder {
                images: self,
                size,
                next: 0,
            }),
            true => Err(DataError::BatchSize {
                batch: size,
                images: self.len(),
            }),
        }
    }
}

impl Iterator for InOrder<'_> {
    type Item = Result<Batch, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        let range = self.next..self.images.len().min(self.next.saturating_add(self.size));
        self.next = range.end;
        if range.is_empty() {
            return None;
        }
        let values = self.images.tensor(range.clone(), &Device::Cpu);
        Some(values.map(|values| Batch {
            values,
            labels: self.images.labels()[range.clone()].to_vec(),
            images: range.collect(),
        }))
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::numbered;

    #[test]
    fn every_image_comes_once_in_its_order() {
        let images = numbered(7, (3, 2, 2));
        for size in [1, 3, 7, 8, usize::MAX] {
            let mut next = 0;
            for batch in images.in_order(size).unwrap() {
                let batch = batch.unwrap();
                assert!(batch.images.len() == size || next + batch.images.len() == 7);
                let values = batch.values.flatten_from(1).unwrap();
                for (place, values) in values.to_vec2::<u8>().unwrap().iter().enumerate() {
                    assert_eq!(batch.images[place], next);
                    assert_eq!(batch.labels[place] as usize, next);
                    assert_eq!(*values, images.image(next));
                    next += 1;
                }
            }
            assert_eq!(next, 7);
        }
        assert!(images.in_order(0).is_err());
        assert!(numbered(0, (1, 1, 1)).in_order(2).is_err());
    }
}
