//! Reading regular files.

use std::fs::File;
use std::io::{self, Error, ErrorKind, Read};
use std::path::Path;

/// Opens a regular file. A program could wait for a pipe, or read from a device, for
/// ever.
///
/// # Errors
///
/// If the file does not exist, cannot be opened, or is a folder, a pipe, a
/// socket or a device.
///
/// # Example
///
/// ```
/// let error = pixelcnn_system::open_file("/").unwrap_err();
/// assert_eq!(error.to_string(), "it is a folder, a file expected");
/// ```
pub fn open_file(path: impl AsRef<Path>) -> io::Result<File> {
    let path = path.as_ref();
    // Checked before opening, because opening a pipe already waits for its writer.
    check(&path.metadata()?)?;
    let file = File::open(path)?;
    check(&file.metadata()?)?;
    Ok(file)
}

/// The bytes of a regular file, at most `limit` of them.
///
/// # Errors
///
/// As [`open_file`]; and [`ErrorKind::FileTooLarge`] if the file is larger.
///
/// # Example
///
/// ```
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("note.txt");
/// std::fs::write(&path, b"1234")?;
/// assert_eq!(pixelcnn_system::read_file(&path, 4)?, b"1234");
/// let error = pixelcnn_system::read_file(&path, 3).unwrap_err();
/// assert_eq!(error.to_string(), "it has 4 bytes, at most 3 expected");
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn read_file(path: impl AsRef<Path>, limit: u64) -> io::Result<Vec<u8>> {
    let file = open_file(path)?;
    let length = file.metadata()?.len();
    let too_large = |length: u64| {
        let what = format!("it has {length} bytes, at most {limit} expected");
        Err(Error::new(ErrorKind::FileTooLarge, what))
    };
    if length > limit {
        return too_large(length);
    }
    let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or_default());
    // Some files, such as those of /proc, are larger than their reported length.
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > limit {
        true => too_large(bytes.len() as u64),
        false => Ok(bytes),
    }
}

fn check(found: &std::fs::Metadata) -> io::Result<()> {
    if found.is_file() {
        return Ok(());
    }
    let what = match found.is_dir() {
        true => "it is a folder, a file expected",
        false => "it is not a regular file: pipes, sockets and devices are not read",
    };
    Err(Error::new(ErrorKind::InvalidInput, what))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn devices_and_endless_files_are_refused() {
        let error = open_file("/dev/zero").unwrap_err();
        assert!(error.to_string().contains("not a regular file"), "{error}");
        let error = read_file("/proc/self/maps", 10).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::FileTooLarge);
    }

    #[test]
    fn a_missing_file_is_missing() {
        let folder = tempfile::tempdir().unwrap();
        let error = read_file(folder.path().join("none"), 10).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        let error = read_file(folder.path(), 10).unwrap_err();
        assert!(error.to_string().contains("folder"), "{error}");
    }
}
