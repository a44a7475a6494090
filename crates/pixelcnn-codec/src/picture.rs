//! A picture outside an archive.

use crate::CodecError;
use crate::tiling::{Area, MOST_SIDE};

/// A picture: its values, and what belongs to it.
///
/// # Example
///
/// ```
/// use pixelcnn_codec::Picture;
///
/// // A red and a blue pixel.
/// let picture = Picture {
///     name: "flags/two.png".to_string(),
///     height: 1,
///     width: 2,
///     values: vec![255, 0, 0, 0, 0, 255],
///     metadata: Vec::new(),
/// };
/// assert!(picture.check(3, 256).is_ok());
/// assert!(picture.check(1, 256).is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// A relative path, as [`check_name`] allows.
    pub name: String,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// `[row, column, channel]`.
    pub values: Vec<u16>,
    /// Kept as it is.
    pub metadata: Vec<Metadata>,
}

/// A piece of data that belongs to a picture, such as a chunk of a PNG file.
///
/// # Example
///
/// ```
/// use pixelcnn_codec::Metadata;
///
/// let gamma = Metadata { tag: *b"gAMA", bytes: 45_455_u32.to_be_bytes().to_vec() };
/// assert_eq!(gamma.bytes.len(), 4);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// What it is.
    pub tag: [u8; 4],
    /// The data.
    pub bytes: Vec<u8>,
}

/// The largest number of values of a picture.
const MOST_VALUES: u64 = 1 << 32;
/// The largest number of bytes of a name.
const MOST_NAME: usize = 4096;

/// Whether a picture can have this size.
pub(crate) fn is_size(height: usize, width: usize, channels: usize) -> bool {
    let sides = (1..=MOST_SIDE).contains(&height) && (1..=MOST_SIDE).contains(&width);
    sides && height as u64 * width as u64 * channels as u64 <= MOST_VALUES
}

/// Refuses a name that could leave the folder in which it is written.
///
/// A name consists of parts separated by `/`. No part is empty, `.` or `..`, or has a
/// backslash, a control character or, in the first part, a colon.
///
/// # Errors
///
/// The error has the name and the reason.
///
/// # Example
///
/// ```
/// assert!(pixelcnn_codec::check_name("holidays/beach 1.png").is_ok());
/// for name in ["", "/etc/passwd", "a/../../b", "a//b", "c:\\b"] {
///     assert!(pixelcnn_codec::check_name(name).is_err());
/// }
/// ```
pub fn check_name(name: &str) -> Result<(), CodecError> {
    let refused = |part: &str| {
        ["", ".", ".."].contains(&part)
            || part.contains(|letter: char| letter == '\\' || letter.is_control())
    };
    let first = name.split('/').next().unwrap_or_default();
    if name.len() > MOST_NAME || name.split('/').any(refused) || first.contains(':') {
        let shown: String = name.chars().take(100).collect();
        let why = format!(
            "a relative path of at most {MOST_NAME} bytes without `..` expected, and without \
             backslashes and control characters; found {}",
            pixelcnn_system::escaped(&shown)
        );
        return Err(CodecError::invalid("name", why));
    }
    Ok(())
}

impl Picture {
    /// Refuses a picture that does not fit a model of this many channels and levels.
    ///
    /// # Errors
    ///
    /// The error has the name of the picture and the reason.
    pub fn check(&self, channels: usize, levels: usize) -> Result<(), CodecError> {
        check_name(&self.name)?;
        let wrong = |why: String| {
            let name = pixelcnn_system::escaped(&self.name);
            Err(CodecError::invalid(name, why))
        };
        let (height, width) = (self.height, self.width);
        if !is_size(height, width, channels) {
            return wrong(format!(
                "{height} x {width} x {channels}: 1 to 2^32 values expected"
            ));
        }
        let expected = height * width * channels;
        if self.values.len() != expected {
            let found = self.values.len();
            return wrong(format!("{expected} values expected, found {found}"));
        }
        if let Some(value) = self
            .values
            .iter()
            .find(|value| usize::from(**value) >= levels)
        {
            return wrong(format!(
                "the model has {levels} levels, found the value {value}"
            ));
        }
        Ok(())
    }

    /// The values of an area, `[row, column, channel]`.
    pub(crate) fn part(&self, area: &Area) -> Vec<u16> {
        let channels = self.values.len() / (self.height * self.width);
        let mut part = Vec::with_capacity(area.pixels() * channels);
        for row in area.row..area.row + area.height {
            let first = (row * self.width + area.column) * channels;
            part.extend_from_slice(&self.values[first..first + area.width * channels]);
        }
        part
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_leave_the_folder_or_confuse_are_refused() {
        let long = "a".repeat(MOST_NAME + 1);
        for name in ["a/b:c", "..a/b..", "...", "größe ☃.png", &long[1..]] {
            assert!(check_name(name).is_ok(), "{name:?}");
        }
        for name in [
            "", ".", "..", "/a", "a/", "a//b", "./a", "a/..", "a\\b", "c:b", "c:/b", "a\nb",
            "a/\0", "a\u{7f}", &long,
        ] {
            assert!(check_name(name).is_err(), "{name:?}");
        }
    }
}
