//! Completes images: known pixels stay, the others are drawn.

use candle_core::{DType, Device, Tensor};
use pixelcnn_models::{Condition, ModelError};
use pixelcnn_system::check_memory;

use crate::completion::{Completion, Scoring};
use crate::draw::{Draw, Watch};
use crate::sample::{check_images, images_together};
use crate::{Engine, KnownPixels, SampleConfig, SampleError};

/// Completed images.
///
/// # Example
///
/// See [`complete`].
#[derive(Clone, Debug)]
pub struct Completions {
    /// The images `[count, c, h, w]`, `u32`, on the CPU.
    pub images: Tensor,
    /// For each image, the bits `-log2 p` of the known values after the first unknown pixel.
    /// `None` if they were not needed, because one image is drawn for each completion.
    pub bits: Option<Vec<f64>>,
}

/// Draws the unknown pixels of an image `config.count` times, in raster order, each given
/// everything before it. Known pixels stay as they are.
///
/// A pixel depends only on earlier ones, so what comes after an unknown pixel has no influence
/// on it. With `best` above 1, `best` images are drawn for each completion, and the
/// one is kept under which the known values after the first unknown pixel are likeliest. Their
/// bits are in the result. With a temperature, they are those of the tempered model.
///
/// Image `i` uses the random numbers of images `i best` to `(i + 1) best - 1` of
/// [`sample`](crate::sample). So with nothing known and `best` 1, it is image `i` of `sample`.
/// `watch` is called for each row of each image that is drawn.
///
/// # Shapes
///
/// `image [1, c, h, w]`, with the size of `known` and of `config`, to images
/// `[count, c, h, w]`. `condition` is that of one image.
///
/// # Errors
///
/// If the sizes or the values do not fit the model, `best` is zero, or as
/// [`sample`](crate::sample).
///
/// # Example
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use pixelcnn_models::{Condition, ImageShape, Model, ModelConfig, PixelCnnConfig};
/// use pixelcnn_sample::{Engine, KnownPixels, SampleConfig, complete};
///
/// let image = ImageShape { channels: 1, height: 4, width: 4, levels: 8 };
/// let config = PixelCnnConfig { image, blocks: 1, maps: 3, head: 3, ..PixelCnnConfig::cifar10() };
/// let (model, _) = Model::initialise(&ModelConfig::from(config), 1, &Device::Cpu)?;
/// let engine = Engine::new(model.density()?)?;
///
/// let values = Tensor::ones((1, 1, 4, 4), DType::U8, &Device::Cpu)?;
/// let known = KnownPixels::new((4, 4), |row, _| row < 3)?;
/// let config = SampleConfig { count: 2, ..SampleConfig::new(image) };
/// let completed = complete(&engine, &values, &known, (&config, 1), &Condition::None, &|_, _, _| ())?;
/// let upper = completed.images.narrow(2, 0, 3)?.flatten_all()?;
/// assert!(upper.to_vec1::<u32>()?.iter().all(|value| *value == 1));
/// # Ok::<(), pixelcnn_sample::SampleError>(())
/// ```
pub fn complete(
    engine: &Engine,
    image: &Tensor,
    known: &KnownPixels,
    (config, best): (&SampleConfig, usize),
    condition: &Condition,
    watch: &Watch<'_>,
) -> Result<Completions, SampleError> {
    let drawn = SampleConfig {
        count: config.count.saturating_mul(best),
        ..*config
    };
    check(engine, image, known, (&drawn, best), condition)?;
    check_completions(engine, config)?;
    let values = image.to_device(&Device::Cpu)?.to_dtype(DType::U32)?;
    let values = values.flatten_all()?.to_vec1::<u32>()?;
    let scoring = match best {
        1 => Scoring::Off,
        _ => Scoring::On,
    };
    // Rows after the last unknown pixel only matter if they are scored.
    let rows = match scoring {
        Scoring::On => config.height,
        Scoring::Off => known.last_unknown_row().map_or(0, |row| row + 1),
    };
    let condition = upper_rows(condition, rows)?;
    let together = images_together(engine, &drawn)?;
    let mut chosen: Vec<(Vec<u32>, f64)> = Vec::new();
    for first in (0..drawn.count).step_by(together) {
        let images = first..drawn.count.min(first.saturating_add(together));
        let driver = |image| {
            let mut draw = Draw::new(image, engine, &drawn, watch);
            draw.start_with(&values);
            Completion::new(draw, known, scoring)
        };
        let mut drivers: Vec<_> = images.clone().map(driver).collect();
        if rows > 0 {
            let condition = condition.select(&vec![0; images.len()])?;
            engine.run((rows, config.width), &condition, &mut drivers)?;
        }
        for (image, driver) in images.zip(drivers) {
            let (values, bits) = driver.finish();
            match chosen.get_mut(image / best) {
                None => chosen.push((values, bits)),
                Some(kept) if bits < kept.1 => *kept = (values, bits),
                Some(_) => {}
            }
        }
    }
    together_as_one(engine, config, chosen, scoring)
}

