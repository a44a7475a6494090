//! The error of this crate.

use std::path::{Path, PathBuf};

/// An error of training.
///
/// ```
/// use pixelcnn_train::TrainError;
///
/// let error = TrainError::Invalid {
///     what: "learning rate".into(),
///     why: "-1 is negative".into(),
/// };
/// assert_eq!(error.to_string(), "invalid learning rate: -1 is negative");
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainError {
    /// A tensor operation failed.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),

    /// The model refused something.
    #[error(transparent)]
    Model(#[from] pixelcnn_models::ModelError),

    /// The data refused something.
    #[error(transparent)]
    Data(#[from] pixelcnn_data::DataError),

    /// The folder or the configuration of a run is not usable.
    #[error("{}: {why}", path.display())]
    Run {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },

    /// A file could not be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        source: std::io::Error,
    },

    /// A file could not be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        source: std::io::Error,
    },

    /// A line of a metrics file is not a record.
    #[error("{}, line {line}: not a record of metrics: {why}", path.display())]
    Metrics {
        /// The metrics file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// The error of the parser.
        why: String,
    },

    /// Tensors do not fit their parameters.
    #[error("{what}: expected {expected}, found {found}")]
    State {
        /// The name of the tensor.
        what: String,
        /// What the parameters need.
        expected: String,
        /// What was given.
        found: String,
    },

    /// A setting or argument has an invalid value.
    #[error("invalid {what}: {why}")]
    Invalid {
        /// The setting.
        what: String,
        /// The value, and the allowed values.
        why: String,
    },

    /// A number of the run is infinite or not a number.
    #[error(
        "step {step}: {what} is not finite; a lower training.learning_rate or training.max_grad_norm may help"
    )]
    NonFinite {
        /// The training step.
        step: usize,
        /// The number.
        what: String,
    },
}

/// A result with this crate's error.
///
/// ```
/// fn half(steps: usize) -> pixelcnn_train::Result<usize> {
///     Ok(steps / 2)
/// }
/// assert_eq!(half(10)?, 5);
/// # Ok::<(), pixelcnn_train::TrainError>(())
/// ```
pub type Result<T> = std::result::Result<T, TrainError>;

impl TrainError {
    /// Names the file that could not be read, or its missing folder; for `map_err`.
    pub(crate) fn read(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| match missing_folder(&path) {
            Some(folder) => Self::run(folder, "there is no such folder"),
            None => Self::Read { path, source },
        }
    }

    /// The same for a file that could not be written.
    pub(crate) fn write(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| match missing_folder(&path) {
            Some(folder) => Self::run(folder, "there is no such folder"),
            None => Self::Write { path, source },
        }
    }

    /// Whether a file could not be written.
    pub(crate) fn is_of_writing(&self) -> bool {
        use pixelcnn_models::ModelError;
        matches!(
            self,
            Self::Write { .. } | Self::Model(ModelError::Io { .. })
        )
    }

    /// A file or folder of a run that cannot be used.
    pub(crate) fn run(path: &Path, why: impl std::fmt::Display) -> Self {
        Self::Run {
            path: path.to_path_buf(),
            why: why.to_string(),
        }
    }

    /// A JSON file of a run that is not `what`.
    pub(crate) fn damaged(path: &Path, what: &str, error: &serde_json::Error) -> Self {
        let (line, column) = (error.line(), error.column());
        let why = format!("not {what}, or damaged (line {line}, column {column})");
        Self::run(path, why)
    }

    /// A setting with a value outside `allowed`.
    pub(crate) fn invalid(what: &str, value: impl std::fmt::Display, allowed: &str) -> Self {
        Self::Invalid {
            what: what.into(),
            why: format!("{value} is not {allowed}"),
        }
    }
}

/// The first folder of a path that does not exist.
fn missing_folder(path: &Path) -> Option<&Path> {
    let folders = path.ancestors().skip(1);
    let missing = folders.take_while(|folder| !folder.as_os_str().is_empty() && !folder.exists());
    missing.last()
}

/// Sizes for messages.
pub(crate) fn list(numbers: &[usize]) -> String {
    let numbers: Vec<_> = numbers.iter().map(usize::to_string).collect();
    format!("[{}]", numbers.join(", "))
}
