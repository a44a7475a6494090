//! The devices of tensors.

use candle_core::{Device, Result};

/// A CUDA device, set up for programs that train; see the crate `pixelcnn-cuda`.
///
/// # Errors
///
/// If there is no driver or no such device, or without the feature `cuda`.
///
/// ```
/// assert!(pixelcnn_kernels::cuda(1000).is_err());
/// ```
pub fn cuda(ordinal: usize) -> Result<Device> {
    #[cfg(feature = "cuda")]
    return pixelcnn_cuda::device(ordinal);
    #[cfg(not(feature = "cuda"))]
    Device::new_cuda(ordinal)
}
