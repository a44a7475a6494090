//! What a folder holds.

use std::fs;
use std::path::{Path, PathBuf};

use crate::DataError;

/// The entries of a folder in the order of their names, without hidden ones.
pub(crate) struct Listing {
    pub(crate) files: Vec<PathBuf>,
    pub(crate) folders: Vec<PathBuf>,
}

impl Listing {
    pub(crate) fn read(folder: &Path) -> Result<Self, DataError> {
        let unreadable = |source| DataError::Read {
            path: folder.into(),
            source,
        };
        let mut paths = Vec::new();
        for entry in fs::read_dir(folder).map_err(unreadable)? {
            paths.push(entry.map_err(unreadable)?.path());
        }
        paths.retain(|path| !is_hidden(path));
        paths.sort();
        let (folders, files) = paths.into_iter().partition(|path| path.is_dir());
        Ok(Self { files, folders })
    }

    /// The files of a folder that must have some, and nothing else.
    pub(crate) fn files_of(folder: &Path) -> Result<Vec<PathBuf>, DataError> {
        let listing = Self::read(folder)?;
        match listing.folders.first() {
            Some(inner) => Err(DataError::Folder {
                path: inner.clone(),
                reason: "a folder where only images can be".into(),
            }),
            None if listing.files.is_empty() => Err(DataError::Folder {
                path: folder.into(),
                reason: "no images are in this folder".into(),
            }),
            None => Ok(listing.files),
        }
    }
}

fn is_hidden(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default();
    name.as_encoded_bytes().starts_with(b".")
}

/// The name of a file or folder, which must be text.
pub(crate) fn name(path: &Path) -> Result<String, DataError> {
    let name = path.file_name().and_then(|name| name.to_str());
    name.map(String::from).ok_or_else(|| DataError::Folder {
        path: path.into(),
        reason: "the name is no UTF-8 text".into(),
    })
}
