//! The error type of this crate.

use std::path::{Path, PathBuf};

use pixelcnn_models::ModelError;
use pixelcnn_system::escaped;

/// An error of an import.
///
/// # Example
///
/// ```
/// use pixelcnn_import::{Format, Settings, import};
///
/// let error = import(Format::Uvadlc, "no/such/file", &Settings::default()).unwrap_err();
/// assert!(error.to_string().contains("no/such/file"));
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// The file could not be read.
    #[error("{}: {source}", escaped(&path.display().to_string()))]
    Io {
        /// The file.
        path: PathBuf,
        /// The error of the system.
        source: std::io::Error,
    },
    /// The content of the file is not that of a checkpoint of this format.
    #[error("{}: {}", escaped(&path.display().to_string()), escaped(why))]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        why: String,
    },
    /// A setting is unknown, or has a value that is not possible.
    #[error("--set {name}: {why}")]
    Setting {
        /// The setting.
        name: String,
        /// The reason.
        why: String,
    },
    /// A file of safetensors could not be read; the error names it.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// A tensor operation failed.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}

impl ImportError {
    pub(crate) fn file(path: &Path, why: impl Into<String>) -> Self {
        Self::File {
            path: path.to_path_buf(),
            why: why.into(),
        }
    }

    /// The same error, with the file that the model was to be made of.
    pub(crate) fn of_file(self, path: &Path) -> Self {
        match self {
            Self::Model(error) => Self::file(path, error.to_string()),
            other => other,
        }
    }

    pub(crate) fn setting(name: &str, why: impl Into<String>) -> Self {
        Self::Setting {
            name: escaped(name),
            why: why.into(),
        }
    }

    pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io { path, source }
    }
}
