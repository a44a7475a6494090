//! Batches for training, addressed by step.

use candle_core::{Device, Tensor};
use serde::{Deserialize, Serialize};

use crate::order::{Coins, grouped, permutation};
use crate::{DataError, Images, Values};

/// Which images are mirrored at random.
///
/// ```
/// use pixelcnn_data::Flips;
///
/// assert_eq!(serde_json::to_string(&Flips::Horizontal).unwrap(), "\"horizontal\"");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Flips {
    /// No image.
    None,
    /// Half of the images of an epoch, horizontally.
    Horizontal,
}

/// The settings of batches.
///
/// ```
/// use pixelcnn_data::{BatchConfig, Flips};
///
/// let config = BatchConfig { batch: 16, images_per_class: 1, seed: 7, flips: Flips::None };
/// assert_eq!(config.batch, 16);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchConfig {
    /// Images per batch.
    pub batch: usize,
    /// Number of images of one label next to each other in a batch: 1 to ignore
    /// labels, more for losses that compare images of one class.
    pub images_per_class: usize,
    /// Key of the order and the flips.
    pub seed: u64,
    /// Which images are mirrored.
    pub flips: Flips,
}

/// The images of one training step.
///
/// ```
/// use candle_core::Device;
/// use pixelcnn_data::{BatchConfig, Batches, Flips, Images};
///
/// let images = Images::new((1, 1, 2), vec![1, 2, 3, 4], vec![5, 6])?;
/// let config = BatchConfig { batch: 2, images_per_class: 1, seed: 0, flips: Flips::None };
/// let batch = Batches::new(&images, config)?.at(0, &Device::Cpu)?;
/// assert_eq!(batch.values.dims(), [2, 1, 1, 2]);
/// assert_eq!(batch.labels[0], images.labels()[batch.images[0]]);
/// # Ok::<(), pixelcnn_data::DataError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Batch {
    /// The values, `[b, c, h, w]`: u8, or u32 if there are more than 256 levels.
    pub values: Tensor,
    /// The label of each image.
    pub labels: Vec<u32>,
    /// The index of each image in the split.
    pub images: Vec<usize>,
}

/// The batches of a training run, addressed by step, so that a run can resume
/// from any step as if it had never stopped.
///
/// An epoch is as many whole batches as the images give; the images left over are
/// not used in that epoch. If [`BatchConfig::images_per_class`] is above 1, the images of
/// each label are shuffled and split into groups of this size, and batches consist of
/// groups; incomplete groups are left out too. The order of an epoch is
/// keyed by the seed and the epoch, a flip by the seed, the epoch and the
/// image. Neither depends on earlier steps, and the flip does not depend on the
/// batch size.
///
/// ```
/// use candle_core::Device;
/// use pixelcnn_data::{BatchConfig, Batches, Flips, Images};
///
/// let images = Images::new((1, 1, 1), (0..10).collect(), (0..10).collect())?;
/// let config = BatchConfig { batch: 3, images_per_class: 1, seed: 7, flips: Flips::Horizontal };
/// let mut batches = Batches::new(&images, config)?;
/// assert_eq!(batches.steps_per_epoch(), 3);
/// let later = batches.at(100, &Device::Cpu)?;
/// batches.at(0, &Device::Cpu)?;
/// assert_eq!(batches.at(100, &Device::Cpu)?.labels, later.labels);
/// # Ok::<(), pixelcnn_data::DataError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Batches<'a> {
    images: &'a Images,
    config: BatchConfig,
    /// Number of images of an epoch, before they are split into batches.
    per_epoch: usize,
    order: Order,
}

/// The order of one epoch, cached because steps mostly follow each other.
#[derive(Clone, Debug)]
struct Order {
    epoch: usize,
    images: Vec<usize>,
}

