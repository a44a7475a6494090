//! The objective of classifiers: the likelihood of labels.

use candle_core::Tensor;
use pixelcnn_models::{Classifier, cross_entropy};

use crate::evaluate::{Watch, all_of, finite, for_each_batch};
use crate::objective::{Objective, Scoring, Step};
use crate::{ConditionedDataset, Loss, Result, mean};

/// Loss: nats of the labels. Score: the share of wrong ones.
pub(crate) struct Classification<'a>(pub &'a Classifier);

impl Objective for Classification<'_> {
    fn loss(&self, step: &Step) -> Result<Loss> {
        let logits = self.0.forward(&step.batch.values)?;
        let logits = match step.conditioned.log_shares() {
            // The network shall not learn how frequent a class is.
            Some(shares) => logits.broadcast_add(&Tensor::new(shares, logits.device())?)?,
            None => logits,
        };
        let nats = nats_of_labels(&logits, &step.batch.labels)?;
        Ok(nats.mean_all()?.into())
    }

    fn score(&self, scoring: &Scoring, watch: &mut Watch) -> Result<Option<f64>> {
        let wrong = mistakes_until(self.0, scoring.conditioned, scoring.batch, watch)?;
        Ok(wrong.map(|wrong| mean(&wrong)))
    }
}

/// For each image, 1 if the classifier is wrong, else 0.
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
/// use pixelcnn_models::{Classifier, ClassifierConfig, ImageShape, ModelConfig, Parameters};
/// use pixelcnn_train::ConditionedDataset;
///
/// let image = ImageShape { channels: 1, height: 4, width: 4, levels: 256 };
/// let config = ClassifierConfig { image, classes: 2.into(), encoder_maps: vec![2] };
/// let weights = Parameters::drawn(0).builder(DType::F32, &Device::Cpu);
/// let network = Classifier::new(&config, weights)?;
/// let images = Images::new((1, 4, 4), vec![0; 32], vec![0, 1])?;
/// let conditioned = ConditionedDataset::new(&ModelConfig::from(config), &images, None)?;
/// // Two equal images of two classes: one of them is wrong.
/// let wrong = pixelcnn_train::mistakes(&network, &conditioned, 2)?;
/// assert_eq!(wrong.iter().sum::<f64>(), 1.0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn mistakes(
    network: &Classifier,
    conditioned: &ConditionedDataset,
    batch: usize,
) -> Result<Vec<f64>> {
    all_of(|watch| mistakes_until(network, conditioned, batch, watch))
}

fn mistakes_until(
    network: &Classifier,
    conditioned: &ConditionedDataset,
    batch: usize,
    watch: &mut Watch,
) -> Result<Option<Vec<f64>>> {
    let images = conditioned.images();
    let mut all = Vec::with_capacity(images.len());
    for_each_batch(images, batch, watch, |batch| {
        let logits = network.forward(&batch.values)?;
        finite(&logits)?;
        let found = logits.argmax(1)?.to_vec1::<u32>()?;
        let wrong = found
            .iter()
            .zip(&batch.labels)
            .map(|(a, b)| f64::from(a != b));
        all.extend(wrong);
        Ok(())
    })
    .map(|done| done.then_some(all))
}

/// `-log p` of each label.
fn nats_of_labels(logits: &Tensor, labels: &[u32]) -> Result<Tensor> {
    let (b, classes) = logits.dims2()?;
    let labels = Tensor::new(labels, logits.device())?.reshape((b, 1, 1, 1))?;
    Ok(cross_entropy(
        &logits.reshape((b, 1, classes, 1, 1))?,
        &labels,
    )?)
}

#[cfg(test)]
mod tests {
    use candle_core::Device;
    use pixelcnn_data::{BatchConfig, Batches, Flips, Images};
    use pixelcnn_models::{Model, ModelConfig};

    use super::*;
    use crate::objective::objective;

    /// Three images are of one class and one of the other. With zero weights the loss is
    /// the entropy of 3 to 1, not of 1 to 1, so learning the frequencies of the classes
    /// does not reduce it.
    #[test]
    fn frequencies_of_classes_do_not_reduce_the_loss() {
        let config: ModelConfig = serde_json::from_str(
            r#"{"kind": "classifier", "classes": 2, "encoder_maps": [2],
                "image": {"channels": 1, "height": 4, "width": 4, "levels": 256}}"#,
        )
        .unwrap();
        let (_, weights) = Model::initialise(&config, 1, &Device::Cpu).unwrap();
        let zeros = weights.into_iter().map(|(name, weight)| {
            let zeros = weight.zeros_like().unwrap();
            (name, zeros)
        });
        let (model, _) = Model::trainable(&config, zeros.collect(), &Device::Cpu).unwrap();
        let images = Images::new((1, 4, 4), vec![9; 64], vec![0, 0, 1, 0]).unwrap();
        let conditioned = ConditionedDataset::new(&config, &images, None).unwrap();
        let settings = BatchConfig {
            batch: 4,
            images_per_class: 1,
            seed: 1,
            flips: Flips::None,
        };
        let mut batches = Batches::new(&images, settings).unwrap();
        let step = Step {
            conditioned: &conditioned,
            batch: &batches.at(0, &Device::Cpu).unwrap(),
            seed: 1,
            step: 0,
        };
        let entropy = -(0.75 * 0.75f64.ln() + 0.25 * 0.25f64.ln());
        let loss = objective(&model).loss(&step).unwrap();
        let loss = loss.by_candle(&model).unwrap();
        let loss = f64::from(loss.to_scalar::<f32>().unwrap());
        assert!((loss - entropy).abs() < 1e-6, "{loss} {entropy}");
    }
}
