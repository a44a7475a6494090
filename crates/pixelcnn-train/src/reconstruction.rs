//! The objective of auto-encoders of means: the squared error (figure 6).

use candle_core::{DType, Device};
use pixelcnn_data::Images;
use pixelcnn_models::AutoEncoder;

use crate::evaluate::{Watch, all_of, finite, for_each_batch};
use crate::objective::{Objective, Scoring, Step};
use crate::{Loss, Result, mean};

/// The mean squared error of images.
pub(crate) struct Reconstruction<'a>(pub &'a AutoEncoder);

impl Objective for Reconstruction<'_> {
    fn loss(&self, step: &Step) -> Result<Loss> {
        let values = &step.batch.values;
        let found = self.0.forward(values)?;
        Ok(self.0.squared_error(&found, values)?.mean_all()?.into())
    }

    fn score(&self, scoring: &Scoring, watch: &mut Watch) -> Result<Option<f64>> {
        let images = scoring.conditioned.images();
        let errors = errors_until(self.0, images, scoring.batch, watch)?;
        Ok(errors.map(|errors| mean(&errors)))
    }
}

/// The mean squared error of each image, for values from 0 to 1.
///
/// # Errors
///
/// If there are no images, or they do not fit.
///
/// # Example
///
/// ```
/// use candle_core::{DType, Device};
/// use pixelcnn_data::Images;
/// use pixelcnn_models::{AutoEncoder, AutoEncoderConfig, ImageShape, Parameters};
///
/// let image = ImageShape { channels: 1, height: 4, width: 4, levels: 256 };
/// let config = AutoEncoderConfig { image, length: 2, encoder_maps: vec![2], hidden: 2 };
/// let weights = Parameters::drawn(0).builder(DType::F32, &Device::Cpu);
/// let network = AutoEncoder::new(&config, weights)?;
/// let images = Images::new((1, 4, 4), vec![0; 32], vec![0, 1])?;
/// let errors = pixelcnn_train::squared_errors(&network, &images, 2)?;
/// assert!(errors.iter().all(|error| (0.0..=1.0).contains(error)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn squared_errors(network: &AutoEncoder, images: &Images, batch: usize) -> Result<Vec<f64>> {
    all_of(|watch| errors_until(network, images, batch, watch))
}

fn errors_until(
    network: &AutoEncoder,
    images: &Images,
    batch: usize,
    watch: &mut Watch,
) -> Result<Option<Vec<f64>>> {
    let mut all = Vec::with_capacity(images.len());
    for_each_batch(images, batch, watch, |batch| {
        let values = &batch.values;
        // Clamp to the range of values.
        let means = network.forward(values)?;
        finite(&means)?;
        let means = means.clamp(-1.0, 1.0)?;
        let error = network.squared_error(&means, values)?;
        let error = error.flatten_from(1)?.mean(1)?;
        // Not every device has f64.
        let error = error.to_device(&Device::Cpu)?.to_dtype(DType::F64)?;
        all.extend(error.to_vec1::<f64>()?);
        Ok(())
    })
    .map(|done| done.then_some(all))
}
