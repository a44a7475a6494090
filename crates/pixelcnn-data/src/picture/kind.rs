//! The kind of a picture file, by its first bytes.

use std::path::Path;

/// Kinds of picture files, and all other files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Png,
    Jpeg,
    /// A picture of an unsupported kind.
    Foreign(&'static str),
    Empty,
    /// Not a known picture format.
    Other,
}

/// Number of bytes that decide the kind.
pub(crate) const BEGINNING: u64 = 16;

impl Kind {
    /// The kind of a file with these first bytes.
    pub(crate) fn of(bytes: &[u8]) -> Self {
        match bytes {
            [] => Self::Empty,
            [0x89, b'P', b'N', b'G', ..] => Self::Png,
            [0xff, 0xd8, 0xff, ..] => Self::Jpeg,
            [b'G', b'I', b'F', b'8', ..] => Self::Foreign("GIF"),
            [b'B', b'M', _, _, _, _, 0, 0, 0, 0, ..] => Self::Foreign("BMP"),
            [
                b'R',
                b'I',
                b'F',
                b'F',
                _,
                _,
                _,
                _,
                b'W',
                b'E',
                b'B',
                b'P',
                ..,
            ] => Self::Foreign("WebP"),
            [b'I', b'I', 42 | 43, 0, ..] | [b'M', b'M', 0, 42 | 43, ..] => Self::Foreign("TIFF"),
            [_, _, _, _, b'f', b't', b'y', b'p', brand @ ..] => match brand {
                [b'a', b'v', b'i', ..] => Self::Foreign("AVIF"),
                [b'h', b'e', b'i' | b'v', ..] | [b'm', b'i' | b's', b'f', b'1', ..] => {
                    Self::Foreign("HEIC")
                }
                _ => Self::Other,
            },
            [0xff, 0x0a, ..] | [0, 0, 0, 12, b'J', b'X', b'L', b' ', ..] => {
                Self::Foreign("JPEG XL")
            }
            [0xff, 0x4f, 0xff, 0x51, ..] | [0, 0, 0, 12, b'j', b'P', b' ', b' ', ..] => {
                Self::Foreign("JPEG 2000")
            }
            [b'8', b'B', b'P', b'S', ..] => Self::Foreign("PSD"),
            [b'q', b'o', b'i', b'f', ..] => Self::Foreign("QOI"),
            _ => Self::Other,
        }
    }

    /// Why a file of this kind is not supported, and what to do.
    pub(crate) fn remedy(self) -> String {
        match self {
            Self::Foreign(name) => {
                format!("it is a {name} file, which is not supported: convert it to PNG")
            }
            Self::Empty => "it is empty".into(),
            _ => "it begins like neither of them".into(),
        }
    }
}

/// Whether a name says that a file is a picture.
pub(crate) fn is_named_picture(path: &Path) -> bool {
    const ENDINGS: [&str; 26] = [
        "png", "jpg", "jpeg", "jpe", "jfif", "apng", "gif", "bmp", "webp", "tif", "tiff", "heic",
        "heif", "avif", "jxl", "jp2", "psd", "qoi", "ppm", "pgm", "pnm", "tga", "exr", "dng",
        "cr2", "nef",
    ];
    let ending = path.extension().and_then(|ending| ending.to_str());
    ending.is_some_and(|ending| {
        let known = |known: &&str| known.eq_ignore_ascii_case(ending);
        ENDINGS.iter().any(known)
    })
}
