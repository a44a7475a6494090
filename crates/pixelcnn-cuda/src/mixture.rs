//! The mixture of logistics.

use candle_core::backend::BackendStorage;
use candle_core::cuda_backend::WrapErr;
use candle_core::cuda_backend::cudarc::driver::{DeviceRepr, PushKernelArg};
use candle_core::{
    CpuStorage, CudaStorage, CustomOp1, CustomOp2, Layout, Result, Shape, Tensor, bail,
};

use crate::kernel::{Source, grid, kernel, numbers, values};

/// The sizes of a mixture, as the kernels take them.
#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(C)]
pub struct Mixture {
    /// Components, at most 64.
    pub components: u32,
    /// Channels that share a mixture.
    pub channels: u32,
    /// The last level.
    pub last: u32,
    /// Half of it.
    pub half: f32,
    /// The least logarithm of a scale.
    pub least: f32,
}

// SAFETY: it has the fields of `Mixture` in kernels/mixture.cu, in the same order.
unsafe impl DeviceRepr for Mixture {}

impl Mixture {
    pub(crate) fn planes(&self) -> usize {
        let channels = self.channels as usize;
        let pairs = channels * channels.saturating_sub(1) / 2;
        self.components as usize * (1 + 2 * channels + pairs)
    }
}

/// Nats of values under a mixture of logistics on a CUDA device, in one launch; the gradient
/// takes one more, and computes everything again from the parameters. The nats of a value beyond
/// the last level are NaN, and have no gradient.
///
/// # Shapes
///
/// `parameters [groups, planes, area]` (f32), `values [groups, channels, area]` (u32) to the
/// shape of the values, in f32.
///
/// # Errors
///
/// If a tensor is on another device, or shapes or dtypes do not fit.
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use pixelcnn_cuda::{Mixture, mixture};
///
/// let sizes = Mixture { components: 1, channels: 1, last: 1, half: 0.5, least: -1.5 };
/// let parameters = Tensor::zeros((1, 3, 4), DType::F32, &Device::Cpu)?;
/// let values = Tensor::zeros((1, 1, 4), DType::U32, &Device::Cpu)?;
/// assert!(mixture(&parameters, &values, sizes).is_err()); // not on a CUDA device
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn mixture(parameters: &Tensor, values: &Tensor, sizes: Mixture) -> Result<Tensor> {
    let (groups, planes, area) = parameters.dims3()?;
    let expected = [groups, sizes.channels as usize, area];
    if planes != sizes.planes() || values.dims() != expected || sizes.components > 64 {
        let found = (parameters.shape(), values.shape());
        bail!("mixture of logistics: {sizes:?} does not fit {found:?}");
    }
    let values = values.contiguous()?;
    parameters.contiguous()?.apply_op1(Nats { values, sizes })
}

struct Nats {
    values: Tensor,
    sizes: Mixture,
}

/// The gradient of the parameters, from them and the incoming gradient.
struct Gradient<'a>(&'a Nats);

impl CustomOp1 for Nats {
    fn name(&self) -> &'static str {
        "mixture of logistics"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        bail!("mixture of logistics: parameters on a CUDA device expected, found the CPU")
    }

    fn cuda_fwd(&self, storage: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
        let (groups, _, area) = layout.shape().dims3()?;
        let count = groups * area;
        let parameters = numbers::<f32>("mixture of logistics: parameters", storage, layout)?;
        let (on_device, stored) = self.values.storage_and_layout();
        let found = values("mixture of logistics", &on_device, stored)?;
        let device = storage.device();
        let shape = self.values.shape().clone();
        // SAFETY: the kernel writes all of it.
        let nats = unsafe { device.alloc::<f32>(shape.elem_count())? };
        let function = kernel(device, Source::Mixture, "mixture_f32")?;
        let mut launch = function.builder();
        launch.arg(&count).arg(&area).arg(&self.sizes);
        launch.arg(&parameters).arg(&found).arg(&nats);
        // SAFETY: the arguments of `mixture_f32`, of the sizes that were checked.
        unsafe { launch.launch(grid(count)) }.w()?;
        Ok((CudaStorage::wrap_cuda_slice(nats, device.clone()), shape))
    }

    fn bwd(&self, parameters: &Tensor, _: &Tensor, incoming: &Tensor) -> Result<Option<Tensor>> {
        let incoming = incoming.contiguous()?;
        let gradient = parameters.apply_op2_no_bwd(&incoming, &Gradient(self))?;
        Ok(Some(gradient))
    }
}

impl CustomOp2 for Gradient<'_> {
    fn name(&self) -> &'static str {
        "mixture of logistics: gradient"
    }

    fn cpu_fwd(
        &self,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        bail!("mixture of logistics: parameters on a CUDA device expected, found the CPU")
    }

    fn cuda_fwd(
        &self,
        storage: &CudaStorage,
        layout: &Layout,
        incoming: &CudaStorage,
        incoming_layout: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        let (groups, _, area) = layout.shape().dims3()?;
        let count = groups * area;
        let parameters = numbers::<f32>("mixture of logistics: parameters", storage, layout)?;
        let name = "mixture of logistics: gradient";
        let incoming = numbers::<f32>(name, incoming, incoming_layout)?;
        let (on_device, stored) = self.0.values.storage_and_layout();
        let found = values("mixture of logistics", &on_device, stored)?;
        let device = storage.device();
        // SAFETY: the kernel writes all of it.
        let gradient = unsafe { device.alloc::<f32>(layout.shape().elem_count())? };
        let function = kernel(device, Source::Mixture, "mixture_gradient_f32")?;
        let mut launch = function.builder();
        launch.arg(&count).arg(&area).arg(&self.0.sizes);
        launch.arg(&parameters).arg(&found);
        launch.arg(&incoming).arg(&gradient);
        // SAFETY: the arguments of `mixture_gradient_f32`, of the sizes that were checked.
        unsafe { launch.launch(grid(count)) }.w()?;
        let gradient = CudaStorage::wrap_cuda_slice(gradient, device.clone());
        Ok((gradient, layout.shape().clone()))
    }
}
