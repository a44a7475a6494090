//! What a model is trained to lower, and what it is chosen by.

use std::ops::ControlFlow::Continue;

use candle_core::{DType, Device, Tensor};
use pixelcnn_data::Batch;
use pixelcnn_models::{Bottleneck, Conditioning, Kind, Model, cross_entropy, normal, triplet_loss};

use crate::evaluate::{Watch, evaluate_until, no_images};
use crate::examples::check_labels;
use crate::verification::embeddings_until;
use crate::{Examples, Pairs, Result, TrainError};

/// What a step of training needs beside the model.
pub(crate) struct Step<'a> {
    pub examples: &'a Examples<'a>,
    pub batch: &'a Batch,
    pub seed: u64,
    pub step: usize,
}

impl Step<'_> {
    /// The loss, a scalar, of a batch, and the number that is reported of it.
    pub fn loss(&self, model: &Model) -> Result<(Tensor, f64)> {
        let values = &self.batch.values;
        let loss = match (model.kind(), model.config()) {
            (Kind::Network(..), _) => {
                let loss = self.nats_per_dim(model)?;
                let bits = number(&loss)? / std::f64::consts::LN_2;
                return Ok((loss, bits));
            }
            (Kind::AutoEncoder(network), _) => {
                let images = model.scaled(values)?;
                squared_error(&network.forward(&images)?, &images)?.mean_all()?
            }
            (Kind::Embedding(network, margin), _) => {
                let embeddings = network.forward(&model.scaled(values)?)?;
                triplet_loss(&embeddings, &self.batch.labels, *margin)?
            }
            (Kind::Classifier(network), _) => {
                let logits = network.forward(&model.scaled(values)?)?;
                let logits = match self.examples.log_shares() {
                    // How frequent a class is, is not the network's to say.
                    Some(shares) => logits.broadcast_add(&Tensor::new(shares, logits.device())?)?,
                    None => logits,
                };
                nats_of_labels(&logits, &self.batch.labels)?.mean_all()?
            }
            (_, config) => {
                return Err(TrainError::Invalid {
                    what: "training".to_string(),
                    why: format!("{} is not trained by steps", config.name()),
                });
            }
        };
        let reported = number(&loss)?;
        Ok((loss, reported))
    }

    /// Nats per dimension given the condition, and the divergence of a
    /// Gaussian bottleneck as its configuration weighs it.
    fn nats_per_dim(&self, model: &Model) -> Result<Tensor> {
        let values = &self.batch.values;
        let condition = self.examples.condition(&self.batch.images, values)?;
        let b = values.dim(0)?;
        let rows = (0..b).map(|image| (self.step * b + image) as u64);
        let rows: Vec<u64> = rows.collect();
        let normal = normal(self.seed, &rows, model.code_length().unwrap_or(0))?;
        let (condition, divergence) = model.draw_code(&condition, &normal)?;
        let loss = model.value_nats(values, &condition)?.mean_all()?;
        let (Some(divergence), Some(Conditioning::Code(code))) =
            (divergence, model.config().conditioning())
        else {
            return Ok(loss);
        };
        let Bottleneck::Gaussian { weight, free_bits } = code.bottleneck else {
            return Ok(loss);
        };
        let free = free_bits * std::f64::consts::LN_2;
        let counted = divergence.mean(0)?.maximum(free)?.sum_all()?;
        let dimensions = model.config().image().dimensions() as f64;
        Ok((loss + counted.affine(weight / dimensions, 0.0)?)?)
    }
}

/// The score of a model, in the unit of its [`Score`](pixelcnn_models::Score);
/// `None` where `watch` ended it.
pub(crate) fn score(
    model: &Model,
    examples: &Examples,
    batch: usize,
    device: &Device,
    watch: &mut Watch,
) -> Result<Option<f64>> {
    let images = examples.images();
    Ok(match model.kind() {
        Kind::Uniform | Kind::Gaussian(_) | Kind::Network(..) => {
            let likelihood = evaluate_until(model, examples, batch, device, watch)?;
            likelihood.map(|likelihood| likelihood.bits_per_dim())
        }
        Kind::AutoEncoder(_) | Kind::Classifier(_) => {
            let each = errors_until(model, images, batch, device, watch)?;
            each.map(|each| each.iter().sum::<f64>() / each.len() as f64)
        }
        Kind::Embedding(..) => {
            let found = embeddings_until(model, images, batch, device, watch)?;
            let pairs = found
                .map(|found| Pairs::between(&found, images))
                .transpose()?;
            pairs.map(|pairs| 1.0 - pairs.area_under_curve())
        }
    })
}

/// The error of each image: mean squared of an auto-encoder, in values from 0
/// to 1; of a classifier 1 where it is wrong.
///
/// # Errors
///
/// If the model is neither, there are no images, or they do not fit.
///
/// # Example
///
/// ```
/// use candle_core::Device;
/// use pixelcnn_data::Images;
/// use pixelcnn_models::{ClassifierConfig, ImageShape, Model, ModelConfig};
///
/// let image = ImageShape { channels: 1, height: 4, width: 4, levels: 256 };
/// let config = ClassifierConfig { image, classes: 2.into(), encoder: vec![2] };
/// let (model, _) = Model::initialise(&ModelConfig::from(config), 0, &Device::Cpu)?;
/// let images = Images::new((1, 4, 4), vec![0; 32], vec![0, 1])?;
/// // Two equal images of two classes: one of them is wrong.
/// let errors = pixelcnn_train::errors(&model, &images, 2, &Device::Cpu)?;
/// assert_eq!(errors.iter().sum::<f64>(), 1.0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn errors(
    model: &Model,
    images: &pixelcnn_data::Images,
    batch: usize,
    device: &Device,
) -> Result<Vec<f64>> {
    let all = errors_until(model, images, batch, device, &mut |_| Continue(()))?;
    Ok(all.unwrap_or_default())
}

