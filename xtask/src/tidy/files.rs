//! The files of the workspace, and the length of Rust files.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::Finding;

const MAXIMUM_LINES: usize = 600;

/// Findings for Rust files under `crates/` and `xtask/` that are too long.
///
/// # Errors
/// When a folder or file cannot be read.
pub(super) fn check(root: &Path) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for folder in ["crates", "xtask"] {
        for path in below(&root.join(folder), "rs")? {
            let lines = read(&path)?.lines().count();
            if lines > MAXIMUM_LINES {
                findings.push(Finding {
                    file: path.strip_prefix(root).unwrap_or(&path).to_owned(),
                    line: None,
                    message: format!("{lines} lines, more than {MAXIMUM_LINES}"),
                });
            }
        }
    }
    Ok(findings)
}

/// The files with this extension in a folder and its subfolders, sorted by path, without
/// folders named `target`.
///
/// # Errors
/// When a folder cannot be read.
pub(super) fn below(folder: &Path, extension: &str) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in sorted_entries(folder)? {
        if path.is_dir() && !path.ends_with("target") {
            files.extend(below(&path, extension)?);
        } else if path.extension().is_some_and(|it| it == extension) {
            files.push(path);
        }
    }
    Ok(files)
}

/// The text of a file.
///
/// # Errors
/// When it cannot be read.
pub(super) fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

/// The content of a folder, sorted by name.
///
/// # Errors
/// When the folder cannot be read.
pub(super) fn sorted_entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let context = || format!("cannot list {}", folder.display());
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(context)? {
        paths.push(entry.with_context(context)?.path());
    }
    paths.sort();
    Ok(paths)
}
