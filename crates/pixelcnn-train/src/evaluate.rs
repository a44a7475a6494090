//! The likelihood of a set of images.

use candle_core::Device;
use pixelcnn_data::Images;
use pixelcnn_models::{Condition, Likelihood, Model};

use crate::{Result, TrainError};

/// The likelihood of `images` under `model`, `batch` images at a time;
/// `progress` hears how many images are done.
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
/// use pixelcnn_train::evaluate;
///
/// let config: ModelConfig = serde_json::from_str(
///     r#"{"kind": "uniform",
///         "image": {"channels": 1, "height": 2, "width": 2, "levels": 256}}"#,
/// )?;
/// let (model, _) = Model::initialise(&config, 0, &Device::Cpu)?;
/// let images = Images::new((1, 2, 2), vec![7; 12], vec![0; 3])?;
/// let likelihood = evaluate(&model, &images, 2, &Device::Cpu, &mut |_| ())?;
/// assert_eq!(likelihood.images(), 3);
/// assert!((likelihood.bits_per_dim() - 8.0).abs() < 1e-12);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn evaluate(
    model: &Model,
    images: &Images,
    batch: usize,
    device: &Device,
    progress: &mut dyn FnMut(usize),
) -> Result<Likelihood> {
    if batch == 0 || images.is_empty() {
        return Err(TrainError::Invalid {
            what: "evaluation".to_string(),
            why: format!("{} images in batches of {batch}", images.len()),
        });
    }
    let (channels, height, width) = images.shape();
    let mut likelihood = Likelihood::new(channels, height * width);
    for start in (0..images.len()).step_by(batch) {
        let end = images.len().min(start + batch);
        let values = images.tensor(start..end, device)?;
        likelihood.add(&model.nats(&values, &Condition::None)?)?;
        progress(end);
    }
    Ok(likelihood)
}
