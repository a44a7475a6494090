//! Files as bytes, unpacked if they are gzipped.

use std::fs::File;
use std::io::{self, BufRead, ErrorKind, Read};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;
use pixelcnn_system::{guarded, open_file, read_file};

use crate::bytes::{BLOCK, Bytes};
use crate::cache::{self, Key, Sink};
use crate::{Cache, DataError, Loading, Progress, memory};

/// The largest expansion of deflate.
pub(crate) const DEFLATE: u64 = 1032;

/// The largest unpacked content of a gzipped file that is kept in memory. Larger content
/// goes to the cache.
const IN_MEMORY: u64 = 1 << 28;

/// The bytes of a regular file.
pub(crate) fn bytes(path: &Path) -> Result<Vec<u8>, DataError> {
    let length = length(path)?;
    memory::check_for(path, "its content", length)?;
    // Some files, such as those of /proc, are larger than their reported length.
    let limit = length.max(1 << 26);
    read_file(path, limit).map_err(|source| unreadable(path, source))
}

/// The length of a regular file in bytes.
pub(crate) fn length(path: &Path) -> Result<u64, DataError> {
    let file = open(path)?;
    let metadata = file.metadata();
    Ok(metadata.map_err(|source| unreadable(path, source))?.len())
}

/// Opens a regular file.
pub(crate) fn open(path: &Path) -> Result<File, DataError> {
    open_file(path).map_err(|source| unreadable(path, source))
}

/// The error for an unreadable file; names a missing parent folder if that is the
/// reason.
pub(crate) fn unreadable(path: &Path, source: io::Error) -> DataError {
    let missing = |folder: &&Path| !folder.as_os_str().is_empty() && !folder.exists();
    let folder = path.ancestors().skip(1).take_while(missing).last();
    match folder.filter(|_| source.kind() == ErrorKind::NotFound) {
        Some(folder) => DataError::Folder {
            path: folder.into(),
            reason: format!("no such folder; it should contain {}", path.display()),
        },
        None => DataError::Read {
            path: path.into(),
            source,
        },
    }
}

/// Checks that a folder exists.
pub(crate) fn check_folder(path: &Path) -> Result<(), DataError> {
    match path.metadata() {
        Ok(found) if found.is_dir() => Ok(()),
        Ok(_) => Err(DataError::Folder {
            path: path.into(),
            reason: "it is not a folder".into(),
        }),
        Err(error) if error.kind() == ErrorKind::NotFound => Err(DataError::Folder {
            path: path.into(),
            reason: "there is no such folder".into(),
        }),
        Err(source) => Err(DataError::Read {
            path: path.into(),
            source,
        }),
    }
}

/// Whether the name of a file says that it is gzipped. The content cannot decide,
/// because a file of records may begin with any byte.
pub(crate) fn is_gzipped(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending == "gz")
}

/// The content of a small file, unpacked if its name ends in `.gz`.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, DataError> {
    match is_gzipped(path) {
        true => unpacked(path, counted(path)?),
        false => bytes(path),
    }
}

/// The content of a file for random access. A gzipped file is unpacked in memory or, if it
/// is large, in the cache.
pub(crate) fn content(path: &Path, loading: &Loading) -> Result<Bytes, DataError> {
    if !is_gzipped(path) {
        return Bytes::open(path);
    }
    let counted = counted(path)?;
    if counted <= IN_MEMORY || loading.cache == Cache::Off {
        return Ok(Bytes::in_memory(path, unpacked(path, counted)?));
    }
    let key = || Key::new("unpacked", path, "", [path]);
    let kept = cache::kept(loading, key, |sink| {
        sink.reserve(path, "its unpacked content", counted)?;
        unpack_into(path, counted, sink, loading)
    })?;
    Ok(kept.bytes)
}

/// The length of the content of a gzipped file. The file is unpacked twice, first only to
/// measure its length. So the content needs no more memory than its length, and a short
/// file with an extremely long content needs none.
fn counted(path: &Path) -> Result<u64, DataError> {
    Content::open(path)?.count(u64::MAX)
}

fn unpacked(path: &Path, counted: u64) -> Result<Vec<u8>, DataError> {
    memory::check_for(path, "its unpacked content", counted)?;
    let mut content = Content::open(path)?;
    let values = content.take(usize::try_from(counted).unwrap_or(usize::MAX))?;
    content.end().map(|_| values)
}

fn unpack_into(
    path: &Path,
    counted: u64,
    sink: &mut Sink,
    loading: &Loading,
) -> Result<(), DataError> {
    let mut content = Content::open(path)?;
    let mut done = 0;
    while done < counted {
        let block = content.take((counted - done).min(BLOCK as u64) as usize)?;
        if block.is_empty() {
            break; // the file is now shorter
        }
        sink.push_bytes(&block)?;
        done += block.len() as u64;
        (loading.progress)(Progress {
            what: "unpacking",
            unit: "MiB",
            done: (done >> 20) as usize,
            of: (counted >> 20) as usize,
        });
    }
    content.end().map(|_| ())
}

