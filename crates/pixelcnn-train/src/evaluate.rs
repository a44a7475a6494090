//! The likelihood of a set of images.

use std::ops::{ControlFlow, Range};

use candle_core::{DType, Device, Tensor};
use pixelcnn_data::Images;
use pixelcnn_models::{DensityModel, Likelihood};

use crate::{ConditionedDataset, Result, TrainError};

/// Hears how many images are done, and says whether to go on.
pub(crate) type Watch<'a> = dyn FnMut(usize) -> ControlFlow<()> + 'a;

/// The likelihood of images under `model`, given their conditions, `batch`
/// images at a time; `progress` hears how many images are done.
///
/// Given its code, an image has no likelihood of its own: of an auto-encoder it
/// is that of an image whose code is known, and of one with a Gaussian
/// bottleneck the bound: nats given one drawn code, and the divergence of the
/// codes from their prior. What is drawn for an image depends on its index
/// alone.
///
/// # Errors
///
/// If there are no images, `batch` is zero, or the images do not fit the
/// model.
///
/// # Example
///
/// ```
/// use candle_core::Device;
/// use pixelcnn_data::Images;
/// use pixelcnn_models::{Model, ModelConfig};
/// use pixelcnn_train::{ConditionedDataset, evaluate};
///
/// let config: ModelConfig = serde_json::from_str(
///     r#"{"kind": "uniform",
///         "image": {"channels": 1, "height": 2, "width": 2, "levels": 256}}"#,
/// )?;
/// let (model, _) = Model::initialise(&config, 0, &Device::Cpu)?;
/// let images = Images::new((1, 2, 2), vec![7; 12], vec![0; 3])?;
/// let conditioned = ConditionedDataset::new(&config, &images, None)?;
/// let likelihood = evaluate(model.density()?, &conditioned, 2, &mut |_| ())?;
/// assert_eq!(likelihood.images(), 3);
/// assert!((likelihood.bits_per_dim() - 8.0).abs() < 1e-12);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn evaluate(
    model: &DensityModel,
    conditioned: &ConditionedDataset,
    batch: usize,
    progress: &mut dyn FnMut(usize),
) -> Result<Likelihood> {
    let mut go_on = |done| {
        progress(done);
        ControlFlow::Continue(())
    };
    match evaluate_until(model, conditioned, batch, &mut go_on)? {
        Some(likelihood) => Ok(likelihood),
        None => Err(no_images(conditioned.images().len(), batch)),
    }
}

/// The same, until `watch` ends it: `None` then.
pub(crate) fn evaluate_until(
    model: &DensityModel,
    conditioned: &ConditionedDataset,
    batch: usize,
    watch: &mut Watch,
) -> Result<Option<Likelihood>> {
    let mut likelihood = Likelihood::new();
    in_batches(conditioned.images(), batch, watch, |range, values| {
        let indices: Vec<usize> = range.collect();
        let given = conditioned.given(&indices, values)?;
        Ok(likelihood.add(model, values, &given)?)
    })
    .map(|done| done.then_some(likelihood))
}

/// Hands the values of so many images at a time to `each`; false where `watch` ended it.
pub(crate) fn in_batches(
    images: &Images,
    batch: usize,
    watch: &mut Watch,
    mut each: impl FnMut(Range<usize>, &Tensor) -> Result<()>,
) -> Result<bool> {
    if batch == 0 || images.is_empty() {
        return Err(no_images(images.len(), batch));
    }
    for start in (0..images.len()).step_by(batch) {
        let range = start..images.len().min(start + batch);
        let end = range.end;
        each(range.clone(), &images.tensor(range, &Device::Cpu)?)?;
        if watch(end).is_break() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Refuses numbers that overflowed: what is made of them would look like a result.
pub(crate) fn finite(numbers: &Tensor) -> Result<()> {
    let zero = (numbers.detach() * 0.0)?
        .sum_all()?
        .to_device(&Device::Cpu)?;
    match zero.to_dtype(DType::F64)?.to_scalar::<f64>()? == 0.0 {
        true => Ok(()),
        false => Err(TrainError::Invalid {
            what: "evaluation".to_string(),
            why: "the network's numbers overflow".to_string(),
        }),
    }
}

/// What is found by something that nobody ends.
pub(crate) fn all_of<T: Default>(find: impl FnOnce(&mut Watch) -> Result<Option<T>>) -> Result<T> {
    Ok(find(&mut |_| ControlFlow::Continue(()))?.unwrap_or_default())
}

fn no_images(images: usize, batch: usize) -> TrainError {
    TrainError::Invalid {
        what: "evaluation".to_string(),
        why: format!("{images} images in batches of {batch}"),
    }
}
