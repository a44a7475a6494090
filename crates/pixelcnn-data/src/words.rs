//! Names and numbers as messages have them.

use std::path::Path;

/// A path without control characters.
pub(crate) fn shown(path: &Path) -> String {
    escaped(&path.display().to_string())
}

/// A text whose control characters are escaped: a terminal would obey them.
pub(crate) fn escaped(text: &str) -> String {
    let escape = |letter: char| match letter.is_control() {
        true => letter.escape_default().to_string(),
        false => letter.to_string(),
    };
    text.chars().map(escape).collect()
}

/// Texts in a row, escaped.
pub(crate) fn joined(texts: &[String]) -> String {
    escaped(&texts.join(", "))
}

/// So many of something.
pub(crate) fn counted(count: usize, one: &str) -> String {
    match count {
        1 => format!("1 {one}"),
        _ => format!("{count} {one}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::assert_says;
    use crate::{DataError, load};

    #[test]
    fn names_do_not_rule_the_terminal() {
        assert_eq!(escaped("größe \u{1b}[31m\n"), "größe \\u{1b}[31m\\n");
        let error = load(&"records:no\u{1b}file\r.bin".parse().unwrap()).unwrap_err();
        assert_says(&error, &["no\\u{1b}file\\r.bin"]);
        let error = DataError::UnknownClasses {
            dataset: "folder:\u{7}".into(),
            unknown: vec!["c\u{1b}t".into()],
            known: vec!["d\u{1b}g".into()],
        };
        assert_says(&error, &["folder:\\u{7}", "c\\u{1b}t", "d\\u{1b}g"]);
        assert_eq!(
            [1, 2].map(|count| counted(count, "file")),
            ["1 file", "2 files"]
        );
    }
}
