//! One process at a time in the folder of a run.

use std::fs::{File, TryLockError, create_dir_all};
use std::path::Path;

use crate::{Result, TrainError};

/// Keeps other processes out of a folder until it is dropped; the system lets
/// go of it when the process ends, however it does.
pub(crate) enum Lock {
    /// The folder is this process's alone.
    Held { _file: File },
    /// The file system cannot lock files.
    Impossible,
}

impl Lock {
    /// Makes the folder and locks it. Where its file system cannot, a warning
    /// says so: better a run without a lock than none.
    pub fn take(out: &Path) -> Result<Self> {
        create_dir_all(out)
            .map_err(|error| TrainError::run(out, format!("cannot create the folder: {error}")))?;
        let path = out.join("lock");
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(TrainError::write(&path))?;
        match file.try_lock() {
            Ok(()) => Ok(Self::Held { _file: file }),
            Err(TryLockError::WouldBlock) => Err(TrainError::run(
                out,
                "another process is training in this folder",
            )),
            Err(TryLockError::Error(error)) => {
                tracing::warn!(
                    "{}: the file system cannot lock files ({error}): make sure that no other \
                     process trains in this folder",
                    out.display()
                );
                Ok(Self::Impossible)
            }
        }
    }
}
