//! Keys of cache files.

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use xxhash_rust::xxh3::Xxh3;

use crate::DataError;
use crate::file::unreadable;

/// File systems round modification times. A file that has changed within this time can
/// change again and keep its modification time.
const FRESH: Duration = Duration::from_secs(2);

/// The name of a cache file, and the key that it must contain.
pub(crate) struct Key {
    name: String,
    text: String,
}

impl Key {
    /// The key for a `kind` of data set at a path with these options and files. If a file
    /// has just changed, the key never matches again, because another change of the file
    /// could go unnoticed.
    pub(crate) fn new<'a>(
        kind: &str,
        place: &Path,
        options: &str,
        files: impl IntoIterator<Item = &'a Path>,
    ) -> Result<Self, DataError> {
        let place = place
            .canonicalize()
            .map_err(|source| unreadable(place, source))?;
        let mut name = Xxh3::new();
        for part in [
            kind.as_bytes(),
            place.as_os_str().as_encoded_bytes(),
            options.as_bytes(),
        ] {
            name.update(part);
            name.update(&[0]);
        }
        let now = SystemTime::now();
        let mut fresh = false;
        let mut hash = Xxh3::new();
        for path in files {
            let metadata = path.metadata().map_err(|source| unreadable(path, source))?;
            let modified = metadata
                .modified()
                .map_err(|source| unreadable(path, source))?;
            // A modification time in the future counts as fresh.
            fresh |= now.duration_since(modified).map_or(true, |age| age < FRESH);
            hash.update(path.as_os_str().as_encoded_bytes());
            hash.update(&[0]);
            hash.update(&metadata.len().to_le_bytes());
            hash.update(&nanoseconds(modified).to_le_bytes());
        }
        let mut text = format!("{:032x}", hash.digest128());
        if fresh {
            text = format!("{text} at {}", nanoseconds(now));
        }
        Ok(Self {
            name: format!("{kind}-{:032x}.cache", name.digest128()),
            text,
        })
    }

    pub(super) fn file_name(&self) -> &str {
        &self.name
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }
}

/// Time since 1970; times before 1970 have the highest bit set.
fn nanoseconds(time: SystemTime) -> u128 {
    match time.duration_since(UNIX_EPOCH) {
        Ok(since) => since.as_nanos(),
        Err(before) => before.duration().as_nanos() | 1 << 127,
    }
}
