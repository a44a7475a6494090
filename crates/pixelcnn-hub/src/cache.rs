//! The folder of a repository in the cache, in the layout of `huggingface_hub`:
//!
//! ```text
//! models--OWNER--NAME/
//!   refs/main                    the commit of a revision
//!   blobs/ETAG                   the files, by their checksums
//!   snapshots/COMMIT/config.json links to the blobs
//! ```

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use hf_hub::{Repo, RepoType};
use pixelcnn_system::{read_file, write_file};

use crate::repository::is_commit;
use crate::{HubError, Kind, Repository};

/// Limit on the bytes of a file in `refs`.
const LONGEST_REFERENCE: u64 = 1 << 10;

/// A repository in the cache.
///
/// ```
/// use pixelcnn_hub::{Cached, Kind, Repository};
///
/// let cached = Cached {
///     repository: Repository::model("owner/name")?,
///     folder: "hub/models--owner--name/snapshots/0123".into(),
/// };
/// assert_eq!(cached.repository.kind(), Kind::Model);
/// # Ok::<(), pixelcnn_hub::HubError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cached {
    /// The repository and the revision.
    pub repository: Repository,
    /// The folder with the files of its commit.
    pub folder: PathBuf,
}

/// The folder of a repository.
#[derive(Clone, Debug)]
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new(cache: &Path, repository: &Repository) -> Self {
        let kind = match repository.kind() {
            Kind::Model => RepoType::Model,
            Kind::Dataset => RepoType::Dataset,
        };
        let name = Repo::new(repository.name().into(), kind).folder_name();
        Self(cache.join(name))
    }

    /// The folder with the files of a commit.
    pub(crate) fn snapshot(&self, commit: &str) -> PathBuf {
        self.0.join("snapshots").join(commit)
    }

    /// The file with the content of this checksum.
    pub(crate) fn blob(&self, etag: &str) -> PathBuf {
        self.0.join("blobs").join(etag)
    }

    fn reference(&self, revision: &str) -> PathBuf {
        self.0.join("refs").join(revision)
    }

    /// The commit of a repository's revision, if its files are here.
    pub(crate) fn commit(&self, repository: &Repository) -> Option<String> {
        let commit = match repository.commit() {
            Some(commit) => commit.to_string(),
            None => self.read_reference(repository.revision())?,
        };
        self.snapshot(&commit).is_dir().then_some(commit)
    }

    fn read_reference(&self, revision: &str) -> Option<String> {
        let bytes = read_file(self.reference(revision), LONGEST_REFERENCE).ok()?;
        let text = String::from_utf8(bytes).ok()?;
        let commit = text.trim();
        is_commit(commit).then(|| commit.to_string())
    }

    /// Records the commit of a revision.
    pub(crate) fn write_reference(&self, revision: &str, commit: &str) -> Result<(), HubError> {
        let path = self.reference(revision);
        if self.read_reference(revision).as_deref() == Some(commit) {
            return Ok(());
        }
        create_folder_of(&path)?;
        write_file(&path, commit.as_bytes()).map_err(HubError::io(path))
    }

    /// Gives the content of a blob the name of a file of a commit.
    pub(crate) fn link(&self, etag: &str, commit: &str, file: &str) -> Result<PathBuf, HubError> {
        let path = self.snapshot(commit).join(file);
        create_folder_of(&path)?;
        // The cache may be moved as a whole.
        let up = "../".repeat(1 + file.split('/').count());
        let target = Path::new(&up).join("blobs").join(etag);
        match symlink(&target, &self.blob(etag), &path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                // A link to a file that is gone, or another program was faster.
                if !path.exists() {
                    fs::remove_file(&path).map_err(HubError::io(&path))?;
                    symlink(&target, &self.blob(etag), &path).map_err(HubError::io(&path))?;
                }
                Ok(path)
            }
            linked => linked.map(|()| path.clone()).map_err(HubError::io(path)),
        }
    }
}

/// Creates the folder of a file.
pub(crate) fn create_folder_of(path: &Path) -> Result<(), HubError> {
    match path.parent() {
        Some(folder) => fs::create_dir_all(folder).map_err(HubError::io(folder)),
        None => Ok(()),
    }
}

#[cfg(unix)]
fn symlink(target: &Path, _blob: &Path, path: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(target, path)
}

/// Not every user of other systems may create symbolic links.
#[cfg(not(unix))]
fn symlink(_target: &Path, blob: &Path, path: &Path) -> io::Result<()> {
    match fs::hard_link(blob, path) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            let mut file = pixelcnn_system::NewFile::create(path)?;
            io::copy(&mut pixelcnn_system::open_file(blob)?, &mut file)?;
            file.commit()
        }
        linked => linked,
    }
}

/// Every revision of every repository in the cache whose files are there.
pub(crate) fn list(cache: &Path) -> Result<Vec<Cached>, HubError> {
    let mut found = Vec::new();
    for name in names(cache)? {
        let parsed = match name.split_once("--") {
            Some(("models", rest)) => Repository::model(&rest.replacen("--", "/", 1)),
            Some(("datasets", rest)) => Repository::dataset(&rest.replacen("--", "/", 1)),
            _ => continue,
        };
        // Other libraries also have repositories without an owner.
        let Ok(repository) = parsed else { continue };
        let folder = Folder::new(cache, &repository);
        for revision in files_below(&folder.0.join("refs"))? {
            let Ok(repository) = repository.at(&revision) else {
                continue;
            };
            if let Some(commit) = folder.commit(&repository) {
                found.push(Cached {
                    repository,
                    folder: folder.snapshot(&commit),
                });
            }
        }
    }
    found.sort();
    Ok(found)
}

/// The names in a folder, sorted; none if there is no folder.
fn names(folder: &Path) -> Result<Vec<String>, HubError> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(HubError::io(folder))?,
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(HubError::io(folder))?;
        // No name of ours is not UTF-8.
        names.extend(entry.file_name().into_string());
    }
    names.sort();
    Ok(names)
}

/// The files below a folder, as paths with slashes, sorted.
pub(crate) fn files_below(folder: &Path) -> Result<Vec<String>, HubError> {
    let mut files = Vec::new();
    let mut left = vec![String::new()];
    while let Some(inside) = left.pop() {
        for name in names(&folder.join(&inside))? {
            let path = match inside.is_empty() {
                true => name,
                false => format!("{inside}/{name}"),
            };
            // Not through links, which may form a loop.
            let found = fs::symlink_metadata(folder.join(&path));
            match found.is_ok_and(|found| found.is_dir()) {
                true => left.push(path),
                false => files.push(path),
            }
        }
    }
    files.sort();
    Ok(files)
}
