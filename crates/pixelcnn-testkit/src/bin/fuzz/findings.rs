//! Inputs that are kept because they caused an error.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::targets::Name;

/// The result of an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fate {
    Accepted,
    Refused,
    Panicked,
    Aborted,
    Hung,
    Changed,
}

impl Fate {
    pub(crate) const ALL: [Self; 6] = [
        Self::Accepted,
        Self::Refused,
        Self::Panicked,
        Self::Aborted,
        Self::Hung,
        Self::Changed,
    ];

    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Refused => "refused",
            Self::Panicked => "panics",
            Self::Aborted => "aborts",
            Self::Hung => "hangs",
            Self::Changed => "changed",
        }
    }

    /// Whether the input must be kept.
    pub(crate) fn is_wrong(self) -> bool {
        !matches!(self, Self::Accepted | Self::Refused)
    }
}

/// The folder for the input of a run.
pub(crate) fn place(keep: &Path, name: Name, seed: u64, run: u64) -> std::path::PathBuf {
    keep.join(format!("{}-{seed}-{run}", name.text()))
}

/// Copies the files of an input and writes the error to `finding.txt`.
///
/// # Errors
/// When a file cannot be read or written.
pub(crate) fn keep(folder: &Path, place: &Path, what: &str) -> Result<()> {
    copy(folder, place).with_context(|| format!("cannot keep {}", place.display()))?;
    fs::write(place.join("finding.txt"), format!("{what}\n"))?;
    Ok(())
}

/// Copies a folder with its content.
///
/// # Errors
/// When a file cannot be read or written.
pub(crate) fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        match entry.file_type()?.is_dir() {
            true => copy(&entry.path(), &target)?,
            false => _ = fs::copy(entry.path(), target)?,
        }
    }
    Ok(())
}
