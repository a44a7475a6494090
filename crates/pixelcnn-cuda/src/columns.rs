//! The views of convolutions.

use candle_core::backend::BackendStorage;
use candle_core::cuda_backend::cudarc::driver::{DeviceRepr, PushKernelArg};
use candle_core::cuda_backend::{CudaDType, WrapErr};
use candle_core::{CudaStorage, DType, Layout, Result, bail};
use half::bf16;

use crate::kernel::{Source, grid, kernel, numbers};

/// The sizes of a convolution, as the kernels take them. Padding may be negative: it crops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct ColumnSizes {
    /// Maps of the input.
    pub maps: i32,
    /// Height and width of the input.
    pub from: [i32; 2],
    /// Height and width of the kernel.
    pub kernel: [i32; 2],
    /// Height and width of the output.
    pub to: [i32; 2],
    /// Rows of padding above, and columns on the left.
    pub before: [i32; 2],
    /// Distance of two taps.
    pub dilation: i32,
}

// SAFETY: it has the fields of `Geometry` in kernels/columns.cu, in the same order.
unsafe impl DeviceRepr for ColumnSizes {}

/// What each tap of a convolution's kernel sees, in one launch: maps `[b, maps, h, w]` to
/// `[b, maps kh kw, out_h out_w]`, with zeros in the padding.
///
/// # Errors
///
/// If the maps are not contiguous, neither f32 nor bf16, or not of these sizes.
pub fn views(
    storage: &CudaStorage,
    layout: &Layout,
    batch: usize,
    sizes: ColumnSizes,
) -> Result<CudaStorage> {
    let [maps, views] = counts(batch, sizes);
    let (from, to) = (maps, views);
    match storage.dtype() {
        DType::F32 => run::<f32>((storage, layout), [from, to], sizes, "views_f32"),
        DType::BF16 => run::<bf16>((storage, layout), [from, to], sizes, "views_bf16"),
        found => bail!("convolve: f32 or bf16 expected, found {}", found.as_str()),
    }
}

/// The sum of all views of each number of the maps: the gradient of [`views`], in one launch.
///
/// # Errors
///
/// As for [`views`].
pub fn sums_of_views(
    storage: &CudaStorage,
    layout: &Layout,
    batch: usize,
    sizes: ColumnSizes,
) -> Result<CudaStorage> {
    let [maps, views] = counts(batch, sizes);
    let (from, to) = (views, maps);
    match storage.dtype() {
        DType::F32 => run::<f32>((storage, layout), [from, to], sizes, "sums_of_views_f32"),
        DType::BF16 => run::<bf16>((storage, layout), [from, to], sizes, "sums_of_views_bf16"),
        found => bail!("convolve: f32 or bf16 expected, found {}", found.as_str()),
    }
}

/// The numbers of the maps and of the views.
fn counts(batch: usize, sizes: ColumnSizes) -> [usize; 2] {
    let area = |[height, width]: [i32; 2]| height as usize * width as usize;
    let maps = batch * sizes.maps as usize;
    [
        maps * area(sizes.from),
        maps * area(sizes.kernel) * area(sizes.to),
    ]
}

fn run<T: CudaDType + DeviceRepr>(
    (storage, layout): (&CudaStorage, &Layout),
    [from, to]: [usize; 2],
    sizes: ColumnSizes,
    name: &str,
) -> Result<CudaStorage> {
    if layout.shape().elem_count() != from {
        let found = layout.shape();
        bail!("convolve: {from} numbers expected for {sizes:?}, found {found:?}");
    }
    let input = numbers::<T>("convolve: input", storage, layout)?;
    let device = storage.device();
    // SAFETY: the kernel writes all of it.
    let output = unsafe { device.alloc::<T>(to)? };
    let function = kernel(device, Source::Columns, name)?;
    let mut launch = function.builder();
    launch.arg(&to).arg(&sizes).arg(&input).arg(&output);
    // SAFETY: the arguments of both kernels, and both tensors have the numbers of these sizes.
    unsafe { launch.launch(grid(to)) }.w()?;
    Ok(CudaStorage::wrap_cuda_slice(output, device.clone()))
}
