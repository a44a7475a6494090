//! Comparisons shared by several targets.

use std::io::{Read, Write};
use std::path::Path;

use anyhow::Result;
use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use pixelcnn_data::{Cache, DataError, Images, Loading, Split};

use super::Verdict;

/// The training, validation and test images of a spec, without a cache.
pub(super) fn load(spec: &str) -> Result<[Images; 3], DataError> {
    let loading = Loading {
        cache: Cache::Off,
        ..Loading::default()
    };
    let dataset = pixelcnn_data::load_with(&spec.parse()?, &loading)?;
    let images = |split| dataset.images(split).cloned();
    Ok([
        images(Split::Train)?,
        images(Split::Valid)?,
        images(Split::Test)?,
    ])
}

/// Refused or read; there is nothing to compare.
pub(super) fn either<T>(read: Result<T, impl std::fmt::Display>) -> Verdict {
    match read {
        Ok(_) => Verdict::Accepted,
        Err(error) => Verdict::Refused(error.to_string()),
    }
}

/// Refused, or equal to `expected`; without `expected` it must be refused.
pub(super) fn equal<T: PartialEq>(
    read: Result<T, impl std::fmt::Display>,
    expected: Option<&T>,
    what: &str,
) -> Verdict {
    match (read, expected) {
        (Err(error), _) => Verdict::Refused(error.to_string()),
        (Ok(read), Some(expected)) if read == *expected => Verdict::Accepted,
        (Ok(_), Some(_)) => Verdict::Changed(format!("other {what} than the file has")),
        (Ok(_), None) => Verdict::Changed(format!("{what} read from a file that is broken")),
    }
}

/// Bytes without a pattern.
pub(super) fn noise(count: usize, seed: u64) -> Vec<u8> {
    use rand::Rng;
    use rand_chacha::rand_core::SeedableRng;
    let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
    (0..count).map(|_| random.random()).collect()
}

/// Compressed by gzip.
///
/// # Errors
/// Never, as it writes to memory.
pub(super) fn gzip(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes)?;
    Ok(encoder.finish()?)
}

/// The content of gzip if it is complete; at most `most` bytes.
pub(super) fn gunzip(bytes: &[u8], most: u64) -> Option<Vec<u8>> {
    let mut content = Vec::new();
    let decoder = MultiGzDecoder::new(bytes);
    decoder.take(most).read_to_end(&mut content).ok()?;
    Some(content)
}

/// Writes a file into a folder.
///
/// # Errors
/// When it cannot be written.
pub(super) fn write(folder: &Path, name: &str, bytes: impl AsRef<[u8]>) -> Result<()> {
    Ok(std::fs::write(folder.join(name), bytes)?)
}