fn check(
    engine: &Engine,
    image: &Tensor,
    known: &KnownPixels,
    (config, best): (&SampleConfig, usize),
    condition: &Condition,
) -> Result<(), SampleError> {
    if best == 0 {
        return Err(SampleError::invalid("best", "at least 1 expected, found 0"));
    }
    let channels = engine.image().channels;
    config.check(channels)?;
    let (height, width) = (config.height, config.width);
    let expected = [1, channels, height, width];
    if image.dims() != expected {
        let why = format!("{expected:?} expected, found {:?}", image.dims());
        return Err(SampleError::invalid("image", why));
    }
    if known.size() != (height, width) {
        let (found_height, found_width) = known.size();
        let why = format!("{height} x {width} expected, found {found_height} x {found_width}");
        return Err(SampleError::invalid("known pixels", why));
    }
    if let Some(found) = condition.images().filter(|images| *images != 1) {
        let why = format!("one for one image expected, found {found}");
        return Err(SampleError::invalid("condition", why));
    }
    engine.image().check(image).map_err(ModelError::from)?;
    Ok(())
}

/// Checks that all completions fit into memory: once each by itself, and once as one tensor.
fn check_completions(engine: &Engine, config: &SampleConfig) -> Result<(), SampleError> {
    check_images(engine, config, config.count)?;
    // An allocation for each, and its place in a list that may grow to double size.
    let notes = (config.count as u64).saturating_mul(128);
    let what = pixelcnn_system::counted(config.count, "completion");
    Ok(check_memory(what, notes)?)
}

/// The part of a condition that the first rows of an image need.
fn upper_rows(condition: &Condition, rows: usize) -> Result<Condition, SampleError> {
    Ok(match condition {
        Condition::Map(map) if rows > 0 && rows < map.dim(2)? => {
            Condition::Map(map.narrow(2, 0, rows)?)
        }
        other => other.clone(),
    })
}

/// The images as one tensor.
fn together_as_one(
    engine: &Engine,
    config: &SampleConfig,
    chosen: Vec<(Vec<u32>, f64)>,
    scoring: Scoring,
) -> Result<Completions, SampleError> {
    let bits = chosen.iter().map(|(_, bits)| *bits).collect();
    let values: Vec<u32> = chosen.into_iter().flat_map(|(values, _)| values).collect();
    let channels = engine.image().channels;
    let shape = (config.count, channels, config.height, config.width);
    Ok(Completions {
        images: Tensor::from_vec(values, shape, &Device::Cpu)?,
        bits: (scoring == Scoring::On).then_some(bits),
    })
}

#[cfg(test)]
mod tests {
    use pixelcnn_models::{ImageShape, Model, ModelConfig, PixelCnnConfig};

    use super::*;

    #[test]
    fn completions_too_many_for_memory_are_refused_before_one_is_drawn() {
        let image = ImageShape {
            channels: 1,
            height: 2,
            width: 2,
            levels: 4,
        };
        let config = ModelConfig::from(PixelCnnConfig {
            image,
            blocks: 1,
            maps: 3,
            head: 3,
            ..PixelCnnConfig::cifar10()
        });
        let (model, _) = Model::initialise(&config, 1, &Device::Cpu).unwrap();
        let engine = Engine::new(model.density().unwrap()).unwrap();
        let values = Tensor::zeros((1, 1, 2, 2), DType::U8, &Device::Cpu).unwrap();
        let known = KnownPixels::new((2, 2), |row, _| row == 0).unwrap();
        for count in [1 << 44, usize::MAX] {
            let config = SampleConfig {
                count,
                ..SampleConfig::new(image)
            };
            let watch: &Watch = &|_, _, _| panic!("drawn");
            let drawn = (&config, 2);
            let result = complete(&engine, &values, &known, drawn, &Condition::None, watch);
            let error = result.unwrap_err().to_string();
            assert!(error.contains("of memory"), "{error}");
        }
    }
}
