//! The loss of a training step and its gradients.

use std::collections::BTreeMap;

use candle_core::{Device, DeviceLocation, Tensor};
use pixelcnn_models::{Condition, Model, Precision, TrainingStep, Variables};

use crate::{Loss, Result, TrainError, collect_gradients};

/// Computes the loss of a training step and its gradients: by a [`TrainingStep`] on a CUDA
/// device, if it supports the network, and otherwise by candle.
///
/// # Example
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use pixelcnn_models::{Condition, Model, ModelConfig, PixelCnnConfig, Precision};
/// use pixelcnn_train::{Differentiation, Loss};
///
/// let config = PixelCnnConfig { blocks: 1, maps: 3, head: 3, ..PixelCnnConfig::cifar10() };
/// let (model, variables) = Model::initialise(&ModelConfig::from(config), 1, &Device::Cpu)?;
/// let values = Tensor::zeros((2, 3, 8, 8), DType::U8, &Device::Cpu)?;
/// let mut differentiation =
///     Differentiation::new(&model, [2, 8, 8], Precision::F32, "precision", &Device::Cpu)?;
/// let loss = Loss::Nats { values, condition: Condition::None, divergence: None };
/// let (loss, gradients) = differentiation.loss_and_gradients(&model, &variables, loss)?;
/// assert!(loss.to_scalar::<f32>()? > 0.0);
/// assert_eq!(gradients.len(), variables.len());
/// # Ok::<(), pixelcnn_train::TrainError>(())
/// ```
#[derive(Debug)]
pub enum Differentiation {
    /// candle records the operations of the loss and goes back through them.
    Candle,
    /// A program for the likelihood of a network.
    Program(Box<TrainingStep>, Precision),
}

impl Differentiation {
    /// For the training of a model on batches of these sizes: batch, height and width.
    ///
    /// # Errors
    ///
    /// If the device or the network has no other precision than f32 and another one is
    /// requested; the error names `setting`. If there is not enough memory.
    pub fn new(
        model: &Model,
        sizes: [usize; 3],
        precision: Precision,
        setting: &str,
        device: &Device,
    ) -> Result<Self> {
        check_device(precision, setting, device)?;
        let step = match model.network() {
            Some(network) if device.is_cuda() => TrainingStep::new(network, sizes, precision)?,
            _ => None,
        };
        match step {
            Some(step) => Ok(Self::Program(Box::new(step), precision)),
            None => Self::without_program(precision, setting, model.config().name()),
        }
    }

    fn without_program(precision: Precision, setting: &str, name: &str) -> Result<Self> {
        match precision {
            Precision::F32 => Ok(Self::Candle),
            Precision::Tf32 | Precision::Bf16 => Err(TrainError::Invalid {
                what: setting.to_string(),
                why: format!(
                    "{precision} is only for likelihoods of networks without an LSTM, an \
                     embedding of values, maps of the row above or shared weights, and without \
                     PIXELCNN_PORTABLE=1; this {name} is no such network; choose f32"
                ),
            }),
        }
    }

