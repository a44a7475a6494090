//! Random access to files that must not change.

use std::fs::{File, Metadata};
use std::io::{self, Error};
use std::path::Path;
use std::time::SystemTime;

use crate::open_file;

/// A regular file with random access, also from several threads. If the length or the
/// modification time of the file changes after it was opened, reading is an error. So all
/// data that are read belong together.
///
/// If another file is renamed to the same path, reads still return the original file.
///
/// ```
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("numbers.bin");
/// std::fs::write(&path, [1, 2, 3, 4])?;
/// let file = pixelcnn_system::StableFile::open(&path)?;
/// let mut bytes = [0; 2];
/// file.read_at(1, &mut bytes)?;
/// assert_eq!((bytes, file.length()), ([2, 3], 4));
///
/// std::fs::write(&path, [1, 2, 3])?;
/// let error = file.read_at(1, &mut bytes).unwrap_err();
/// assert_eq!(error.to_string(), "it has changed since it was opened");
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct StableFile {
    file: Placed,
    stamp: Stamp,
}

/// The properties that show a change of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    length: u64,
    /// `None` if the file system does not record it.
    modified: Option<SystemTime>,
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Self {
            length: metadata.len(),
            modified: metadata.modified().ok(),
        }
    }
}

impl StableFile {
    /// Opens a file.
    ///
    /// # Errors
    ///
    /// As [`open_file`].
    pub fn open(path: impl AsRef<Path>) -> io::Result<Self> {
        let file = open_file(path)?;
        let stamp = Stamp::of(&file.metadata()?);
        Ok(Self {
            file: Placed::new(file),
            stamp,
        })
    }

    /// The length in bytes.
    pub fn length(&self) -> u64 {
        self.stamp.length
    }

    /// Fills `bytes` with the bytes of the file from `offset` on.
    ///
    /// # Errors
    ///
    /// If the file has changed, is too short, or cannot be read.
    pub fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        let read = self.file.read_exact_at(bytes, offset);
        // Check this also after an error: a truncated file ends too early.
        match Stamp::of(&self.file.metadata()?) == self.stamp {
            true => read,
            false => Err(Error::other("it has changed since it was opened")),
        }
    }
}

/// A file with positioned reads.
#[cfg(unix)]
#[derive(Debug)]
struct Placed(File);

#[cfg(unix)]
impl Placed {
    fn new(file: File) -> Self {
        Self(file)
    }

    fn metadata(&self) -> io::Result<Metadata> {
        self.0.metadata()
    }

    fn read_exact_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        std::os::unix::fs::FileExt::read_exact_at(&self.0, bytes, offset)
    }
}

/// A file whose position is moved under a lock.
#[cfg(not(unix))]
#[derive(Debug)]
struct Placed(std::sync::Mutex<File>);

#[cfg(not(unix))]
impl Placed {
    fn new(file: File) -> Self {
        Self(std::sync::Mutex::new(file))
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, File> {
        self.0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn metadata(&self) -> io::Result<Metadata> {
        self.locked().metadata()
    }

    fn read_exact_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        use std::io::{Read, Seek, SeekFrom};
        let mut file = self.locked();
        file.seek(SeekFrom::Start(offset))?;
        file.read_exact(bytes)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::ErrorKind;
    use std::time::Duration;

    use tempfile::tempdir;

    use super::*;

    #[test]
    fn another_content_of_the_same_length_is_seen() {
        let folder = tempdir().unwrap();
        let path = folder.path().join("a");
        fs::write(&path, [1, 2, 3]).unwrap();
        let file = StableFile::open(&path).unwrap();
        let mut bytes = [0; 3];
        file.read_at(0, &mut bytes).unwrap();
        let writer = File::options().write(true).open(&path).unwrap();
        let later = file.stamp.modified.unwrap() + Duration::from_secs(1);
        writer.set_modified(later).unwrap();
        let error = file.read_at(0, &mut bytes).unwrap_err();
        assert!(error.to_string().contains("changed"), "{error}");
    }

    #[test]
    fn a_file_in_its_place_is_another_file() {
        let folder = tempdir().unwrap();
        let [path, other] = ["a", "b"].map(|name| folder.path().join(name));
        fs::write(&path, [1, 2, 3]).unwrap();
        fs::write(&other, [4, 5]).unwrap();
        let file = StableFile::open(&path).unwrap();
        fs::rename(&other, &path).unwrap();
        let mut bytes = [0; 2];
        file.read_at(1, &mut bytes).unwrap();
        assert_eq!(bytes, [2, 3]);
        let error = file.read_at(2, &mut bytes).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
    }
}
