//! The output of decoders.

use std::io;
use std::path::Path;

use super::file::Writer;
use super::{Index, Kept};
use crate::bytes::{BLOCK, Bytes};
use crate::{DataError, Values, memory};

/// Receives decoded images in order and writes them to a cache file or to memory.
pub(crate) struct Sink {
    to: To,
    /// Bytes that are not yet in the file; in memory, all bytes.
    bytes: Vec<u8>,
    index: Index,
}

enum To {
    Memory,
    File(Box<Writer>),
    /// Writing the file has failed.
    Failed(io::Error),
}

impl Sink {
    pub(super) fn memory() -> Self {
        Self::new(To::Memory)
    }

    pub(super) fn file(file: Writer) -> Self {
        Self::new(To::File(Box::new(file)))
    }

    fn new(to: To) -> Self {
        Self {
            to,
            bytes: Vec::new(),
            index: Index::default(),
        }
    }

    /// Allocates `bytes` if the output goes to memory; an error if there is not enough memory.
    pub(crate) fn reserve(
        &mut self,
        path: &Path,
        what: impl Into<String>,
        bytes: u64,
    ) -> Result<(), DataError> {
        if let To::Memory = self.to {
            // Labels and decoders also need some memory.
            memory::check_for(path, what, bytes.saturating_add(bytes / 10))?;
            self.bytes.reserve_exact(bytes as usize);
        }
        Ok(())
    }

    /// Adds an image.
    pub(crate) fn push(&mut self, values: &Values, label: u32, mark: u8) -> Result<(), DataError> {
        self.index.labels.push(label);
        self.index.marks.push(mark);
        let mut taken = Ok(());
        values.bytes(|bytes| {
            if taken.is_ok() {
                taken = self.push_bytes(bytes);
            }
        });
        taken
    }

    /// Adds bytes without a label.
    pub(crate) fn push_bytes(&mut self, bytes: &[u8]) -> Result<(), DataError> {
        self.bytes.extend_from_slice(bytes);
        match self.bytes.len() < BLOCK {
            true => Ok(()),
            false => self.write_out(),
        }
    }

    /// Gives a warning now and at every later use.
    pub(crate) fn warn(&mut self, warning: String) {
        tracing::warn!("{warning}");
        self.index.warning = Some(warning);
    }

    fn write_out(&mut self) -> Result<(), DataError> {
        let written = match &mut self.to {
            To::Memory => return Ok(()),
            To::File(file) => file.write(&self.bytes),
            To::Failed(_) => Ok(()),
        };
        self.bytes.clear();
        written.map_err(|error| {
            let kind = error.kind();
            self.to = To::Failed(error);
            DataError::Read {
                path: "the cache".into(),
                source: kind.into(),
            }
        })
    }

    /// The error if writing the file has failed.
    pub(super) fn into_failure(self) -> Option<io::Error> {
        match self.to {
            To::Failed(error) => Some(error),
            To::Memory | To::File(_) => None,
        }
    }

    /// Finishes the file.
    pub(super) fn finish(mut self, key: &str) -> io::Result<Kept> {
        let _ = self.write_out();
        match self.to {
            To::File(file) => file.finish(key, self.index),
            To::Failed(error) => Err(error),
            To::Memory => Ok(self.in_memory()),
        }
    }

    /// The content in memory.
    pub(super) fn in_memory(self) -> Kept {
        Kept {
            bytes: Bytes::in_memory(Path::new(""), self.bytes),
            index: self.index,
        }
    }
}
