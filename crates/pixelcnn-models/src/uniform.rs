//! The uniform distribution.

use candle_core::{Device, Result, Tensor};
use candle_nn::VarBuilder;
use serde::{Deserialize, Serialize};

use crate::{Definition, DensityModel, ImageShape, Kind, ModelError, Task};

/// The configuration of the uniform distribution.
///
/// # Example
///
/// ```
/// use pixelcnn_models::{ImageShape, ModelConfig, UniformConfig};
///
/// let image = ImageShape { channels: 1, height: 28, width: 28, levels: 2 };
/// assert_eq!(ModelConfig::from(UniformConfig { image }).name(), "Uniform Distribution");
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UniformConfig {
    /// Channels, height, width and levels.
    pub image: ImageShape,
}

#[typetag::serde(name = "uniform")]
impl Definition for UniformConfig {
    fn name(&self) -> &'static str {
        "Uniform Distribution"
    }

    fn image(&self) -> ImageShape {
        self.image
    }

    fn build(&self, _: VarBuilder) -> std::result::Result<Kind, ModelError> {
        Ok(Kind::Density(Box::new(DensityModel::uniform(self.image))))
    }

    fn task(&self) -> Task {
        Task::Fit
    }

    fn boxed(&self) -> Box<dyn Definition> {
        Box::new(self.clone())
    }
}

/// Nats of each image and channel if all `levels` values are
/// equally likely: `h w ln(levels)`, which is 8 bits/dim for 256 levels.
///
/// # Shapes
///
/// `values [b, c, h, w]` to `[b, c]`, f64, on the CPU.
///
/// # Errors
///
/// If `values` has a wrong rank.
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
