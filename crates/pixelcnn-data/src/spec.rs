//! Data sets by name.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use crate::DataError;
use crate::records::record_bytes;

/// The side of CIFAR-10's images, and of records unless said otherwise.
pub(crate) const DEFAULT_SIDE: usize = 32;

/// The forms of a spec, with what each means, for the errors.
pub(crate) const KNOWN_FORMS: &[&str] = &[
    "photos32",
    "cifar10:PATH  (the folder cifar-10-batches-bin, or cifar-10-binary.tar.gz)",
    "records:TRAIN[,valid=FILE][,test=FILE][,classes=FILE][,side=N]",
];

/// The name of a data set: which one, and where its files are.
///
/// | text | data set |
/// |---|---|
/// | `photos32` | the small set of photographs that comes with the source |
/// | `cifar10:PATH` | CIFAR-10, from its folder or its archive as published |
/// | `records:TRAIN[,valid=FILE][,test=FILE][,classes=FILE][,side=N]` | files of binary records |
///
/// The text of a spec parses back to the same spec. A path in a `records`
/// spec cannot contain a comma, and no path can be anything but UTF-8.
///
/// ```
/// use pixelcnn_data::DataSpec;
///
/// let spec: DataSpec = "records:train.bin,test=test.bin,side=64".parse()?;
/// let DataSpec::Records(records) = &spec else { unreachable!() };
/// assert_eq!(records.side, 64);
/// assert_eq!(spec.to_string(), "records:train.bin,test=test.bin,side=64");
/// # Ok::<(), pixelcnn_data::DataError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DataSpec {
    /// The data set in `fixtures/photos32`, found from the environment
    /// variable `PIXELCNN_FIXTURES` or above the current directory or the
    /// program.
    Photos32,
    /// CIFAR-10: a folder with the binary files as published, a folder that
    /// contains `cifar-10-batches-bin`, or the file `cifar-10-binary.tar.gz`.
    Cifar10 {
        /// The folder or the archive.
        path: PathBuf,
    },
    /// Files of binary records.
    Records(RecordsSpec),
}

/// Files of CIFAR-10 binary records: for each image a label byte, then the
/// red, the green and the blue plane, row by row from the top.
///
/// ```
/// use pixelcnn_data::{DataSpec, RecordsSpec};
///
/// let spec = RecordsSpec {
///     train: "train.bin".into(),
///     valid: None,
///     test: Some("test.bin".into()),
///     classes: None,
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
    /// The name of each class, one a line; without them, any label will do.
    pub classes: Option<PathBuf>,
    /// Height and width of an image in pixels, at least 1.
    pub side: usize,
}

impl fmt::Display for DataSpec {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Photos32 => formatter.write_str("photos32"),
            Self::Cifar10 { path } => write!(formatter, "cifar10:{}", path.display()),
            Self::Records(records) => write!(formatter, "records:{records}"),
        }
    }
}

/// What follows `records:` in the text of a spec.
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
        if self.side != DEFAULT_SIDE {
            write!(formatter, ",side={}", self.side)?;
        }
        Ok(())
    }
}

impl FromStr for DataSpec {
    type Err = DataError;

    fn from_str(text: &str) -> Result<Self, DataError> {
        let (name, rest) = match text.split_once(':') {
            Some((name, rest)) => (name, Some(rest)),
            None => (text, None),
        };
        let bad = |reason: String| DataError::BadSpec {
            spec: text.into(),
            reason,
        };
        match (name, rest) {
            ("photos32", None) => Ok(Self::Photos32),
            ("cifar10", None | Some("")) => Err(bad(
                "it needs a path: give cifar10:DIR, where DIR is the folder \
                 cifar-10-batches-bin, or the file cifar-10-binary.tar.gz"
                    .into(),
            )),
            ("cifar10", Some(path)) => Ok(Self::Cifar10 { path: path.into() }),
            ("records", rest) => {
                let records = parse_records(rest.unwrap_or_default()).map_err(bad)?;
                Ok(Self::Records(records))
            }
            _ => Err(DataError::UnknownSpec { spec: text.into() }),
        }
    }
}

/// Reads what follows `records:`; the error is the reason alone.
fn parse_records(text: &str) -> Result<RecordsSpec, String> {
    let mut parts = text.split(',');
    let train = parts.next().filter(|train| !train.is_empty());
    let train = train.ok_or("it needs a file of training records: give records:TRAIN")?;
    let (mut valid, mut test, mut classes, mut side) = (None, None, None, None);
    for part in parts {
        match part.split_once('=') {
            Some((_, "")) => return Err(format!("nothing follows {part:?}")),
            Some(("valid", file)) => set_once(&mut valid, part, file.into())?,
            Some(("test", file)) => set_once(&mut test, part, file.into())?,
            Some(("classes", file)) => set_once(&mut classes, part, file.into())?,
            Some(("side", number)) => set_once(&mut side, part, parse_side(number)?)?,
            _ => {
                return Err(format!(
                    "{part:?} is none of valid=FILE, test=FILE, classes=FILE and side=N \
                     (a path cannot contain a comma)"
                ));
            }
        }
    }
    Ok(RecordsSpec {
        train: train.into(),
        valid,
        test,
        classes,
        side: side.unwrap_or(DEFAULT_SIDE),
    })
}

