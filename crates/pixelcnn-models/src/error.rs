//! What can go wrong in this crate.

use pixelcnn_system::escaped;
use std::path::PathBuf;

/// An error of a model, its configuration or its files.
///
/// # Example
///
/// ```
/// use pixelcnn_models::Model;
/// use candle_core::Device;
///
/// let error = Model::load("no/such/model", &Device::Cpu).unwrap_err();
/// assert!(error.to_string().contains("no/such/model"));
/// ```
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// A tensor operation failed.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
    /// Values or sizes are not those of an image.
    #[error(transparent)]
    Image(#[from] pixelcnn_image::ImageError),
    /// A file could not be read or written.
    #[error("{}: {source}", escaped(&path.display().to_string()))]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file does not hold what it should.
    #[error("{}: {}", escaped(&path.display().to_string()), escaped(why))]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong and where.
        why: String,
    },
    /// There is not enough memory.
    #[error(transparent)]
    Memory(#[from] pixelcnn_system::NotEnoughMemory),
    /// A shape does not fit.
    #[error("{what}: {expected} expected, found {found}")]
    Shape {
        /// Which tensor.
        what: String,
        /// The shape it should have.
        expected: String,
        /// The shape it has.
        found: String,
    },
    /// A setting or argument makes no sense.
    #[error("{what}: {why}")]
    Invalid {
        /// Which setting or argument.
        what: String,
        /// Why it is refused.
        why: String,
    },
}

impl ModelError {
    pub(crate) fn invalid(what: &str, why: impl Into<String>) -> Self {
        Self::Invalid {
            what: what.to_string(),
            why: why.into(),
        }
    }
}
