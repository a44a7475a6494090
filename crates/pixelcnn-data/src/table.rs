//! Tables of text beside the records: a header, then a line for each record.

use std::path::{Path, PathBuf};

use crate::{DataError, file};

/// A table of values between tabs, its first line the names of the columns.
pub(crate) struct Table {
    path: PathBuf,
    lines: Vec<String>,
}

/// Where the table of a file of records lies: `train.tsv` for `train.bin` and
/// for `train.bin.gz`.
fn beside(records: &Path) -> PathBuf {
    let gzipped = records
        .extension()
        .is_some_and(|extension| extension == "gz");
    let records = if gzipped {
        records.with_extension("")
    } else {
        records.into()
    };
    records.with_extension("tsv")
}

impl Table {
    /// Reads the table of a file of `count` records.
    pub(crate) fn of_records(records: &Path, count: usize) -> Result<Self, DataError> {
        let path = beside(records);
        let text = file::text(&path, file::read(&path)?)?;
        let lines: Vec<String> = text.lines().map(String::from).collect();
        if lines.is_empty() {
            return Err(DataError::EmptyFile {
                path,
                expected: "a line with the names of the columns".into(),
            });
        }
        let table = Self { path, lines };
        let found = table.lines.len() - 1;
        if found == count {
            return Ok(table);
        }
        let reason = format!(
            "{found} lines follow the header, but {} has {count} records",
            records.display()
        );
        // The first line that is missing, or that is too many.
        Err(table.error(found.min(count) + 2, reason))
    }

    /// The value of each record in the column of a name.
    pub(crate) fn column(&self, name: &str) -> Result<Vec<String>, DataError> {
        let mut lines = self.lines.iter();
        let columns: Vec<&str> = lines
            .next()
            .map_or(Vec::new(), |header| header.split('\t').collect());
        let mut places = (0..columns.len()).filter(|&place| columns[place] == name);
        let (Some(place), None) = (places.next(), places.next()) else {
            let reason = format!("not one column {name:?} among {}", columns.join(", "));
            return Err(self.error(1, reason));
        };
        let mut values = Vec::with_capacity(lines.len());
        for (line, number) in lines.zip(2..) {
            let fields: Vec<&str> = line.split('\t').collect();
            if fields.len() != columns.len() {
                let (found, wanted) = (fields.len(), columns.len());
                let reason = format!("{found} values between tabs, but the header has {wanted}");
                return Err(self.error(number, reason));
            }
            values.push(fields[place].to_string());
        }
        Ok(values)
    }

    /// That a line, counted from 1, is wrong.
    pub(crate) fn error(&self, line: usize, reason: String) -> DataError {
        DataError::Line {
            path: self.path.clone(),
            line,
            reason,
        }
    }
}

#[cfg(test)]
mod tests {
    use tempfile::tempdir;

    use super::*;
    use crate::testing::{assert_says, write};

    fn column(table: &[u8], count: usize, name: &str) -> Result<Vec<String>, DataError> {
        let folder = tempdir().unwrap();
        write(folder.path(), "some.tsv", table);
        Table::of_records(&folder.path().join("some.bin"), count)?.column(name)
    }

    #[test]
    fn the_table_lies_beside_the_records() {
        for records in ["a.b/train.bin", "a.b/train.bin.gz", "a.b/train"] {
            assert_eq!(beside(records.as_ref()), Path::new("a.b/train.tsv"));
        }
    }

    #[test]
    fn a_column_has_a_value_for_each_record() {
        let table = b"label\tname\n0\ta cat\r\n1\t\n";
        assert_eq!(column(table, 2, "name").unwrap(), ["a cat", ""]);
        assert_eq!(column(table, 2, "label").unwrap(), ["0", "1"]);
        assert!(column(b"name\n", 0, "name").unwrap().is_empty());
    }

    #[test]
    fn mistakes_are_placed() {
        for (table, count, parts) in [
            ("a\tname\n1\t2\n", 2, ["line 3", "1 lines", "2 records"]),
            (
                "a\tname\n1\t2\n3\t4\n",
                1,
                ["line 3", "2 lines", "1 records"],
            ),
            ("a\tb\n1\t2\n", 1, ["line 1", "\"name\"", "a, b"]),
            (
                "name\tname\n1\t2\n",
                1,
                ["line 1", "\"name\"", "name, name"],
            ),
            ("a\tname\n1\n", 1, ["line 2", "1 values", "header has 2"]),
            (
                "a\tname\n1\t2\t3\n",
                1,
                ["line 2", "3 values", "header has 2"],
            ),
            ("", 1, ["empty", "columns", "some.tsv"]),
        ] {
            let error = column(table.as_bytes(), count, "name").unwrap_err();
            assert_says(&error, &["some.tsv"]);
            assert_says(&error, &parts);
        }
        let error = column(b"name\n\xff\n", 1, "name").unwrap_err();
        assert_says(&error, &["some.tsv", "byte 5", "UTF-8"]);
    }
}
