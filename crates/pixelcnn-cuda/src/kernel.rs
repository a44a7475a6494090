//! Kernels and their launches.

use std::sync::Arc;

use candle_core::cuda_backend::CudaDType;
use candle_core::cuda_backend::cudarc::driver::{
    CudaFunction, CudaStream, CudaView, DeviceRepr, LaunchArgs, LaunchConfig,
};
use candle_core::{CudaDevice, CudaStorage, Layout, Result, Storage, bail};

mod ptx {
    #![allow(unreachable_pub)]
    include!(concat!(env!("OUT_DIR"), "/ptx.rs"));
}

/// The sources of `kernels/`.
#[derive(Clone, Copy)]
pub(crate) enum Source {
    Columns,
    Condition,
    CrossEntropy,
    Gate,
    Mixture,
    Muon,
    Step,
    Update,
}

/// A loaded kernel, and the stream of its device.
#[derive(Debug)]
pub(crate) struct Kernel {
    function: CudaFunction,
    stream: Arc<CudaStream>,
}

impl Kernel {
    /// A launch without arguments so far.
    pub(crate) fn builder(&self) -> LaunchArgs<'_> {
        self.stream.launch_builder(&self.function)
    }
}

/// The kernel of this name.
pub(crate) fn kernel(device: &CudaDevice, source: Source, name: &str) -> Result<Kernel> {
    let (module, ptx) = match source {
        Source::Columns => ("pixelcnn-columns", ptx::COLUMNS),
        Source::Condition => ("pixelcnn-condition", ptx::CONDITION),
        Source::CrossEntropy => ("pixelcnn-cross-entropy", ptx::CROSS_ENTROPY),
        Source::Gate => ("pixelcnn-gate", ptx::GATE),
        Source::Mixture => ("pixelcnn-mixture", ptx::MIXTURE),
        Source::Muon => ("pixelcnn-muon", ptx::MUON),
        Source::Step => ("pixelcnn-step", ptx::STEP),
        Source::Update => ("pixelcnn-update", ptx::UPDATE),
    };
    let loaded = device.get_or_load_custom_func(name, module, ptx)?;
    Ok(Kernel {
        function: loaded.into_cuda_function(),
        stream: device.cuda_stream(),
    })
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

/// The values of a loss, on the device.
pub(crate) fn values<'a>(
    operation: &str,
    storage: &'a Storage,
    layout: &Layout,
) -> Result<CudaView<'a, u32>> {
    match storage {
        Storage::Cuda(storage) => numbers(&format!("{operation}: values"), storage, layout),
        _ => bail!("{operation}: values on a CUDA device expected"),
    }
}
