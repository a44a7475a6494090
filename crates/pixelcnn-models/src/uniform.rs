//! The uniform distribution.

use candle_core::{Device, Result, Tensor};

/// Nats of each image and channel when every one of `levels` values is
/// equally likely: `h w ln(levels)`, which is 8 bits/dim for 256 levels.
///
/// # Shapes
///
/// `values [b, c, h, w]` to `[b, c]`, f64, on the CPU.
///
/// # Errors
///
/// If `values` has another rank.
///
/// # Example
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use pixelcnn_models::uniform_nats;
///
/// let images = Tensor::zeros((1, 3, 32, 32), DType::U8, &Device::Cpu)?;
/// let nats = uniform_nats(&images, 256)?.sum_all()?.to_scalar::<f64>()?;
/// assert!((nats / (3072.0 * std::f64::consts::LN_2) - 8.0).abs() < 1e-12);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn uniform_nats(values: &Tensor, levels: usize) -> Result<Tensor> {
    let (b, c, h, w) = values.dims4()?;
    let nats = (h * w) as f64 * (levels as f64).ln();
    Tensor::full(nats, (b, c), &Device::Cpu)
}
