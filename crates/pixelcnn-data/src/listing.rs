//! The content of a folder.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::picture::{BEGINNING, Kind, is_named_picture};
use crate::{DataError, file};
use pixelcnn_system::{counted, escaped, shown};

/// Folders that archives and servers add, which are ignored.
const NOT_MEANT: [&str; 2] = ["__MACOSX", "@eaDir"];
/// Limit on the number of names in a message.
const NAMED: usize = 20;

/// The entries of a folder in the order of their names.
#[derive(Default)]
pub(crate) struct Listing {
    /// Files that are pictures by content or by name.
    pub(crate) pictures: Vec<PathBuf>,
    pub(crate) folders: Vec<PathBuf>,
    /// Hidden files, and files that are not pictures by name or content.
    pub(crate) others: Vec<PathBuf>,
}

impl Listing {
    pub(crate) fn read(folder: &Path) -> Result<Self, DataError> {
        file::check_folder(folder)?;
        let unreadable = |source| DataError::Read {
            path: folder.into(),
            source,
        };
        let mut paths = Vec::new();
        for entry in fs::read_dir(folder).map_err(unreadable)? {
            paths.push(entry.map_err(unreadable)?.path());
        }
        paths.sort();
        let mut listing = Self::default();
        for path in paths {
            let place = if is_hidden(&path) {
                &mut listing.others
            } else if path.is_dir() {
                &mut listing.folders
            } else if is_named_picture(&path) || is_picture(&path) {
                &mut listing.pictures
            } else {
                &mut listing.others
            };
            place.push(path);
        }
        Ok(listing)
    }

    /// Checks that a folder has pictures and no folders.
    pub(crate) fn check_flat(&self, folder: &Path) -> Result<(), DataError> {
        if let Some(inner) = self.folders.first() {
            return Err(DataError::Folder {
                path: inner.clone(),
                reason: "a folder where only images are allowed".into(),
            });
        }
        if self.pictures.is_empty() {
            let reason = match self.others.len() {
                0 => "the folder has no images, it is empty".to_string(),
                others => format!(
                    "the folder has no images, only {}{}",
                    counted(others, "other file"),
                    other_kind(&self.others[0])
                ),
            };
            return Err(DataError::Folder {
                path: folder.into(),
                reason,
            });
        }
        Ok(())
    }

    /// The pictures of a folder that must have some, and no folders.
    pub(crate) fn pictures_of(folder: &Path) -> Result<Vec<PathBuf>, DataError> {
        let listing = Self::read(folder)?;
        listing.check_flat(folder)?;
        pass_over(folder, &listing.others);
        Ok(listing.pictures)
    }
}

/// The name of a file that is not a picture, and what to do with such a file.
fn other_kind(first: &Path) -> String {
    let name = first.file_name().unwrap_or_default().display();
    let end = first.extension().and_then(|end| end.to_str());
    let tokens = match end {
        Some("npy" | "safetensors") => {
            let first = first.display();
            format!("; if it has grids of codes, use tokens:{first}")
        }
        _ => String::new(),
    };
    format!(" ({name}): PNG and JPEG files are read{tokens}")
}

/// Checks that a folder has no file that is named like those of a data set but does not
/// belong to it; such a file would be silently left out.
pub(crate) fn check_known(
    folder: &Path,
    known: &[String],
    (beginnings, ending): ([&str; 2], &str),
) -> Result<(), DataError> {
    let unreadable = |source| DataError::Read {
        path: folder.into(),
        source,
    };
    let mut unknown = Vec::new();
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let name = entry.map_err(unreadable)?.file_name().display().to_string();
        let begins = beginnings
            .iter()
            .any(|beginning| name.starts_with(beginning));
        if begins && name.ends_with(ending) && !known.contains(&name) {
            unknown.push(name);
        }
    }
    unknown.sort();
    if unknown.is_empty() {
        return Ok(());
    }
    let reason = format!(
        "the data set has no file {}, it has {}: move files away that do not belong to it",
        some(&unknown, ", "),
        known.join(", ")
    );
    Err(DataError::Folder {
        path: folder.into(),
        reason,
    })
}

/// Logs which files are ignored.
pub(crate) fn pass_over(folder: &Path, files: &[PathBuf]) {
    if files.is_empty() {
        return;
    }
    let inside = |file: &PathBuf| {
        file.strip_prefix(folder)
            .unwrap_or(file)
            .display()
            .to_string()
    };
    let names: Vec<String> = files.iter().map(inside).collect();
    tracing::info!(
        "{}: ignoring {}, not pictures by name and content: {}",
        shown(folder),
        counted(names.len(), "file"),
        escaped(&some(&names, ", "))
    );
}

/// The first of these texts, and the number of the others.
pub(crate) fn some(texts: &[String], between: &str) -> String {
    let (first, others) = texts.split_at(texts.len().min(NAMED));
    match others.len() {
        0 => first.join(between),
        others => format!("{}{between}and {others} more", first.join(between)),
    }
}

fn is_hidden(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default();
    name.as_encoded_bytes().starts_with(b".") || NOT_MEANT.iter().any(|other| name == *other)
}

/// Whether the content of a file is a picture, of a supported kind or not.
fn is_picture(path: &Path) -> bool {
    let mut beginning = Vec::new();
    let file = pixelcnn_system::open_file(path);
    let read = file.and_then(|file| file.take(BEGINNING).read_to_end(&mut beginning));
    let picture = |kind| matches!(kind, Kind::Png | Kind::Jpeg | Kind::Foreign(_));
    read.is_ok() && picture(Kind::of(&beginning))
}

/// The name of a file or folder, which must be UTF-8.
pub(crate) fn name(path: &Path) -> Result<String, DataError> {
    let name = path.file_name().and_then(|name| name.to_str());
    name.map(String::from).ok_or_else(|| DataError::Folder {
        path: path.into(),
        reason: "the name is not UTF-8".into(),
    })
}
