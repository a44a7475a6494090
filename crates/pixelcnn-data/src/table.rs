//! Tables of text beside the records: a header, then a line for each record.

use std::path::{Path, PathBuf};

use csv::{ReaderBuilder, StringRecord};

use crate::{DataError, file};
use pixelcnn_system::counted;

/// A table of values separated by tabs or commas; its first line has the names of the
/// columns.
pub(crate) struct Table {
    path: PathBuf,
    separator: char,
    lines: Vec<Line>,
}

/// The values of a line, and the number of its first line in the file.
struct Line {
    number: usize,
    values: StringRecord,
}

/// The possible paths of the table of a file of records: `train.tsv` or `train.csv` for
/// `train.bin` and for `train.bin.gz`.
fn beside(records: &Path) -> [PathBuf; 2] {
    let records = match file::is_gzipped(records) {
        true => records.with_extension(""),
        false => records.into(),
    };
    ["tsv", "csv"].map(|ending| records.with_extension(ending))
}

impl Table {
    /// Reads the table of a file of `count` records.
    pub(crate) fn of_records(records: &Path, count: usize) -> Result<Self, DataError> {
        let [tabs, commas] = beside(records);
        let (path, separator) = match (tabs.exists(), commas.exists()) {
            (true, true) => {
                return Err(DataError::both(tabs, &commas));
            }
            (false, true) => (commas, ','),
            (_, false) => (tabs, '\t'),
        };
        let text = file::text(&path, file::read(&path)?)?;
        let lines = lines(&text, separator).map_err(|(line, reason)| DataError::Line {
            path: path.clone(),
            line,
            reason,
        })?;
        let Some(found) = lines.len().checked_sub(1) else {
            return Err(DataError::EmptyFile {
                path,
                expected: "a line with the names of the columns".into(),
            });
        };
        let table = Self {
            path,
            separator,
            lines,
        };
        if found == count {
            return Ok(table);
        }
        let reason = format!(
            "after the header there are {}, but {} has {}: a line for each, no blank one, and \
             an empty value of a single column is \"\"",
            counted(found, "line"),
            records.display(),
            counted(count, "record")
        );
        // The first line that is missing, or the first superfluous one.
        let after = |last: &Line| last.number + 1;
        let place = table.lines.get(count + 1).map(|line| line.number);
        let place = place.or_else(|| table.lines.last().map(after));
        Err(table.error(place.unwrap_or(1), reason))
    }

    /// The values of all records in a column.
    pub(crate) fn column(&self, name: &str) -> Result<Vec<String>, DataError> {
        let Some((header, lines)) = self.lines.split_first() else {
            return Ok(Vec::new());
        };
        let columns: Vec<_> = header.values.iter().collect();
        let mut places = (0..columns.len()).filter(|&place| columns[place] == name);
        let (Some(place), None) = (places.next(), places.next()) else {
            let reason = format!(
                "exactly one column {name:?} expected among {}",
                columns.join(", ")
            );
            return Err(self.error(1, reason));
        };
        let mut values = Vec::with_capacity(lines.len());
        for line in lines {
            if line.values.len() != columns.len() {
                let (found, wanted) = (line.values.len(), columns.len());
                let separators = match self.separator {
                    ',' => "commas",
                    _ => "tabs",
                };
                let reason = format!(
                    "{} between {separators}, but the header has {wanted}",
                    counted(found, "value")
                );
                return Err(self.error(line.number, reason));
            }
            values.push(line.values[place].to_owned());
        }
        Ok(values)
    }

    /// An error in the line of a record, counted from 0.
    pub(crate) fn error_of_record(&self, record: usize, reason: String) -> DataError {
        let line = self.lines.get(record + 1);
        self.error(line.map_or(1, |line| line.number), reason)
    }

    /// An error in a line, counted from 1.
    fn error(&self, line: usize, reason: String) -> DataError {
        DataError::Line {
            path: self.path.clone(),
            line,
            reason,
        }
    }
}

/// The values of each line that is not blank. The error is the number of a line and the
/// reason.
fn lines(text: &str, separator: char) -> Result<Vec<Line>, (usize, String)> {
    let mut reader = ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .delimiter(separator as u8)
        .from_reader(text.as_bytes());
    let (mut lines, mut number, mut read) = (Vec::new(), 1, 0);
    for values in reader.records() {
        let values = values.map_err(|error| (number, error.to_string()))?;
        let start = values.position().map_or(0, |place| place.byte() as usize);
        let line = text[start..].trim_start_matches(['\r', '\n']);
        let start = text.len() - line.len();
        number += text[read..start].matches('\n').count();
        read = start;
        check_quotes(line, separator, &values)
            .map_err(|(after, reason)| (number + after, reason))?;
        lines.push(Line { number, values });
    }
    Ok(lines)
}

