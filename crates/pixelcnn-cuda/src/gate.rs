//! The gate.

use candle_core::backend::BackendStorage;
use candle_core::cuda_backend::cudarc::driver::{DeviceRepr, PushKernelArg};
use candle_core::cuda_backend::{CudaDType, WrapErr};
use candle_core::{
    CpuStorage, CudaStorage, CustomOp1, CustomOp2, DType, Layout, Result, Shape, Tensor, bail,
};
use half::bf16;

use crate::kernel::{Source, grid, kernel, numbers};

/// The gate `tanh(first half) * sigmoid(second half)` of maps on a CUDA device, in one launch;
/// its gradient takes one more, and keeps nothing but the maps.
///
/// # Shapes
///
/// `[b, 2p, ...]` to `[b, p, ...]`, f32 or bf16.
///
/// # Errors
///
/// If the maps are on another device, of another dtype, empty, or an odd number.
///
/// ```
/// use candle_core::{DType, Device, Tensor};
///
/// let maps = Tensor::zeros((1, 2, 3, 3), DType::F32, &Device::Cpu)?;
/// assert!(pixelcnn_cuda::gate(&maps).is_err()); // it is not on a CUDA device
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn gate(maps: &Tensor) -> Result<Tensor> {
    maps.contiguous()?.apply_op1(Gate)
}

struct Gate;
struct Gradient;

/// The shape after the gate, and the number of elements of an image in it.
fn gated(shape: &Shape) -> Result<(Shape, usize)> {
    let mut dims = shape.dims().to_vec();
    let maps = dims.get(1).copied().unwrap_or(0);
    if maps % 2 != 0 || shape.elem_count() == 0 {
        bail!("gate: maps [b, 2p, ...] expected, found {shape:?}");
    }
    dims[1] = maps / 2;
    let per_image = dims[1..].iter().product();
    Ok((Shape::from(dims), per_image))
}

fn forward<T: CudaDType + DeviceRepr>(
    storage: &CudaStorage,
    layout: &Layout,
    name: &str,
) -> Result<(CudaStorage, Shape)> {
    let (shape, per_image) = gated(layout.shape())?;
    let count = shape.elem_count();
    let maps = numbers::<T>("gate: maps", storage, layout)?;
    let device = storage.device();
    // SAFETY: the kernel writes all of it.
    let output = unsafe { device.alloc::<T>(count)? };
    let function = kernel(device, Source::Gate, name)?;
    let mut launch = function.builder();
    launch.arg(&count).arg(&per_image).arg(&maps).arg(&output);
    // SAFETY: the arguments of `gate`; it reads 2 count numbers and writes count.
    unsafe { launch.launch(grid(count)) }.w()?;
    Ok((CudaStorage::wrap_cuda_slice(output, device.clone()), shape))
}

fn backward<T: CudaDType + DeviceRepr>(
    (storage, layout): (&CudaStorage, &Layout),
    (incoming, incoming_layout): (&CudaStorage, &Layout),
    name: &str,
) -> Result<(CudaStorage, Shape)> {
    let (shape, per_image) = gated(layout.shape())?;
    let count = shape.elem_count();
    let maps = numbers::<T>("gate: maps", storage, layout)?;
    let incoming = numbers::<T>("gate: gradient", incoming, incoming_layout)?;
    let device = storage.device();
    // SAFETY: the kernel writes all of it.
    let output = unsafe { device.alloc::<T>(2 * count)? };
    let function = kernel(device, Source::Gate, name)?;
    let mut launch = function.builder();
    launch.arg(&count).arg(&per_image).arg(&maps);
    launch.arg(&incoming).arg(&output);
    // SAFETY: the arguments of `gate_gradient`; it reads and writes 2 count numbers at most.
    unsafe { launch.launch(grid(count)) }.w()?;
    let storage = CudaStorage::wrap_cuda_slice(output, device.clone());
    Ok((storage, layout.shape().clone()))
}

impl CustomOp1 for Gate {
    fn name(&self) -> &'static str {
        "gate"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        bail!("gate: maps on a CUDA device expected, found the CPU")
    }

    fn cuda_fwd(&self, storage: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
        match storage.dtype() {
            DType::F32 => forward::<f32>(storage, layout, "gate_f32"),
            DType::BF16 => forward::<bf16>(storage, layout, "gate_bf16"),
            found => bail!("gate: f32 or bf16 expected, found {}", found.as_str()),
        }
    }

    fn bwd(&self, maps: &Tensor, _: &Tensor, incoming: &Tensor) -> Result<Option<Tensor>> {
        let gradient = maps.apply_op2_no_bwd(&incoming.contiguous()?, &Gradient)?;
        Ok(Some(gradient))
    }
}

impl CustomOp2 for Gradient {
    fn name(&self) -> &'static str {
        "gate: gradient"
    }

    fn cpu_fwd(
        &self,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        bail!("gate: maps on a CUDA device expected, found the CPU")
    }

    fn cuda_fwd(
        &self,
        maps: &CudaStorage,
        maps_layout: &Layout,
        incoming: &CudaStorage,
        incoming_layout: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        let (maps, incoming) = ((maps, maps_layout), (incoming, incoming_layout));
        match maps.0.dtype() {
            DType::F32 => backward::<f32>(maps, incoming, "gate_gradient_f32"),
            DType::BF16 => backward::<bf16>(maps, incoming, "gate_gradient_bf16"),
            found => bail!("gate: f32 or bf16 expected, found {}", found.as_str()),
        }
    }
}
