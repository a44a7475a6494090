//! The error type of this crate.

use std::borrow::Borrow;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use pixelcnn_system::NotEnoughMemory;

use crate::words::joined;
use crate::{DataSpec, Split};
use pixelcnn_system::{counted, escaped, shown};

/// An error between a file and a batch.
///
/// Records are counted from 0, and so are byte positions.
///
/// ```
/// use pixelcnn_data::{DataError, DataSpec};
///
/// let error = "photos33".parse::<DataSpec>().unwrap_err();
/// assert!(matches!(error, DataError::UnknownSpec { .. }));
/// assert!(error.to_string().contains("photos32"));
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// Values are not valid images, or the images do not have these bits.
    #[error(transparent)]
    Image(#[from] pixelcnn_image::ImageError),

    /// A value is not below the number of levels.
    #[error(
        "{levels} levels: 2 to 65536 expected, with all values below; the largest value is {most}"
    )]
    Levels {
        /// The number of levels.
        levels: usize,
        /// The largest value.
        most: u32,
    },

    /// A file could not be read.
    #[error("cannot read {}", shown(path))]
    Read {
        /// The file.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },

    /// The content of a folder is invalid.
    #[error("{}: {}", shown(path), escaped(reason))]
    Folder {
        /// The folder, or the invalid entry in it.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },

    /// A file is not a picture that can be read completely and at its full depth.
    #[error(
        "cannot read {} as a PNG or JPEG image: {}",
        shown(path),
        escaped(reason)
    )]
    Picture {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },

    /// Files of a folder cannot be used.
    #[error("{} of {} in {} cannot be used:{}\n{}",
        unusable.len(), counted(*pictures, "picture"), shown(path), several(unusable), way_out(unusable, *pictures))]
    Unusable {
        /// The folder.
        path: PathBuf,
        /// Number of files that should be pictures.
        pictures: usize,
        /// The error of each unusable file.
        unusable: Vec<DataError>,
    },

    /// There is too little memory for the content of a file.
    #[error("{}: {source}", shown(path))]
    Memory {
        /// The file or the folder.
        path: PathBuf,
        /// The available and the needed memory.
        source: NotEnoughMemory,
    },

    /// A picture has the wrong size.
    #[error(
        "{} is {width}x{height} (width, height); expected {wanted}",
        shown(path)
    )]
    PictureSize {
        /// The file.
        path: PathBuf,
        /// Its columns.
        width: u32,
        /// Its rows.
        height: u32,
        /// The expected size.
        wanted: String,
    },

    /// A NumPy file cannot be read.
    #[error("cannot read {} as a NumPy file: {}", shown(path), escaped(reason))]
    Npy {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },

    /// A file does not contain grids of codes.
    #[error("cannot read {} as grids of codes: {}", shown(path), escaped(reason))]
    Tokens {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },

    /// A file does not contain the labels of grids of codes.
    #[error("cannot read {} as labels of grids: {}", shown(path), escaped(reason))]
    TokenLabels {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },

    /// An archive of NumPy arrays cannot be read.
    #[error("cannot read {} as an npz archive: {}", shown(path), escaped(reason))]
    Npz {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },

    /// An array of an archive is invalid.
    #[error("{}: the array {array} {}", shown(path), escaped(reason))]
    Array {
        /// The file.
        path: PathBuf,
        /// The name of the array.
        array: String,
        /// What is wrong with it.
        reason: String,
    },

    /// A gzipped file is truncated, corrupt, or not gzipped at all.
    #[error("cannot unpack {} as a gzip file (truncated or corrupt?)", shown(path))]
    Gzip {
        /// The file.
        path: PathBuf,
        /// The error of unpacking.
        source: io::Error,
    },

    /// The content of a file is invalid.
    #[error("{}: at byte {offset}: {}", shown(path), escaped(reason))]
    Content {
        /// The file.
        path: PathBuf,
        /// The position of the error in bytes; in the unpacked content, if the
        /// file is gzipped.
        offset: usize,
        /// What is wrong there.
        reason: String,
    },

    /// A line of a text file is invalid.
    #[error("{}: line {line} (from 1): {}", shown(path), escaped(reason))]
    Line {
        /// The file.
        path: PathBuf,
        /// The number of the line, counted from 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },

    /// An archive is truncated, corrupt, or not a gzipped tar file.
    #[error(
        "cannot unpack {} as a tar.gz archive (truncated or corrupt?)",
        shown(path)
    )]
    Archive {
        /// The archive.
        path: PathBuf,
        /// The error of unpacking.
        source: io::Error,
    },

    /// An archive contains two files of one name.
    #[error("{} contains {name} twice; remove one of the two", shown(path))]
    Twice {
        /// The archive.
        path: PathBuf,
        /// The name that occurs twice.
        name: String,
    },

    /// Files of the data set are missing in a folder or an archive.
    #[error("{} has no {}: the data set needs all of its files", shown(path), missing.join(", no "))]
    MissingFiles {
        /// The folder or the archive.
        path: PathBuf,
        /// The missing files.
        missing: Vec<String>,
    },

    /// The folder of a data set that comes with the source was not
    /// found.
    #[error(
        "the data set {name} was not found; searched{}\n\
         set PIXELCNN_FIXTURES to the path of the fixtures folder that contains {name}",
        list(looked)
    )]
    FixturesNotFound {
        /// The name of the data set.
        name: String,
        /// Every folder that was tried, in order.
        looked: Vec<PathBuf>,
    },

    /// A file of records or of class names is empty.
    #[error("{} is empty: expected {expected}", shown(path))]
    EmptyFile {
        /// The file.
        path: PathBuf,
        /// The expected content.
        expected: String,
    },

    /// The length of a file of records is not a multiple of the record length.
    #[error(
        "{} has {bytes} bytes, which is not a multiple of the {record_bytes} bytes of a record: \
         record {record} (from 0), at byte {offset}, is incomplete; \
         a record has one byte for the label and {side} x {side} x 3 for the values; \
         records:FILE,side=N sets another side",
        shown(path)
    )]
    IncompleteRecord {
        /// The file.
        path: PathBuf,
        /// Its length in bytes.
        bytes: usize,
        /// The length of one record in bytes.
        record_bytes: usize,
        /// Rows and columns of the image of a record.
        side: usize,
        /// The number of the incomplete record.
        record: usize,
        /// The byte at which it starts.
        offset: usize,
    },

    /// The label of a record has no class.
    #[error(
        "{}: record {record} (from 0), at byte {offset}, has the label {label}, \
         but there are only {classes} classes (labels from 0)",
        shown(path)
    )]
    Label {
        /// The file.
        path: PathBuf,
        /// The number of the record.
        record: usize,
        /// The position of the label in the file.
        offset: usize,
        /// The label.
        label: u32,
        /// How many classes there are.
        classes: usize,
    },

    /// There are too few classes to hold out whole classes.
    #[error(
        "{} has images of {classes} classes, but split=class needs three or more: \
         whole classes for training, validation and test",
        shown(path)
    )]
    TooFewClasses {
        /// The folder of the data set.
        path: PathBuf,
        /// How many classes its images have.
        classes: usize,
    },

    /// A folder has a data set that can only be split by class.
    #[error(
        "{} has no training and test files, only {found}: use split=class, \
         which holds out whole classes",
        shown(path)
    )]
    NeedsClassSplit {
        /// The folder.
        path: PathBuf,
        /// The files that exist.
        found: String,
    },

    /// Images have unknown classes.
    #[error(
        "{}: the model does not know {}: its classes are {}",
        escaped(dataset),
        joined(unknown),
        joined(known)
    )]
    UnknownClasses {
        /// The spec of the data set.
        dataset: String,
        /// The unknown classes of the images.
        unknown: Vec<String>,
        /// The classes that are known.
        known: Vec<String>,
    },

    /// The classes of a data set must be matched by name but have no names.
    #[error(
        "{}: its classes have no names, so they cannot be matched with {}",
        escaped(dataset),
        joined(known)
    )]
    UnnamedClasses {
        /// The spec of the data set.
        dataset: String,
        /// The classes that are known.
        known: Vec<String>,
    },

    /// A line in the middle of a file of class names is blank.
    #[error(
        "{}: line {line} (from 1) is blank, but each line must have the name of a class",
        shown(path)
    )]
    BlankClass {
        /// The file.
        path: PathBuf,
        /// The number of the line, counted from 1.
        line: usize,
    },

    /// A data set of the hub, in a program without the feature `hub`.
    #[error(
        "{spec}: data sets of the hub need the feature `hub`, with which this program was not built"
    )]
    WithoutHub {
        /// The spec.
        spec: String,
    },

    /// A data set of the hub cannot be fetched.
    #[cfg(feature = "hub")]
    #[error(transparent)]
    Hub(#[from] pixelcnn_hub::HubError),

    /// The files of a data set of the hub are not those that were asked for.
    #[error("{}: {}", escaped(place), escaped(reason))]
    Parquet {
        /// The data set, or a file and a position in it.
        place: String,
        /// What is wrong, and what is there.
        reason: String,
    },

    /// A spec has no known form.
    #[error("unknown data set {spec:?}\nknown forms:{}", forms())]
    UnknownSpec {
        /// The spec as it was given.
        spec: String,
    },

    /// A spec has a known form, with a mistake in it.
    #[error("invalid data set {spec:?}: {}", escaped(reason))]
    BadSpec {
        /// The spec as it was given.
        spec: String,
        /// What is wrong with it.
        reason: String,
    },

    /// The number of values is not that of the images.
    #[error(
        "{values} values are not {images} images of {channels}x{height}x{width} \
         (channels, height, width; each at least 1)"
    )]
    ImageValues {
        /// Number of given values.
        values: usize,
        /// Number of given labels, that is, of images.
        images: usize,
        /// Channels of an image.
        channels: usize,
        /// Rows of an image.
        height: usize,
        /// Columns of an image.
        width: usize,
    },

    /// A range is beyond the last image.
    #[error("images {} to {} (excluded) requested, but there are only {images}", range.start, range.end)]
    Range {
        /// The range.
        range: Range<usize>,
        /// How many images there are.
        images: usize,
    },

    /// There is no image with an index.
    #[error("image {index} (from 0) requested, but there are only {images}")]
    Index {
        /// The index.
        index: usize,
        /// How many images there are.
        images: usize,
    },

    /// The number of captions is not that of the images.
    #[error("{} for {}: each image needs one caption", counted(*captions, "caption"), counted(*images, "image"))]
    Captions {
        /// Number of given captions.
        captions: usize,
        /// How many images there are.
        images: usize,
    },

    /// A split of a data set has no images.
    #[error("the data set {} has no images in its {split} split: {}", escaped(dataset), remedy(dataset, *split))]
    EmptySplit {
        /// The name of the data set.
        dataset: String,
        /// The split.
        split: Split,
    },

    /// A text is not the name of a split.
    #[error("unknown split {given:?}; the splits are train, valid and test")]
    UnknownSplit {
        /// The text.
        given: String,
    },

    /// Batches of this size cannot be made.
    #[error(
        "cannot make batches of {batch} from {}: \
         a batch has at least one image and at most all images",
        counted(*images, "image")
    )]
    BatchSize {
        /// The size of a batch.
        batch: usize,
        /// How many images there are.
        images: usize,
    },

    /// Batches of groups of images of one label cannot be made.
    #[error(
        "cannot make batches of {batch} from groups of {each} images of one label: \
         the batch must be a multiple of the group, and at most the {grouped} images \
         that fill such groups"
    )]
    Groups {
        /// The size of a batch.
        batch: usize,
        /// The size of a group.
        each: usize,
        /// How many images fill groups of their labels.
        grouped: usize,
    },

    /// Candle could not make a tensor.
    #[error(transparent)]
    Tensor(#[from] candle_core::Error),
}