impl<'a> Batches<'a> {
    /// Batches of `images`.
    ///
    /// # Errors
    ///
    /// [`DataError::BatchSize`] if a batch would have no image, or more
    /// images than there are; [`DataError::Groups`] if it would not have a whole
    /// number of groups of [`BatchConfig::images_per_class`], or more groups than there are.
    pub fn new(images: &'a Images, config: BatchConfig) -> Result<Self, DataError> {
        if config.batch == 0 || config.batch > images.len() {
            return Err(DataError::BatchSize {
                batch: config.batch,
                images: images.len(),
            });
        }
        let order = Order::new(&config, 0, images);
        let per_epoch = order.images.len();
        if !config.batch.is_multiple_of(config.images_per_class) || config.batch > per_epoch {
            return Err(DataError::Groups {
                batch: config.batch,
                each: config.images_per_class,
                grouped: per_epoch,
            });
        }
        Ok(Self {
            images,
            config,
            per_epoch,
            order,
        })
    }

    /// Number of batches per epoch.
    pub fn steps_per_epoch(&self) -> usize {
        self.per_epoch / self.config.batch
    }

    /// The batch of a step, counted from 0 over all epochs, on `device`.
    ///
    /// # Shapes
    ///
    /// values `[b, c, h, w]`
    ///
    /// # Errors
    ///
    /// [`DataError::Read`] where the file of the images cannot be read or has changed,
    /// [`DataError::Tensor`] if the batch does not fit on the device.
    pub fn at(&mut self, step: usize, device: &Device) -> Result<Batch, DataError> {
        let epoch = step / self.steps_per_epoch();
        let first = step % self.steps_per_epoch() * self.config.batch;
        if self.order.epoch != epoch {
            self.order = Order::new(&self.config, epoch, self.images);
        }
        let chosen = &self.order.images[first..first + self.config.batch];
        let mut values = self.images.values_of(chosen)?;
        self.flip(epoch, chosen, &mut values);
        let (channels, height, width) = self.images.shape();
        let shape = (self.config.batch, channels, height, width);
        Ok(Batch {
            values: values.into_tensor(shape, device)?,
            labels: chosen
                .iter()
                .map(|&image| self.images.labels()[image])
                .collect(),
            images: chosen.to_vec(),
        })
    }

    /// Mirrors the chosen images whose coin of this epoch shows heads.
    fn flip(&self, epoch: usize, chosen: &[usize], values: &mut Values) {
        if self.config.flips == Flips::None {
            return;
        }
        let (channels, height, width) = self.images.shape();
        let mut coins = Coins::new(self.config.seed, epoch as u64);
        let size = channels * height * width;
        for (place, &image) in chosen.iter().enumerate() {
            if coins.heads(image) {
                values.mirror(place * size..(place + 1) * size, width);
            }
        }
    }
}

impl Order {
    fn new(config: &BatchConfig, epoch: usize, images: &Images) -> Self {
        let (seed, number) = (config.seed, epoch as u64);
        let images = match config.images_per_class {
            0 => Vec::new(),
            1 => permutation(seed, number, images.len()),
            each => grouped(seed, number, images.labels(), each),
        };
        Self { epoch, images }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::testing::{assert_says, numbered};

    const SHAPE: (usize, usize, usize) = (3, 2, 4);

    fn batches(images: &Images, batch: usize, seed: u64, flips: Flips) -> Batches<'_> {
        let config = BatchConfig {
            batch,
            images_per_class: 1,
            seed,
            flips,
        };
        Batches::new(images, config).unwrap()
    }

    /// The label and the values of each image of a batch.
    fn contents(batch: &Batch) -> Vec<(u32, Vec<u8>)> {
        let values = batch.values.flatten_from(1).unwrap().to_vec2().unwrap();
        batch.labels.iter().copied().zip(values).collect()
    }

    /// An image with every row of every channel reversed, by its definition.
    fn mirrored(image: &[u8]) -> Vec<u8> {
        let (channels, height, width) = SHAPE;
        let mut mirror = vec![0; image.len()];
        for channel in 0..channels {
            for row in 0..height {
                for column in 0..width {
                    let start = (channel * height + row) * width;
                    mirror[start + column] = image[start + width - 1 - column];
                }
            }
        }
        mirror
    }

