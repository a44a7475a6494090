//! What a training step minimises.

use candle_core::Tensor;
use pixelcnn_models::{Condition, Model};

use crate::{Result, TrainError};

/// The loss of a batch, before or after it is computed.
///
/// # Example
///
/// See [`Differentiation`](crate::Differentiation).
#[derive(Clone, Debug)]
pub enum Loss {
    /// The mean nats of values given a condition, plus what the encoder of the condition adds.
    Nats {
        /// `[b, c, h, w]`.
        values: Tensor,
        /// h or s, with gradients if an encoder is trained.
        condition: Condition,
        /// The weighted divergence of a Gaussian bottleneck, a scalar.
        divergence: Option<Tensor>,
    },
    /// A scalar that candle computed.
    Computed(Tensor),
}

impl Loss {
    /// The scalar, computed by candle, on the model's device.
    ///
    /// # Errors
    ///
    /// If the model has no network, or the values or the condition do not fit.
    pub(crate) fn by_candle(self, model: &Model) -> Result<Tensor> {
        let (values, condition, divergence) = match self {
            Self::Computed(loss) => return Ok(loss),
            Self::Nats {
                values,
                condition,
                divergence,
            } => (values, condition, divergence),
        };
        let Some(network) = model.network() else {
            return Err(TrainError::Invalid {
                what: "training".to_string(),
                why: format!("{} has no training steps", model.config().name()),
            });
        };
        let nats = network.value_nats(&values, &condition)?.mean_all()?;
        Ok(match divergence {
            Some(divergence) => (nats + divergence)?,
            None => nats,
        })
    }
}

impl From<Tensor> for Loss {
    fn from(loss: Tensor) -> Self {
        Self::Computed(loss)
    }
}
