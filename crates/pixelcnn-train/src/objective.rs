//! The training loss of a run, and the score that selects the best model.

use candle_core::Tensor;
use pixelcnn_data::Batch;
use pixelcnn_models::{Bottleneck, Conditioning, DensityModel, Kind, Model, ModelConfig};

use crate::classification::Classification;
use crate::evaluate::{Watch, evaluate_until};
use crate::reconstruction::Reconstruction;
use crate::verification::Verification;
use crate::{ConditionedDataset, Loss, Result};

/// The inputs of a training step, besides the model.
pub(crate) struct Step<'a> {
    pub conditioned: &'a ConditionedDataset<'a>,
    pub batch: &'a Batch,
    pub seed: u64,
    pub step: usize,
}

/// Images for scoring a model, and the batch size.
pub(crate) struct Scoring<'a> {
    pub conditioned: &'a ConditionedDataset<'a>,
    pub batch: usize,
}

/// The loss and the score of a run. A [`Task`](pixelcnn_models::Task) says what it needs
/// from the data.
pub(crate) trait Objective {
    /// The loss of a batch.
    fn loss(&self, step: &Step) -> Result<Loss>;

    /// The divisor that converts a loss to the unit of the score.
    fn unit(&self) -> f64 {
        1.0
    }

    /// The score of the model (lower is better), in the unit of its
    /// [`Score`](pixelcnn_models::Score); `None` if `watch` ended it.
    fn score(&self, scoring: &Scoring, watch: &mut Watch) -> Result<Option<f64>>;
}

/// The objective of a model. Only this function distinguishes the kinds of models.
pub(crate) fn objective(model: &Model) -> Box<dyn Objective + '_> {
    match model.kind() {
        Kind::Density(density) => Box::new(Likelihood {
            density,
            config: model.config(),
        }),
        Kind::AutoEncoder(network) => Box::new(Reconstruction(network)),
        Kind::Embedding(network, margin) => Box::new(Verification(network, *margin)),
        Kind::Classifier(network) => Box::new(Classification(network)),
    }
}

/// Nats per dimension given the condition.
struct Likelihood<'a> {
    density: &'a DensityModel,
    config: &'a ModelConfig,
}

impl Likelihood<'_> {
    /// The divergence `[b, m]` of a Gaussian bottleneck, as it counts in the loss.
    fn weighted(&self, divergence: &Tensor) -> Result<Option<Tensor>> {
        let Some(Conditioning::Code(code)) = self.config.conditioning() else {
            return Ok(None);
        };
        let Bottleneck::Gaussian { weight, free_bits } = code.bottleneck else {
            return Ok(None);
        };
        let free = free_bits * std::f64::consts::LN_2;
        let counted = divergence.mean(0)?.maximum(free)?.sum_all()?;
        let dimensions = self.config.image().dimensions() as f64;
        Ok(Some(counted.affine(weight / dimensions, 0.0)?))
    }
}

impl Objective for Likelihood<'_> {
    /// Includes the divergence of a Gaussian bottleneck, weighted as configured.
    fn loss(&self, step: &Step) -> Result<Loss> {
        let values = &step.batch.values;
        let (b, _, h, w) = values.dims4()?;
        let given = step.conditioned.given(&step.batch.images, values)?;
        let rows: Vec<u64> = (0..b).map(|image| (step.step * b + image) as u64).collect();
        let encoder = self.density.condition_encoder();
        let (condition, divergence) = encoder.encode_drawn(&given, (h, w), step.seed, &rows)?;
        Ok(Loss::Nats {
            values: values.clone(),
            condition,
            divergence: match divergence {
                Some(divergence) => self.weighted(&divergence)?,
                None => None,
            },
        })
    }

    /// Bits.
    fn unit(&self) -> f64 {
        std::f64::consts::LN_2
    }

    fn score(&self, scoring: &Scoring, watch: &mut Watch) -> Result<Option<f64>> {
        let likelihood = evaluate_until(self.density, scoring.conditioned, scoring.batch, watch)?;
        Ok(likelihood.map(|likelihood| likelihood.bits_per_dim()))
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;
    use pixelcnn_data::{BatchConfig, Batches, Flips, Images};

    use super::*;

    #[test]
    fn codes_depend_only_on_the_step() {
        let config: ModelConfig = serde_json::from_str(
            r#"{"kind": "gated-pixelcnn",
                "image": {"channels": 1, "height": 4, "width": 4, "levels": 256},
                "first_kernel": 3, "kernel": 3, "blocks": 1, "maps": 4, "head": 4,
                "conditioning": {"kind": "code", "length": 3, "encoder_maps": [4],
                    "bottleneck": {"kind": "gaussian", "weight": 1.0, "free_bits": 0.0}}}"#,
        )
        .unwrap();
        let (model, _) = Model::initialise(&config, 1, &Device::Cpu).unwrap();
        let values = (0..32).map(|value| value * 7).collect();
        let images = Images::new((1, 4, 4), values, vec![0; 2]).unwrap();
        let conditioned = ConditionedDataset::new(&config, &images, None).unwrap();
        let settings = BatchConfig {
            batch: 2,
            images_per_class: 1,
            seed: 1,
            flips: Flips::None,
        };
        let mut batches = Batches::new(&images, settings).unwrap();
        let batch = batches.at(0, &Device::Cpu).unwrap();
        let loss = |step| {
            let step = Step {
                conditioned: &conditioned,
                batch: &batch,
                seed: 1,
                step,
            };
            let loss = objective(&model).loss(&step).unwrap();
            let loss = loss.by_candle(&model).unwrap();
            loss.to_scalar::<f32>().unwrap()
        };
        assert_eq!(loss(0), loss(0));
        assert_ne!(loss(0), loss(1));
    }
}
