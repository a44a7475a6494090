//! CIFAR-10 binary records: a label byte, then the red, the green and the
//! blue plane, each row by row from the top.

use std::path::Path;

use crate::{DataError, Images, file};

/// Red, green and blue.
const CHANNELS: usize = 3;

/// The length of one record in bytes; `None` if it overflows.
pub(crate) fn record_bytes(side: usize) -> Option<usize> {
    side.checked_mul(side)?
        .checked_mul(CHANNELS)?
        .checked_add(1)
}

/// Collects the records of several files.
pub(crate) struct Records<'a> {
    side: usize,
    /// Labels are checked against these classes; empty if any label is allowed.
    classes: &'a [String],
    values: Vec<u8>,
    labels: Vec<u32>,
}

impl<'a> Records<'a> {
    pub(crate) fn new(side: usize, classes: &'a [String]) -> Self {
        Self {
            side,
            classes,
            values: Vec::new(),
            labels: Vec::new(),
        }
    }

    /// Appends the records of a file.
    pub(crate) fn read(self, path: &Path) -> Result<Self, DataError> {
        let bytes = file::read(path)?;
        self.append(path, bytes)
    }

    /// Appends the records of a file already in memory; `path` is for errors.
    /// The values are not copied.
    pub(crate) fn append(mut self, path: &Path, mut bytes: Vec<u8>) -> Result<Self, DataError> {
        let size = self.checked_size(path, &bytes)?;
        let records = bytes.len() / size;
        self.labels.reserve(records);
        for record in 0..records {
            let start = record * size;
            let label = u32::from(bytes[start]);
            self.check_label(path, record, start, label)?;
            self.labels.push(label);
            bytes.copy_within(start + 1..start + size, record * (size - 1));
        }
        bytes.truncate(records * (size - 1));
        match self.values.is_empty() {
            true => self.values = bytes,
            false => self.values.append(&mut bytes),
        }
        Ok(self)
    }

    /// The images of all records so far.
    pub(crate) fn images(self) -> Result<Images, DataError> {
        Images::new((CHANNELS, self.side, self.side), self.values, self.labels)
    }

