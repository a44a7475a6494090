//! Files of CIFAR-10 binary records: a label byte, then the red, the green and the
//! blue plane, each row by row from the top.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::bytes::Bytes;
use crate::class_names::read_classes;
use crate::lazy::Lazy;
use crate::store::{Coding, Part, Store, Width};
use crate::table::Table;
use crate::{DataError, Dataset, Images, Loading, RecordsSpec, Split, file};

/// Red, green and blue.
const CHANNELS: usize = 3;

/// The length of one record in bytes; `None` if it overflows.
pub(crate) fn record_length(side: usize) -> Option<usize> {
    side.checked_mul(side)?
        .checked_mul(CHANNELS)?
        .checked_add(1)
}

/// Reads class names immediately, the labels of a file at the first use of its split, and
/// values when they are used.
pub(super) fn load(
    name: String,
    spec: &RecordsSpec,
    loading: &Loading,
) -> Result<Dataset, DataError> {
    let classes = match &spec.classes {
        Some(path) => read_classes(path)?,
        None => Vec::new(),
    };
    let (spec, loading, known) = (spec.clone(), loading.clone(), classes.clone());
    let files = (spec.train.clone(), spec.valid.clone(), spec.test.clone());
    let read = move |path: &Path| {
        let content = file::content(path, &loading)?;
        let images = Records::new(spec.side, &known).append(content)?.images()?;
        match &spec.captions {
            Some(column) => {
                let table = Table::of_records(path, images.len())?;
                images.with_captions(table.column(column)?)
            }
            None => Ok(images),
        }
    };
    Ok(of_files(name, classes, files, read))
}

/// A data set with one file per split. Without a validation file, every tenth training
/// image is held out; without a test file, the test split is empty.
pub(super) fn of_files(
    name: String,
    classes: Vec<String>,
    files: (PathBuf, Option<PathBuf>, Option<PathBuf>),
    read: impl Fn(&Path) -> Result<Images, DataError> + Send + Sync + 'static,
) -> Dataset {
    let (train, valid, test) = files;
    let read = Arc::new(read);
    let whole = {
        let read = Arc::clone(&read);
        Lazy::new(move || read(&train))
    };
    Dataset::lazy(name, classes, move |split| {
        let (file, without): (_, fn(&Images) -> Images) = match split {
            Split::Train if valid.is_some() => (&None, Images::clone),
            Split::Train => (&None, |images| images.hold_out_tenth().0),
            Split::Valid => (&valid, |images| images.hold_out_tenth().1),
            Split::Test => (&test, |images| images.first(0)),
        };
        match file {
            Some(path) => read(path),
            None => Ok(without(whole.get()?)),
        }
    })
}

/// Records of several files.
pub(super) struct Records<'a> {
    side: usize,
    /// Labels are checked against these classes; empty if any label is allowed.
    classes: &'a [String],
    parts: Vec<Part>,
    labels: Vec<u32>,
}

impl<'a> Records<'a> {
    pub(super) fn new(side: usize, classes: &'a [String]) -> Self {
        Self {
            side,
            classes,
            parts: Vec::new(),
            labels: Vec::new(),
        }
    }

    /// Appends the records of a file. Reads and checks the labels; the values stay in the
    /// file.
    pub(super) fn append(mut self, bytes: Bytes) -> Result<Self, DataError> {
        let size = self.checked_size(&bytes)?;
        let records = (bytes.length() / size as u64) as usize;
        self.labels.reserve_exact(records);
        let path = bytes.path().to_path_buf();
        bytes.blocks(size, |start, block| {
            for (index, record) in block.chunks_exact(size).enumerate() {
                let offset = start as usize + index * size;
                let label = u32::from(record[0]);
                self.check_label(&path, offset / size, offset, label)?;
                self.labels.push(label);
            }
            Ok(())
        })?;
        self.parts.push(Part {
            bytes,
            first: 1,
            stride: size as u64,
            images: records,
        });
        Ok(self)
    }

    /// The images of all records so far.
    pub(super) fn images(self) -> Result<Images, DataError> {
        let shape = (CHANNELS, self.side, self.side);
        let size = CHANNELS * self.side * self.side;
        let store = Store::new(self.parts, size, Coding::plain(Width::Byte));
        Images::from_store(shape, store, self.labels)
    }

    /// The length of a record. Checks that there is a whole number of records, at least one.
    fn checked_size(&self, bytes: &Bytes) -> Result<usize, DataError> {
        // A record whose length overflows is longer than any file.
        let size = record_length(self.side).unwrap_or(usize::MAX);
        let length = bytes.length() as usize;
        if length == 0 {
            return Err(DataError::EmptyFile {
                path: bytes.path().into(),
                expected: format!("records of {size} bytes"),
            });
        }
        let whole = length / size;
        if whole * size != length {
            return Err(DataError::IncompleteRecord {
                path: bytes.path().into(),
                bytes: length,
                record_bytes: size,
                side: self.side,
                record: whole,
                offset: whole * size,
            });
        }
        Ok(size)
    }

    fn check_label(
        &self,
        path: &Path,
        record: usize,
        offset: usize,
        label: u32,
    ) -> Result<(), DataError> {
        let classes = self.classes.len();
        if classes == 0 || (label as usize) < classes {
            return Ok(());
        }
        Err(DataError::Label {
            path: path.into(),
            record,
            offset,
            label,
            classes,
        })
    }
}

#[cfg(test)]
mod tests;
