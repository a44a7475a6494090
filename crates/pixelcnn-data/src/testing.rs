//! What several unit tests of this crate share.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::{Cache, DataError, Dataset, Images, Loading, Split};

/// Loads a data set without a cache and opens all its splits.
pub(crate) fn load(spec: &str) -> Result<Dataset, DataError> {
    load_in(spec, Cache::Off)
}

/// The same with a cache.
pub(crate) fn load_in(spec: &str, cache: Cache) -> Result<Dataset, DataError> {
    let loading = Loading {
        cache,
        ..Loading::default()
    };
    crate::load_with(&spec.parse()?, &loading)?.opened()
}

/// The splits of data sets that are open.
impl Dataset {
    pub(crate) fn train(&self) -> &Images {
        self.images(Split::Train).unwrap()
    }

    pub(crate) fn valid(&self) -> &Images {
        self.images(Split::Valid).unwrap()
    }

    pub(crate) fn test(&self) -> &Images {
        self.images(Split::Test).unwrap()
    }

    pub(crate) fn all(&self) -> [&Images; 3] {
        [self.train(), self.valid(), self.test()]
    }
}

/// `len` images, each labelled with its own index. Their values differ along every axis.
pub(crate) fn numbered(len: usize, shape: (usize, usize, usize)) -> Images {
    let size = shape.0 * shape.1 * shape.2;
    let values = (0..len * size).map(|index| (index * 37 % 251) as u8);
    let labels = (0..len).map(|index| index as u32);
    Images::new(shape, values.collect(), labels.collect()).unwrap()
}

/// Records with this side and these labels. A value of a record is its position in the
/// record plus the index of the record, modulo 256.
pub(crate) fn record_bytes(side: usize, labels: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (record, &label) in labels.iter().enumerate() {
        bytes.push(label);
        bytes.extend((0..3 * side * side).map(|index| (record + index) as u8));
    }
    bytes
}

/// An IDX file of unsigned bytes.
pub(crate) fn idx_bytes(sizes: &[usize], values: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0, 0, 8, sizes.len() as u8];
    for &size in sizes {
        bytes.extend((size as u32).to_be_bytes());
    }
    bytes.extend_from_slice(values);
    bytes
}

/// A gzipped file of this content.
pub(crate) fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

/// Writes a file of a test and returns its path.
pub(crate) fn write(folder: &Path, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
    let path = folder.join(name);
    fs::write(&path, bytes).unwrap();
    path
}

/// Asserts that the message of an error contains all `parts`.
#[track_caller]
pub(crate) fn assert_says(error: &DataError, parts: &[&str]) {
    let message = error.to_string();
    for part in parts {
        assert!(message.contains(part), "{part:?} is not in: {message}");
    }
}