/// Reads the content of a file in parts, unpacked if its name ends in `.gz`.
pub(crate) struct Content {
    path: PathBuf,
    reader: Box<dyn Read>,
    /// The largest possible content in bytes.
    pub(crate) most: u64,
}

impl Content {
    pub(crate) fn open(path: &Path) -> Result<Self, DataError> {
        let file = io::BufReader::with_capacity(1 << 16, open(path)?);
        Ok(Self::new(path, file, length(path)?))
    }

    #[cfg(test)]
    pub(crate) fn of_bytes(path: impl AsRef<Path>, bytes: &[u8]) -> Self {
        let length = bytes.len() as u64;
        Self::new(path.as_ref(), io::Cursor::new(bytes.to_vec()), length)
    }

    fn new(path: &Path, reader: impl BufRead + 'static, length: u64) -> Self {
        let gzipped = is_gzipped(path);
        Self {
            path: path.into(),
            reader: match gzipped {
                true => Box::new(MultiGzDecoder::new(reader)),
                false => Box::new(reader),
            },
            most: match gzipped {
                true => length.saturating_mul(DEFLATE),
                false => length,
            },
        }
    }

    /// The next `count` bytes, or fewer at the end.
    pub(crate) fn take(&mut self, count: usize) -> Result<Vec<u8>, DataError> {
        let reader = &mut self.reader;
        let read = guarded(|| {
            let mut bytes = Vec::with_capacity(count);
            reader.take(count as u64).read_to_end(&mut bytes)?;
            Ok(bytes)
        });
        self.result(read)
    }

    /// Number of bytes that follow; reads them and the checksum after them.
    pub(crate) fn end(&mut self) -> Result<u64, DataError> {
        // Beyond the limit the exact number does not matter.
        self.count(1 << 20)
    }

    /// Number of bytes that follow, up to `limit` plus one.
    fn count(&mut self, limit: u64) -> Result<u64, DataError> {
        let reader = &mut self.reader;
        let limit = limit.saturating_add(1);
        let read = guarded(|| io::copy(&mut reader.take(limit), &mut io::sink()));
        self.result(read)
    }

    fn result<T>(&self, read: Result<io::Result<T>, String>) -> Result<T, DataError> {
        let read = read.unwrap_or_else(|panic| Err(io::Error::other(panic)));
        read.map_err(|source| match is_gzipped(&self.path) {
            true => DataError::Gzip {
                path: self.path.clone(),
                source: io::Error::new(source.kind(), damage(&source)),
            },
            false => unreadable(&self.path, source),
        })
    }
}

/// Describes why content cannot be unpacked or read to its end.
pub(crate) fn damage(error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::UnexpectedEof => "it ends too early".into(),
        ErrorKind::InvalidData | ErrorKind::InvalidInput => "it is damaged".into(),
        _ => error.to_string(),
    }
}

/// Bytes as text, without a byte-order mark; `path` is for the error.
pub(crate) fn text(path: &Path, bytes: Vec<u8>) -> Result<String, DataError> {
    let wrong = |offset, reason: &str| DataError::Content {
        path: path.into(),
        offset,
        reason: reason.into(),
    };
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Err(wrong(0, "the text is UTF-16: save it as UTF-8"));
    }
    let mut text = String::from_utf8(bytes).map_err(|error| {
        let place = error.utf8_error().valid_up_to();
        wrong(place, "the text is not UTF-8: save it as UTF-8")
    })?;
    if text.starts_with('\u{feff}') {
        text.remove(0);
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use tempfile::tempdir;

    use super::*;
    use crate::testing::{assert_says, gzip, write};

    #[test]
    fn a_gzipped_file_is_unpacked_by_its_name() {
        let folder = tempdir().unwrap();
        let packed = gzip(b"content");
        let path = write(folder.path(), "a.bin.gz", &packed);
        assert_eq!(read(&path).unwrap(), b"content");
        let path = write(folder.path(), "a.bin", &packed);
        assert_eq!(read(&path).unwrap(), packed);
    }

    #[test]
    fn a_broken_gzip_file_is_named() {
        let folder = tempdir().unwrap();
        let whole = gzip(&[7; 1000]);
        let mut changed = whole.clone();
        changed[whole.len() - 8] ^= 1;
        let with_tail = [whole.as_slice(), b"tail"].concat();
        for bytes in [&whole[..whole.len() - 1], &whole[..5], &changed, &with_tail] {
            let path = write(folder.path(), "a.bin.gz", bytes);
            let error = read(&path).unwrap_err();
            assert_says(&error, &["a.bin.gz", "gzip"]);
        }
    }
}