fn errors_until(
    model: &Model,
    images: &pixelcnn_data::Images,
    batch: usize,
    device: &Device,
    watch: &mut Watch,
) -> Result<Option<Vec<f64>>> {
    if batch == 0 || images.is_empty() {
        return Err(no_images(images.len(), batch));
    }
    if let (Kind::Classifier(_), Some(classes)) = (model.kind(), model.config().classes()) {
        check_labels(images, classes.count())?;
    }
    let mut all = Vec::with_capacity(images.len());
    for start in (0..images.len()).step_by(batch) {
        let range = start..images.len().min(start + batch);
        let end = range.end;
        let scaled = model.scaled(&images.tensor(range.clone(), device)?)?;
        match model.kind() {
            Kind::AutoEncoder(network) => {
                // Beyond the range there are no values.
                let means = network.forward(&scaled)?.clamp(-1.0, 1.0)?;
                let error = squared_error(&means, &scaled)?.flatten_from(1)?.mean(1)?;
                // Not every device has f64.
                let error = error.to_device(&Device::Cpu)?.to_dtype(DType::F64)?;
                all.extend(error.to_vec1::<f64>()?);
            }
            Kind::Classifier(network) => {
                let found = network.forward(&scaled)?.argmax(1)?.to_vec1::<u32>()?;
                let labels = &images.labels()[range];
                let wrong = found.iter().zip(labels).map(|(a, b)| f64::from(a != b));
                all.extend(wrong);
            }
            _ => {
                return Err(TrainError::Invalid {
                    what: "evaluation".to_string(),
                    why: format!("{} makes no such errors", model.config().name()),
                });
            }
        }
        if watch(end).is_break() {
            return Ok(None);
        }
    }
    Ok(Some(all))
}

/// Of numbers in -1..1, as of numbers in 0..1.
fn squared_error(found: &Tensor, images: &Tensor) -> Result<Tensor> {
    Ok((found - images)?.sqr()?.affine(0.25, 0.0)?)
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

fn number(scalar: &Tensor) -> Result<f64> {
    let scalar = scalar.to_device(&Device::Cpu)?; // not every device has f64
    Ok(scalar.to_dtype(DType::F64)?.to_scalar::<f64>()?)
}

#[cfg(test)]
mod tests {
    use pixelcnn_data::{BatchConfig, Batches, Flips, Images};
    use pixelcnn_models::ModelConfig;

    use super::*;

    #[test]
    fn codes_are_drawn_anew_each_step_and_the_same_in_a_step_done_again() {
        let config: ModelConfig = serde_json::from_str(
            r#"{"kind": "gated-pixelcnn",
                "image": {"channels": 1, "height": 4, "width": 4, "levels": 256},
                "first_kernel": 3, "kernel": 3, "blocks": 1, "maps": 4, "head": 4,
                "conditioning": {"kind": "code", "length": 3, "encoder": [4],
                    "bottleneck": {"kind": "gaussian", "weight": 1.0, "free_bits": 0.0}}}"#,
        )
        .unwrap();
        let (model, _) = Model::initialise(&config, 1, &Device::Cpu).unwrap();
        let values = (0..32).map(|value| value * 7).collect();
        let images = Images::new((1, 4, 4), values, vec![0; 2]).unwrap();
        let examples = Examples::new(&config, &images, None).unwrap();
        let settings = BatchConfig {
            batch: 2,
            each: 1,
            seed: 1,
            flips: Flips::None,
        };
        let mut batches = Batches::new(&images, settings).unwrap();
        let batch = batches.at(0, &Device::Cpu).unwrap();
        let loss = |step| {
            let step = Step {
                examples: &examples,
                batch: &batch,
                seed: 1,
                step,
            };
            step.loss(&model).unwrap().1
        };
        assert_eq!(loss(0), loss(0));
        assert_ne!(loss(0), loss(1));
    }

    /// Of three images of one class and one of the other, a network that says
    /// nothing is charged the entropy of 3 to 1, not of 1 to 1: it need not
    /// learn how frequent they are.
    #[test]
    fn a_classifier_is_not_paid_for_how_frequent_a_class_is() {
        let config: ModelConfig = serde_json::from_str(
            r#"{"kind": "classifier", "classes": 2, "encoder": [2],
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
        let examples = Examples::new(&config, &images, None).unwrap();
        let settings = BatchConfig {
            batch: 4,
            each: 1,
            seed: 1,
            flips: Flips::None,
        };
        let mut batches = Batches::new(&images, settings).unwrap();
        let step = Step {
            examples: &examples,
            batch: &batches.at(0, &Device::Cpu).unwrap(),
            seed: 1,
            step: 0,
        };
        let entropy = -(0.75 * 0.75f64.ln() + 0.25 * 0.25f64.ln());
        let (_, loss) = step.loss(&model).unwrap();
        assert!((loss - entropy).abs() < 1e-6, "{loss} {entropy}");
    }
}
