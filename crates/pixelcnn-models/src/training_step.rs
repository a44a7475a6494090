//! The forward and the backward pass of a training step, as one program for a CUDA device.

#[cfg(feature = "cuda")]
mod plan;

use std::collections::BTreeMap;

use candle_core::Tensor;

use crate::{Condition, ModelError, Network, Precision, Variables};

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
    #[cfg(feature = "cuda")]
    step: pixelcnn_cuda::Step,
    #[cfg(not(feature = "cuda"))]
    step: std::convert::Infallible,
}

impl TrainingStep {
    /// For batches of images `[batch, channels, height, width]`; `None` if there is no program
    /// for this network or its device: only for networks in f32 on a CUDA device, without an LSTM,
    /// an embedding of values, or maps of the row above.
    ///
    /// # Errors
    ///
    /// If the device has not enough memory.
    pub fn new(
        network: &Network,
        sizes: [usize; 3],
        precision: Precision,
    ) -> Result<Option<Self>, ModelError> {
        #[cfg(feature = "cuda")]
        {
            let weight = network.convolutions().first().map(|it| it.weight().clone());
            let on_device = |weight: &Tensor| {
                pixelcnn_kernels::is_cuda(weight) && weight.dtype() == candle_core::DType::F32
            };
            let Some(weight) = weight.filter(on_device) else {
                return Ok(None);
            };
            let Some(plan) = plan::plan(network, sizes, precision)? else {
                return Ok(None);
            };
            let step = pixelcnn_cuda::Step::new(plan, weight.device())?;
            Ok(Some(Self { step }))
        }
        #[cfg(not(feature = "cuda"))]
        {
            let _ = (network, sizes, precision);
            Ok(None)
        }
    }

    /// Forward and backward pass: the mean nats per value given the condition, a scalar f32 on
    /// the device, which later runs do not change. Nothing waits.
    ///
    /// # Shapes
    ///
    /// `values [b, c, h, w]`, on the CPU. The condition is that of the network's blocks, in f32,
    /// on any device.
    ///
    /// # Errors
    ///
    /// If the values or the condition have other sizes.
    pub fn run(&mut self, values: &Tensor, condition: &Condition) -> Result<Tensor, ModelError> {
        #[cfg(feature = "cuda")]
        return Ok(self.step.run(values, condition.tensor())?);
        #[cfg(not(feature = "cuda"))]
        {
            let _ = (values, condition);
            match self.step {}
        }
    }

    /// The gradients of the last run by the names of `variables`, as far as they are weights of
    /// the network. The next run overwrites them.
    pub fn gradients(&self, variables: &Variables) -> BTreeMap<String, Tensor> {
        #[cfg(feature = "cuda")]
        {
            let of = |(name, variable): (&String, &candle_core::Var)| {
                let gradient = self.step.gradient(variable.as_tensor())?;
                Some((name.clone(), gradient.clone()))
            };
            variables.iter().filter_map(of).collect()
        }
        #[cfg(not(feature = "cuda"))]
        {
            let _ = variables;
            match self.step {}
        }
    }

    /// The gradient of the last run's condition, of its shape, in f32 on the device; `None` if
    /// there was none. The next run overwrites it.
    pub fn condition_gradient(&self) -> Option<Tensor> {
        #[cfg(feature = "cuda")]
        return self.step.condition_gradient().cloned();
        #[cfg(not(feature = "cuda"))]
        match self.step {}
    }

    /// Batch, height and width that it was made for.
    pub fn sizes(&self) -> [usize; 3] {
        #[cfg(feature = "cuda")]
        return self.step.sizes();
        #[cfg(not(feature = "cuda"))]
        match self.step {}
    }
}
