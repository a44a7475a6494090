//! Images drawn given other images: reconstructions of an auto-encoder (figure 6), and images
//! between two conditions (figure 5).

use candle_core::{Device, Tensor};
use pixelcnn_models::{ConditionEncoder, Given};

use crate::{Engine, SampleConfig, SampleError, Watch, sample};

/// Draws `config.count` / `b` reconstructions of each of `b` images from their codes, one image
/// after the other.
///
/// # Shapes
///
/// `images [b, c, h, w]` to `[count, c, h, w]`, `u32`, on the CPU.
///
/// # Errors
///
/// If `config.count` is not a multiple of the number of images, the encoder does not encode
/// images, or as [`sample`].
///
/// # Example
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use pixelcnn_models::{
///     Bottleneck, CodeConfig, Conditioning, GatedPixelCnnConfig, ImageShape, Model,
///     ModelConfig,
/// };
/// use pixelcnn_sample::{Engine, SampleConfig, reconstruct};
///
/// let config = ModelConfig::from(GatedPixelCnnConfig {
///     image: ImageShape { channels: 1, height: 4, width: 4, levels: 8 },
///     first_kernel: 3,
///     kernel: 3,
///     blocks: 1,
///     maps: 4,
///     head: 4,
///     conditioning: Some(Conditioning::Code(CodeConfig {
///         length: 2,
///         encoder_maps: vec![4],
///         bottleneck: Bottleneck::Plain {},
///         spatial: None,
///     })),
///     ..GatedPixelCnnConfig::imagenet32()
/// });
/// let (model, _) = Model::initialise(&config, 0, &Device::Cpu)?;
/// let density = model.density()?;
/// let images = Tensor::zeros((2, 1, 4, 4), DType::U8, &Device::Cpu)?;
/// let config = SampleConfig { count: 6, ..SampleConfig::new(config.image()) };
/// let engine = Engine::new(density)?;
/// let encoder = density.condition_encoder();
/// let drawn = reconstruct(&engine, encoder, &images, &config, &|_, _, _| ())?;
/// assert_eq!(drawn.dims(), [6, 1, 4, 4]); // three of each
/// # Ok::<(), pixelcnn_sample::SampleError>(())
/// ```
pub fn reconstruct(
    engine: &Engine,
    encoder: &ConditionEncoder,
    images: &Tensor,
    config: &SampleConfig,
    watch: &Watch<'_>,
) -> Result<Tensor, SampleError> {
    let count = images.dim(0)?;
    let each = repeats(config.count, count, "images")?;
    let given = Given::Image(images.clone());
    let condition = encoder.encode_each(&given, (config.height, config.width))?;
    let rows: Vec<_> = (0..config.count).map(|image| image / each).collect();
    sample(engine, config, &condition.select(&rows)?, watch)
}

/// Draws images between the two vectors of each pair, both included, `config.count` / pairs
/// for each pair. `h` moves from the first vector to the second in equal steps.
///
/// With [`SampleConfig::alike`] set to the number of steps, all images between a pair use the
/// same random numbers, as in figure 5.
///
/// # Shapes
///
/// Vectors `[2 pairs, d]` to `[count, c, h, w]`, `u32`, on the CPU.
///
/// # Errors
///
/// If the vectors are not in pairs, `config.count` is not a multiple of the number of pairs,
/// the vectors do not fit the model's conditioning, or as [`sample`].
pub fn interpolate(
    engine: &Engine,
    encoder: &ConditionEncoder,
    ends: &Tensor,
    config: &SampleConfig,
    watch: &Watch<'_>,
) -> Result<Tensor, SampleError> {
    let (vectors, _) = ends.dims2()?;
    if !vectors.is_multiple_of(2) {
        let why = format!("pairs of vectors expected, found {vectors}");
        return Err(SampleError::invalid("condition", why));
    }
    let steps = repeats(config.count, vectors / 2, "pairs of vectors")?;
    let vectors = between(&ends.to_device(&Device::Cpu)?, steps)?;
    let size = (config.height, config.width);
    let condition = encoder.encode_each(&Given::Vector(vectors), size)?;
    sample(engine, config, &condition, watch)
}

/// Number of images for each of `parts`.
fn repeats(count: usize, parts: usize, what: &str) -> Result<usize, SampleError> {
    match parts > 0 && count.is_multiple_of(parts) {
        true => Ok(count / parts),
        false => {
            let why = format!("a multiple of {parts} {what} expected, found {count}");
            Err(SampleError::invalid("count", why))
        }
    }
}

/// `steps` vectors from the first to the second of each pair, both included.
fn between(ends: &Tensor, steps: usize) -> candle_core::Result<Tensor> {
    let mut all = Vec::new();
    for pair in 0..ends.dim(0)? / 2 {
        let (first, second) = (ends.get(2 * pair)?, ends.get(2 * pair + 1)?);
        for step in 0..steps {
            let share = step as f64 / (steps - 1).max(1) as f64;
            all.push((first.affine(1.0 - share, 0.0)? + second.affine(share, 0.0)?)?);
        }
    }
    Tensor::stack(&all, 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ends_are_the_ends_and_steps_are_equal() {
        let ends = Tensor::new(&[[0f32], [8.0], [3.0], [3.0]], &Device::Cpu).unwrap();
        let all = between(&ends, 5).unwrap().flatten_all().unwrap();
        let expected = [0.0, 2.0, 4.0, 6.0, 8.0, 3.0, 3.0, 3.0, 3.0, 3.0];
        assert_eq!(all.to_vec1::<f32>().unwrap(), expected);
        assert_eq!(between(&ends, 1).unwrap().dims(), [2, 1]);
    }

    #[test]
    fn counts_that_do_not_divide_are_refused() {
        assert_eq!(repeats(6, 3, "images").unwrap(), 2);
        for (count, parts) in [(7, 3), (3, 0)] {
            let error = repeats(count, parts, "images").unwrap_err().to_string();
            assert!(error.contains(&format!("found {count}")), "{error}");
        }
    }
}
