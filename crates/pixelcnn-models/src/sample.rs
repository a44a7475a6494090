//! Sampling in its simplest form: the whole network for every value.

use candle_core::{DType, Device, Tensor};
use pixelcnn_layers::Condition;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::{Model, ModelError};

/// Which images to draw.
///
/// # Example
///
/// ```
/// use pixelcnn_models::SampleConfig;
///
/// let config = SampleConfig { count: 4, seed: 1, height: 32, width: 32 };
/// assert_eq!(config.count, 4);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct SampleConfig {
    /// How many; image `i` of a seed does not depend on it.
    pub count: usize,
    /// Seed of the random numbers.
    pub seed: u64,
    /// Rows, not necessarily those trained on.
    pub height: usize,
    /// Columns.
    pub width: usize,
}

/// Draws images value by value (eq. 1): rows from the top, pixels from the
/// left, channels in order, each from the softmax of its logits by inverting
/// the cumulative distribution with one uniform number, which depends on
/// (seed, image, row, column, channel) alone. `progress` hears the number of
/// rows that are done.
///
/// # Shapes
///
/// The result is `[count, c, height, width]`, `u32`.
///
/// # Errors
///
/// If a size is zero or the model has no logits.
///
/// # Example
///
/// ```
/// use candle_core::Device;
/// use pixelcnn_models::{
///     Condition, ImageShape, Model, ModelConfig, PixelCnnConfig, SampleConfig, sample,
/// };
///
/// let image = ImageShape { channels: 1, height: 2, width: 3, levels: 4 };
/// let config = PixelCnnConfig { image, blocks: 1, maps: 3, head: 3, ..PixelCnnConfig::cifar10() };
/// let (model, _) = Model::initialise(&ModelConfig::PixelCnn(config), 1, &Device::Cpu)?;
/// let config = SampleConfig { count: 2, seed: 1, height: 2, width: 3 };
/// let images = sample(&model, &config, &Condition::None, &mut |_| ())?;
/// assert_eq!(images.dims(), [2, 1, 2, 3]);
/// # Ok::<(), pixelcnn_models::ModelError>(())
/// ```
pub fn sample(
    model: &Model,
    config: &SampleConfig,
    condition: &Condition,
    progress: &mut dyn FnMut(usize),
) -> Result<Tensor, ModelError> {
    let SampleConfig {
        count,
        seed,
        height,
        width,
    } = *config;
    let channels = model.config().image().channels;
    let size = checked_size([count, channels, height, width])?;
    let device = match model.tensors().values().next() {
        Some(tensor) => tensor.device().clone(),
        None => Device::Cpu,
    };
    let mut values = vec![0u32; size];
    for row in 0..height {
        let condition = match condition {
            Condition::Map(map) => Condition::Map(map.narrow(2, 0, row + 1)?),
            other => other.clone(),
        };
        for (column, channel) in (0..width * channels).map(|i| (i / channels, i % channels)) {
            // Rows below cannot matter: they are left out.
            let known = Tensor::from_slice(&values, (count, channels, height, width), &device)?;
            let known = known.narrow(2, 0, row + 1)?.contiguous()?;
            let logits = model.logits(&known, &condition)?;
            let logits = logits.narrow(1, channel, 1)?.narrow(3, row, 1)?;
            let logits = logits.narrow(4, column, 1)?.reshape((count, ()))?;
            let logits = logits.to_device(&Device::Cpu)?.to_dtype(DType::F64)?;
            for (image, logits) in logits.to_vec2::<f64>()?.iter().enumerate() {
                let uniform = uniform(seed, image, row, column, channel);
                let index = ((image * channels + channel) * height + row) * width + column;
                values[index] = draw(logits, uniform)?;
            }
        }
        progress(row + 1);
    }
    Ok(Tensor::from_vec(
        values,
        (count, channels, height, width),
        &device,
    )?)
}

/// The uniform number in [0, 1) of one value of one image: ChaCha8 keyed by
/// the seed, its stream the image, its position that of the value.
fn uniform(seed: u64, image: usize, row: usize, column: usize, channel: usize) -> f64 {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    random.set_stream(image as u64);
    let position = ((row as u128) << 40) | ((column as u128) << 16) | channel as u128;
    random.set_word_pos(2 * position);
    random.random::<f64>()
}

/// The first value whose cumulative probability exceeds `uniform`.
fn draw(logits: &[f64], uniform: f64) -> Result<u32, ModelError> {
    let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let weights: Vec<f64> = logits.iter().map(|l| (l - largest).exp()).collect();
    let total = weights.iter().sum::<f64>();
    if !total.is_finite() {
        let why = "infinite or not a number: nothing can be drawn";
        return Err(ModelError::invalid("logits", why));
    }
    let mut left = uniform * total;
    for (value, weight) in weights.iter().enumerate() {
        left -= weight;
        if left < 0.0 {
            return Ok(value as u32);
        }
    }
    // Rounding left a crumb: the last value that is possible at all.
    let last = weights.iter().rposition(|weight| *weight > 0.0);
    Ok(last.unwrap_or(0) as u32)
}

/// The number of values of all images, if they can be held.
fn checked_size(sizes: [usize; 4]) -> Result<usize, ModelError> {
    let size = sizes
        .iter()
        .try_fold(1, |size: usize, side| size.checked_mul(*side));
    let [count, channels, height, width] = sizes;
    match size {
        Some(size) if (1..=1 << 32).contains(&size) => Ok(size),
        _ => Err(ModelError::invalid(
            "sample",
            format!("{count} images of {channels} x {height} x {width}: 1 to 2^32 values expected"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frequencies_follow_the_softmax() {
        let logits = [0f64, 1.0, -1.0, f64::NEG_INFINITY];
        let total: f64 = logits.iter().map(|l| l.exp()).sum();
        let mut counts = [0; 4];
        for index in 0..30_000 {
            counts[draw(&logits, uniform(5, index, 1, 2, 0)).unwrap() as usize] += 1;
        }
        for (count, logit) in counts.iter().zip(logits) {
            let expected = logit.exp() / total;
            assert!((f64::from(*count) / 30_000.0 - expected).abs() < 0.01);
        }
    }

    #[test]
    fn extremes_stay_inside() {
        let logits = [f64::NEG_INFINITY, 0.0, f64::NEG_INFINITY];
        assert_eq!(draw(&logits, 0.0).unwrap(), 1);
        assert_eq!(draw(&logits, 1.0).unwrap(), 1);
        assert!(draw(&[0.0, f64::NAN], 0.5).is_err());
        assert!(draw(&[0.0, f64::INFINITY], 0.5).is_err());
    }

    #[test]
    fn sizes_that_overflow_are_refused() {
        for sizes in [
            [0, 3, 1, 1],
            [1, 3, 1 << 32, 1 << 32],
            [usize::MAX / 3 + 1, 3, 1, 1],
        ] {
            assert!(checked_size(sizes).is_err());
        }
        assert_eq!(checked_size([2, 3, 4, 5]).unwrap(), 120);
    }
}
