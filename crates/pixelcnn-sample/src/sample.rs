//! Draws images from a model, several at a time.

use std::ops::Range;

use candle_core::{Device, Tensor};
use pixelcnn_models::Condition;
use pixelcnn_system::{NotEnoughMemory, check_memory};

use crate::draw::{Draw, Watch};
use crate::{Engine, SampleConfig, SampleError};

/// Draws images value by value (eq. 1): rows from the top, pixels from the
/// left, channels in order. Each value is drawn by inverting the cumulative
/// distribution with one uniform number, which depends only on (seed, image, row,
/// column, channel); images drawn alike use the number of the first one.
///
/// `watch` is called for each finished row of each image: image, row, and its
/// values `[column, channel]`.
///
/// # Shapes
///
/// The result is `[count, c, height, width]`, `u32`, on the CPU.
///
/// # Errors
///
/// If a setting is invalid, the condition does not fit the model, logits are
/// not finite, or the images do not fit into memory ([`sample_each`] keeps
/// only some at a time).
///
/// # Example
///
/// See [the crate](crate).
pub fn sample(
    engine: &Engine,
    config: &SampleConfig,
    condition: &Condition,
    watch: &Watch<'_>,
) -> Result<Tensor, SampleError> {
    let channels = engine.image().channels;
    config.check(channels)?;
    if let Some(found) = condition.images().filter(|images| *images != config.count) {
        let why = format!(
            "one for each of {} images expected, found {found}",
            config.count
        );
        return Err(SampleError::invalid("condition", why));
    }
    // Once in parts and once concatenated.
    check_images(engine, config, config.count)?;
    let dimensions = channels * config.height * config.width;
    let mut values = Vec::with_capacity(config.count * dimensions);
    let of = |images: Range<usize>| match condition {
        Condition::None => Ok(Condition::None),
        each => Ok(each.select(&images.collect::<Vec<_>>())?),
    };
    draw_each(engine, config, &of, watch, &mut |_, image| {
        values.extend(image);
        Ok::<(), SampleError>(())
    })?;
    let shape = (config.count, channels, config.height, config.width);
    Ok(Tensor::from_vec(values, shape, &Device::Cpu)?)
}

/// Draws the same images as [`sample`], and passes them to `each`
/// in order, as soon as the images that are drawn together are done. Memory
/// does not grow with the number of images.
///
/// `condition` gives the condition of a range of images. The number of images drawn
/// together keeps every thread busy, or is smaller if memory is short.
///
/// # Shapes
///
/// `each` gets the number of the image and its values `[1, c, height, width]`,
/// `u32`, on the CPU.
///
/// # Errors
///
/// As [`sample`], and errors of `condition` and `each`, which end the sampling.
///
/// # Example
///
/// ```
/// # use candle_core::Device;
/// # use pixelcnn_models::{ImageShape, Model, ModelConfig, PixelCnnConfig};
/// use pixelcnn_models::Condition;
/// use pixelcnn_sample::{Engine, SampleConfig, SampleError, sample_each};
///
/// # let image = ImageShape { channels: 1, height: 2, width: 2, levels: 8 };
/// # let config = PixelCnnConfig { image, blocks: 1, maps: 3, head: 3, ..PixelCnnConfig::cifar10() };
/// # let (model, _) = Model::initialise(&ModelConfig::from(config), 1, &Device::Cpu)?;
/// let engine = Engine::new(model.density()?)?;
/// let config = SampleConfig { count: 100, ..SampleConfig::new(image) };
/// let mut sum = 0;
/// sample_each::<SampleError>(
///     &engine,
///     &config,
///     &|_| Ok(Condition::None),
///     &|_, _, _| (),
///     &mut |_, values| {
///         sum += values.sum_all()?.to_scalar::<u32>()?;
///         Ok(())
///     },
/// )?;
/// assert!(sum <= 100 * 4 * 7);
/// # Ok::<(), SampleError>(())
/// ```
pub fn sample_each<E: From<SampleError>>(
    engine: &Engine,
    config: &SampleConfig,
    condition: &dyn Fn(Range<usize>) -> Result<Condition, E>,
    watch: &Watch<'_>,
    each: &mut dyn FnMut(usize, Tensor) -> Result<(), E>,
) -> Result<(), E> {
    let channels = engine.image().channels;
    config.check(channels)?;
    let shape = (1, channels, config.height, config.width);
    draw_each(engine, config, condition, watch, &mut |image, values| {
        let values = Tensor::from_vec(values, shape, &Device::Cpu);
        each(image, values.map_err(SampleError::from)?)
    })
}

/// [`sample_each`] with plain values.
fn draw_each<E: From<SampleError>>(
    engine: &Engine,
    config: &SampleConfig,
    condition: &dyn Fn(Range<usize>) -> Result<Condition, E>,
    watch: &Watch<'_>,
    each: &mut dyn FnMut(usize, Vec<u32>) -> Result<(), E>,
) -> Result<(), E> {
    let size = (config.height, config.width);
    let together = images_together(engine, config).map_err(SampleError::from)?;
    for first in (0..config.count).step_by(together) {
        let images = first..config.count.min(first.saturating_add(together));
        let condition = condition(images.clone())?;
        let mut drawn: Vec<_> = images
            .map(|image| Draw::new(image, engine, config, watch))
            .collect();
        engine.run(size, &condition, &mut drawn)?;
        for (image, drawn) in (first..).zip(drawn) {
            each(image, drawn.values())?;
        }
    }
    Ok(())
}

