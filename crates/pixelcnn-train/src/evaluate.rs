//! The likelihood of a set of images.

use std::ops::ControlFlow;

use candle_core::Device;
use pixelcnn_models::{Likelihood, Model};

use crate::{Examples, Result, TrainError};

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
/// use pixelcnn_models::{ImageShape, Model, ModelConfig};
/// use pixelcnn_train::{Examples, evaluate};
///
/// let config: ModelConfig = serde_json::from_str(
///     r#"{"kind": "uniform",
///         "image": {"channels": 1, "height": 2, "width": 2, "levels": 256}}"#,
/// )?;
/// let (model, _) = Model::initialise(&config, 0, &Device::Cpu)?;
/// let images = Images::new((1, 2, 2), vec![7; 12], vec![0; 3])?;
/// let examples = Examples::new(&config, &images, None)?;
/// let likelihood = evaluate(&model, &examples, 2, &Device::Cpu, &mut |_| ())?;
/// assert_eq!(likelihood.images(), 3);
/// assert!((likelihood.bits_per_dim() - 8.0).abs() < 1e-12);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn evaluate(
    model: &Model,
    examples: &Examples,
    batch: usize,
    device: &Device,
    progress: &mut dyn FnMut(usize),
) -> Result<Likelihood> {
    let mut go_on = |done| {
        progress(done);
        ControlFlow::Continue(())
    };
    match evaluate_until(model, examples, batch, device, &mut go_on)? {
        Some(likelihood) => Ok(likelihood),
        None => Err(no_images(examples.images().len(), batch)),
    }
}

/// The same, until `watch` ends it: `None` then.
pub(crate) fn evaluate_until(
    model: &Model,
    examples: &Examples,
    batch: usize,
    device: &Device,
    watch: &mut Watch,
) -> Result<Option<Likelihood>> {
    let images = examples.images();
    if batch == 0 || images.is_empty() {
        return Err(no_images(images.len(), batch));
    }
    let mut likelihood = Likelihood::new();
    for start in (0..images.len()).step_by(batch) {
        let end = images.len().min(start + batch);
        let values = images.tensor(start..end, device)?;
        let indices: Vec<usize> = (start..end).collect();
        let condition = examples.condition(&indices, &values)?;
        likelihood.add(model, &values, &condition)?;
        if watch(end).is_break() {
            return Ok(None);
        }
    }
    Ok(Some(likelihood))
}

pub(crate) fn no_images(images: usize, batch: usize) -> TrainError {
    TrainError::Invalid {
        what: "evaluation".to_string(),
        why: format!("{images} images in batches of {batch}"),
    }
}