    /// For each image of an epoch, whether it was mirrored. Fails if an image is neither
    /// the original nor its mirror image.
    fn flips_of_epoch(
        images: &Images,
        batch: usize,
        seed: u64,
        epoch: usize,
    ) -> BTreeMap<u32, bool> {
        let mut batches = batches(images, batch, seed, Flips::Horizontal);
        let steps = batches.steps_per_epoch();
        let mut flips = BTreeMap::new();
        for step in epoch * steps..(epoch + 1) * steps {
            for (label, values) in contents(&batches.at(step, &Device::Cpu).unwrap()) {
                let image = images.image(label as usize);
                let flipped = values == mirrored(&image);
                assert!(flipped || values == image, "image {label}: {values:?}");
                assert_eq!(
                    flips.insert(label, flipped),
                    None,
                    "image {label} came twice"
                );
            }
        }
        flips
    }

    #[test]
    fn values_are_those_of_the_labels_without_flips() {
        let images = numbered(40, SHAPE);
        let mut batches = batches(&images, 7, 3, Flips::None);
        for step in 0..12 {
            let batch = batches.at(step, &Device::Cpu).unwrap();
            assert_eq!(batch.values.dims(), [7, 3, 2, 4]);
            let indices: Vec<u32> = batch.images.iter().map(|&image| image as u32).collect();
            assert_eq!(batch.labels, indices);
            for (label, values) in contents(&batch) {
                assert_eq!(values, images.image(label as usize));
            }
        }
    }

    #[test]
    fn a_flip_mirrors_each_row_of_each_channel() {
        let images = numbered(200, SHAPE);
        let flips = flips_of_epoch(&images, 8, 11, 0);
        let flipped = flips.values().filter(|&&flipped| flipped).count();
        assert_eq!(flips.len(), 200);
        assert!((70..130).contains(&flipped), "{flipped} of 200");
        assert_ne!(flips, flips_of_epoch(&images, 8, 11, 1));
        assert_ne!(flips, flips_of_epoch(&images, 8, 12, 0));
    }

    #[test]
    fn epochs_and_seeds_have_orders_of_their_own() {
        let images = numbered(50, (1, 1, 1));
        let labels = |seed, step| {
            let mut batches = batches(&images, 50, seed, Flips::None);
            batches.at(step, &Device::Cpu).unwrap().labels
        };
        let first = labels(0, 0);
        assert_ne!(first, images.labels());
        assert_ne!(first, labels(0, 1));
        assert_ne!(first, labels(1, 0));
        assert_eq!(first, labels(0, 0));
    }

    #[test]
    fn images_left_out_of_an_epoch_are_in_another() {
        let images = numbered(10, (1, 1, 1));
        let mut batches = batches(&images, 4, 0, Flips::None);
        let mut seen = [false; 10];
        for step in 0..40 {
            for label in batches.at(step, &Device::Cpu).unwrap().labels {
                seen[label as usize] = true;
            }
        }
        assert_eq!(seen, [true; 10]);
    }

    #[test]
    fn impossible_batches_are_refused() {
        let images = numbered(5, (1, 1, 1));
        for batch in [0, 6] {
            let config = BatchConfig {
                batch,
                images_per_class: 1,
                seed: 0,
                flips: Flips::None,
            };
            let error = Batches::new(&images, config).unwrap_err();
            assert_says(&error, &[&format!("batches of {batch} from 5 images")]);
        }
        let config = BatchConfig {
            batch: 1,
            images_per_class: 1,
            seed: 0,
            flips: Flips::None,
        };
        assert!(Batches::new(&images.first(0), config).is_err());
        assert!(Batches::new(&images.first(1), config).is_ok());
    }

    /// Images of one value, their label: 7, 4 and 1 of the labels 0, 1 and 2.
    fn unequal() -> Images {
        let labels = [0, 1, 0, 0, 1, 2, 0, 1, 0, 0, 1, 0];
        let values = labels.iter().map(|&label| label as u8).collect();
        Images::new((1, 1, 1), values, labels.into()).unwrap()
    }