fn set_once<T>(slot: &mut Option<T>, part: &str, value: T) -> Result<(), String> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(format!("{part:?} is given where it was given before")),
    }
}

fn parse_side(text: &str) -> Result<usize, String> {
    text.parse()
        .ok()
        .filter(|&side| side >= 1 && record_bytes(side).is_some())
        .ok_or_else(|| format!("side={text} is not a number of pixels, 1 or more"))
}

#[cfg(test)]
mod tests {
    use proptest::option;
    use proptest::prelude::*;

    use super::*;
    use crate::testing::assert_says;

    fn parse(text: &str) -> Result<DataSpec, DataError> {
        text.parse()
    }

    #[test]
    fn records_take_their_files_in_any_order() {
        let expected = RecordsSpec {
            train: "a=b:c.bin".into(),
            valid: Some("v=1.bin".into()),
            test: Some("t.bin".into()),
            classes: Some("c.txt".into()),
            side: 64,
        };
        let text = "records:a=b:c.bin,side=64,classes=c.txt,test=t.bin,valid=v=1.bin";
        assert_eq!(parse(text).unwrap(), DataSpec::Records(expected));
    }

    #[test]
    fn cifar10_keeps_the_path_whole() {
        let path = "/data/with,comma:and colon".into();
        let spec = parse("cifar10:/data/with,comma:and colon").unwrap();
        assert_eq!(spec, DataSpec::Cifar10 { path });
    }

    #[test]
    fn an_unknown_spec_lists_the_known_forms() {
        for text in ["", "cifar", "photos32:x", "Photos32", "train.bin"] {
            let error = parse(text).unwrap_err();
            assert_says(
                &error,
                &["photos32", "cifar10:PATH", "records:TRAIN[,valid=FILE]"],
            );
            assert!(matches!(error, DataError::UnknownSpec { spec } if spec == text));
        }
    }

    #[test]
    fn cifar10_without_a_path_says_how_to_give_one() {
        for text in ["cifar10", "cifar10:"] {
            assert_says(&parse(text).unwrap_err(), &["cifar10:DIR"]);
        }
    }

    #[test]
    fn mistakes_in_records_are_named() {
        for (text, part) in [
            ("records", "records:TRAIN"),
            ("records:", "records:TRAIN"),
            ("records:,test=b", "records:TRAIN"),
            ("records:a,b", "\"b\" is none of"),
            ("records:a,validation=b", "\"validation=b\" is none of"),
            ("records:a,", "\"\" is none of"),
            ("records:a,test=", "nothing follows \"test=\""),
            ("records:a,test=b,test=c", "\"test=c\" is given"),
            ("records:a,side=32,side=32", "\"side=32\" is given"),
            ("records:a,side=0", "side=0 is not"),
            ("records:a,side=big", "side=big is not"),
            (
                "records:a,side=18446744073709551615",
                "side=18446744073709551615 is not",
            ),
        ] {
            assert_says(&parse(text).unwrap_err(), &[text, part]);
        }
    }

    fn path() -> impl Strategy<Value = PathBuf> {
        "[^,]{1,12}".prop_map(PathBuf::from)
    }

    fn spec() -> impl Strategy<Value = DataSpec> {
        let file = || option::of(path());
        let records = (path(), file(), file(), file(), 1_usize..5000);
        prop_oneof![
            Just(DataSpec::Photos32),
            ".{1,20}".prop_map(|path| DataSpec::Cifar10 { path: path.into() }),
            records.prop_map(|(train, valid, test, classes, side)| {
                DataSpec::Records(RecordsSpec {
                    train,
                    valid,
                    test,
                    classes,
                    side,
                })
            }),
        ]
    }

    proptest! {
        #[test]
        fn text_round_trips(spec in spec()) {
            prop_assert_eq!(parse(&spec.to_string()).unwrap(), spec);
        }

        #[test]
        fn any_text_parses_or_says_why(
            text in "(photos32|cifar10|records)?:?[a-c]?(,?(valid|test|classes|side)?=?.{0,3}){0,4}"
        ) {
            match parse(&text) {
                Ok(spec) => prop_assert_eq!(parse(&spec.to_string()).unwrap(), spec),
                Err(error) => assert_says(&error, &[&format!("{text:?}")]),
            }
        }
    }
}
