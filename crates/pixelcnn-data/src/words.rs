//! Names in messages.

use pixelcnn_system::escaped;

/// Texts separated by commas, escaped.
pub(crate) fn joined(texts: &[String]) -> String {
    escaped(&texts.join(", "))
}

#[cfg(test)]
mod tests {
    use crate::DataError;
    use crate::testing::{assert_says, load};

    #[test]
    fn names_cannot_control_the_terminal() {
        let error = load("records:no\u{1b}file\r.bin").unwrap_err();
        assert_says(&error, &["no\\u{1b}file\\r.bin"]);
        let error = DataError::UnknownClasses {
            dataset: "folder:\u{7}".into(),
            unknown: vec!["c\u{1b}t".into()],
            known: vec!["d\u{1b}g".into()],
        };
        assert_says(&error, &["folder:\\u{7}", "c\\u{1b}t", "d\\u{1b}g"]);
    }
}
