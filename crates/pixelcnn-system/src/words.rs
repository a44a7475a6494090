//! Names and numbers in messages.

use std::path::Path;

/// A path without control characters.
///
/// ```
/// assert_eq!(pixelcnn_system::shown("a\nb".as_ref()), "a\\nb");
/// ```
pub fn shown(path: &Path) -> String {
    escaped(&path.display().to_string())
}

/// A text with escaped control characters, because a terminal would obey them.
///
/// ```
/// assert_eq!(pixelcnn_system::escaped("größe \u{1b}[31m\n"), "größe \\u{1b}[31m\\n");
/// ```
pub fn escaped(text: &str) -> String {
    let escape = |letter: char| match letter.is_control() {
        true => letter.escape_default().to_string(),
        false => letter.to_string(),
    };
    text.chars().map(escape).collect()
}

/// A number of things, in the singular or plural.
///
/// ```
/// use pixelcnn_system::counted;
///
/// assert_eq!([1, 2].map(|count| counted(count, "file")), ["1 file", "2 files"]);
/// assert_eq!(counted(0, "class"), "0 classes");
/// ```
pub fn counted(count: usize, one: &str) -> String {
    match (count, one.ends_with('s')) {
        (1, _) => format!("1 {one}"),
        (_, true) => format!("{count} {one}es"),
        (_, false) => format!("{count} {one}s"),
    }
}
