//! Memory checks before allocation.

use std::path::Path;

use pixelcnn_system::{NotEnoughMemory, check_memory};

use crate::DataError;

/// Why something failed: a reason in words, or too little memory.
#[derive(Debug)]
pub(crate) enum Need {
    Reason(String),
    Memory(NotEnoughMemory),
}

impl From<String> for Need {
    fn from(reason: String) -> Self {
        Self::Reason(reason)
    }
}

/// Refuses work that needs more bytes than are available.
pub(crate) fn check(what: impl Into<String>, bytes: u64) -> Result<(), Need> {
    check_memory(what, bytes).map_err(Need::Memory)
}

/// The same for the content of `path`.
pub(crate) fn check_for(path: &Path, what: impl Into<String>, bytes: u64) -> Result<(), DataError> {
    check_memory(what, bytes).map_err(|source| DataError::Memory {
        path: path.into(),
        source,
    })
}
