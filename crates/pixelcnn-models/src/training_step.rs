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
    #[cfg(feature = "cuda")]
    step: pixelcnn_cuda::Step,
    #[cfg(not(feature = "cuda"))]
    step: std::convert::Infallible,
}

impl TrainingStep {
    /// For batches of images `[batch, channels, height, width]`; `None` if there is no program
    /// for this network or its device: only for networks in f32 on a CUDA device, without a
    /// condition, an LSTM, or an embedding.
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
            let Some(plan) = plan(network, sizes, precision)? else {
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
    pub fn run(&mut self, values: &Tensor) -> Result<Tensor, ModelError> {
        #[cfg(feature = "cuda")]
        return Ok(self.step.run(values)?);
        #[cfg(not(feature = "cuda"))]
        {
            let _ = values;
            match self.step {}
        }
    }

    /// The gradients of the last run by the names of `variables`. The next run overwrites them.
    ///
    /// # Errors
    ///
    /// If one of the variables is not of the network.
    pub fn gradients(
        &self,
        variables: &Variables,
    ) -> Result<BTreeMap<String, Tensor>, ModelError> {
        #[cfg(feature = "cuda")]
        {
            let of = |(name, variable): (&String, &candle_core::Var)| {
                match self.step.gradient(variable.as_tensor()) {
                    Some(gradient) => Ok((name.clone(), gradient.clone())),
                    None => Err(ModelError::invalid(name, "no weight of this training step")),
                }
            };
            variables.iter().map(of).collect()
        }
        #[cfg(not(feature = "cuda"))]
        {
            let _ = variables;
            match self.step {}
        }
    }

    /// Batch, height and width that it was made for.
    pub fn sizes(&self) -> [usize; 3] {
        #[cfg(feature = "cuda")]
        return self.step.sizes();
        #[cfg(not(feature = "cuda"))]
        match self.step {}
    }
}

/// The operations of a network that its output needs; `None` if one has no instructions.
#[cfg(feature = "cuda")]
fn plan(
    network: &Network,
    sizes: [usize; 3],
    precision: Precision,
) -> candle_core::Result<Option<pixelcnn_cuda::StepPlan>> {
    use pixelcnn_cuda::{StepConvolution, StepLoss, StepOperation, StepPlan};
    use pixelcnn_layers::Operation;

    let graph = network.graph();
    let (_, output) = graph.ends();
    let mut needed = vec![false; graph.operations().len()];
    let mut waiting = vec![output];
    while let Some(maps) = waiting.pop() {
        if !std::mem::replace(&mut needed[maps.index()], true) {
            waiting.extend(graph.operations()[maps.index()].reads());
        }
    }
    // The places of the operations among those that are needed.
    let mut places = vec![0; needed.len()];
    let mut operations = Vec::new();
    for (index, operation) in graph.operations().iter().enumerate() {
        if !needed[index] {
            continue;
        }
        let at = |maps: &pixelcnn_layers::Maps| places[maps.index()];
        let next = match operation {
            Operation::Image => StepOperation::Image {
                lowest: -1.0,
                highest: 1.0,
            },
            Operation::Rescaled([lowest, highest]) => StepOperation::Image {
                lowest: *lowest as f32,
                highest: *highest as f32,
            },
            Operation::Convolution(convolution, maps) => {
                let ((rows, columns), padding) = (convolution.live(), convolution.padding());
                let one = StepConvolution {
                    weight: convolution.weight().clone(),
                    mask: convolution.mask()?.cloned(),
                    bias: convolution.bias().cloned(),
                    live: [rows, columns],
                    before: [padding.top, padding.left],
                    dilation: convolution.dilation(),
                };
                StepOperation::Convolution(one, at(maps))
            }
            Operation::Gate(maps) => StepOperation::Gate(at(maps)),
            Operation::Relu(maps) => StepOperation::Relu(at(maps)),
            Operation::Elu(maps) => StepOperation::Elu(at(maps)),
            Operation::Sum(one, other) => StepOperation::Sum(at(one), at(other)),
            Operation::Condition(..)
            | Operation::Embedding(_)
            | Operation::RowAbove(..)
            | Operation::Lstm(..) => return Ok(None),
        };
        places[index] = operations.len();
        operations.push(next);
    }
    if !matches!(operations.last(), Some(StepOperation::Convolution(..))) {
        return Ok(None);
    }
    let image = network.image();
    Ok(Some(StepPlan {
        sizes,
        channels: image.channels,
        levels: image.levels,
        operations,
        loss: match network.distribution().mixture(&image) {
            None => StepLoss::Softmax,
            Some(mixture) => StepLoss::Mixture(mixture.sizes_on_cuda()),
        },
        precision: match precision {
            Precision::F32 => pixelcnn_cuda::Precision::F32,
            Precision::Tf32 => pixelcnn_cuda::Precision::Tf32,
            Precision::Bf16 => pixelcnn_cuda::Precision::Bf16,
        },
    }))
}
