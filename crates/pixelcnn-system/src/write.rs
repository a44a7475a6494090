//! Writes files that are either old or new, never half written.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Error, ErrorKind, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use tempfile::{Builder, NamedTempFile};

/// The suffix of temporary files, so that they can be recognised after a program was
/// killed.
const SUFFIX: &str = ".pixelcnn-partial";

/// Writes `bytes` to `path`, through a temporary file beside it that is
/// synced and renamed.
///
/// # Errors
///
/// As [`NewFile::create`] and [`NewFile::commit`]; the old file is then
/// unchanged.
///
/// # Example
///
/// ```
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("note.txt");
/// pixelcnn_system::write_file(&path, b"whole or not at all")?;
/// assert_eq!(std::fs::read(&path)?, b"whole or not at all");
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn write_file(path: impl AsRef<Path>, bytes: &[u8]) -> io::Result<()> {
    let mut file = NewFile::create(path)?;
    file.write_all(bytes)?;
    file.commit()
}

/// A file while it is written. [`NewFile::commit`] moves it to its place, or replaces
/// an older file, and [`NewFile::commit_new`] replaces none; without them, nothing is left.
///
/// ```
/// use std::io::Write;
///
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("numbers.txt");
/// let mut file = pixelcnn_system::NewFile::create(&path)?;
/// writeln!(file, "1")?;
/// assert!(!path.exists());
/// file.commit()?;
/// assert_eq!(std::fs::read(&path)?, b"1\n");
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct NewFile {
    file: NamedTempFile,
    target: PathBuf,
    _unfinished: Unfinished,
}

/// The temporary files of this process; `None` when it is about to end and must not
/// start more.
static UNFINISHED: Mutex<Option<BTreeSet<PathBuf>>> = Mutex::new(Some(BTreeSet::new()));

/// A temporary file, before it is renamed.
#[derive(Debug)]
struct Unfinished(PathBuf);

impl Unfinished {
    /// Creates a temporary file and registers it at once.
    fn make(make: impl FnOnce() -> io::Result<NamedTempFile>) -> io::Result<(Self, NamedTempFile)> {
        let mut all = UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(all) = all.as_mut() else {
            let what = "the program is about to end";
            return Err(Error::new(ErrorKind::Interrupted, what));
        };
        let file = make()?;
        all.insert(file.path().to_path_buf());
        Ok((Self(file.path().to_path_buf()), file))
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        let mut all = UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(all) = all.as_mut() {
            all.remove(&self.0);
        }
    }
}

/// Removes the temporary files of this process, and prevents new ones: for a program
/// that a signal ends at once.
///
/// ```
/// let folder = tempfile::tempdir()?;
/// let file = pixelcnn_system::NewFile::create(folder.path().join("numbers.txt"))?;
/// pixelcnn_system::remove_unfinished();
/// assert_eq!(std::fs::read_dir(folder.path())?.count(), 0);
/// assert!(file.commit().is_err());
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn remove_unfinished() {
    let all = UNFINISHED.lock().map(|mut all| all.take());
    for path in all.ok().flatten().unwrap_or_default() {
        // A file that no longer exists is fine.
        let _ = fs::remove_file(path);
    }
}

impl NewFile {
    /// Starts a file. If `path` is a symbolic link, its target
    /// is replaced and the link stays.
    ///
    /// # Errors
    ///
    /// If the existing file is not a regular file, or the folder is missing or cannot
    /// be written to.
    pub fn create(path: impl AsRef<Path>) -> io::Result<Self> {
        let target = resolve(path.as_ref())?;
        if path.as_ref().as_os_str().as_encoded_bytes().ends_with(b"/") {
            return Err(no_file_name());
        }
        // Renaming would replace a device or a pipe by a file.
        let found = target.metadata();
        if found.as_ref().is_ok_and(|found| !found.is_file()) {
            let what = "it exists and is not a regular file";
            return Err(Error::new(ErrorKind::AlreadyExists, what));
        }
        let Some(name) = target.file_name() else {
            return Err(no_file_name());
        };
        let mut builder = Builder::new();
        let prefix = format!(".{}.", name.to_string_lossy());
        builder.prefix(&prefix).suffix(SUFFIX);
        if let Some(permissions) = permissions(found.ok().as_ref()) {
            builder.permissions(permissions);
        }
        let file = Unfinished::make(|| locked(&builder, folder(&target)));
        let (unfinished, file) = file.map_err(|error| {
            // The message of the crate only names the folder of the temporary file.
            Error::new(error.kind(), plain(&error))
        })?;
        Ok(Self {
            _unfinished: unfinished,
            file,
            target,
        })
    }

