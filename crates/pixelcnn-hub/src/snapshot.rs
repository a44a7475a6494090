//! The files of a repository at one commit.

use std::fmt;
use std::path::{Component, Path, PathBuf};

use crate::cache::{Folder, files_below};
use crate::requests::{Listing, Requests};
use crate::transfer::File;
use crate::{HubError, Repository};

/// The endings of files that are fetched: no code, and no format that can contain code.
const ENDINGS: [&str; 3] = ["json", "safetensors", "parquet"];

/// The files of a repository at one commit, fetched when they are asked for.
///
/// # Example
///
/// See [the crate](crate).
pub struct Snapshot {
    repository: Repository,
    folder: Folder,
    commit: String,
    files: Vec<String>,
    /// None if only the cache is used.
    requests: Option<Requests>,
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Snapshot")
            .field("repository", &self.repository)
            .field("commit", &self.commit)
            .finish_non_exhaustive()
    }
}

impl Snapshot {
    pub(crate) fn cached(
        repository: &Repository,
        folder: Folder,
        commit: String,
    ) -> Result<Self, HubError> {
        Ok(Self {
            repository: repository.clone(),
            files: files_below(&folder.snapshot(&commit))?,
            folder,
            commit,
            requests: None,
        })
    }

    pub(crate) fn listed(
        repository: &Repository,
        folder: Folder,
        listing: Listing,
        requests: Requests,
    ) -> Result<Self, HubError> {
        Ok(Self {
            repository: repository.clone(),
            folder,
            commit: listing.commit,
            files: listing.files,
            requests: Some(requests),
        })
    }

    /// The commit.
    pub fn commit(&self) -> &str {
        &self.commit
    }

    /// The names of all files of the repository; without the network, of those in the
    /// cache.
    pub fn files(&self) -> &[String] {
        &self.files
    }

    /// Whether the repository has a file.
    pub fn has(&self, file: &str) -> bool {
        self.files.iter().any(|other| other == file)
    }

    /// The folder with the files that have been fetched.
    pub fn folder(&self) -> PathBuf {
        self.folder.snapshot(&self.commit)
    }

    /// The path of a file, after a download if it is not in the cache. The length is
    /// verified, and the checksum if the server gives one; before, the file has no name in the
    /// cache.
    ///
    /// # Errors
    ///
    /// If the repository has no such file, if it does not end in `.json`, `.safetensors` or
    /// `.parquet`, if the server refuses it, or if something else arrives than was announced.
    pub fn fetch(&self, file: &str) -> Result<PathBuf, HubError> {
        let refused = |why: String| HubError::File {
            repository: self.repository.to_string(),
            file: file.into(),
            why,
        };
        if !is_fetched(file) {
            let why = "only files that end in .json, .safetensors or .parquet are fetched";
            return Err(refused(why.into()));
        }
        if !self.has(file) {
            let why = match &self.requests {
                Some(_) => "the repository has no such file",
                None => "the file is not in the cache, and the network is not used",
            };
            return Err(refused(why.into()));
        }
        let path = self.folder().join(file);
        if path.is_file() {
            return Ok(path);
        }
        let Some(requests) = &self.requests else {
            return Err(refused(
                "the link in the cache leads to no file: download it again".into(),
            ));
        };
        let transfer = File {
            requests,
            folder: &self.folder,
            commit: &self.commit,
            name: file,
        };
        let etag = transfer.fetch()?;
        self.folder.link(&etag, &self.commit, file)
    }

    /// Records that the revision means this commit, and returns the folder of its files. Call
    /// it when all files that belong together are there: without the network, the commit
    /// recorded last is used.
    ///
    /// # Errors
    ///
    /// If the file with the commit cannot be written.
    pub fn finish(self) -> Result<PathBuf, HubError> {
        if self.requests.is_some() && self.repository.commit().is_none() {
            let revision = self.repository.revision();
            self.folder.write_reference(revision, &self.commit)?;
        }
        Ok(self.folder())
    }
}

/// Whether a file has one of the known endings and a name inside the repository.
fn is_fetched(file: &str) -> bool {
    let path = Path::new(file);
    let ending = path.extension().and_then(|ending| ending.to_str());
    let inside = path
        .components()
        .all(|part| matches!(part, Component::Normal(_)));
    let plain = !file.contains(['\\', ':', '\0']) && !file.split('/').any(str::is_empty);
    inside && plain && ending.is_some_and(|ending| ENDINGS.contains(&ending))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_and_files_elsewhere_are_not_fetched() {
        for file in ["config.json", "data/train-0.parquet", "a/b/c.safetensors"] {
            assert!(is_fetched(file), "{file}");
        }
        for file in [
            "model.py",
            "model.bin",
            "model.pt",
            "pytorch_model.ckpt",
            "README.md",
            "json",
            "",
            "../config.json",
            "/etc/config.json",
            "a/../b.json",
            "a//b.json",
            "a\\b.json",
            "C:a.json",
        ] {
            assert!(!is_fetched(file), "{file}");
        }
    }
}
