//! Data sets of one file of records a split.

use std::path::Path;

use crate::records::{Records, read_classes};
use crate::table::Table;
use crate::{DataError, Dataset, RecordsSpec};

pub(super) fn load(name: String, spec: &RecordsSpec) -> Result<Dataset, DataError> {
    let classes = match &spec.classes {
        Some(path) => read_classes(path)?,
        None => Vec::new(),
    };
    let read = |path: &Path| {
        let images = Records::new(spec.side, &classes).read(path)?.images()?;
        match &spec.captions {
            Some(column) => {
                let table = Table::of_records(path, images.len())?;
                images.with_captions(table.column(column)?)
            }
            None => Ok(images),
        }
    };
    let train = read(&spec.train)?;
    let (train, valid) = match &spec.valid {
        Some(path) => (train, read(path)?),
        None => train.hold_out_tenth(),
    };
    let test = match &spec.test {
        Some(path) => read(path)?,
        None => train.subset(&[]),
    };
    Ok(Dataset {
        name,
        train,
        valid,
        test,
        classes,
    })
}

#[cfg(test)]
mod tests {
    use tempfile::tempdir;

    use crate::testing::{assert_says, gzip, record_bytes, write};
    use crate::{DataError, Dataset, Split};

    fn load(spec: &str) -> Result<Dataset, DataError> {
        crate::load(&spec.parse().unwrap())
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
        assert_eq!(dataset.train.labels(), [0; 20]);
        assert_eq!(dataset.valid.labels(), [1; 3]);
        assert_eq!(dataset.test.labels(), [2; 5]);
        assert_eq!(dataset.test.shape(), (3, 4, 4));
        assert_eq!(dataset.classes, ["a", "b", "c"]);
    }

    #[test]
    fn without_a_validation_file_a_tenth_is_held_out() {
        let folder = tempdir().unwrap();
        let labels: Vec<u8> = (0..25).collect();
        let train = write(folder.path(), "train.bin", record_bytes(32, &labels));
        let dataset = load(&format!("records:{}", train.display())).unwrap();
        assert_eq!(dataset.valid.labels(), [9, 19]);
        assert_eq!(dataset.train.len(), 23);
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
        assert_eq!(dataset.train.captions()[8], "number 8");
        assert_eq!(dataset.valid.captions(), ["number 9"]);
        assert_eq!(dataset.valid.values().as_bytes().unwrap(), [9, 10, 11]);
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
}
