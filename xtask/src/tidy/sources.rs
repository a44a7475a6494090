//! The Rust files of the workspace.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::code;

/// One Rust file.
pub struct Source {
    /// The path, relative to the root of the workspace.
    pub path: PathBuf,
    /// Its text with comments and literals replaced by spaces, with the same lines.
    pub code: String,
}

/// Reads every Rust file under `crates/` and `xtask/`, sorted by path.
///
/// # Errors
/// When a folder or file cannot be read.
pub fn read(root: &Path) -> Result<Vec<Source>> {
    let mut sources = Vec::new();
    for folder in ["crates", "xtask"] {
        collect(root, &root.join(folder), &mut sources)?;
    }
    Ok(sources)
}

fn collect(root: &Path, folder: &Path, sources: &mut Vec<Source>) -> Result<()> {
    for path in sorted_entries(folder)? {
        if path.is_dir() {
            if !path.ends_with("target") {
                collect(root, &path, sources)?;
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path)
                .with_context(|| format!("cannot read {}", path.display()))?;
            sources.push(Source {
                path: path.strip_prefix(root).unwrap_or(&path).to_owned(),
                code: code::blank(&text),
            });
        }
    }
    Ok(())
}

/// The entries of a folder, sorted by name.
///
/// # Errors
/// When the folder cannot be read.
pub fn sorted_entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let context = || format!("cannot list {}", folder.display());
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(context)? {
        paths.push(entry.with_context(context)?.path());
    }
    paths.sort();
    Ok(paths)
}
