//! Drawing one image from a model.

use candle_core::Result;
use pixelcnn_models::ImageShape;
use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::value_distribution::ValueDistribution;
use crate::{Driver, Engine, SampleError, ValueIndex};

/// The settings of sampling.
///
/// # Example
///
/// ```
/// use pixelcnn_models::ImageShape;
/// use pixelcnn_sample::SampleConfig;
///
/// let image = ImageShape { channels: 3, height: 32, width: 32, levels: 256 };
/// let config = SampleConfig { count: 4, top_p: 0.95, ..SampleConfig::new(image) };
/// assert_eq!((config.height, config.temperature), (32, 1.0));
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SampleConfig {
    /// Number of images; image `i` of a seed does not depend on it.
    pub count: usize,
    /// This many consecutive images use the same random numbers; with 1, each image
    /// has its own.
    pub alike: usize,
    /// Seed of the random numbers.
    pub seed: u64,
    /// Rows; may differ from the training images.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// Divides the logits: below 1 likely values become likelier, 1
    /// samples the model itself.
    pub temperature: f32,
    /// Samples only from the likeliest values that together have this probability;
    /// 1 uses all values.
    pub top_p: f64,
}

impl SampleConfig {
    /// One image of the training size, with seed 0, from the model
    /// itself.
    pub fn new(image: ImageShape) -> Self {
        Self {
            count: 1,
            alike: 1,
            seed: 0,
            height: image.height,
            width: image.width,
            temperature: 1.0,
            top_p: 1.0,
        }
    }

    /// The place of a value in `[channel, row, column]`.
    fn offset(&self, channel: usize, index: ValueIndex) -> usize {
        (channel * self.height + index.row) * self.width + index.column
    }

    /// Refuses settings that are invalid for images of `channels` channels,
    /// as [`sample`](crate::sample) does, before any preparation.
    ///
    /// # Errors
    ///
    /// The error has the setting and the reason.
    pub fn check(&self, channels: usize) -> std::result::Result<(), SampleError> {
        for (name, found) in [("count", self.count), ("alike", self.alike)] {
            if found == 0 {
                return Err(SampleError::invalid(name, "at least 1 expected, found 0"));
            }
        }
        let sizes = [channels, self.height, self.width];
        let values = sizes
            .iter()
            .try_fold(1, |product: usize, size| product.checked_mul(*size));
        if !values.is_some_and(|values| (1..=1 << 32).contains(&values)) {
            let [channels, height, width] = sizes;
            let why = format!("{channels} x {height} x {width}: 1 to 2^32 values expected");
            return Err(SampleError::invalid("images", why));
        }
        // Beyond these sizes, different positions would have the same random numbers.
        if self.height > 1 << 27 || self.width > 1 << 24 {
            let why = format!(
                "{} x {}: at most 2^27 x 2^24 expected",
                self.height, self.width
            );
            return Err(SampleError::invalid("images", why));
        }
        if !(1e-6..=1e6).contains(&self.temperature) {
            let why = format!("1e-6 to 1e6 expected, found {}", self.temperature);
            return Err(SampleError::invalid("temperature", why));
        }
        if !(self.top_p > 0.0 && self.top_p <= 1.0) {
            let why = format!("above 0, at most 1 expected, found {}", self.top_p);
            return Err(SampleError::invalid("top-p", why));
        }
        Ok(())
    }
}

/// One image while it is drawn.
pub(crate) struct Draw<'a> {
    image: usize,
    config: &'a SampleConfig,
    random: ChaCha8Rng,
    distribution: ValueDistribution,
    /// The values of the earlier channels of the pixel.
    earlier: Vec<u32>,
    /// `[channel, row, column]`.
    values: Vec<u32>,
    watch: &'a Watch<'a>,
}

/// Called for each finished row of each image: image, row, and its values
/// `[column, channel]`.
///
/// # Example
///
/// ```
/// let rows = std::sync::atomic::AtomicUsize::new(0);
/// let watch: &pixelcnn_sample::Watch = &|_image, _row, _values| {
///     rows.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
/// };
/// watch(0, 0, &[1, 2]);
/// ```
pub type Watch<'a> = dyn Fn(usize, usize, &[u32]) + Sync + 'a;

