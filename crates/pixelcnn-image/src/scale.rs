//! Scaling of values for networks.

use candle_core::{DType, Result, Tensor, bail};

/// Scales integer values for a network: 0 becomes -1, `levels - 1`
/// becomes 1.
///
/// # Errors
///
/// If there are fewer than two levels, or a tensor operation fails.
///
/// # Example
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use pixelcnn_image::scale;
///
/// let values = Tensor::new(&[0u8, 3], &Device::Cpu)?;
/// assert_eq!(scale(&values, 4, DType::F32)?.to_vec1::<f32>()?, [-1.0, 1.0]);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn scale(values: &Tensor, levels: usize, dtype: DType) -> Result<Tensor> {
    if levels < 2 {
        bail!("values: at least two levels expected, found {levels}");
    }
    values
        .to_dtype(dtype)?
        .affine(2.0 / (levels - 1) as f64, -1.0)
}
