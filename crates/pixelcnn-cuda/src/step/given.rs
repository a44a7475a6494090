//! The condition that a step is given, and its gradient.

use candle_core::backend::BackendStorage;
use candle_core::cuda_backend::cudarc::driver::{CudaSlice, DevicePtr};
use candle_core::{CudaDevice, DType, Device, Result, Shape, Storage, Tensor, bail};

use super::{StepCondition, StepPlan, zeros};
use crate::kernel::numbers;
use crate::table::address;

/// Places for a condition and for its gradient, which stay the same from step to step.
#[derive(Debug)]
pub(super) struct Given {
    shape: Shape,
    condition: CudaSlice<f32>,
    gradient: Tensor,
}

impl Given {
    /// `None` if the plan has no condition.
    pub(super) fn new(plan: &StepPlan, device: &CudaDevice) -> Result<Option<Self>> {
        let [b, h, w] = plan.sizes;
        let shape = match plan.condition {
            StepCondition::None => return Ok(None),
            StepCondition::Vector(length) => Shape::from((b, length)),
            StepCondition::Map(maps) => Shape::from((b, maps, h, w)),
        };
        if shape.elem_count() == 0 {
            bail!("training step: an empty condition {shape:?}");
        }
        Ok(Some(Self {
            condition: device.alloc_zeros::<f32>(shape.elem_count())?,
            gradient: zeros(&shape, device)?,
            shape,
        }))
    }

    /// The addresses of the condition and of its gradient.
    pub(super) fn addresses(&self, device: &CudaDevice) -> Result<[u64; 2]> {
        let condition = self.condition.device_ptr(&device.cuda_stream()).0;
        let gradient = address(
            "training step: the gradient of the condition",
            &self.gradient,
            device,
        )?;
        Ok([condition, gradient])
    }

    pub(super) fn shape(&self) -> &Shape {
        &self.shape
    }

    pub(super) fn gradient(&self) -> &Tensor {
        &self.gradient
    }

    /// Copies the condition of the next run.
    pub(super) fn set(&mut self, condition: &Tensor, device: &CudaDevice) -> Result<()> {
        if condition.shape() != &self.shape || condition.dtype() != DType::F32 {
            bail!(
                "training step: a condition {:?} of f32 expected, found {:?} of {:?}",
                self.shape,
                condition.shape(),
                condition.dtype()
            );
        }
        let condition = condition.contiguous()?;
        let (storage, layout) = condition.storage_and_layout();
        match &*storage {
            Storage::Cuda(storage) if storage.device().id() == device.id() => {
                let numbers = numbers::<f32>("training step: condition", storage, layout)?;
                device.memcpy_dtod(&numbers, &mut self.condition)
            }
            _ => {
                let numbers = condition.to_device(&Device::Cpu)?.flatten_all()?;
                device.memcpy_htod(&numbers.to_vec1::<f32>()?, &mut self.condition)
            }
        }
    }
}
