//! The format of cache files: 16 bytes of name and version, the values, the footer as JSON,
//! the length of the footer in 8 bytes, and the XXH3 with 128 bits of all bytes before it.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use pixelcnn_system::{NewFile, escaped, shown};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3;

use super::{Index, Kept};
use crate::bytes::Bytes;
use crate::{DataError, Loading, Progress};

/// Increase the version if the format or the decoding of images changes.
const MARK: &[u8; 16] = b"pixelcnn-cache 1";
/// Bytes after the footer: its length and the checksum.
const END: u64 = 8 + 16;

/// The data after the values.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Footer {
    /// The key of the files that were decoded.
    key: String,
    index: Index,
}

/// The content of a cache file with this key. `None` if the file does not exist, has
/// another key, or is damaged (with a warning).
pub(super) fn open(path: &Path, key: &str, loading: &Loading) -> Option<Kept> {
    if !path.exists() {
        return None;
    }
    match read(path, key, loading) {
        Ok(kept) => kept,
        Err(error) => {
            tracing::warn!(
                "{}: this cache file is damaged and will be written again: {}",
                shown(path),
                escaped(&error.whole())
            );
            None
        }
    }
}

fn read(path: &Path, key: &str, loading: &Loading) -> Result<Option<Kept>, DataError> {
    let bytes = Bytes::open(path)?;
    let damaged = |reason: &str| DataError::Folder {
        path: path.into(),
        reason: reason.into(),
    };
    let mut mark = [0; MARK.len()];
    bytes.read_at(0, &mut mark)?;
    if mark != *MARK {
        return Err(damaged("it does not begin like a cache file"));
    }
    let end = bytes.length().saturating_sub(END);
    let mut length = [0; 8];
    bytes.read_at(end, &mut length)?;
    let length = u64::from_le_bytes(length);
    let start = end
        .checked_sub(length)
        .filter(|start| *start >= mark.len() as u64);
    let start = start.ok_or_else(|| damaged("it does not end like a cache file"))?;
    let mut text = Vec::new();
    bytes.append_to(&mut text, start, length as usize)?;
    let footer = serde_json::from_slice::<Footer>(&text);
    let footer = footer.map_err(|error| damaged(&error.to_string()))?;
    if footer.key != key {
        return Ok(None);
    }
    let mut expected = [0; 16];
    bytes.read_at(end + 8, &mut expected)?;
    if checksum(&bytes.part(0, end + 8), loading)? != expected {
        return Err(damaged("its checksum is wrong"));
    }
    let first = mark.len() as u64;
    Ok(Some(Kept {
        bytes: bytes.part(first, start - first),
        index: footer.index,
    }))
}

fn checksum(bytes: &Bytes, loading: &Loading) -> Result<[u8; 16], DataError> {
    let mut hash = Xxh3::new();
    let mebibytes = |bytes: u64| (bytes >> 20) as usize;
    bytes.blocks(1, |offset, block| {
        hash.update(block);
        (loading.progress)(Progress {
            what: "checking the cache",
            unit: "MiB",
            done: mebibytes(offset + block.len() as u64),
            of: mebibytes(bytes.length()),
        });
        Ok(())
    })?;
    Ok(hash.digest128().to_le_bytes())
}

/// A cache file during writing.
pub(super) struct Writer {
    path: PathBuf,
    file: NewFile,
    hash: Xxh3,
    length: u64,
}

impl Writer {
    pub(super) fn create(path: &Path) -> io::Result<Self> {
        let mut writer = Self {
            path: path.into(),
            file: NewFile::create(path)?,
            hash: Xxh3::new(),
            length: 0,
        };
        writer.write(MARK)?;
        Ok(writer)
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.hash.update(bytes);
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// Writes the footer and renames the file to its final name.
    pub(super) fn finish(mut self, key: &str, index: Index) -> io::Result<Kept> {
        let length = self.length;
        let footer = Footer {
            key: key.into(),
            index,
        };
        let text = serde_json::to_vec(&footer)?;
        self.write(&text)?;
        self.write(&(text.len() as u64).to_le_bytes())?;
        let checksum = self.hash.digest128().to_le_bytes();
        self.file.write_all(&checksum)?;
        self.file.commit()?;
        let bytes = Bytes::open(&self.path).map_err(io::Error::other)?;
        let first = MARK.len() as u64;
        Ok(Kept {
            bytes: bytes.part(first, length - first),
            index: footer.index,
        })
    }
}
