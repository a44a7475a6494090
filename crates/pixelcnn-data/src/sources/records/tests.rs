//! Records as bytes, and data sets of record files.

use std::error::Error;

use proptest::prelude::*;

use super::*;
use tempfile::tempdir;

use crate::testing::{self, assert_says, gzip, load, record_bytes, write};

const FILE: &str = "some/batch.bin";

fn decode(side: usize, classes: &[String], bytes: &[u8]) -> Result<Images, DataError> {
    Records::new(side, classes)
        .append(Bytes::in_memory(FILE.as_ref(), bytes.to_vec()))?
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
    assert_eq!(images.bytes(), &bytes[1..]);
}

#[test]
fn files_are_appended_in_order() {
    let content = |bytes: [u8; 4]| Bytes::in_memory(FILE.as_ref(), bytes.to_vec());
    let images = Records::new(1, &[])
        .append(content([1, 10, 11, 12]))
        .unwrap()
        .append(content([2, 20, 21, 22]))
        .unwrap()
        .images()
        .unwrap();
    assert_eq!(images.labels(), [1, 2]);
    assert_eq!(images.bytes(), [10, 11, 12, 20, 21, 22]);
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
    assert_eq!(record_length(32), Some(3073));
    assert_eq!(record_length(usize::MAX), None);
    assert!(decode(usize::MAX, &[], &[0; 64]).is_err());
}

#[test]
fn a_missing_file_is_named_and_the_cause_kept() {
    let read = |path: &str| load(&format!("records:{path}")).unwrap_err();
    let error = read("no-such.bin");
    assert_says(&error, &["cannot read no-such.bin"]);
    assert!(error.source().is_some());
    let error = read("no/such/file.bin");
    assert_says(&error, &["no: no such folder", "no/such/file.bin"]);
}

#[test]
fn each_split_is_its_file() {
    let folder = tempdir().unwrap();
    let train = write(folder.path(), "train.bin", record_bytes(4, &[0; 20]));
    let valid = write(folder.path(), "valid.bin", record_bytes(4, &[1; 3]));
    let test = write(folder.path(), "test.bin", record_bytes(4, &[2; 5]));
    let classes = write(folder.path(), "classes.txt", "a\nb\nc\n");
    let spec = format!(
        "records:{},valid={},test={},classes={},side=4",
        train.display(),
        valid.display(),
        test.display(),
        classes.display()
    );
    let dataset = load(&spec).unwrap();
    assert_eq!(dataset.name, spec);
    assert_eq!(dataset.train().labels(), [0; 20]);
    assert_eq!(dataset.valid().labels(), [1; 3]);
    assert_eq!(dataset.test().labels(), [2; 5]);
    assert_eq!(dataset.test().shape(), (3, 4, 4));
    assert_eq!(dataset.classes, ["a", "b", "c"]);
}

#[test]
fn without_a_validation_file_a_tenth_is_held_out() {
    let folder = tempdir().unwrap();
    let labels: Vec<u8> = (0..25).collect();
    let train = write(folder.path(), "train.bin", record_bytes(32, &labels));
    let dataset = load(&format!("records:{}", train.display())).unwrap();
    assert_eq!(dataset.valid().labels(), [9, 19]);
    assert_eq!(dataset.train().len(), 23);
    assert!(dataset.classes.is_empty());
    let error = dataset.split(Split::Test).unwrap_err();
    assert_says(&error, &["train.bin", "test=FILE"]);
}

#[test]
fn gzipped_records_and_their_captions_are_read() {
    let folder = tempdir().unwrap();
    let records = gzip(&record_bytes(1, &[3; 10]));
    let train = write(folder.path(), "train.bin.gz", records);
    let names: String = (0..10)
        .map(|index| format!("3\tnumber {index}\n"))
        .collect();
    let table = write(folder.path(), "train.tsv", format!("label\tname\n{names}"));
    let spec = format!("records:{},captions=name,side=1", train.display());
    let dataset = load(&spec).unwrap();
    assert_eq!(dataset.name, spec);
    assert_eq!(dataset.train().captions()[8], "number 8");
    assert_eq!(dataset.valid().captions(), ["number 9"]);
    assert_eq!(dataset.valid().bytes(), [9, 10, 11]);
    std::fs::remove_file(&table).unwrap();
    assert_says(&load(&spec).unwrap_err(), &[table.to_str().unwrap()]);
    assert!(load(&spec.replace(",captions=name", "")).is_ok());
}

