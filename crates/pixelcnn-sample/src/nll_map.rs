//! What a model predicts for known images.

use candle_core::{DType, Device, Result, Tensor};
use pixelcnn_models::{Condition, ModelError};
use pixelcnn_system::check_memory;

use crate::value_distribution::ValueDistribution;
use crate::{Driver, Engine, SampleError, ValueIndex};

/// Bits `-log2 p` of each value of images, given the values before it.
///
/// Up to rounding, their mean is the bits/dim of the images.
///
/// # Shapes
///
/// `values [b, c, h, w]` to the same shape, f64, on the CPU.
///
/// # Errors
///
/// If a value is not below the model's levels, or the condition does not fit the
/// model.
///
/// # Example
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use pixelcnn_models::{Condition, ImageShape, Model, ModelConfig, PixelCnnConfig};
/// use pixelcnn_sample::{Engine, nll_map};
///
/// let image = ImageShape { channels: 1, height: 2, width: 2, levels: 2 };
/// let config = PixelCnnConfig { image, blocks: 1, maps: 2, head: 2, ..PixelCnnConfig::cifar10() };
/// let (model, _) = Model::initialise(&ModelConfig::from(config), 1, &Device::Cpu)?;
/// let values = Tensor::zeros((1, 1, 2, 2), DType::U8, &Device::Cpu)?;
/// let bits = nll_map(&Engine::new(model.density()?)?, &values, &Condition::None)?;
/// assert_eq!(bits.dims(), [1, 1, 2, 2]);
/// # Ok::<(), pixelcnn_sample::SampleError>(())
/// ```
pub fn nll_map(
    engine: &Engine,
    values: &Tensor,
    condition: &Condition,
) -> std::result::Result<Tensor, SampleError> {
    let (b, c, h, w) = values.dims4()?;
    let note = |distribution: &mut ValueDistribution,
                pixel: Pixel,
                parameters: &[f32],
                to: &mut Vec<f64>| {
        distribution.set(parameters, pixel.earlier, 1.0)?;
        to.push(distribution.frequencies.bits(pixel.value as usize));
        Ok(())
    };
    let bits = run_over(engine, values, condition, 1, note)?;
    let bits = Tensor::from_vec(bits, (b, h, w, c), &Device::Cpu)?;
    Ok(bits.permute((0, 3, 1, 2))?.contiguous()?)
}

/// The parameters of the distribution of each value, computed by the engine. Up to
/// rounding, they are equal to [`Network::outputs`](pixelcnn_models::Network::outputs).
///
/// # Shapes
///
/// `values [b, c, h, w]` to `[b, groups, parameters, h, w]`, f32, on the CPU; for a
/// softmax, logits `[b, c, levels, h, w]`.
///
/// # Errors
///
/// As [`nll_map`].
///
/// # Example
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use pixelcnn_models::{Condition, ImageShape, Model, ModelConfig, PixelCnnConfig};
/// use pixelcnn_sample::{Engine, outputs};
///
/// let image = ImageShape { channels: 1, height: 2, width: 2, levels: 5 };
/// let config = PixelCnnConfig { image, blocks: 1, maps: 2, head: 2, ..PixelCnnConfig::cifar10() };
/// let (model, _) = Model::initialise(&ModelConfig::from(config), 1, &Device::Cpu)?;
/// let values = Tensor::zeros((1, 1, 2, 2), DType::U8, &Device::Cpu)?;
/// let logits = outputs(&Engine::new(model.density()?)?, &values, &Condition::None)?;
/// assert_eq!(logits.dims(), [1, 1, 5, 2, 2]);
/// # Ok::<(), pixelcnn_sample::SampleError>(())
/// ```
pub fn outputs(
    engine: &Engine,
    values: &Tensor,
    condition: &Condition,
) -> std::result::Result<Tensor, SampleError> {
    let (b, c, h, w) = values.dims4()?;
    let (groups, numbers) = engine.outputs();
    let each = c / groups.max(1);
    let note = |_: &mut ValueDistribution, pixel: Pixel, parameters: &[f32], to: &mut Vec<f32>| {
        // All channels of a group have the same parameters.
        if pixel.earlier.len().is_multiple_of(each.max(1)) {
            to.extend_from_slice(parameters);
        }
        Ok(())
    };
    let all = run_over(engine, values, condition, numbers, note)?;
    let all = Tensor::from_vec(all, (b, h, w, groups, numbers), &Device::Cpu)?;
    Ok(all.permute((0, 3, 4, 1, 2))?.contiguous()?)
}

/// Calls `note` for each value of each image; returns what `note` has written, image by
/// image.
fn run_over<T: Clone + Send>(
    engine: &Engine,
    values: &Tensor,
    condition: &Condition,
    numbers: usize,
    note: impl Fn(&mut ValueDistribution, Pixel, &[f32], &mut Vec<T>) -> Result<()> + Copy + Send,
) -> std::result::Result<Vec<T>, SampleError> {
    engine.image().check(values).map_err(ModelError::from)?;
    let (images, c, h, w) = values.dims4()?;
    // The results, their concatenation, and their copy in another order.
    let noted = numbers.saturating_mul(3 * size_of::<T>());
    let bytes = values.elem_count().saturating_mul(noted + size_of::<u32>());
    check_memory(
        format!(
            "{numbers} numbers of each value of {} of {h} x {w}",
            pixelcnn_system::counted(images, "image")
        ),
        bytes as u64,
    )?;
    let values = values.permute((0, 2, 3, 1))?.to_dtype(DType::U32)?;
    let values = values.to_device(&Device::Cpu)?.flatten_all()?.to_vec1()?;
    let mut run_over: Vec<_> = values
        .chunks(c * h * w)
        .map(|values| ScoredImage {
            values,
            row: w * c,
            width: w,
            channels: c,
            distribution: engine.value_distribution(),
            notes: Vec::new(),
            note,
        })
        .collect();
    engine.run((h, w), condition, &mut run_over)?;
    let count = run_over
        .iter()
        .map(|distribution| distribution.notes.len())
        .sum();
    let mut all = Vec::with_capacity(count);
    all.extend(
        run_over
            .into_iter()
            .flat_map(|distribution| distribution.notes),
    );
    Ok(all)
}

/// One image while it is scored.
struct ScoredImage<'a, T, F> {
    /// `[row, column, channel]`.
    values: &'a [u32],
    row: usize,
    width: usize,
    channels: usize,
    distribution: ValueDistribution,
    notes: Vec<T>,
    note: F,
}

impl<T, F> Driver for ScoredImage<'_, T, F>
where
    T: Send,
    F: Fn(&mut ValueDistribution, Pixel, &[f32], &mut Vec<T>) -> Result<()> + Send,
{
    fn known(&mut self, row: usize, values: &mut [u32]) -> Result<bool> {
        values.copy_from_slice(&self.values[row * self.row..][..self.row]);
        Ok(true)
    }

    fn value(&mut self, index: ValueIndex, parameters: &[f32]) -> Result<u32> {
        let position = index.row * self.width + index.column;
        let pixel = &self.values[position * self.channels..][..self.channels];
        let pixel = Pixel {
            earlier: &pixel[..index.channel],
            value: pixel[index.channel],
        };
        (self.note)(&mut self.distribution, pixel, parameters, &mut self.notes)?;
        Ok(pixel.value)
    }
}

/// A value, and the values of the earlier channels of its pixel.
#[derive(Clone, Copy)]
struct Pixel<'a> {
    earlier: &'a [u32],
    value: u32,
}