/// Refuses a value that begins with a quote, as writers of CSV put one around
/// separators, line breaks and quotes (which they double), and does not end with one:
/// csv would guess what it is. The error tells how many lines after the first it begins.
fn check_quotes(line: &str, separator: char, values: &StringRecord) -> Result<(), (usize, String)> {
    let mut rest = line;
    for value in values {
        let written = match rest.starts_with('"') {
            true => format!("\"{}\"", value.replace('"', "\"\"")),
            false => value.to_owned(),
        };
        let after = rest.strip_prefix(&written);
        let ends = |after: &&str| after.is_empty() || after.starts_with([separator, '\r', '\n']);
        let Some(after) = after.filter(ends) else {
            let read = &line[..line.len() - rest.len()];
            let reason = "a value begins here with a quote and does not end with one: close it; \
                          quotes that are part of a value are doubled, and the value put between \
                          quotes";
            return Err((read.matches('\n').count(), reason.to_owned()));
        };
        rest = after.strip_prefix(separator).unwrap_or(after);
    }
    Ok(())
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
    fn the_table_is_next_to_the_records() {
        for records in ["a.b/train.bin", "a.b/train.bin.gz", "a.b/train"] {
            let expected = ["a.b/train.tsv", "a.b/train.csv"].map(PathBuf::from);
            assert_eq!(beside(records.as_ref()), expected);
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
    fn tables_of_spreadsheets_are_read() {
        for table in [
            "\u{feff}caption\r\na \"big\" cat\r\nb, c\r\n",
            "\u{feff}\"caption\"\r\n\"a \"\"big\"\" cat\"\r\n\"b, c\"\r\n",
            "caption\na \"big\" cat\n\"b, c\"",
        ] {
            let captions = column(table.as_bytes(), 2, "caption").unwrap();
            assert_eq!(captions, ["a \"big\" cat", "b, c"]);
        }
        let folder = tempdir().unwrap();
        let table = "number,\"the, name\"\n1,\"two\nlines, and a comma\"\n2,\"\"\n3,plain\n4\n";
        write(folder.path(), "some.csv", table);
        let records = folder.path().join("some.bin");
        let error = Table::of_records(&records, 3).err().unwrap();
        assert_says(&error, &["some.csv", "line 6", "4 lines", "3 records"]);
        let table = Table::of_records(&records, 4).unwrap();
        let error = table.column("number").unwrap_err();
        assert_says(&error, &["line 6", "1 value between commas"]);
        write(
            folder.path(),
            "some.csv",
            "number,\"the, name\"\n1,\"two\nlines, and a comma\"\n2,\"\"\n",
        );
        let table = Table::of_records(&records, 2).unwrap();
        assert_eq!(
            table.column("the, name").unwrap(),
            ["two\nlines, and a comma", ""]
        );
        write(folder.path(), "some.tsv", "a\n");
        let error = Table::of_records(&records, 2).err().unwrap();
        assert_says(&error, &["some.tsv", "some.csv", "keep one"]);
    }

    /// A quote inside a value that begins with another character.
    #[test]
    fn other_quotes_stay() {
        let values = ["6\" wide", "a\"", "a \"\" b", "b"];
        let table = format!("name\n{}\n", values.join("\n"));
        assert_eq!(column(table.as_bytes(), 4, "name").unwrap(), values);
    }

    #[test]
    fn a_quote_that_is_not_closed_at_the_end_is_placed() {
        for table in [
            "name\na\n\"open\nb\n",
            "name\na\n\"open\n\"b\"\n",
            "name\na\n\"",
            "name\r\na\r\n\"a\" and b\r\n",
            "name\n\"a\nb\"\t\"open\n",
        ] {
            let error = column(table.as_bytes(), 3, "name").unwrap_err();
            assert_says(&error, &["some.tsv", "line 3", "does not end with one"]);
        }
    }

    #[test]
    fn blank_lines_are_skipped_and_empty_values_are_kept() {
        let table = b"name\n\na\n\"\"\n\n";
        assert_eq!(column(table, 2, "name").unwrap(), ["a", ""]);
        let error = column(table, 4, "name").unwrap_err();
        assert_says(&error, &["line 5", "2 lines", "4 records", "no blank one"]);
        let error = column(b"a\tname\n\n1\t2\n\n3\n", 2, "name").unwrap_err();
        assert_says(&error, &["line 5", "1 value"]);
    }

    #[test]
    fn mistakes_are_placed() {
        for (table, count, parts) in [
            ("a\tname\n1\t2\n", 2, ["line 3", "1 line,", "2 records"]),
            (
                "a\tname\n1\t2\n3\t4\n",
                1,
                ["line 3", "2 lines", "1 record"],
            ),
            ("a\tb\n1\t2\n", 1, ["line 1", "\"name\"", "a, b"]),
            (
                "name\tname\n1\t2\n",
                1,
                ["line 1", "\"name\"", "name, name"],
            ),
            ("a\tname\n1\n", 1, ["line 2", "1 value ", "header has 2"]),
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
