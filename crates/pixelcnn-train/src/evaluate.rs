//! The likelihood of a set of images.

use std::ops::ControlFlow;

use candle_core::{DType, Device, Tensor};
use pixelcnn_data::{Batch, Images};
use pixelcnn_models::{ConditionEncoder, DensityModel, Likelihood};

use crate::{ConditionedDataset, Result, TrainError};

/// Called with the number of finished images; returns whether to continue.
pub(crate) type Watch<'a> = dyn FnMut(usize) -> ControlFlow<()> + 'a;

/// The likelihood of images under `model`, given their conditions, `batch`
/// images at a time; `progress` is called with the number of finished images.
///
/// For an auto-encoder, this is the likelihood given the code, not that of the image.
/// With a Gaussian bottleneck it is a bound: nats given one sampled code, plus the
/// divergence of the codes from their prior. The sample of an image depends only on its
/// index.
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
    let likelihood = evaluate_until(model, conditioned, batch, &mut go_on)?;
    Ok(likelihood.unwrap_or_default())
}

/// The same; `None` if `watch` ended it.
pub(crate) fn evaluate_until(
    model: &DensityModel,
    conditioned: &ConditionedDataset,
    batch: usize,
    watch: &mut Watch,
) -> Result<Option<Likelihood>> {
    let mut likelihood = Likelihood::new();
    for_each_batch(conditioned.images(), batch, watch, |batch| {
        let given = conditioned.given(&batch.images, &batch.values)?;
        Ok(likelihood.add(model, &batch.values, &given)?)
    })
    .map(|done| done.then_some(likelihood))
}

/// Passes each batch of images in order to `act`; false if `watch` ended it.
pub(crate) fn for_each_batch(
    images: &Images,
    batch: usize,
    watch: &mut Watch,
    mut act: impl FnMut(&Batch) -> Result<()>,
) -> Result<bool> {
    let mut done = 0;
    for batch in images.in_order(batch)? {
        let batch = batch?;
        act(&batch)?;
        done += batch.images.len();
        if watch(done).is_break() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The vectors h that the encoder of a density model gives for each image, `[n, d]`, f32 on the
/// CPU, `batch` images at a time; `progress` is called with the number of finished images.
///
/// # Errors
///
/// If the model's condition is not a vector, there are no images, or the conditions do not
/// fit.
///
/// # Example
///
/// ```
/// use candle_core::Device;
/// use pixelcnn_data::Images;
/// use pixelcnn_models::{Model, ModelConfig};
/// use pixelcnn_train::{ConditionedDataset, condition_vectors};
///
/// let config: ModelConfig = serde_json::from_str(
///     r#"{"kind": "gated-pixelcnn",
///         "image": {"channels": 1, "height": 2, "width": 2, "levels": 256},
///         "first_kernel": 3, "kernel": 3, "blocks": 1, "maps": 4, "head": 4,
///         "conditioning": {"kind": "class", "classes": 3}}"#,
/// )?;
/// let (model, _) = Model::initialise(&config, 0, &Device::Cpu)?;
/// let images = Images::new((1, 2, 2), vec![7; 8], vec![2, 0])?;
/// let conditioned = ConditionedDataset::new(&config, &images, None)?;
/// let encoder = model.density()?.condition_encoder();
/// let vectors = condition_vectors(encoder, &conditioned, 2, &mut |_| ())?;
/// assert_eq!(vectors.to_vec2::<f32>()?, [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn condition_vectors(
    encoder: &ConditionEncoder,
    conditioned: &ConditionedDataset,
    batch: usize,
    progress: &mut dyn FnMut(usize),
) -> Result<Tensor> {
    let mut all = Vec::new();
    let mut go_on = |done| {
        progress(done);
        ControlFlow::Continue(())
    };
    for_each_batch(conditioned.images(), batch, &mut go_on, |batch| {
        let given = conditioned.given(&batch.images, &batch.values)?;
        let vectors = encoder.vectors(&given)?;
        finite(&vectors)?;
        all.push(vectors.to_device(&Device::Cpu)?.to_dtype(DType::F32)?);
        Ok(())
    })?;
    Ok(Tensor::cat(&all, 0)?)
}

/// Refuses numbers that overflowed, because a score of them would look like a result.
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

/// Runs a computation to its end.
pub(crate) fn all_of<T: Default>(find: impl FnOnce(&mut Watch) -> Result<Option<T>>) -> Result<T> {
    Ok(find(&mut |_| ControlFlow::Continue(()))?.unwrap_or_default())
}