impl DataError {
    /// An error for two files of which only one should exist.
    pub(crate) fn both(path: PathBuf, other: &Path) -> Self {
        let reason = format!(
            "the same folder has {}: keep one of the two",
            other.display()
        );
        Self::Folder { path, reason }
    }

    /// The message, with the error of the system.
    pub(crate) fn whole(&self) -> String {
        match self {
            Self::Read { source, .. } => format!("{self}: {source}"),
            other => other.to_string(),
        }
    }
}

/// One line per entry, indented.
fn list<T: AsRef<std::ffi::OsStr>>(entries: &[T]) -> String {
    entries
        .iter()
        .map(|entry| format!("\n  {}", shown(entry.as_ref().as_ref())))
        .collect()
}

/// The forms of a spec, each followed by its description, in lines of 80 columns.
fn forms() -> String {
    let lines = |(form, what): &(&str, &str)| {
        // A line may start with an option or a word.
        let options = form.replace("[,", "\0[,");
        wrapped(2, options.split('\0')) + &wrapped(6, what.split_inclusive(' '))
    };
    DataSpec::FORMS.iter().map(lines).collect()
}

/// Wraps parts into lines that begin with `indent` spaces.
fn wrapped<'a>(indent: usize, parts: impl Iterator<Item = &'a str>) -> String {
    let (mut text, mut length) = (String::new(), 80);
    for part in parts {
        if length + part.trim_end().len() > 80 {
            text = format!("{}\n{:indent$}", text.trim_end(), "");
            length = indent;
        }
        text += part;
        length += part.len();
    }
    text
}

