//! The lock of a run's folder: only one process at a time.

use std::fs::{File, TryLockError, create_dir_all};
use std::path::Path;

use crate::{Result, TrainError};

/// Keeps other processes out of a folder until it is dropped. The system releases
/// the lock when the process ends in any way.
pub(crate) enum Lock {
    /// Only this process uses the folder.
    Held { _file: File },
    /// The file system cannot lock files.
    Impossible,
}

impl Lock {
    /// Creates the folder and locks it. If the file system does not support locks, logs a
    /// warning and continues without a lock.
    pub(crate) fn take(out: &Path) -> Result<Self> {
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