#[test]
fn a_label_without_a_class_names_its_file() {
    let folder = tempdir().unwrap();
    let train = write(folder.path(), "train.bin", record_bytes(1, &[0, 1]));
    let test = write(folder.path(), "test.bin", record_bytes(1, &[0, 1, 2]));
    let classes = write(folder.path(), "classes.txt", "a\nb\n");
    let error = load(&format!(
        "records:{},test={},classes={},side=1",
        train.display(),
        test.display(),
        classes.display()
    ))
    .unwrap_err();
    assert_says(
        &error,
        &["test.bin", "record 2", "byte 8", "label 2", "2 classes"],
    );
}

#[test]
fn a_file_of_another_side_is_refused() {
    let folder = tempdir().unwrap();
    let train = write(folder.path(), "train.bin", record_bytes(32, &[0, 1]));
    let error = load(&format!("records:{},side=64", train.display())).unwrap_err();
    assert_says(&error, &["train.bin", "6146", "12289", "record 0"]);
}

#[test]
fn a_missing_file_is_named() {
    assert_says(&load("records:no/such.bin").unwrap_err(), &["no/such.bin"]);
}

/// Opening the test split needs no other file.
#[test]
fn a_split_is_opened_when_it_is_asked_for() {
    let folder = tempdir().unwrap();
    let test = write(folder.path(), "test.bin", record_bytes(2, &[1, 2]));
    let broken = write(folder.path(), "valid.bin", [1, 2]);
    let spec = format!(
        "records:no/such.bin,valid={},test={},side=2",
        broken.display(),
        test.display()
    );
    let dataset = crate::load(&spec.parse().unwrap()).unwrap();
    assert_eq!(dataset.split(Split::Test).unwrap().labels(), [1, 2]);
    let error = |split| dataset.split(split).unwrap_err();
    assert_says(&error(Split::Train), &["no/such.bin"]);
    assert_says(&error(Split::Valid), &["valid.bin", "2 bytes"]);
    // It may be written later.
    write(folder.path(), "valid.bin", record_bytes(2, &[5]));
    assert_eq!(dataset.split(Split::Valid).unwrap().labels(), [5]);
}

#[test]
fn records_that_change_under_the_program_are_an_error() {
    let folder = tempdir().unwrap();
    let train = write(folder.path(), "train.bin", record_bytes(2, &[0; 30]));
    let dataset = load(&format!("records:{},side=2", train.display())).unwrap();
    assert!(dataset.identity().is_ok());
    write(folder.path(), "train.bin", record_bytes(2, &[0; 29]));
    for images in [dataset.train(), dataset.valid()] {
        let error = images.read(0..1).unwrap_err();
        assert_says(&error, &["train.bin"]);
        assert!(error.source().unwrap().to_string().contains("changed"));
    }
}

proptest! {
    #[test]
    fn any_bytes_decode_or_say_why(
        side in 1_usize..4,
        count in 0_usize..5,
        bytes in prop::collection::vec(any::<u8>(), 0..120),
    ) {
        let size = record_length(side).unwrap();
        let labels: Vec<u32> =
            bytes.chunks_exact(size).map(|record| record[0].into()).collect();
        let whole = !bytes.is_empty() && bytes.len() % size == 0;
        let named = count == 0 || labels.iter().all(|&label| (label as usize) < count);
        match decode(side, &classes(count), &bytes) {
            Ok(images) => {
                prop_assert!(whole && named);
                prop_assert_eq!(images.labels(), labels);
                prop_assert_eq!(images.bytes().len() + images.len(), bytes.len());
            }
            Err(error) => {
                prop_assert!(!(whole && named));
                assert_says(&error, &[FILE]);
            }
        }
    }
}
