//! Random access to bytes in a file or in memory.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use pixelcnn_system::StableFile;

use crate::DataError;
use crate::file::unreadable;

/// Block size for reading files.
pub(crate) const BLOCK: usize = 1 << 22;

/// The content of a file, or a part of it. Clones share the content.
#[derive(Clone)]
pub(crate) struct Bytes {
    path: Arc<Path>,
    content: Content,
    start: u64,
    length: u64,
}

#[derive(Clone)]
enum Content {
    Memory(Arc<Vec<u8>>),
    File(Arc<StableFile>),
}

impl Bytes {
    /// The content of a regular file, without reading it.
    pub(crate) fn open(path: &Path) -> Result<Self, DataError> {
        let file = StableFile::open(path).map_err(|source| unreadable(path, source))?;
        Ok(Self {
            path: path.into(),
            start: 0,
            length: file.length(),
            content: Content::File(Arc::new(file)),
        })
    }

    /// Bytes in memory that come from the file `path`, or from no file.
    pub(crate) fn in_memory(path: &Path, bytes: Vec<u8>) -> Self {
        Self {
            path: path.into(),
            start: 0,
            length: bytes.len() as u64,
            content: Content::Memory(Arc::new(bytes)),
        }
    }

    /// The file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Number of bytes.
    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// Whether the bytes are in memory.
    pub(crate) fn are_in_memory(&self) -> bool {
        matches!(self.content, Content::Memory(_))
    }

    /// At most `length` bytes from `start` on.
    pub(crate) fn part(&self, start: u64, length: u64) -> Self {
        let start = start.min(self.length);
        Self {
            start: self.start + start,
            length: length.min(self.length - start),
            ..self.clone()
        }
    }

    /// Fills `place` with the bytes from `offset` on.
    pub(crate) fn read_at(&self, offset: u64, place: &mut [u8]) -> Result<(), DataError> {
        let end = offset.checked_add(place.len() as u64);
        let inside = end.is_some_and(|end| end <= self.length);
        let start = self.start + offset.min(self.length);
        match &self.content {
            _ if !inside => Err(self.too_short(offset)),
            Content::File(file) => file
                .read_at(start, place)
                .map_err(|source| unreadable(&self.path, source)),
            Content::Memory(bytes) => {
                let start = start as usize;
                let found = bytes.get(start..start + place.len());
                place.copy_from_slice(found.ok_or_else(|| self.too_short(offset))?);
                Ok(())
            }
        }
    }

    /// Appends `count` bytes from `offset` on to `all`.
    pub(crate) fn append_to(
        &self,
        all: &mut Vec<u8>,
        offset: u64,
        count: usize,
    ) -> Result<(), DataError> {
        let before = all.len();
        all.resize(before + count, 0);
        self.read_at(offset, &mut all[before..])
    }

    /// Calls `each` with blocks of whole units of `unit` bytes and the offset of each
    /// block. An incomplete last unit is left out.
    pub(crate) fn blocks(
        &self,
        unit: usize,
        mut each: impl FnMut(u64, &[u8]) -> Result<(), DataError>,
    ) -> Result<(), DataError> {
        let unit = unit.max(1);
        let whole = self.length - self.length % unit as u64;
        let block = (BLOCK / unit).max(1) as u64 * unit as u64;
        let mut place = vec![0; whole.min(block) as usize];
        let mut offset = 0;
        while offset < whole {
            let place = &mut place[..(whole - offset).min(block) as usize];
            self.read_at(offset, place)?;
            each(offset, place)?;
            offset += place.len() as u64;
        }
        Ok(())
    }

    fn too_short(&self, offset: u64) -> DataError {
        DataError::Content {
            path: self.path.to_path_buf(),
            offset: usize::try_from(offset).unwrap_or(usize::MAX),
            reason: format!("more bytes expected, there are {}", self.length),
        }
    }
}

/// Only the position: nobody can read millions of bytes.
impl fmt::Debug for Bytes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Bytes")
            .field("path", &self.path)
            .field("start", &self.start)
            .field("length", &self.length)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use tempfile::tempdir;

    use super::*;
    use crate::testing::{assert_says, write};

    #[test]
    fn a_part_is_the_same_in_memory_and_in_a_file() {
        let folder = tempdir().unwrap();
        let content: Vec<u8> = (0..100).collect();
        let path = write(folder.path(), "some.bin", &content);
        for all in [
            Bytes::open(&path).unwrap(),
            Bytes::in_memory(&path, content.clone()),
        ] {
            let part = all.part(10, 50).part(5, 1000);
            assert_eq!(part.length(), 45);
            let mut found = vec![7];
            part.append_to(&mut found, 43, 2).unwrap();
            assert_eq!(found, [7, 58, 59]);
            assert_says(
                &part.read_at(44, &mut [0; 2]).unwrap_err(),
                &["some.bin", "byte 44", "there are 45"],
            );
            let mut blocks = Vec::new();
            part.blocks(2, |offset, bytes| {
                blocks.push((offset, bytes.to_vec()));
                Ok(())
            })
            .unwrap();
            assert_eq!(blocks, [(0, content[15..59].to_vec())]);
        }
    }

    #[test]
    fn a_file_that_changes_is_an_error() {
        let folder = tempdir().unwrap();
        let path = write(folder.path(), "some.bin", [1, 2, 3]);
        let bytes = Bytes::open(&path).unwrap();
        write(folder.path(), "some.bin", [1, 2, 3, 4]);
        let error = bytes.read_at(0, &mut [0; 3]).unwrap_err();
        assert_says(&error, &["some.bin"]);
        assert!(error.whole().contains("has changed"), "{}", error.whole());
    }
}