    /// The loss of a batch, a scalar on the device, and its gradients by the names of the
    /// variables. Those of a program are valid until the next call.
    ///
    /// # Shapes
    ///
    /// Each gradient has the shape of its variable.
    ///
    /// # Errors
    ///
    /// If the values or the condition do not fit, the loss does not depend on a variable, or a
    /// program is given a loss that is already computed.
    pub fn loss_and_gradients(
        &mut self,
        model: &Model,
        variables: &Variables,
        loss: Loss,
    ) -> Result<(Tensor, BTreeMap<String, Tensor>)> {
        let Self::Program(step, precision) = self else {
            let loss = loss.by_candle(model)?;
            let gradients = collect_gradients(&loss.backward()?, variables)?;
            return Ok((loss.detach(), gradients));
        };
        let Loss::Nats {
            values,
            condition,
            divergence,
        } = loss
        else {
            return Err(TrainError::Invalid {
                what: "loss".to_string(),
                why: "a program computes the nats of values, and no other loss".to_string(),
            });
        };
        fit(step, *precision, model, &values)?;
        let nats = step.run(&values, &condition)?;
        let mut gradients = step.gradients(variables);
        // The others are those of an encoder.
        if gradients.len() < variables.len() {
            let mut others = variables.clone();
            others.retain(|name, _| !gradients.contains_key(name));
            let through = [through_condition(step, &condition)?, divergence.clone()];
            let sum = through.into_iter().flatten();
            let sum = sum.map(Ok).reduce(|one, other| one? + other?);
            // The nats depend on none of these variables, which is then the error.
            let of_encoder = sum.unwrap_or_else(|| Ok(nats.clone()))?;
            gradients.extend(collect_gradients(&of_encoder.backward()?, &others)?);
        }
        let loss = match divergence {
            Some(divergence) => (nats + divergence.detach())?,
            None => nats,
        };
        Ok((loss, gradients))
    }
}

/// Makes a new program if the batch has other sizes.
fn fit(
    step: &mut TrainingStep,
    precision: Precision,
    model: &Model,
    values: &Tensor,
) -> Result<()> {
    let (batch, _, height, width) = values.dims4()?;
    let sizes = [batch, height, width];
    if step.sizes() == sizes {
        return Ok(());
    }
    let network = model.network();
    let made = network.map(|network| TrainingStep::new(network, sizes, precision));
    let Some(other) = made.transpose()?.flatten() else {
        return Err(TrainError::Invalid {
            what: "batch".to_string(),
            why: format!("no training step for {batch} images of {height} x {width}"),
        });
    };
    *step = other;
    Ok(())
}

/// A scalar whose gradients are those of the nats, for what the condition was computed from.
fn through_condition(step: &TrainingStep, condition: &Condition) -> Result<Option<Tensor>> {
    Ok(match (condition.tensor(), step.condition_gradient()) {
        (Some(condition), Some(gradient)) => Some((condition * gradient)?.sum_all()?),
        _ => None,
    })
}

/// Refuses a precision that a device does not have; the error names `setting`.
///
/// # Errors
///
/// If the precision is not f32, and the device not one of CUDA.
pub(crate) fn check_device(precision: Precision, setting: &str, device: &Device) -> Result<()> {
    let found = match device.location() {
        _ if precision == Precision::F32 => return Ok(()),
        DeviceLocation::Cuda { .. } => return Ok(()),
        DeviceLocation::Cpu => "the CPU",
        DeviceLocation::Metal { .. } => "a Metal device",
    };
    Err(TrainError::Invalid {
        what: setting.to_string(),
        why: format!(
            "{precision} needs a CUDA device, and this is {found}; choose a CUDA device, or f32"
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_without_a_program_has_f32_only() {
        let made = |precision| Differentiation::without_program(precision, "here", "PixelRNN");
        assert!(matches!(made(Precision::F32), Ok(Differentiation::Candle)));
        for precision in [Precision::Tf32, Precision::Bf16] {
            let error = made(precision).unwrap_err().to_string();
            let start = format!("invalid here: {precision} is only for likelihoods of networks");
            assert!(error.starts_with(&start), "{error}");
            assert!(
                error.contains("PixelRNN") && error.ends_with("choose f32"),
                "{error}"
            );
        }
    }

    #[test]
    fn the_cpu_has_f32_only() {
        for precision in Precision::ALL {
            let checked = check_device(precision, "training.precision", &Device::Cpu);
            match precision {
                Precision::F32 => assert!(checked.is_ok()),
                _ => assert_eq!(
                    checked.unwrap_err().to_string(),
                    format!(
                        "invalid training.precision: {precision} needs a CUDA device, and this \
                         is the CPU; choose a CUDA device, or f32"
                    )
                ),
            }
        }
    }
}
