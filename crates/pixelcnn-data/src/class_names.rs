//! The names of classes in a file of text.

use std::path::Path;

use crate::{DataError, file};

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
    use super::*;
    use crate::testing::assert_says;

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
}
