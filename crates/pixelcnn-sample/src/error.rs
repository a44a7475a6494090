//! The error type of this crate.

/// An error of the engine or of its arguments.
///
/// # Example
///
/// ```
/// use pixelcnn_models::{DensityModel, ImageShape};
/// use pixelcnn_sample::Engine;
///
/// let image = ImageShape { channels: 3, height: 4, width: 4, levels: 8 };
/// let error = Engine::new(&DensityModel::uniform(image)).unwrap_err();
/// assert!(error.to_string().contains("do not predict pixels in order"));
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SampleError {
    /// A tensor operation or the engine failed.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
    /// A model could not be made or used.
    #[error(transparent)]
    Model(#[from] pixelcnn_models::ModelError),
    /// There is not enough memory.
    #[error(transparent)]
    Memory(#[from] pixelcnn_system::NotEnoughMemory),
    /// A setting or argument is invalid.
    #[error("{what}: {why}")]
    Invalid {
        /// The setting or argument.
        what: String,
        /// The reason.
        why: String,
    },
}

impl SampleError {
    pub(crate) fn invalid(what: &str, why: impl Into<String>) -> Self {
        Self::Invalid {
            what: what.to_string(),
            why: why.into(),
        }
    }
}