    fn grouped_batches(
        images: &Images,
        batch: usize,
        each: usize,
    ) -> Result<Batches<'_>, DataError> {
        let config = BatchConfig {
            batch,
            images_per_class: each,
            seed: 3,
            flips: Flips::None,
        };
        Batches::new(images, config)
    }

    #[test]
    fn images_of_one_label_stand_together() {
        let images = unequal();
        let mut batches = grouped_batches(&images, 4, 2).unwrap();
        assert_eq!(batches.steps_per_epoch(), 2);
        let mut epochs = Vec::new();
        for step in 0..20 {
            let batch = batches.at(step, &Device::Cpu).unwrap();
            for group in batch.labels.chunks(2) {
                assert_eq!(group[0], group[1]);
            }
            let values = images.gather(&batch.images, &Device::Cpu).unwrap();
            let values = values.flatten_all().unwrap().to_vec1::<u8>().unwrap();
            let shown = batch.values.flatten_all().unwrap();
            assert_eq!(shown.to_vec1::<u8>().unwrap(), values);
            epochs.push(batch.images);
        }
        assert_ne!(epochs[0], epochs[2]);
        let mut later = grouped_batches(&images, 4, 2).unwrap();
        assert_eq!(later.at(13, &Device::Cpu).unwrap().images, epochs[13]);
    }

    #[test]
    fn groups_that_cannot_be_made_are_refused() {
        let images = unequal();
        for (batch, each, part) in [
            (4, 3, "batches of 4 from groups of 3"),
            (4, 0, "batches of 4 from groups of 0"),
            (12, 2, "10 images"),
            (8, 8, "0 images"),
        ] {
            let error = grouped_batches(&images, batch, each).unwrap_err();
            assert_says(&error, &[part]);
        }
        assert!(grouped_batches(&images, 10, 2).is_ok());
        assert!(grouped_batches(&images, 7, 7).is_ok());
    }

    #[test]
    fn the_last_step_there_can_be_has_a_batch() {
        let images = numbered(5, (1, 1, 1));
        let mut batches = batches(&images, 2, 0, Flips::Horizontal);
        assert!(batches.at(usize::MAX, &Device::Cpu).is_ok());
    }

    #[test]
    fn flips_are_written_in_kebab_case() {
        for (flips, text) in [
            (Flips::None, "\"none\""),
            (Flips::Horizontal, "\"horizontal\""),
        ] {
            assert_eq!(serde_json::to_string(&flips).unwrap(), text);
            assert_eq!(serde_json::from_str::<Flips>(text).unwrap(), flips);
        }
        assert!(serde_json::from_str::<Flips>("\"vertical\"").is_err());
    }

    proptest! {
        #[test]
        fn every_image_comes_once_an_epoch(
            len in 1_usize..60,
            share in 0.0..1.0,
            seed: u64,
            epoch in 0_usize..5,
        ) {
            let batch = 1 + (share * len as f64) as usize;
            let images = numbered(len, SHAPE);
            let seen = flips_of_epoch(&images, batch, seed, epoch).len();
            prop_assert_eq!(seen, len / batch * batch);
        }

        #[test]
        fn a_step_has_one_batch_in_any_order_of_calls(
            len in 4_usize..60,
            batch in 1_usize..5,
            seed: u64,
            steps in prop::collection::vec(0_usize..200, 1..12),
        ) {
            let images = numbered(len, SHAPE);
            let mut visited = batches(&images, batch, seed, Flips::Horizontal);
            for step in steps {
                let mut fresh = batches(&images, batch, seed, Flips::Horizontal);
                let expected = fresh.at(step, &Device::Cpu).unwrap();
                let batch = visited.at(step, &Device::Cpu).unwrap();
                prop_assert_eq!(contents(&batch), contents(&expected));
            }
        }

        #[test]
        fn flips_do_not_depend_on_the_batch(seed: u64, epoch in 0_usize..5, batch in 1_usize..24) {
            let images = numbered(24, SHAPE);
            let one_by_one = flips_of_epoch(&images, 1, seed, epoch);
            for (label, flipped) in flips_of_epoch(&images, batch, seed, epoch) {
                prop_assert_eq!(flipped, one_by_one[&label]);
            }
        }
    }
}
