//! Files as bytes, unpacked where they are gzipped.

use std::fs;
use std::io::Read;
use std::path::Path;

use flate2::read::MultiGzDecoder;

use crate::DataError;

/// The content of a file; unpacked where its name ends in `.gz`. The name
/// decides, as a file of records may begin with any byte.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, DataError> {
    let bytes = fs::read(path).map_err(|source| DataError::Read {
        path: path.into(),
        source,
    })?;
    if path.extension().is_none_or(|extension| extension != "gz") {
        return Ok(bytes);
    }
    let mut content = Vec::new();
    match MultiGzDecoder::new(bytes.as_slice()).read_to_end(&mut content) {
        Ok(_) => Ok(content),
        Err(source) => Err(DataError::Gzip {
            path: path.into(),
            source,
        }),
    }
}

/// Bytes as text; `path` is for the error.
pub(crate) fn text(path: &Path, bytes: Vec<u8>) -> Result<String, DataError> {
    String::from_utf8(bytes).map_err(|error| DataError::Content {
        path: path.into(),
        offset: error.utf8_error().valid_up_to(),
        reason: "this is no UTF-8 text".into(),
    })
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
