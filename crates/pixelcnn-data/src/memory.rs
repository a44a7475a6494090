//! Memory, asked for before it is taken.

use std::path::Path;

use pixelcnn_system::{NotEnoughMemory, check_memory};

use crate::DataError;

/// Why something could not be had: a reason in words, or too little memory.
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

/// Refuses what needs more bytes than there are.
pub(crate) fn check(what: impl Into<String>, bytes: u64) -> Result<(), Need> {
    check_memory(what, bytes).map_err(Need::Memory)
}

/// The same for what is read from `path`.
pub(crate) fn check_for(path: &Path, what: impl Into<String>, bytes: u64) -> Result<(), DataError> {
    check_memory(what, bytes).map_err(|source| DataError::Memory {
        path: path.into(),
        source,
    })
}