    /// Moves the file to its place, synced to the disk.
    ///
    /// # Errors
    ///
    /// If the file cannot be synced or renamed.
    pub fn commit(self) -> io::Result<()> {
        self.file.as_file().sync_all()?;
        self.file
            .persist(&self.target)
            .map_err(|error| error.error)?;
        sync_folder(folder(&self.target))
    }

    /// The same, but never replaces a file, also not one that was made since
    /// [`NewFile::create`].
    ///
    /// # Errors
    ///
    /// As [`NewFile::commit`], and if there is a file already.
    ///
    /// # Example
    ///
    /// ```
    /// use pixelcnn_system::NewFile;
    ///
    /// let folder = tempfile::tempdir()?;
    /// let path = folder.path().join("note.txt");
    /// let file = NewFile::create(&path)?;
    /// std::fs::write(&path, b"of another program")?;
    /// assert!(file.commit_new().is_err());
    /// assert_eq!(std::fs::read(&path)?, b"of another program");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn commit_new(self) -> io::Result<()> {
        self.file.as_file().sync_all()?;
        if let Err(error) = self.file.persist_noclobber(&self.target) {
            if self.target.symlink_metadata().is_ok() {
                let what = "a file with this name exists";
                return Err(Error::new(ErrorKind::AlreadyExists, what));
            }
            // Some file systems can neither rename in this way nor make hard links.
            error
                .file
                .persist(&self.target)
                .map_err(|error| error.error)?;
        }
        sync_folder(folder(&self.target))
    }
}

impl Write for NewFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.as_file_mut().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.as_file_mut().flush()
    }
}

impl Seek for NewFile {
    fn seek(&mut self, position: SeekFrom) -> io::Result<u64> {
        self.file.as_file_mut().seek(position)
    }
}

/// Refuses, before long work, a file that cannot be written. For this check, a
/// temporary file is created beside it and removed.
///
/// # Errors
///
/// As [`NewFile::create`].
///
/// # Example
///
/// ```
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("note.txt");
/// pixelcnn_system::check_writable(&path)?;
/// assert!(!path.exists());
/// assert!(pixelcnn_system::check_writable(folder.path().join("none/note.txt")).is_err());
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn check_writable(path: impl AsRef<Path>) -> io::Result<()> {
    NewFile::create(path).map(drop)
}

/// The canonical path of the file that writing to `path` creates or replaces, without
/// symbolic links and `..`. Two paths are the same file if this is equal.
///
/// # Errors
///
/// If the folder is missing, or the links form a loop.
///
/// # Example
///
/// ```
/// use pixelcnn_system::destination;
///
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("note.txt");
/// let other = folder.path().join(".").join("note.txt");
/// assert_eq!(destination(path)?, destination(other)?);
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn destination(path: impl AsRef<Path>) -> io::Result<PathBuf> {
    let target = resolve(path.as_ref())?;
    if let Ok(found) = target.canonicalize() {
        return Ok(found);
    }
    let folder = folder(&target)
        .canonicalize()
        .map_err(|error| Error::new(error.kind(), plain(&error)))?;
    Ok(folder.join(target.file_name().unwrap_or_default()))
}

