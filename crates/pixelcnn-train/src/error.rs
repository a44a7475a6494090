//! The error of this crate.

use std::path::{Path, PathBuf};

/// What can go wrong while a model is trained.
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

    /// A file could not be read or written.
    #[error("cannot read or write {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        source: std::io::Error,
    },

    /// A line of a metrics file is not a record.
    #[error("{}, line {line}: not a record of metrics: {why}", path.display())]
    Metrics {
        /// The metrics file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// What the parser says.
        why: String,
    },

    /// Tensors do not fit the parameters they belong to.
    #[error("{what}: expected {expected}, found {found}")]
    State {
        /// Which tensor, by name.
        what: String,
        /// What the parameters call for.
        expected: String,
        /// What was given.
        found: String,
    },

    /// A setting, or an argument, has a value that makes no sense.
    #[error("invalid {what}: {why}")]
    Invalid {
        /// The setting.
        what: String,
        /// The value, and the values that are allowed.
        why: String,
    },

    /// A number of the run is infinite or not a number.
    #[error("step {step}: {what} is not finite")]
    NonFinite {
        /// The training step.
        step: usize,
        /// Which number.
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
    /// Names the file in an error of the operating system; made for `map_err`.
    pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io { path, source }
    }

    /// A run's file or folder that cannot be used.
    pub(crate) fn run(path: &Path, why: impl std::fmt::Display) -> Self {
        Self::Run {
            path: path.to_path_buf(),
            why: why.to_string(),
        }
    }

    /// A setting with a value outside `allowed`.
    pub(crate) fn invalid(what: &str, value: impl std::fmt::Display, allowed: &str) -> Self {
        Self::Invalid {
            what: what.into(),
            why: format!("{value} is not {allowed}"),
        }
    }
}