    /// The record length, if `bytes` is a whole number of records, at least
    /// one.
    fn checked_size(&self, path: &Path, bytes: &[u8]) -> Result<usize, DataError> {
        // A record whose length overflows is longer than any file.
        let size = record_bytes(self.side).unwrap_or(usize::MAX);
        if bytes.is_empty() {
            return Err(DataError::EmptyFile {
                path: path.into(),
                expected: format!("records of {size} bytes"),
            });
        }
        let whole = bytes.len() / size;
        if whole * size != bytes.len() {
            return Err(DataError::IncompleteRecord {
                path: path.into(),
                bytes: bytes.len(),
                record_bytes: size,
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

/// The names in a file of class names, one per line.
pub(crate) fn read_classes(path: &Path) -> Result<Vec<String>, DataError> {
    parse_classes(path, &file::read(path)?)
}

/// Class names, one per line. Blank lines at the end are ignored, because the
/// published file of CIFAR-10 has one. A blank line before a name would shift
/// every later label, so it is an error.
pub(crate) fn parse_classes(path: &Path, bytes: &[u8]) -> Result<Vec<String>, DataError> {
    let text = file::text(path, bytes.to_vec())?;
    let names: Vec<String> = text
        .trim_end()
        .lines()
        .map(|line| line.trim().into())
        .collect();
    if names.is_empty() {
        return Err(DataError::EmptyFile {
            path: path.into(),
            expected: "the name of a class on each line".into(),
        });
    }
    if let Some(blank) = names.iter().position(String::is_empty) {
        return Err(DataError::BlankClass {
            path: path.into(),
            line: blank + 1,
        });
    }
    // Classes are matched by their names.
    for (place, name) in names.iter().enumerate() {
        if let Some(first) = names[..place].iter().position(|other| other == name) {
            return Err(DataError::Line {
                path: path.into(),
                line: place + 1,
                reason: format!("the class {name} is already on line {}", first + 1),
            });
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use std::error::Error;

    use proptest::prelude::*;

    use super::*;
    use crate::testing::{self, assert_says};

    const FILE: &str = "some/batch.bin";

    fn decode(side: usize, classes: &[String], bytes: &[u8]) -> Result<Images, DataError> {
        Records::new(side, classes)
            .append(FILE.as_ref(), bytes.to_vec())?
            .images()
    }

    fn classes(count: usize) -> Vec<String> {
        (0..count).map(|class| class.to_string()).collect()
    }

    #[test]
    fn the_label_comes_first_and_then_the_planes() {
        let bytes = [7, 1, 2, 3, 4, 11, 12, 13, 14, 21, 22, 23, 24];
        let images = decode(2, &[], &bytes).unwrap();
        assert_eq!(images.shape(), (3, 2, 2));
        assert_eq!(images.labels(), [7]);
        assert_eq!(images.values().as_bytes().unwrap(), &bytes[1..]);
    }

    #[test]
    fn files_are_appended_in_order() {
        let images = Records::new(1, &[])
            .append(FILE.as_ref(), vec![1, 10, 11, 12])
            .unwrap()
            .append(FILE.as_ref(), vec![2, 20, 21, 22])
            .unwrap()
            .images()
            .unwrap();
        assert_eq!(images.labels(), [1, 2]);
        assert_eq!(
            images.values().as_bytes().unwrap(),
            [10, 11, 12, 20, 21, 22]
        );
    }

    #[test]
    fn a_truncated_file_says_where() {
        let mut bytes = testing::record_bytes(32, &[0, 1, 2]);
        bytes.pop();
        let error = decode(32, &[], &bytes).unwrap_err();
        assert_says(
            &error,
            &[FILE, "9218 bytes", "3073 bytes", "record 2", "byte 6146"],
        );
    }

    #[test]
    fn an_empty_file_is_an_error() {
        assert_says(&decode(32, &[], &[]).unwrap_err(), &[FILE, "empty", "3073"]);
    }

    #[test]
    fn a_label_without_a_class_says_where() {
        let bytes = testing::record_bytes(2, &[0, 9, 10, 11]);
        let error = decode(2, &classes(10), &bytes).unwrap_err();
        assert_says(
            &error,
            &[FILE, "record 2", "byte 26", "label 10", "10 classes"],
        );
        assert!(decode(2, &classes(12), &bytes).is_ok());
        assert!(decode(2, &[], &bytes).is_ok());
    }

    #[test]
    fn sides_that_overflow_are_refused() {
        assert_eq!(record_bytes(32), Some(3073));
        assert_eq!(record_bytes(usize::MAX), None);
        assert!(decode(usize::MAX, &[], &[0; 64]).is_err());
    }

    #[test]
    fn class_names_are_the_lines() {
        for text in ["cat\r\nbig dog\n\n", "\u{feff}cat\nbig dog"] {
            let names = parse_classes("c.txt".as_ref(), text.as_bytes()).unwrap();
            assert_eq!(names, ["cat", "big dog"]);
        }
    }

    #[test]
    fn broken_files_of_class_names_are_errors() {
        let error = |bytes: &[u8]| parse_classes("c.txt".as_ref(), bytes).unwrap_err();
        assert_says(&error(b"cat\n\ndog\n"), &["c.txt", "line 2"]);
        assert_says(&error(b"\ncat\n"), &["c.txt", "line 1"]);
        assert_says(&error(b" \n\n"), &["c.txt", "empty"]);
        assert_says(&error(b"cat\n\xff\n"), &["c.txt", "byte 4", "UTF-8"]);
        assert_says(&error(b"\xff\xfec\0"), &["c.txt", "UTF-16"]);
        assert_says(
            &error(b"cat\ndog\ncat\n"),
            &["c.txt", "line 3", "cat", "line 1"],
        );
    }

    #[test]
    fn a_missing_file_is_named_and_the_cause_kept() {
        let read = |path: &str| Records::new(32, &[]).read(path.as_ref()).err().unwrap();
        let error = read("no-such.bin");
        assert_says(&error, &["cannot read no-such.bin"]);
        assert!(error.source().is_some());
        let error = read("no/such/file.bin");
        assert_says(&error, &["no: there is no such folder", "no/such/file.bin"]);
    }

    proptest! {
        #[test]
        fn any_bytes_decode_or_say_why(
            side in 1_usize..4,
            count in 0_usize..5,
            bytes in prop::collection::vec(any::<u8>(), 0..120),
        ) {
            let size = record_bytes(side).unwrap();
            let labels: Vec<u32> =
                bytes.chunks_exact(size).map(|record| record[0].into()).collect();
            let whole = !bytes.is_empty() && bytes.len() % size == 0;
            let named = count == 0 || labels.iter().all(|&label| (label as usize) < count);
            match decode(side, &classes(count), &bytes) {
                Ok(images) => {
                    prop_assert!(whole && named);
                    prop_assert_eq!(images.labels(), labels);
                    prop_assert_eq!(images.values().as_bytes().unwrap().len() + images.len(), bytes.len());
                }
                Err(error) => {
                    prop_assert!(!(whole && named));
                    assert_says(&error, &[FILE]);
                }
            }
        }
    }
}
