//! Files of binary records.

use std::fmt;
use std::path::PathBuf;

use super::options::Options;
use crate::sources::record_length;

/// The side of CIFAR-10's images, and the default side of records.
pub(crate) const DEFAULT_SIDE: usize = 32;

/// Files of CIFAR-10 binary records: for each image a label byte, then the
/// red, the green and the blue plane, row by row from the top. A file whose
/// name ends in `.gz` is unpacked.
///
/// ```
/// use pixelcnn_data::{DataSpec, RecordsSpec};
///
/// let spec = RecordsSpec {
///     train: "train.bin".into(),
///     valid: None,
///     test: Some("test.bin".into()),
///     classes: None,
///     captions: None,
///     side: 32,
/// };
/// assert_eq!(DataSpec::Records(spec).to_string(), "records:train.bin,test=test.bin");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordsSpec {
    /// The training images.
    pub train: PathBuf,
    /// The validation images; without them, every tenth training image.
    pub valid: Option<PathBuf>,
    /// The test images; without them, the split is empty.
    pub test: Option<PathBuf>,
    /// The file with the names of the classes, one per line; without it, any label is accepted.
    pub classes: Option<PathBuf>,
    /// The column of captions in the tables beside the files (`train.tsv`
    /// beside `train.bin`): a header, then one line per record, separated by tabs.
    /// Without it, the images have no captions.
    pub captions: Option<String>,
    /// Height and width of an image in pixels, at least 1.
    pub side: usize,
}

/// The text after `records:` in a spec.
impl fmt::Display for RecordsSpec {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.train.display())?;
        for (key, file) in [
            ("valid", &self.valid),
            ("test", &self.test),
            ("classes", &self.classes),
        ] {
            if let Some(path) = file {
                write!(formatter, ",{key}={}", path.display())?;
            }
        }
        if let Some(column) = &self.captions {
            write!(formatter, ",captions={column}")?;
        }
        if self.side != DEFAULT_SIDE {
            write!(formatter, ",side={}", self.side)?;
        }
        Ok(())
    }
}

/// Parses the text after `records:`; the error is only the reason.
pub(super) fn parse(text: &str) -> Result<RecordsSpec, String> {
    let needs = "it needs a file of training records: use records:TRAIN";
    let known = [
        "valid=FILE",
        "test=FILE",
        "classes=FILE",
        "captions=COLUMN",
        "side=N",
    ];
    let options = Options::read(text, needs, &known)?;
    let side = options.side()?.unwrap_or(DEFAULT_SIDE);
    if record_length(side).is_none() {
        return Err(format!("side={side} is not a possible side of images"));
    }
    let file = |key| options.value(key).map(PathBuf::from);
    Ok(RecordsSpec {
        train: options.path(),
        valid: file("valid"),
        test: file("test"),
        classes: file("classes"),
        captions: options.value("captions").map(String::from),
        side,
    })
}
