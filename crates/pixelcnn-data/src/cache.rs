//! Cache files for images that take a long time to decode.
//!
//! [`file`] describes the format. The key of a cache file is a hash of the names, sizes
//! and modification times of the files that were read. The file name depends only on the
//! folder and the options, so that a folder that changes has one cache file, not many.

mod file;
mod key;
mod sink;

use std::fs;
use std::io;
use std::path::Path;

use pixelcnn_system::shown;
use serde::{Deserialize, Serialize};

use crate::bytes::Bytes;
use crate::{Cache, DataError, Loading};

pub(crate) use key::Key;
pub(crate) use sink::Sink;

/// Data about each image, in the order of the images.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Index {
    pub(crate) labels: Vec<u32>,
    /// The split of each image, see [`crate::decoding::mark`].
    pub(crate) marks: Vec<u8>,
    /// A warning to repeat at every use.
    pub(crate) warning: Option<String>,
}

/// The content of a cache file, or the same in memory.
pub(crate) struct Kept {
    pub(crate) bytes: Bytes,
    pub(crate) index: Index,
}

/// Returns the output of `make` from the cache; if it is not there, calls `make` and
/// writes the cache file. Without a writable cache, the output is kept in memory. `key` is
/// called only if there is a cache.
pub(crate) fn kept(
    loading: &Loading,
    key: impl FnOnce() -> Result<Key, DataError>,
    make: impl Fn(&mut Sink) -> Result<(), DataError>,
) -> Result<Kept, DataError> {
    let Cache::Folder(folder) = &loading.cache else {
        return in_memory(make);
    };
    let key = key()?;
    let path = folder.join(key.file_name());
    if let Some(kept) = file::open(&path, key.text(), loading) {
        if let Some(warning) = &kept.index.warning {
            tracing::warn!("{warning}");
        }
        return Ok(kept);
    }
    let mut sink = match create(folder, &path) {
        Ok(file) => Sink::file(file),
        Err(error) => {
            not_kept(&path, &error);
            return in_memory(make);
        }
    };
    match make(&mut sink) {
        Ok(()) => {}
        Err(error) => match sink.into_failure() {
            Some(failure) => {
                not_kept(&path, &failure);
                return in_memory(make);
            }
            None => return Err(error),
        },
    }
    match sink.finish(key.text()) {
        Ok(kept) => {
            tracing::debug!("{}: written", shown(&path));
            Ok(kept)
        }
        Err(error) => {
            not_kept(&path, &error);
            in_memory(make)
        }
    }
}

fn in_memory(make: impl Fn(&mut Sink) -> Result<(), DataError>) -> Result<Kept, DataError> {
    let mut sink = Sink::memory();
    make(&mut sink)?;
    Ok(sink.in_memory())
}

/// Creates a temporary file, and removes those of killed programs.
fn create(folder: &Path, path: &Path) -> io::Result<file::Writer> {
    fs::create_dir_all(folder)?;
    let own = path.file_name().map(|name| name.to_string_lossy());
    let is_own = |name: &str| own.as_deref() == Some(name);
    pixelcnn_system::remove_abandoned(folder, is_own)?;
    file::Writer::create(path)
}

fn not_kept(path: &Path, error: &io::Error) {
    tracing::warn!(
        "{}: cannot write this cache file, so images are kept in memory: {error}; \
         PIXELCNN_CACHE sets another folder",
        shown(path)
    );
}

#[cfg(test)]
mod tests;