impl<'a> Draw<'a> {
    /// Image number `image` of `config`.
    pub(crate) fn new(
        image: usize,
        engine: &Engine,
        config: &'a SampleConfig,
        watch: &'a Watch<'a>,
    ) -> Self {
        Self {
            image,
            config,
            random: stream(config.seed, image / config.alike.max(1)),
            distribution: engine.value_distribution(),
            earlier: Vec::new(),
            values: vec![0; engine.image().channels * config.height * config.width],
            watch,
        }
    }

    pub(crate) fn values(self) -> Vec<u32> {
        self.values
    }

    /// Takes the values `[channel, row, column]` of a known image, which are replaced as
    /// values are drawn.
    pub(crate) fn start_with(&mut self, values: &[u32]) {
        self.values.copy_from_slice(values);
    }

    /// Sets the distribution of a value, given those before it.
    pub(crate) fn set(&mut self, index: ValueIndex, parameters: &[f32]) -> Result<()> {
        self.earlier.clear();
        let earlier = (0..index.channel).map(|channel| {
            let offset = self.config.offset(channel, index);
            self.values[offset]
        });
        self.earlier.extend(earlier);
        let temperature = self.config.temperature;
        self.distribution
            .set(parameters, &self.earlier, temperature)
    }

    /// The distribution of the last value that was [set](Self::set).
    pub(crate) fn distribution(&self) -> &ValueDistribution {
        &self.distribution
    }

    /// The current value at a position.
    pub(crate) fn at(&self, index: ValueIndex) -> u32 {
        self.values[self.config.offset(index.channel, index)]
    }
}

impl Driver for Draw<'_> {
    fn known(&mut self, _row: usize, _values: &mut [u32]) -> Result<bool> {
        Ok(false)
    }

    fn value(&mut self, index: ValueIndex, parameters: &[f32]) -> Result<u32> {
        self.set(index, parameters)?;
        let weights = &mut self.distribution.frequencies;
        if self.config.top_p < 1.0 {
            weights.keep_likeliest(self.config.top_p);
        }
        let value = weights.invert(uniform(&mut self.random, index));
        let offset = self.config.offset(index.channel, index);
        self.values[offset] = value;
        Ok(value)
    }

    fn row_done(&mut self, row: usize, values: &[u32]) {
        (self.watch)(self.image, row, values);
    }
}

/// The random numbers of an image: ChaCha8 keyed by the seed, with the image as
/// stream.
fn stream(seed: u64, image: usize) -> ChaCha8Rng {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    random.set_stream(image as u64);
    random
}

/// The random number of a value: 64 bits, at its own position of the stream.
fn uniform(random: &mut ChaCha8Rng, index: ValueIndex) -> u64 {
    let ValueIndex {
        row,
        column,
        channel,
    } = index;
    let position = ((row as u128) << 40) | ((column as u128) << 16) | channel as u128;
    random.set_word_pos(2 * position);
    random.next_u64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_depend_on_seed_image_and_place_alone() {
        let place = |row, column, channel| ValueIndex {
            row,
            column,
            channel,
        };
        let number = |seed, image, place| uniform(&mut stream(seed, image), place);
        let first = number(1, 2, place(3, 4, 0));
        let mut random = stream(1, 2);
        uniform(&mut random, place(9, 9, 2));
        assert_eq!(uniform(&mut random, place(3, 4, 0)), first);
        for other in [
            number(2, 2, place(3, 4, 0)),
            number(1, 3, place(3, 4, 0)),
            number(1, 2, place(4, 3, 0)),
            number(1, 2, place(3, 4, 1)),
        ] {
            assert_ne!(other, first);
        }
    }

    #[test]
    fn settings_that_make_no_sense_are_refused() {
        let image = ImageShape {
            channels: 3,
            height: 4,
            width: 4,
            levels: 8,
        };
        let config = SampleConfig::new(image);
        assert!(config.check(3).is_ok());
        for broken in [
            SampleConfig { count: 0, ..config },
            SampleConfig { alike: 0, ..config },
            SampleConfig {
                height: usize::MAX,
                ..config
            },
            SampleConfig {
                temperature: 0.0,
                ..config
            },
            SampleConfig {
                temperature: f32::NAN,
                ..config
            },
            SampleConfig {
                top_p: 1.5,
                ..config
            },
            SampleConfig {
                top_p: 0.0,
                ..config
            },
        ] {
            assert!(broken.check(3).is_err(), "{broken:?}");
        }
    }
}
