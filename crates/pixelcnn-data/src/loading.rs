//! Settings for loading data sets: the cache and progress reports.

use std::env;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The cache of decoded images: the pictures of a folder, the files of ImageNet, and large
/// gzipped files.
///
/// ```
/// use pixelcnn_data::Cache;
///
/// let cache = Cache::Folder("/tmp/some/folder".into());
/// assert_ne!(cache, Cache::Off);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cache {
    /// No cache: images are decoded into memory every time.
    Off,
    /// Files in this folder, which is created if it does not exist.
    Folder(PathBuf),
}

impl Cache {
    /// The user's cache: the folder in the environment variable `PIXELCNN_CACHE`, or no
    /// cache if it is `off`. If it is not set, `$XDG_CACHE_HOME/pixelcnn`, otherwise
    /// `.cache/pixelcnn` in the home folder.
    ///
    /// ```
    /// println!("{:?}", pixelcnn_data::Cache::from_environment());
    /// ```
    pub fn from_environment() -> Self {
        let folder = |name| env::var_os(name).filter(|value| !value.is_empty());
        Self::among(
            folder("PIXELCNN_CACHE").map(PathBuf::from),
            folder("XDG_CACHE_HOME").map(PathBuf::from),
            env::home_dir(),
        )
    }

    fn among(named: Option<PathBuf>, caches: Option<PathBuf>, home: Option<PathBuf>) -> Self {
        if let Some(named) = named {
            return match named == Path::new("off") {
                true => Self::Off,
                false => Self::Folder(named),
            };
        }
        // The XDG standard says that relative paths must be ignored.
        let caches = caches.filter(|caches| caches.is_absolute());
        let caches = caches.or_else(|| Some(home?.join(".cache")));
        caches.map_or(Self::Off, |caches| Self::Folder(caches.join("pixelcnn")))
    }
}

/// A progress report of loading.
///
/// ```
/// use pixelcnn_data::Progress;
///
/// let progress = Progress { what: "decoding", unit: "pictures", done: 64, of: 1000 };
/// assert!(progress.done < progress.of);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The present activity.
    pub what: &'static str,
    /// The unit of the counts.
    pub unit: &'static str,
    /// Number of finished units.
    pub done: usize,
    /// Number of all units; equal to `done` at the end.
    pub of: usize,
}

/// Settings for [`load_with`](crate::load_with).
///
/// ```
/// use std::sync::Arc;
/// use pixelcnn_data::{Cache, Loading, Split, load_with};
///
/// let loading = Loading {
///     cache: Cache::Off,
///     progress: Arc::new(|progress| println!("{}/{}", progress.done, progress.of)),
/// };
/// let dataset = load_with(&"photos32".parse()?, &loading)?;
/// assert_eq!(dataset.split(Split::Test)?.len(), 512);
/// # Ok::<(), pixelcnn_data::DataError>(())
/// ```
#[derive(Clone)]
pub struct Loading {
    /// The cache of decoded images.
    pub cache: Cache,
    /// Called with progress reports, also when a split is opened later.
    pub progress: Arc<dyn Fn(Progress) + Send + Sync>,
}

/// The user's cache, without progress reports.
impl Default for Loading {
    fn default() -> Self {
        Self {
            cache: Cache::from_environment(),
            progress: Arc::new(|_| ()),
        }
    }
}

impl fmt::Debug for Loading {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Loading")
            .field("cache", &self.cache)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_named_folder_comes_first_and_may_be_off() {
        let path = |text: &str| Some(PathBuf::from(text));
        let folder = |text: &str| Cache::Folder(text.into());
        let among = Cache::among;
        assert_eq!(among(path("off"), path("/c"), path("/h")), Cache::Off);
        assert_eq!(among(path("here"), path("/c"), path("/h")), folder("here"));
        assert_eq!(among(None, path("/c"), path("/h")), folder("/c/pixelcnn"));
        let of_home = folder("/h/.cache/pixelcnn");
        assert_eq!(among(None, path("c"), path("/h")), of_home);
        assert_eq!(among(None, None, path("/h")), of_home);
        assert_eq!(among(None, None, None), Cache::Off);
    }
}
