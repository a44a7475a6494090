//! What the kernels that touch parameters read: where each weight and its gradients are.

use candle_core::cuda_backend::cudarc::driver::{CudaSlice, DevicePtr, DeviceRepr};
use candle_core::{CudaDevice, Result, Tensor, TensorId, bail};

use super::{StepOperation, StepPlan, zeros};
use crate::table::address;

/// `Weight` of kernels/step.cu: addresses, zero where there is nothing, and sizes.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
struct Weight {
    weight: u64,
    mask: u64,
    bias: u64,
    prepared: u64,
    gradient: u64,
    of_weight: u64,
    of_bias: u64,
    /// Outputs, inputs, rows and columns.
    shape: [u32; 4],
    live: [u32; 2],
    stride: u32,
}

// SAFETY: it has the fields of `Weight` in kernels/step.cu, in the same order.
unsafe impl DeviceRepr for Weight {}

/// `Piece` of kernels/step.cu.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
struct Piece {
    weight: u32,
    number: u32,
}

// SAFETY: as for `Weight`.
unsafe impl DeviceRepr for Piece {}

/// The numbers of a piece, as in kernels/step.cu.
const PIECE: usize = 4096;

/// The tables, on the device.
#[derive(Debug)]
pub(super) struct Tables {
    weights: CudaSlice<Weight>,
    /// The work of preparing parameters, and of writing their gradients.
    prepare: CudaSlice<Piece>,
    gradients: CudaSlice<Piece>,
}

/// Gradients by the parameters that they belong to.
pub(super) type Gradients = Vec<(TensorId, Tensor)>;

/// The address of the prepared parameters, that of their gradients, and the stride of both.
pub(super) type Prepared = (u64, u64, usize);

impl Tables {
    /// The tables of all convolutions, with new tensors for the gradients.
    pub(super) fn new(
        plan: &StepPlan,
        device: &CudaDevice,
        prepared: impl Fn(usize) -> Option<Prepared>,
    ) -> Result<(Self, Gradients)> {
        let (mut weights, mut tensors) = (Vec::new(), Vec::new());
        let (mut prepare, mut gradients) = (Vec::new(), Vec::new());
        for (index, operation) in plan.operations.iter().enumerate() {
            let (StepOperation::Convolution(one, _), Some((at, gradient, stride))) =
                (operation, prepared(index))
            else {
                continue;
            };
            let mut new = |parameter: &Tensor| -> Result<u64> {
                if tensors.iter().any(|(id, _)| *id == parameter.id()) {
                    let shape = parameter.shape();
                    bail!("training step: two operations with the same parameter {shape:?}");
                }
                let gradient = zeros(parameter.shape(), device)?;
                let at = address("training step: a gradient", &gradient, device)?;
                tensors.push((parameter.id(), gradient));
                Ok(at)
            };
            let optional = |tensor: &Option<Tensor>, what: &str| match tensor {
                Some(tensor) => address(what, tensor, device),
                None => Ok(0),
            };
            let sizes = one.sizes()?;
            let [outputs, ..] = sizes;
            let number = weights.len() as u32;
            weights.push(Weight {
                weight: address("training step: a weight", &one.weight, device)?,
                mask: optional(&one.mask, "training step: a mask")?,
                bias: optional(&one.bias, "training step: a bias")?,
                prepared: at,
                gradient,
                of_weight: new(&one.weight)?,
                of_bias: one.bias.as_ref().map_or(Ok(0), new)?,
                shape: sizes.map(|size| size as u32),
                live: one.live.map(|size| size as u32),
                stride: stride as u32,
            });
            let biases = if one.bias.is_some() { outputs } else { 0 };
            for (pieces, count) in [
                (&mut prepare, outputs * stride),
                (&mut gradients, one.weight.elem_count() + biases),
            ] {
                let numbers = 0..count.div_ceil(PIECE) as u32;
                pieces.extend(numbers.map(|piece| Piece {
                    weight: number,
                    number: piece,
                }));
            }
        }
        let tables = Self {
            weights: device.clone_htod(&weights)?,
            prepare: device.clone_htod(&prepare)?,
            gradients: device.clone_htod(&gradients)?,
        };
        Ok((tables, tensors))
    }

    /// The addresses of the weights and of the work to prepare them, and the blocks for it.
    pub(super) fn prepare(&self, device: &CudaDevice) -> ([u64; 2], u32) {
        self.work(&self.prepare, device)
    }

    /// The same for the work to write gradients.
    pub(super) fn gradients(&self, device: &CudaDevice) -> ([u64; 2], u32) {
        self.work(&self.gradients, device)
    }

    fn work(&self, pieces: &CudaSlice<Piece>, device: &CudaDevice) -> ([u64; 2], u32) {
        let stream = device.cuda_stream();
        let weights = self.weights.device_ptr(&stream).0;
        let blocks = pieces.len() as u32;
        ([weights, pieces.device_ptr(&stream).0], blocks)
    }
}
