//! A folder of image files.

use std::fmt;
use std::path::PathBuf;

use super::options::Options;
use super::{DEFAULT_SIDE, SplitBy};

/// A folder of PNG and JPEG files, or of one subfolder of them for each class.
///
/// Every image is cropped to its central square and scaled down to `side` by a
/// triangle filter as wide as the reduction; transparent parts become white.
/// Of the images, a fixed hash of the path inside the folder gives a tenth each
/// to the validation and the test split.
///
/// ```
/// use pixelcnn_data::{DataSpec, FolderSpec, SplitBy};
///
/// let spec = FolderSpec { path: "photos".into(), side: 64, split: SplitBy::Image };
/// assert_eq!(DataSpec::Folder(spec).to_string(), "folder:photos,side=64");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FolderSpec {
    /// The folder.
    pub path: PathBuf,
    /// Height and width of an image in pixels, at least 1.
    pub side: usize,
    /// What the splits are made of; the classes are the subfolders.
    pub split: SplitBy,
}

/// What follows `folder:` in the text of a spec.
impl fmt::Display for FolderSpec {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.path.display())?;
        if self.side != DEFAULT_SIDE {
            write!(formatter, ",side={}", self.side)?;
        }
        write!(formatter, "{}", self.split)
    }
}

/// Reads what follows `folder:`; the error is the reason alone.
pub(super) fn parse(text: &str) -> Result<FolderSpec, String> {
    let needs = "it needs a folder of images: give folder:DIR";
    let options = Options::read(text, needs, &["side=N", "split=class"])?;
    Ok(FolderSpec {
        path: options.path(),
        side: options.side()?.unwrap_or(DEFAULT_SIDE),
        split: options.split()?,
    })
}
