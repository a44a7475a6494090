//! The choice between fast code and candle's own operations.

use std::cell::Cell;
use std::sync::OnceLock;

use candle_core::{CpuStorage, DType, Layout, Result, Tensor, bail};

use crate::Level;

/// How an operation is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Path {
    /// With the code of this crate, at this instruction-set level.
    Fast(Level),
    /// With candle's own operations.
    Portable,
}

/// If this variable is `1`, every operation uses candle's own operations.
const VARIABLE: &str = "PIXELCNN_PORTABLE";

thread_local! {
    static PORTABLE: Cell<bool> = const { Cell::new(false) };
}

/// Runs `work` so that all operations called from this thread use candle's own
/// operations, as on a GPU. The environment variable `PIXELCNN_PORTABLE=1`
/// does the same for a whole process.
///
/// Gradients use the path of their operation.
///
/// # Example
///
/// ```
/// use candle_core::{Device, Tensor};
/// use pixelcnn_kernels::{cross_entropy, portable};
///
/// let logits = Tensor::new(&[0.5f32, 0.25], &Device::Cpu)?.reshape((1, 1, 2, 1, 1))?;
/// let values = Tensor::new(&[1u8], &Device::Cpu)?.reshape((1, 1, 1, 1))?;
/// let fast = cross_entropy(&logits, &values)?.sum_all()?.to_scalar::<f32>()?;
/// let slow = portable(|| cross_entropy(&logits, &values))?.sum_all()?.to_scalar::<f32>()?;
/// assert!((fast - slow).abs() < 1e-6);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn portable<T>(work: impl FnOnce() -> T) -> T {
    struct Restore(bool);
    impl Drop for Restore {
        fn drop(&mut self) {
            PORTABLE.set(self.0);
        }
    }
    let _restore = Restore(PORTABLE.replace(true));
    work()
}

fn portable_process() -> bool {
    static ASKED: OnceLock<bool> = OnceLock::new();
    *ASKED.get_or_init(|| std::env::var_os(VARIABLE).is_some_and(|value| value == "1"))
}

impl Path {
    /// The path for an operation on these tensors, which must have the same device
    /// and dtype.
    pub(crate) fn choose<'a>(
        operation: &str,
        (name, first): (&str, &Tensor),
        others: impl IntoIterator<Item = (&'a str, &'a Tensor)>,
    ) -> Result<Self> {
        for (other, tensor) in others {
            if tensor.dtype() != first.dtype() {
                let (expected, found) = (first.dtype().as_str(), tensor.dtype().as_str());
                bail!("{operation}: {name} is {expected}, {other} is {found}");
            }
            if !tensor.device().same_device(first.device()) {
                let (expected, found) = (first.device().location(), tensor.device().location());
                bail!("{operation}: {name} is on {expected:?}, {other} on {found:?}");
            }
        }
        Ok(match is_fast(first) {
            true => Self::Fast(Level::current()),
            false => Self::Portable,
        })
    }
}

/// Whether operations on this tensor use the code of this crate: on
/// the CPU, in f32, and outside [`portable`].
///
/// # Example
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use pixelcnn_kernels::{is_fast, portable};
///
/// let maps = Tensor::zeros((1, 2, 3, 3), DType::F32, &Device::Cpu)?;
/// assert!(is_fast(&maps));
/// assert!(!portable(|| is_fast(&maps)));
/// assert!(!is_fast(&maps.to_dtype(DType::F64)?));
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn is_fast(tensor: &Tensor) -> bool {
    let fast = tensor.device().is_cpu() && tensor.dtype() == DType::F32;
    fast && !PORTABLE.get() && !portable_process()
}

/// Whether operations on this tensor use the kernels of `pixelcnn-cuda`: with the feature
/// `cuda`, on a CUDA device, in f32 or bf16, and outside [`portable`].
///
/// # Example
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use pixelcnn_kernels::is_cuda;
///
/// assert!(!is_cuda(&Tensor::zeros((1, 2, 3, 3), DType::F32, &Device::Cpu)?));
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn is_cuda(tensor: &Tensor) -> bool {
    let kernels = cfg!(feature = "cuda") && tensor.device().is_cuda();
    let numbers = matches!(tensor.dtype(), DType::F32 | DType::BF16);
    kernels && numbers && !PORTABLE.get() && !portable_process()
}

/// The numbers of a contiguous f32 tensor.
pub(crate) fn contiguous<'a>(
    what: &str,
    storage: &'a CpuStorage,
    layout: &Layout,
) -> Result<&'a [f32]> {
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(&storage.as_slice::<f32>()?[start..end]),
        None => bail!("{what}: a contiguous tensor expected, found {layout:?}"),
    }
}
