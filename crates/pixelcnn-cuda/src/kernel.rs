//! Kernels and their launches.

use candle_core::cuda_backend::cudarc::driver::{CudaView, DeviceRepr, LaunchConfig};
use candle_core::cuda_backend::{CudaDType, CudaFunc};
use candle_core::{CudaDevice, CudaStorage, Layout, Result, bail};

mod ptx {
    #![allow(missing_docs)]
    include!(concat!(env!("OUT_DIR"), "/ptx.rs"));
}

/// The sources of `kernels/`.
#[derive(Clone, Copy)]
pub(crate) enum Source {
    Columns,
    CrossEntropy,
    Gate,
    Update,
}

/// The kernel of this name.
pub(crate) fn kernel(device: &CudaDevice, source: Source, name: &str) -> Result<CudaFunc> {
    let (module, ptx) = match source {
        Source::Columns => ("pixelcnn-columns", ptx::COLUMNS),
        Source::CrossEntropy => ("pixelcnn-cross-entropy", ptx::CROSS_ENTROPY),
        Source::Gate => ("pixelcnn-gate", ptx::GATE),
        Source::Update => ("pixelcnn-update", ptx::UPDATE),
    };
    device.get_or_load_custom_func(name, module, ptx)
}

/// Threads of a block, as in the sources.
pub(crate) const THREADS: u32 = 256;

/// A grid with a thread for each of `count` elements, as far as a grid of one dimension has
/// them; the kernels go on from there.
pub(crate) fn grid(count: usize) -> LaunchConfig {
    let blocks = count.div_ceil(THREADS as usize).clamp(1, 1 << 20);
    blocks_of_threads(blocks as u32)
}

/// A grid of this many blocks.
pub(crate) fn blocks_of_threads(blocks: u32) -> LaunchConfig {
    LaunchConfig {
        grid_dim: (blocks, 1, 1),
        block_dim: (THREADS, 1, 1),
        shared_mem_bytes: 0,
    }
}

/// The numbers of a contiguous tensor.
pub(crate) fn numbers<'a, T: CudaDType + DeviceRepr>(
    what: &str,
    storage: &'a CudaStorage,
    layout: &Layout,
) -> Result<CudaView<'a, T>> {
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(storage.as_cuda_slice::<T>()?.slice(start..end)),
        None => bail!("{what}: a contiguous tensor expected, found {layout:?}"),
    }
}
