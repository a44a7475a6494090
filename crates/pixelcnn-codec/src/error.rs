//! The error type of this crate.

use crate::ModelIdentity;

/// An error of compression, of an archive, or of an argument.
///
/// # Example
///
/// ```
/// use pixelcnn_codec::Archive;
///
/// let error = Archive::read(b"GIF89a".to_vec()).unwrap_err();
/// assert_eq!(error.to_string(), "it is not an archive of pixelcnn: it begins differently");
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CodecError {
    /// The engine failed.
    #[error(transparent)]
    Sample(#[from] pixelcnn_sample::SampleError),
    /// A model could not be used.
    #[error(transparent)]
    Model(#[from] pixelcnn_models::ModelError),
    /// A tensor operation failed.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
    /// There is not enough memory.
    #[error(transparent)]
    Memory(#[from] pixelcnn_system::NotEnoughMemory),
    /// The archive could not be written.
    #[error("the archive cannot be written: {0}")]
    Write(#[from] std::io::Error),
    /// The bytes are not an archive, or its first bytes are damaged.
    #[error("{0}")]
    Archive(String),
    /// The archive was made with another model.
    #[error("the archive was made with another model: it needs {needed}, found {found}")]
    OtherModel {
        /// The model that compressed the archive.
        needed: Box<ModelIdentity>,
        /// The given model.
        found: Box<ModelIdentity>,
    },
    /// A setting or argument is invalid.
    #[error("{what}: {why}")]
    Invalid {
        /// The setting or argument.
        what: String,
        /// The reason.
        why: String,
    },
}

impl CodecError {
    pub(crate) fn invalid(what: impl Into<String>, why: impl Into<String>) -> Self {
        Self::Invalid {
            what: what.into(),
            why: why.into(),
        }
    }
}