/// Removes the temporary files of killed programs in `folder`, without
/// subfolders; returns their number. Only for a folder that no other
/// program writes to, for example a locked one.
///
/// # Errors
///
/// If the folder cannot be read or a file cannot be removed.
///
/// # Example
///
/// ```
/// let folder = tempfile::tempdir()?;
/// std::fs::write(folder.path().join(".a.bin.x1y2z3.pixelcnn-partial"), b"half")?;
/// std::fs::write(folder.path().join("a.bin"), b"whole")?;
/// assert_eq!(pixelcnn_system::remove_leftovers(folder.path())?, 1);
/// assert!(folder.path().join("a.bin").exists());
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn remove_leftovers(folder: impl AsRef<Path>) -> io::Result<usize> {
    let mut removed = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with('.') && name.ends_with(SUFFIX) && entry.file_type()?.is_file() {
            fs::remove_file(entry.path())?;
            removed += 1;
        }
    }
    Ok(removed)
}

/// Removes the temporary files of killed programs in `folder`, for
/// file names accepted by `is_own`; returns their number. Files that another
/// program is still writing are locked and stay. If the file
/// system cannot lock files, all stay.
///
/// # Errors
///
/// If the folder cannot be read or a file cannot be removed.
///
/// # Example
///
/// ```
/// use pixelcnn_system::{NewFile, remove_abandoned};
///
/// let folder = tempfile::tempdir()?;
/// let _writing = NewFile::create(folder.path().join("a.bin"))?;
/// for name in [".a.bin.x1y2z3.pixelcnn-partial", ".b.bin.x1y2z3.pixelcnn-partial"] {
///     std::fs::write(folder.path().join(name), b"half")?;
/// }
/// assert_eq!(remove_abandoned(folder.path(), |name| name == "a.bin")?, 1);
/// assert_eq!(std::fs::read_dir(folder.path())?.count(), 2);
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn remove_abandoned(
    folder: impl AsRef<Path>,
    is_own: impl Fn(&str) -> bool,
) -> io::Result<usize> {
    let mut removed = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let inner = name
            .strip_prefix('.')
            .and_then(|it| it.strip_suffix(SUFFIX));
        let target = inner.and_then(|inner| inner.rsplit_once('.'));
        if !target.is_some_and(|(target, _)| is_own(target)) || !entry.file_type()?.is_file() {
            continue;
        }
        // Locked until it is removed, so that another program that starts such a file notices.
        let file = fs::File::options().write(true).open(entry.path())?;
        if file.try_lock().is_ok() {
            fs::remove_file(entry.path())?;
            removed += 1;
        }
    }
    Ok(removed)
}

/// A temporary file that is locked while this process has it, if the file
/// system can lock files.
fn locked(builder: &Builder, folder: &Path) -> io::Result<NamedTempFile> {
    loop {
        let file = builder.tempfile_in(folder)?;
        // Another program may have removed it as a leftover before it was locked.
        match file.as_file().try_lock() {
            Err(fs::TryLockError::WouldBlock) => {}
            Ok(()) if !file.path().exists() => {}
            _ => return Ok(file),
        }
    }
}

fn no_file_name() -> Error {
    let what = "it names a folder, a file expected";
    Error::new(ErrorKind::InvalidInput, what)
}

/// The end of a chain of symbolic links, whether the file exists or not.
fn resolve(path: &Path) -> io::Result<PathBuf> {
    let mut path = path.to_path_buf();
    // As many as Linux follows.
    for _ in 0..40 {
        if !path.is_symlink() {
            return Ok(path);
        }
        let target = fs::read_link(&path)?;
        path = folder(&path).join(target);
    }
    let what = "the symbolic links form a loop";
    Err(Error::new(ErrorKind::InvalidInput, what))
}

fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// The permissions of the replaced file, or those of a new file.
#[cfg(unix)]
fn permissions(found: Option<&fs::Metadata>) -> Option<fs::Permissions> {
    use std::os::unix::fs::PermissionsExt;
    match found {
        Some(found) => Some(found.permissions()),
        // The system removes the permissions in the user's umask.
        None => Some(fs::Permissions::from_mode(0o666)),
    }
}

#[cfg(not(unix))]
fn permissions(_found: Option<&fs::Metadata>) -> Option<fs::Permissions> {
    None
}

