//! The error type of this crate.

/// Invalid values or settings of an image.
///
/// # Example
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use pixelcnn_image::ImageShape;
///
/// let shape = ImageShape { channels: 3, height: 4, width: 4, levels: 256 };
/// let grey = Tensor::zeros((1, 1, 4, 4), DType::U8, &Device::Cpu)?;
/// let error = shape.check(&grey).unwrap_err().to_string();
/// assert!(error.contains("non-empty [b, 3, h, w] expected, found U8 [1, 1, 4, 4]"));
/// # Ok::<(), candle_core::Error>(())
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImageError {
    /// A tensor operation failed.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
    /// Values have a wrong shape or type.
    #[error("values: {expected} expected, found {found}")]
    Shape {
        /// What was expected.
        expected: String,
        /// What was found.
        found: String,
    },
    /// A setting or a value is invalid.
    #[error("{what}: {why}")]
    Invalid {
        /// The setting or value.
        what: String,
        /// The reason.
        why: String,
    },
}

impl ImageError {
    pub(crate) fn invalid(what: &str, why: String) -> Self {
        Self::Invalid {
            what: what.to_string(),
            why,
        }
    }
}
