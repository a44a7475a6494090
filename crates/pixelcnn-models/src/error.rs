//! The error type of this crate.

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
#[non_exhaustive]
pub enum ModelError {
    /// A tensor operation failed.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
    /// Values or sizes of an image are invalid.
    #[error(transparent)]
    Image(#[from] pixelcnn_image::ImageError),
    /// A file could not be read or written.
    #[error("{}: {source}", escaped(&path.display().to_string()))]
    Io {
        /// The file.
        path: PathBuf,
        /// The error of the system.
        source: std::io::Error,
    },
    /// The content of a file is invalid.
    #[error("{}: {}", escaped(&path.display().to_string()), escaped(why))]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        why: String,
    },
    /// There is not enough memory.
    #[error(transparent)]
    Memory(#[from] pixelcnn_system::NotEnoughMemory),
    /// There is no model of this name.
    #[error("{}", unknown_model(name, included))]
    UnknownModel {
        /// The name.
        name: String,
        /// The names of the models that come with the source.
        included: Vec<String>,
    },
    /// A folder is neither that of a model nor that of a run with a model.
    #[error("{}: {}", escaped(&path.display().to_string()), escaped(why))]
    NoModel {
        /// The folder.
        path: PathBuf,
        /// What is missing.
        why: String,
    },
    /// A model of the hub cannot be fetched.
    #[cfg(feature = "hub")]
    #[error(transparent)]
    Hub(#[from] pixelcnn_hub::HubError),
    /// A shape is wrong.
    #[error("{what}: {expected} expected, found {found}")]
    Shape {
        /// The tensor.
        what: String,
        /// The expected shape.
        expected: String,
        /// The shape that was found.
        found: String,
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

impl ModelError {
    pub(crate) fn invalid(what: &str, why: impl Into<String>) -> Self {
        Self::Invalid {
            what: what.to_string(),
            why: why.into(),
        }
    }
}

/// The message for an unknown name: what there is, and what else is possible.
fn unknown_model(name: &str, included: &[String]) -> String {
    let included = match included {
        [] => "no models come with this copy of the source".to_string(),
        names => format!("these models come with the source: {}", names.join(", ")),
    };
    format!(
        "{}: no such model and no such folder; {included}; a model directory, the folder of a \
         run, or hf:OWNER/NAME of the Hugging Face hub can also be given",
        escaped(name)
    )
}
