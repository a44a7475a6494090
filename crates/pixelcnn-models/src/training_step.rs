//! The forward and the backward pass of a training step, as one program for a CUDA device.

use std::collections::BTreeMap;

use candle_core::Tensor;

use crate::{ModelError, Network, Precision, Variables};

/// The loss of a network and its gradients, as a fixed program of kernels and products.
///
/// # Example
///
/// ```
/// use candle_core::Device;
/// use pixelcnn_models::{Model, ModelConfig, PixelCnnConfig, Precision, TrainingStep};
///
/// let config = PixelCnnConfig { blocks: 1, maps: 3, head: 3, ..PixelCnnConfig::cifar10() };
/// let (model, _) = Model::initialise(&ModelConfig::from(config), 1, &Device::Cpu)?;
/// let network = model.network().expect("a network");
/// // The CPU has no such program.
/// assert!(TrainingStep::new(network, [2, 8, 8], Precision::F32)?.is_none());
/// # Ok::<(), pixelcnn_models::ModelError>(())
/// ```
#[derive(Debug)]
pub struct TrainingStep {
    sizes: [usize; 3],
}

impl TrainingStep {
    /// For batches of images `[batch, channels, height, width]`; `None` if there is no program
    /// for this network or its device.
    ///
    /// # Errors
    ///
    /// If the device has not enough memory.
    pub fn new(
        _network: &Network,
        _sizes: [usize; 3],
        _precision: Precision,
    ) -> Result<Option<Self>, ModelError> {
        Ok(None)
    }

    /// Forward and backward pass: the mean nats per value, a scalar f32 on the device, which
    /// later runs do not change. Nothing waits.
    ///
    /// # Shapes
    ///
    /// `values [b, c, h, w]`, on the CPU.
    ///
    /// # Errors
    ///
    /// If the values have other sizes.
    pub fn run(&mut self, _values: &Tensor) -> Result<Tensor, ModelError> {
        Err(ModelError::invalid("training step", "no program"))
    }

    /// The gradients of the last run by the names of `variables`. The next run overwrites them.
    ///
    /// # Errors
    ///
    /// If one of the variables is not of the network.
    pub fn gradients(
        &self,
        _variables: &Variables,
    ) -> Result<BTreeMap<String, Tensor>, ModelError> {
        Err(ModelError::invalid("training step", "no program"))
    }

    /// Batch, height and width that it was made for.
    pub fn sizes(&self) -> [usize; 3] {
        self.sizes
    }
}