/// Number of images drawn together, in rounds of about the same size.
pub(crate) fn images_together(
    engine: &Engine,
    config: &SampleConfig,
) -> Result<usize, NotEnoughMemory> {
    let mut most = engine.most_together().min(config.count);
    // Half of the memory is left for the use of the images.
    while most > 1 && check_images(engine, config, 2 * most).is_err() {
        most = most.div_ceil(2);
    }
    check_images(engine, config, most)?;
    Ok(config.count.div_ceil(config.count.div_ceil(most)))
}

/// Checks that the values of this many images, and the engine's memory for them, fit
/// into memory.
pub(crate) fn check_images(
    engine: &Engine,
    config: &SampleConfig,
    images: usize,
) -> Result<(), NotEnoughMemory> {
    let SampleConfig { height, width, .. } = *config;
    let sizes = [engine.image().channels, height, width, size_of::<u32>()];
    let values = sizes.iter().fold(images as u64, |bytes, size| {
        bytes.saturating_mul(*size as u64)
    });
    let together = images.min(engine.most_together());
    // For each image, also the logits and weights of a value.
    let levels = engine.image().levels.max(engine.outputs().1) as u64;
    let levels = levels.saturating_mul(24).saturating_mul(together as u64);
    let needed = engine
        .memory(together, (height, width))
        .saturating_add(levels);
    check_memory(
        format!(
            "drawing {} of {height} x {width}",
            pixelcnn_system::counted(images, "image")
        ),
        needed.saturating_add(values.saturating_mul(2)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use pixelcnn_models::{
        Conditioning, Distribution, GatedPixelCnnConfig, ImageShape, Model, ModelConfig,
    };

    const IMAGE: ImageShape = ImageShape {
        channels: 1,
        height: 2,
        width: 3,
        levels: 4,
    };

    fn engine() -> Engine {
        let config = ModelConfig::from(GatedPixelCnnConfig {
            image: IMAGE,
            first_kernel: 3,
            kernel: 3,
            blocks: 1,
            maps: 2,
            head: 2,
            distribution: Distribution::default(),
            conditioning: Some(Conditioning::Class { classes: 3.into() }),
            ..GatedPixelCnnConfig::imagenet32()
        });
        let (model, _) = Model::initialise(&config, 1, &Device::Cpu).unwrap();
        Engine::new(model.density().unwrap()).unwrap()
    }

    /// The condition h of these labels.
    fn classes(labels: impl IntoIterator<Item = usize>) -> Condition {
        let hot = |label: usize| [0, 1, 2].map(|class| f32::from(class == label));
        let rows: Vec<_> = labels.into_iter().flat_map(hot).collect();
        let shape = (rows.len() / 3, 3);
        Condition::Vector(Tensor::from_vec(rows, shape, &Device::Cpu).unwrap())
    }

    #[test]
    fn images_come_in_order_and_are_those_of_one_tensor() {
        let engine = engine();
        // Several rounds, with a shorter last one.
        let count = 2 * engine.most_together() + 5;
        let config = SampleConfig {
            count,
            seed: 3,
            ..SampleConfig::new(IMAGE)
        };
        let of = |images: Range<usize>| Ok(classes(images.map(|image| image % 3)));
        let all = of(0..count).unwrap();
        let all = sample(&engine, &config, &all, &|_, _, _| ()).unwrap();
        let mut next = 0;
        let mut each = |image: usize, values: Tensor| {
            assert_eq!(image, next);
            next += 1;
            let expected = all.narrow(0, image, 1)?.flatten_all()?.to_vec1::<u32>()?;
            assert_eq!(values.flatten_all()?.to_vec1::<u32>()?, expected);
            Ok::<(), SampleError>(())
        };
        sample_each(&engine, &config, &of, &|_, _, _| (), &mut each).unwrap();
        assert_eq!(next, count);
    }

    #[test]
    fn an_error_of_the_caller_ends_it() {
        let engine = engine();
        let config = SampleConfig {
            count: usize::MAX,
            ..SampleConfig::new(IMAGE)
        };
        let of = |images: Range<usize>| Ok(classes(images.map(|_| 0)));
        let mut seen = 0;
        let mut each = |_, _| {
            seen += 1;
            match seen {
                200 => Err(SampleError::invalid("disk", "full")),
                _ => Ok(()),
            }
        };
        let error = sample_each(&engine, &config, &of, &|_, _, _| (), &mut each).unwrap_err();
        assert_eq!((error.to_string().as_str(), seen), ("disk: full", 200));
    }

    #[test]
    fn any_number_of_threads_draws_the_same() {
        let engine = engine();
        let config = SampleConfig::new(IMAGE);
        let draw = |engine: &Engine| {
            let image = sample(engine, &config, &classes([1]), &|_, _, _| ()).unwrap();
            image.flatten_all().unwrap().to_vec1::<u32>().unwrap()
        };
        let expected = draw(&engine);
        // Times the images of a thread, these are 0 and 2^63 modulo 2^64.
        for threads in [1 << 59, 1 << 58, usize::MAX] {
            assert_eq!(draw(&engine.clone().with_threads(threads)), expected);
        }
    }

    #[test]
    fn samples_too_large_for_memory_are_refused() {
        let engine = engine();
        let large = SampleConfig {
            count: 1 << 44,
            ..SampleConfig::new(IMAGE)
        };
        let two = classes([0, 0]);
        let error = sample(&engine, &large, &two, &|_, _, _| ()).unwrap_err();
        assert!(error.to_string().contains("one for each of"), "{error}");
        let wide = SampleConfig {
            count: 2,
            height: 1 << 9,
            width: 1 << 23,
            ..SampleConfig::new(IMAGE)
        };
        let error = sample(&engine, &wide, &two, &|_, _, _| ()).unwrap_err();
        assert!(error.to_string().contains("of memory"), "{error}");
    }
}
