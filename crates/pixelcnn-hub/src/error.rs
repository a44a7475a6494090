//! The error type of this crate.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use pixelcnn_system::escaped;

/// An error of the hub, the network or the cache. Messages say what to do.
///
/// ```
/// use pixelcnn_hub::Repository;
///
/// let error = Repository::model("no owner").unwrap_err();
/// assert!(error.to_string().contains("OWNER/NAME"));
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HubError {
    /// A name of a repository is invalid.
    #[error("hf:{}: {}", escaped(text), escaped(why))]
    Name {
        /// The name as it was given.
        text: String,
        /// What is wrong.
        why: String,
    },
    /// A setting in the environment is invalid.
    #[error("{variable}: {}", escaped(why))]
    Setting {
        /// The environment variable.
        variable: &'static str,
        /// What is wrong.
        why: String,
    },
    /// The server could not be reached, or did not answer in time.
    #[error("{}: {}: {}", escaped(repository), escaped(place), escaped(why))]
    Unreachable {
        /// The repository.
        repository: String,
        /// The file or the address.
        place: String,
        /// What happened, and what to do.
        why: String,
    },
    /// The server refused a request.
    #[error(
        "{}: {}: {} (status {status})",
        escaped(repository),
        escaped(place),
        escaped(why)
    )]
    Refused {
        /// The repository.
        repository: String,
        /// The file or the address.
        place: String,
        /// The status of the answer.
        status: u16,
        /// How long to wait before the next request, if the server says so.
        retry_after: Option<Duration>,
        /// The reason, and what to do.
        why: String,
    },
    /// What arrived is not what was announced; nothing of it was kept.
    #[error(
        "{}: {}: {}; nothing of it was kept",
        escaped(repository),
        escaped(place),
        escaped(why)
    )]
    Damaged {
        /// The repository.
        repository: String,
        /// The file or the address.
        place: String,
        /// The difference, and what to do.
        why: String,
    },
    /// The repository does not have a file, or the file is not of a kind that is fetched.
    #[error("{}: {}: {}", escaped(repository), escaped(file), escaped(why))]
    File {
        /// The repository.
        repository: String,
        /// The file.
        file: String,
        /// The reason.
        why: String,
    },
    /// The repository is not in the cache, and the network must not be used.
    #[error(
        "{}: not in the cache {}, and HF_HUB_OFFLINE is set: unset it to download",
        escaped(repository), escaped(&cache.display().to_string())
    )]
    Offline {
        /// The repository.
        repository: String,
        /// The folder of the cache.
        cache: PathBuf,
    },
    /// A file of the cache could not be read or written.
    #[error(
        "{}: {source}; HF_HUB_CACHE sets another folder for the cache",
        escaped(&path.display().to_string())
    )]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
}

impl HubError {
    /// Whether the same request may succeed later without any change.
    pub(crate) fn is_temporary(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Refused { status, .. } => *status == 429 || *status >= 500,
            _ => false,
        }
    }

    /// How long to wait at least before another try; `None` if another try would fail too.
    pub(crate) fn wait(&self) -> Option<Duration> {
        let least = match self {
            Self::Refused { retry_after, .. } => retry_after.unwrap_or_default(),
            _ => Duration::ZERO,
        };
        self.is_temporary().then_some(least)
    }

    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }
}
