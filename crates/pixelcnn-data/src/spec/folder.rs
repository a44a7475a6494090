//! A folder of image files.

use std::fmt;
use std::path::PathBuf;

use super::options::Options;
use super::{DEFAULT_SIDE, SplitBy};
use crate::{Alpha, Colours, Depth, PictureFormat};

/// A folder of PNG and JPEG files, or with one subfolder per class,
/// or with the folders `train`, `valid` (or `val`, `validation`) and `test`, each
/// of which is one of the two.
///
/// Every image is cropped to its central square and scaled down to `side` by a
/// triangle filter as wide as the reduction; [`PictureFormat`] says the depth, the colours
/// and what happens to transparent parts.
/// If the folders do not give the splits, a fixed hash of the path inside the folder puts
/// a tenth of the images each into the validation and the test split.
/// [`read_picture`](crate::read_picture) says which files can be read.
///
/// ```
/// use pixelcnn_data::{DataSpec, FolderSpec, OnError, PictureFormat, SmallPictures, SplitBy};
///
/// let spec = FolderSpec {
///     path: "photos".into(),
///     side: 64,
///     split: SplitBy::Image,
///     on_error: OnError::Skip,
///     small: SmallPictures::Refused,
///     format: PictureFormat::default(),
/// };
/// assert_eq!(DataSpec::Folder(spec).to_string(), "folder:photos,side=64,on_error=skip");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FolderSpec {
    /// The folder.
    pub path: PathBuf,
    /// Height and width of an image in pixels, at least 1.
    pub side: usize,
    /// How the splits are made; the classes are the subfolders.
    pub split: SplitBy,
    /// What to do with unusable files.
    pub on_error: OnError,
    /// What to do with pictures smaller than `side`.
    pub small: SmallPictures,
    /// The format in which the pictures are read.
    pub format: PictureFormat,
}

/// What to do with unusable pictures, which are
/// damaged, of another kind, too deep or too small.
///
/// ```
/// use pixelcnn_data::{DataSpec, OnError};
///
/// let DataSpec::Folder(folder) = "folder:photos,on_error=skip".parse()? else { unreachable!() };
/// assert_eq!(folder.on_error, OnError::Skip);
/// # Ok::<(), pixelcnn_data::DataError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnError {
    /// Refuse the folder, with the error of each file.
    Refuse,
    /// Leave them out, with a warning that names them.
    Skip,
}

/// What to do with pictures that are smaller than the images.
///
/// ```
/// use pixelcnn_data::{DataSpec, SmallPictures};
///
/// let DataSpec::Folder(folder) = "folder:icons,enlarge".parse()? else { unreachable!() };
/// assert_eq!(folder.small, SmallPictures::Enlarged);
/// # Ok::<(), pixelcnn_data::DataError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SmallPictures {
    /// They are unusable.
    Refused,
    /// They are scaled up.
    Enlarged,
}

/// The text after `folder:` in a spec.
impl fmt::Display for FolderSpec {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.path.display())?;
        if self.side != DEFAULT_SIDE {
            write!(formatter, ",side={}", self.side)?;
        }
        write!(formatter, "{}", self.split)?;
        formatter.write_str(match self.on_error {
            OnError::Refuse => "",
            OnError::Skip => ",on_error=skip",
        })?;
        formatter.write_str(match self.small {
            SmallPictures::Refused => "",
            SmallPictures::Enlarged => ",enlarge",
        })?;
        formatter.write_str(match self.format.depth {
            Depth::Eight => "",
            Depth::Sixteen => ",depth=16",
        })?;
        formatter.write_str(match self.format.colours {
            Colours::Rgb => "",
            Colours::Grey => ",channels=1",
        })?;
        formatter.write_str(match self.format.alpha {
            Alpha::OnWhite => "",
            Alpha::Refused => ",alpha=refuse",
        })
    }
}

/// Parses the text after `folder:`; the error is only the reason.
pub(super) fn parse(text: &str) -> Result<FolderSpec, String> {
    let needs = "it needs a folder of images: use folder:DIR";
    let known = [
        "side=N",
        "split=class",
        "on_error=skip",
        "enlarge",
        "depth=16",
        "channels=1",
        "alpha=refuse",
    ];
    let options = Options::read(text, needs, &known)?;
    Ok(FolderSpec {
        path: options.path(),
        side: options.side()?.unwrap_or(DEFAULT_SIDE),
        split: options.split()?,
        on_error: options
            .only("on_error", "skip")?
            .map_or(OnError::Refuse, |()| OnError::Skip),
        small: match options.value("enlarge") {
            None => SmallPictures::Refused,
            Some(_) => SmallPictures::Enlarged,
        },
        format: PictureFormat {
            depth: options
                .only("depth", "16")?
                .map_or(Depth::Eight, |()| Depth::Sixteen),
            colours: options
                .only("channels", "1")?
                .map_or(Colours::Rgb, |()| Colours::Grey),
            alpha: options
                .only("alpha", "refuse")?
                .map_or(Alpha::OnWhite, |()| Alpha::Refused),
        },
    })
}