/// Makes the new name durable; only on Unix can a folder be synced.
#[cfg(unix)]
fn sync_folder(folder: &Path) -> io::Result<()> {
    fs::File::open(folder)?.sync_all()
}

#[cfg(not(unix))]
fn sync_folder(_folder: &Path) -> io::Result<()> {
    Ok(())
}

/// The system's message for an error.
fn plain(error: &Error) -> String {
    match error.kind() {
        ErrorKind::NotFound => "there is no such folder to write to: make it first".to_string(),
        ErrorKind::PermissionDenied => "the folder cannot be written to".to_string(),
        kind => kind.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use tempfile::tempdir;

    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<_> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_that_is_not_committed_leaves_nothing() {
        let folder = tempdir().unwrap();
        let path = folder.path().join("a");
        write_file(&path, b"old").unwrap();
        let mut file = NewFile::create(&path).unwrap();
        file.write_all(b"new").unwrap();
        assert_eq!(names(folder.path()).len(), 2);
        assert_eq!(fs::read(&path).unwrap(), b"old");
        drop(file);
        assert_eq!(names(folder.path()), ["a"]);
    }

    #[test]
    fn a_new_file_replaces_none_and_leaves_nothing_else() {
        let folder = tempdir().unwrap();
        let path = folder.path().join("a");
        NewFile::create(&path).unwrap().commit_new().unwrap();
        let mut file = NewFile::create(&path).unwrap();
        file.write_all(b"new").unwrap();
        let error = file.commit_new().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AlreadyExists);
        assert_eq!(error.to_string(), "a file with this name exists");
        assert_eq!(fs::read(&path).unwrap(), b"");
        assert_eq!(names(folder.path()), ["a"]);
    }

    #[test]
    fn leftovers_are_those_of_killed_programs_alone() {
        let folder = tempdir().unwrap();
        let file = NewFile::create(folder.path().join("a")).unwrap();
        let (_, left) = file.file.keep().unwrap();
        for other in [".a", "a.pixelcnn-partial", ".hidden.bin"] {
            fs::write(folder.path().join(other), b"mine").unwrap();
        }
        assert!(left.exists());
        assert_eq!(remove_leftovers(folder.path()).unwrap(), 1);
        assert_eq!(
            names(folder.path()),
            [".a", ".hidden.bin", "a.pixelcnn-partial"]
        );
    }

    #[cfg(unix)]
    #[test]
    fn links_are_written_through_and_permissions_stay() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let folder = tempdir().unwrap();
        let inner = folder.path().join("inner");
        fs::create_dir(&inner).unwrap();
        let target = inner.join("target");
        let link = folder.path().join("link");
        symlink("inner/target", &link).unwrap();
        write_file(&link, b"1").unwrap(); // to a file that does not exist yet
        assert_eq!(fs::read(&target).unwrap(), b"1");
        fs::set_permissions(&target, fs::Permissions::from_mode(0o640)).unwrap();
        write_file(&link, b"2").unwrap();
        assert!(link.is_symlink());
        assert_eq!(fs::read(&target).unwrap(), b"2");
        let mode = target.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o640);
        let (a, b) = (folder.path().join("a"), folder.path().join("b"));
        symlink(&b, &a).unwrap();
        symlink(&a, &b).unwrap();
        let error = write_file(&a, b"").unwrap_err();
        assert!(error.to_string().contains("form a loop"), "{error}");
    }

    #[test]
    fn paths_that_are_not_files_are_refused() {
        let folder = tempdir().unwrap();
        for (path, part) in [
            (folder.path().to_path_buf(), "not a regular file"),
            (folder.path().join("none").join("a"), "no such folder"),
            (folder.path().join(".."), "not a regular file"),
            (folder.path().join("new/"), "it names a folder"),
            (PathBuf::from("/dev/null"), "not a regular file"),
        ] {
            let error = check_writable(&path).unwrap_err();
            assert!(error.to_string().contains(part), "{path:?}: {error}");
        }
        assert!(names(folder.path()).is_empty());
    }
}
