//! Opening a device.

use candle_core::cuda_backend::WrapErr;
use candle_core::cuda_backend::cudarc::driver::{result, sys};
use candle_core::{CudaDevice, Device, Result};

/// Opens a CUDA device for programs that train: with one stream for all threads, without
/// events, and with a memory pool that keeps what is freed.
///
/// candle makes and destroys two events for each allocation, to order the work of several
/// streams. Here all work is on one stream, which keeps its order by itself. A default pool
/// returns unused memory to the system at each wait, and gets it back for the next step.
///
/// # Errors
///
/// If there is no driver or no such device.
///
/// ```
/// assert!(pixelcnn_cuda::device(1000).is_err());
/// ```
pub fn device(ordinal: usize) -> Result<Device> {
    let device = CudaDevice::new_with_stream(ordinal)?;
    // SAFETY: events order work of several streams, and `device` and its clones have one.
    unsafe { device.disable_event_tracking() };
    keep_memory(&device)?;
    Ok(Device::Cuda(device))
}

fn keep_memory(device: &CudaDevice) -> Result<()> {
    let stream = device.cuda_stream();
    let mut threshold = u64::MAX;
    let attribute = sys::CUmemPool_attribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD;
    // SAFETY: the context is alive, so its device is valid.
    let pool = unsafe { result::device::get_default_mem_pool(stream.context().cu_device()) }.w()?;
    // SAFETY: the pool lives as long as the device, and this attribute is a u64.
    unsafe { result::mem_pool::set_attribute(pool, attribute, (&raw mut threshold).cast()) }.w()
}