/// Limit on the number of named errors.
const NAMED: usize = 20;

/// Several errors, one per line, up to the limit.
pub(crate) fn several<T: Borrow<DataError>>(errors: &[T]) -> String {
    let first = errors.iter().take(NAMED);
    let mut text: String = first
        .map(|error| format!("\n  {}", error.borrow().whole()))
        .collect();
    if errors.len() > NAMED {
        text += &format!("\n  and {} more", errors.len() - NAMED);
    }
    text
}

fn way_out(unusable: &[DataError], pictures: usize) -> String {
    let is_small = |error: &DataError| matches!(error, DataError::PictureSize { .. });
    let mut text = match unusable.len() < pictures {
        true => "repair or remove them, or add ,on_error=skip to the data set to leave them out",
        false => "there is no other picture",
    }
    .to_string();
    if unusable.iter().any(is_small) {
        text += "; with ,enlarge small pictures are scaled up";
    }
    text
}

/// What gives a split its images, for the kind of the data set.
fn remedy(dataset: &str, split: Split) -> String {
    let kind = dataset.split_once(':').map_or("", |(kind, _)| kind);
    match (kind, split) {
        ("records" | "tokens", Split::Train) => "its file has none, and needs at least one".into(),
        ("records" | "tokens", Split::Valid) => format!(
            "give a file for it, as in {kind}:TRAIN,valid=FILE, \
             or give 10 or more images; a tenth of them is then held out"
        ),
        ("records" | "tokens", Split::Test) => {
            format!("give a file for it, as in {kind}:TRAIN,test=FILE")
        }
        ("folder", split) => format!(
            "add pictures to the folder, so that a part of them is held out, or make the \
             subfolders train, valid and test and put pictures into {split}"
        ),
        _ => "its files have none for this split".into(),
    }
}
