//! Atomic file writes, and renaming of folders that cannot be used again.

use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;

/// Writes a value as indented JSON.
///
/// # Errors
/// When the file cannot be written.
pub(crate) fn write_json<T: Serialize>(path: &Path, value: &T) -> Result<()> {
    let mut text = serde_json::to_vec_pretty(value)?;
    text.push(b'\n');
    write(path, &text)
}

/// Writes a file completely or not at all, and creates its parent folders.
///
/// # Errors
/// When the file cannot be written.
pub(crate) fn write(path: &Path, content: &[u8]) -> Result<()> {
    write_atomically(path, content).with_context(|| format!("cannot write {}", path.display()))
}

fn write_atomically(path: &Path, content: &[u8]) -> std::io::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    pixelcnn_system::write_file(path, content)
}

/// Renames the folder of a run that had other inputs: `NAME.1`, `NAME.2`, ...
///
/// # Errors
/// When it cannot be renamed.
pub(crate) fn set_aside(folder: &Path) -> Result<()> {
    let mut numbered = (1..).map(|number| folder.with_extension(number.to_string()));
    if let Some(other) = numbered.find(|other| !other.exists()) {
        println!(
            "{} was made from other inputs; renamed to {}",
            folder.display(),
            other.display()
        );
        std::fs::rename(folder, &other)
            .with_context(|| format!("cannot rename {}", folder.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_cannot_be_made_is_an_error_with_the_path() {
        let folder = tempfile::tempdir().unwrap();
        write(&folder.path().join("file"), b"").unwrap();
        let error = write(&folder.path().join("file/below"), b"").unwrap_err();
        assert!(format!("{error:#}").contains("file/below: "));
    }
}
