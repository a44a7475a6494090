//! What kernels read that go through the numbers of many tensors.

use candle_core::backend::BackendStorage;
use candle_core::cuda_backend::cudarc::driver::{CudaSlice, DevicePtr, DeviceRepr};
use candle_core::{CudaDevice, Device, Result, Storage, Tensor, bail};

/// `Chunk` of kernels/chunks.cuh.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Chunk {
    tensor: u32,
    number: u32,
}

// SAFETY: it has the fields of `Chunk` in kernels/chunks.cuh, in the same order.
unsafe impl DeviceRepr for Chunk {}

/// The numbers of a chunk, as in kernels/chunks.cuh.
pub(crate) const CHUNK: usize = 2048;

/// A row for each tensor, and the chunks of all, on their device.
pub(crate) struct Table<R> {
    pub rows: CudaSlice<R>,
    pub chunks: CudaSlice<Chunk>,
    /// The number of chunks, which is that of blocks.
    pub blocks: u32,
}

impl<R: DeviceRepr + 'static> Table<R> {
    /// A table of these rows; `count` gives the numbers of a row's tensor.
    pub(crate) fn new(
        rows: &[R],
        count: impl Fn(&R) -> usize,
        device: &CudaDevice,
    ) -> Result<Self> {
        let mut chunks = Vec::new();
        for (tensor, row) in rows.iter().enumerate() {
            let numbers = 0..count(row).div_ceil(CHUNK) as u32;
            chunks.extend(numbers.map(|number| Chunk {
                tensor: tensor as u32,
                number,
            }));
        }
        Ok(Self {
            rows: device.clone_htod(rows)?,
            chunks: device.clone_htod(chunks.as_slice())?,
            blocks: chunks.len() as u32,
        })
    }
}

/// The CUDA device of the first tensor.
pub(crate) fn device_of<'a>(
    operation: &str,
    mut tensors: impl Iterator<Item = &'a Tensor>,
) -> Result<CudaDevice> {
    match tensors.next().map(Tensor::device) {
        Some(Device::Cuda(device)) => Ok(device.clone()),
        Some(other) => bail!(
            "{operation}: a CUDA device expected, found {:?}",
            other.location()
        ),
        None => bail!("{operation}: no tensors"),
    }
}

/// The address of a tensor's numbers. It is valid as long as the tensor lives, and work on it is
/// in the order of the device's one stream.
pub(crate) fn address(operation: &str, tensor: &Tensor, device: &CudaDevice) -> Result<u64> {
    let (storage, layout) = tensor.storage_and_layout();
    let Storage::Cuda(storage) = &*storage else {
        bail!("{operation}: a tensor is not on a CUDA device");
    };
    if storage.device().id() != device.id() {
        bail!("{operation}: a tensor is on another device");
    }
    if tensor.elem_count() == 0 {
        bail!("{operation}: a tensor has no elements");
    }
    let view = crate::kernel::numbers::<f32>(operation, storage, layout)?;
    let stream = device.cuda_stream();
    let (address, _order) = view.device_ptr(&stream);
    Ok(address)
}
