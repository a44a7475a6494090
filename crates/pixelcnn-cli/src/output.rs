//! Results on standard output and in files.

use std::fmt::Display;
use std::io::{ErrorKind, Write, stdout};
use std::path::Path;

use anyhow::{Context, Result, bail};
use candle_core::Tensor;
use pixelcnn_models::write_file;

/// Prints a result and ends the line. A reader that has gone away, as `head`
/// does, is no error.
pub fn line(text: impl Display) -> Result<()> {
    match writeln!(stdout(), "{text}") {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        result => result.context("cannot write to standard output"),
    }
}

/// Writes a tensor as a NumPy file.
pub fn npy(path: &Path, tensor: &Tensor) -> Result<()> {
    // candle writes to a path alone.
    let scratch = tempfile::NamedTempFile::new().context("a temporary file")?;
    tensor.write_npy(scratch.path())?;
    Ok(write_file(path, &std::fs::read(scratch.path())?)?)
}

/// Refuses, before long work, a file that could not be written after it.
pub fn check_file(path: &Path) -> Result<()> {
    match path.parent() {
        _ if path.is_dir() => bail!("{}: a folder, a file expected", path.display()),
        Some(folder) if folder.as_os_str().is_empty() || folder.is_dir() => Ok(()),
        _ => bail!("{}: there is no such folder to write to", path.display()),
    }
}

/// Makes a folder unless it is there.
pub fn create_folder(path: &Path) -> Result<()> {
    std::fs::create_dir_all(path).with_context(|| format!("{}: no folder", path.display()))
}
