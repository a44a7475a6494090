//! The hub: where it is, who asks, and where files are kept.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::cache::{self, Cached, Folder};
use crate::requests::Requests;
use crate::settings::Settings;
use crate::{HubError, Repository, Snapshot};

/// A progress report of a download.
///
/// ```
/// use pixelcnn_hub::Transfer;
///
/// let transfer = Transfer { file: "model.safetensors", done: 1 << 20, size: 4 << 20 };
/// assert!(transfer.done < transfer.size);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transfer<'a> {
    /// The file in its repository.
    pub file: &'a str,
    /// Bytes that have arrived.
    pub done: u64,
    /// Bytes of the whole file; equal to `done` at the end.
    pub size: u64,
}

/// Where repositories come from, and the folder where their files are kept.
///
/// ```
/// use pixelcnn_hub::{Hub, Repository};
///
/// let cache = tempfile::tempdir()?;
/// let hub = Hub {
///     cache: cache.path().into(),
///     offline: true,
///     ..Hub::from_environment()?
/// };
/// let error = hub.open(&Repository::model("owner/name")?).unwrap_err();
/// assert!(error.to_string().contains("HF_HUB_OFFLINE"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Hub {
    /// The address of the server, without a slash at the end.
    pub endpoint: String,
    /// The folder of the cache, in the layout of the Python library `huggingface_hub`.
    pub cache: PathBuf,
    /// The token of an account, sent only to the endpoint.
    pub token: Option<String>,
    /// Use only what is in the cache.
    pub offline: bool,
    /// The longest time to wait for a connection, an answer, or the next bytes.
    pub patience: Duration,
    /// The pauses before further tries of a request that failed but may succeed later; none:
    /// the first failure is the result.
    pub pauses: Vec<Duration>,
    /// Called with progress reports.
    pub progress: Arc<dyn Fn(Transfer<'_>) + Send + Sync>,
}

/// Without the token.
impl fmt::Debug for Hub {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Hub")
            .field("endpoint", &self.endpoint)
            .field("cache", &self.cache)
            .field("offline", &self.offline)
            .finish_non_exhaustive()
    }
}

impl Hub {
    /// The hub as the environment says: `HF_ENDPOINT`, `HF_TOKEN`, `HF_HOME`,
    /// `HF_HUB_CACHE`, `HF_HUB_OFFLINE`, `HF_HUB_DOWNLOAD_TIMEOUT`, as for the Python
    /// library, and the token that `hf auth login` has written.
    ///
    /// # Errors
    ///
    /// If a variable has a value that means nothing, or there is no home folder and none of
    /// the variables names a folder.
    pub fn from_environment() -> Result<Self, HubError> {
        let settings = Settings::from_environment()?;
        Ok(Self {
            endpoint: settings.endpoint,
            cache: settings.cache,
            token: settings.token,
            offline: settings.offline,
            patience: settings.patience,
            pauses: [1, 2, 4].map(Duration::from_secs).to_vec(),
            progress: Arc::new(|_| ()),
        })
    }

    /// The files of a repository at one commit. This asks the server which commit the
    /// revision means. If the server cannot be reached or is overloaded, the commit in
    /// the cache is used, with a warning; without one, the request is repeated after
    /// [`Hub::pauses`].
    ///
    /// # Errors
    ///
    /// If the server refuses the request, or cannot be reached and the repository is not in
    /// the cache. The message says what to do, for example which token to set.
    pub fn open(&self, repository: &Repository) -> Result<Snapshot, HubError> {
        let folder = Folder::new(&self.cache, repository);
        let cached = || folder.commit(repository);
        if self.offline {
            let commit = cached().ok_or_else(|| HubError::Offline {
                repository: repository.to_string(),
                cache: self.cache.clone(),
            })?;
            return Snapshot::cached(repository, folder, commit);
        }
        let requests = Requests::new(self, repository);
        let listing = match cached() {
            Some(_) => requests.listing(),
            None => requests.repeated(|| requests.listing()),
        };
        match listing {
            Ok(listing) => Snapshot::listed(repository, folder, listing, requests),
            Err(error) if error.is_temporary() => match cached() {
                Some(commit) => {
                    tracing::warn!("{error}; using the files in the cache, of commit {commit}");
                    Snapshot::cached(repository, folder, commit)
                }
                None => Err(error),
            },
            Err(error) => Err(error),
        }
    }

    /// The repositories in the cache, in order of their names; of each, the commits that a
    /// revision means.
    ///
    /// # Errors
    ///
    /// If the folder exists and cannot be read.
    ///
    /// ```
    /// use pixelcnn_hub::Hub;
    ///
    /// let hub = Hub { cache: "no/such/folder".into(), ..Hub::from_environment()? };
    /// assert!(hub.cached()?.is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn cached(&self) -> Result<Vec<Cached>, HubError> {
        cache::list(&self.cache)
    }
}
