//! Softmax cross-entropy.

use candle_core::backend::BackendStorage;
use candle_core::cuda_backend::cudarc::driver::{DeviceRepr, PushKernelArg};
use candle_core::cuda_backend::{CudaDType, WrapErr};
use candle_core::{
    CpuStorage, CudaStorage, CustomOp1, CustomOp3, DType, Layout, Result, Shape, Tensor, bail,
};
use half::bf16;

use crate::kernel::{Source, grid, kernel, numbers, values};

/// Nats `log sum exp(logits) - logits[value]` on a CUDA device, in one launch that reads the
/// logits once; the gradient takes one more. No probabilities are stored.
///
/// # Shapes
///
/// `logits [b, c, levels, h, w]` (f32 or bf16), `values [b, c, h, w]` (u32) to `[b, c, h, w]`
/// in f32. The nats of a value that is not below `levels` are NaN.
///
/// # Errors
///
/// If a tensor is on another device, or shapes or dtypes do not fit.
///
/// ```
/// use candle_core::{DType, Device, Tensor};
///
/// let logits = Tensor::zeros((1, 1, 4, 1, 1), DType::F32, &Device::Cpu)?;
/// let values = Tensor::zeros((1, 1, 1, 1), DType::U32, &Device::Cpu)?;
/// assert!(pixelcnn_cuda::cross_entropy(&logits, &values).is_err()); // not on a CUDA device
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn cross_entropy(logits: &Tensor, values: &Tensor) -> Result<Tensor> {
    let (b, c, _, h, w) = logits.dims5()?;
    if values.dims() != [b, c, h, w] {
        let found = values.dims();
        bail!("cross-entropy: values [{b}, {c}, {h}, {w}] expected, found {found:?}");
    }
    let values = values.contiguous()?;
    logits.contiguous()?.apply_op1(CrossEntropy { values })
}

struct CrossEntropy {
    values: Tensor,
}

/// The gradient of the logits, from logits, nats and the incoming gradient.
struct Gradient<'a>(&'a CrossEntropy);

/// The sizes that the kernels take.
struct Sizes {
    count: usize,
    levels: usize,
    area: usize,
    shape: Shape,
}

impl Sizes {
    fn of(logits: &Layout) -> Result<Self> {
        let (b, c, levels, h, w) = logits.shape().dims5()?;
        Ok(Self {
            count: b * c * h * w,
            levels,
            area: h * w,
            shape: (b, c, h, w).into(),
        })
    }
}

impl CrossEntropy {
    fn forward<T: CudaDType + DeviceRepr>(
        &self,
        storage: &CudaStorage,
        layout: &Layout,
        name: &str,
    ) -> Result<(CudaStorage, Shape)> {
        let sizes = Sizes::of(layout)?;
        let logits = numbers::<T>("cross-entropy: logits", storage, layout)?;
        let (on_device, stored) = self.values.storage_and_layout();
        let values = values("cross-entropy", &on_device, stored)?;
        let device = storage.device();
        // SAFETY: the kernel writes all of it.
        let nats = unsafe { device.alloc::<f32>(sizes.count)? };
        let function = kernel(device, Source::CrossEntropy, name)?;
        let mut launch = function.builder();
        launch.arg(&sizes.count).arg(&sizes.levels).arg(&sizes.area);
        launch.arg(&logits).arg(&values).arg(&nats);
        // SAFETY: the arguments of `cross_entropy`, of the sizes that were checked.
        unsafe { launch.launch(grid(sizes.count)) }.w()?;
        let nats = CudaStorage::wrap_cuda_slice(nats, device.clone());
        Ok((nats, sizes.shape))
    }

    fn backward<T: CudaDType + DeviceRepr>(
        &self,
        (storage, layout): (&CudaStorage, &Layout),
        (nats, nats_layout): (&CudaStorage, &Layout),
        (incoming, incoming_layout): (&CudaStorage, &Layout),
        name: &str,
    ) -> Result<(CudaStorage, Shape)> {
        let sizes = Sizes::of(layout)?;
        let logits = numbers::<T>("cross-entropy: logits", storage, layout)?;
        let nats = numbers::<f32>("cross-entropy: nats", nats, nats_layout)?;
        let incoming = numbers::<f32>("cross-entropy: gradient", incoming, incoming_layout)?;
        let (on_device, stored) = self.values.storage_and_layout();
        let values = values("cross-entropy", &on_device, stored)?;
        let device = storage.device();
        // SAFETY: the kernel writes all of it.
        let gradient = unsafe { device.alloc::<T>(sizes.count * sizes.levels)? };
        let function = kernel(device, Source::CrossEntropy, name)?;
        let mut launch = function.builder();
        launch.arg(&sizes.count).arg(&sizes.levels).arg(&sizes.area);
        launch.arg(&logits).arg(&values).arg(&nats);
        launch.arg(&incoming).arg(&gradient);
        // SAFETY: the arguments of `cross_entropy_gradient`, of the sizes that were checked.
        unsafe { launch.launch(grid(sizes.count)) }.w()?;
        let gradient = CudaStorage::wrap_cuda_slice(gradient, device.clone());
        Ok((gradient, layout.shape().clone()))
    }
}

impl CustomOp1 for CrossEntropy {
    fn name(&self) -> &'static str {
        "cross-entropy"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        bail!("cross-entropy: logits on a CUDA device expected, found the CPU")
    }

    fn cuda_fwd(&self, storage: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
        match storage.dtype() {
            DType::F32 => self.forward::<f32>(storage, layout, "cross_entropy_f32"),
            DType::BF16 => self.forward::<bf16>(storage, layout, "cross_entropy_bf16"),
            found => bail!(
                "cross-entropy: f32 or bf16 expected, found {}",
                found.as_str()
            ),
        }
    }

    fn bwd(&self, logits: &Tensor, nats: &Tensor, incoming: &Tensor) -> Result<Option<Tensor>> {
        let incoming = incoming.contiguous()?;
        let gradient = logits.apply_op3_no_bwd(nats, &incoming, &Gradient(self))?;
        Ok(Some(gradient))
    }
}

impl CustomOp3 for Gradient<'_> {
    fn name(&self) -> &'static str {
        "cross-entropy: gradient"
    }

    fn cpu_fwd(
        &self,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        bail!("cross-entropy: logits on a CUDA device expected, found the CPU")
    }

    fn cuda_fwd(
        &self,
        logits: &CudaStorage,
        logits_layout: &Layout,
        nats: &CudaStorage,
        nats_layout: &Layout,
        incoming: &CudaStorage,
        incoming_layout: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        let nats = (nats, nats_layout);
        let incoming = (incoming, incoming_layout);
        let all = (logits, logits_layout);
        let name = "cross_entropy_gradient";
        match logits.dtype() {
            DType::F32 => self
                .0
                .backward::<f32>(all, nats, incoming, &format!("{name}_f32")),
            DType::BF16 => self
                .0
                .backward::<bf16>(all, nats, incoming, &format!("{name}_bf16")),
            found => bail!(
                "cross-entropy: f32 or bf16 expected, found {}",
                found.as_str()
            ),
        }
    }
}
