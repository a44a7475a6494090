//! Data specs: the names of data sets.

mod folder;
mod hub;
mod options;
mod path;
mod records;
mod tokens;

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::DataError;
use options::Options;

pub use folder::{FolderSpec, OnError, SmallPictures};
pub use hub::HubSpec;
pub(crate) use records::DEFAULT_SIDE;
pub use records::RecordsSpec;
pub use tokens::TokensSpec;

/// A data spec: the name of a data set, and the place of its files.
///
/// | text | data set |
/// |---|---|
/// | `photos32` | a small set of photographs, included in the source |
/// | `emoji32[:identities]` | a small set of emoji with captions, included in the source |
/// | `cifar10:PATH` | CIFAR-10, from its folder or its published archive |
/// | `mnist:DIR[,split=class][,classes=FILE]` | grey images in MNIST's IDX files, of any size |
/// | `records:TRAIN[,valid=FILE][,test=FILE][,classes=FILE][,captions=COLUMN][,side=N]` | files of binary records |
/// | `folder:DIR[,side=N][,split=class][,on_error=skip][,enlarge][,depth=16][,channels=1][,alpha=refuse]` | PNG and JPEG files, or one subfolder per class or split |
/// | `DIR` | the same: an existing folder, or a path with a separator |
/// | `tokens:TRAIN[,valid=FILE][,test=FILE][,levels=N]` | grids of codes, .npy or .safetensors |
/// | `imagenet32:DIR`, `imagenet64:DIR` | downsampled ImageNet, in either of its two published forms |
/// | `hf:OWNER/NAME[@REVISION][,config=NAME][,split=NAME][,image=COLUMN][,label=COLUMN]` | a data set of the Hugging Face hub (feature `hub`) |
/// | `cifar10`, `cifar100`, `mnist`, `fashion-mnist` | the same for well-known data sets |
///
/// [`DataSpec::FORMS`] is this table for programs. The text of a spec parses back to the
/// same spec. A path cannot contain a comma if options can follow it, and must be UTF-8.
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
    /// The data set in `fixtures/photos32`, found with the environment
    /// variable `PIXELCNN_FIXTURES`, or in the parents of the current directory or of the
    /// program.
    Photos32,
    /// The data set in `fixtures/emoji32`, found in the same way.
    Emoji32 {
        /// The images and their labels.
        labels: EmojiLabels,
    },
    /// CIFAR-10: a folder with the published binary files, a folder that
    /// contains `cifar-10-batches-bin`, or the file `cifar-10-binary.tar.gz`.
    Cifar10 {
        /// The folder or the archive.
        path: PathBuf,
    },
    /// Grey images and their labels in IDX files, each gzipped (`.gz`) or not:
    /// `train-images-idx3-ubyte`, `train-labels-idx1-ubyte` and the two of
    /// `t10k`, or the same with a dot before `idx`. With a split by class, a single pair
    /// `images-idx3-ubyte` and `labels-idx1-ubyte` is also read.
    Mnist {
        /// The folder of the files.
        path: PathBuf,
        /// How the splits are made.
        split: SplitBy,
        /// The file with the names of the classes, one per line; without it, the classes have
        /// no names.
        classes: Option<PathBuf>,
    },
    /// Files of binary records.
    Records(RecordsSpec),
    /// A folder of image files.
    Folder(FolderSpec),
    /// Grids of codes.
    Tokens(TokensSpec),
    /// ImageNet in 32x32 pixels: a folder of either published form, see
    /// [`DataSpec::ImageNet64`].
    ImageNet32 {
        /// The folder.
        path: PathBuf,
    },
    /// ImageNet in 64x64 pixels: a folder with the files `train_data_batch_1.npz`
    /// to `train_data_batch_10.npz` and `val_data.npz` (Chrabaszcz et al., 2017,
    /// with labels), or one with the subfolders `train_64x64` and `valid_64x64`
    /// of PNG files (van den Oord et al., 2016, without labels). The two were made
    /// with different filters: they are different data, and bits/dim on one
    /// cannot be compared with bits/dim on the other.
    ImageNet64 {
        /// The folder.
        path: PathBuf,
    },
    /// A data set of the Hugging Face hub.
    Hub(HubSpec),
}

/// The labels of `emoji32`.
///
/// ```
/// use pixelcnn_data::{DataSpec, EmojiLabels, Split, load};
///
/// let labels = EmojiLabels::Identity;
/// assert_eq!("emoji32:identities".parse::<DataSpec>()?, DataSpec::Emoji32 { labels });
/// // Each of these emoji is there in six colours.
/// let dataset = load(&DataSpec::Emoji32 { labels })?;
/// assert_eq!(dataset.images(Split::Train)?.labels()[..7], [0, 0, 0, 0, 0, 0, 1]);
/// # Ok::<(), pixelcnn_data::DataError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EmojiLabels {
    /// All images, labelled by category.
    Category,
    /// Only the emoji that come in five skin tones besides their own, labelled by which
    /// emoji it is. No emoji is in two splits.
    Identity,
}

/// How the splits of a data set are made.
///
/// ```
/// use pixelcnn_data::{DataSpec, SplitBy};
///
/// let spec: DataSpec = "mnist:faces,split=class".parse()?;
/// let (path, classes) = ("faces".into(), None);
/// assert_eq!(spec, DataSpec::Mnist { path, split: SplitBy::Class, classes });
/// # Ok::<(), pixelcnn_data::DataError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SplitBy {
    /// Single images: each split has images of every class.
    Image,
    /// Whole classes: no class of the validation or the test split is in the
    /// training split. The classes are ordered by a fixed hash of their
    /// names. The first quarter (rounded down, at least one) is the test split,
    /// a fifth of the others (rounded in the same way) the validation split.
    Class,
}

impl DataSpec {
    /// The folder of image files in which every file and subfolder is part of the data.
    ///
    /// ```
    /// use std::path::Path;
    /// use pixelcnn_data::DataSpec;
    ///
    /// let spec: DataSpec = "folder:photos,side=64".parse()?;
    /// assert_eq!(spec.folder(), Some(Path::new("photos")));
    /// assert_eq!(DataSpec::Photos32.folder(), None);
    /// # Ok::<(), pixelcnn_data::DataError>(())
    /// ```
    pub fn folder(&self) -> Option<&Path> {
        match self {
            Self::Folder(folder) => Some(&folder.path),
            _ => None,
        }
    }

    /// The name of the data set on the Hugging Face hub, `OWNER/NAME`, for one of the hub.
    ///
    /// ```
    /// use pixelcnn_data::DataSpec;
    ///
    /// assert_eq!("mnist".parse::<DataSpec>()?.hub_name(), Some("ylecun/mnist"));
    /// assert_eq!(DataSpec::Photos32.hub_name(), None);
    /// # Ok::<(), pixelcnn_data::DataError>(())
    /// ```
    pub fn hub_name(&self) -> Option<&str> {
        match self {
            Self::Hub(hub) => hub.repository.split('@').next(),
            _ => None,
        }
    }

    /// The forms of a spec, each with a description in one line.
    ///
    /// ```
    /// use pixelcnn_data::DataSpec;
    ///
    /// let (form, what) = DataSpec::FORMS[0];
    /// assert_eq!(form, "photos32");
    /// assert!(what.contains("included in the source"));
    /// ```
    pub const FORMS: &[(&str, &str)] = &[
        (
            "photos32",
            "crops of photographs, 32x32; included in the source",
        ),
        (
            "emoji32[:identities]",
            "emoji with their names as captions, 32x32; included in the source",
        ),
        (
            "cifar10:PATH",
            "the folder cifar-10-batches-bin, or the archive cifar-10-binary.tar.gz",
        ),
        (
            "mnist:DIR[,split=class][,classes=FILE]",
            "grey images in IDX files, gzipped or not: MNIST, Fashion-MNIST",
        ),
        (
            "records:TRAIN[,valid=FILE][,test=FILE][,classes=FILE][,captions=COLUMN][,side=N]",
            "files of binary records: a label byte, then the red, green and blue plane",
        ),
        (
            "folder:DIR[,side=N][,split=class][,on_error=skip][,enlarge][,depth=16][,channels=1][,alpha=refuse]",
            "PNG and JPEG files in one folder, or in one subfolder per class, or in the \
             subfolders train, valid and test; DIR alone means the same",
        ),
        (
            "tokens:TRAIN[,valid=FILE][,test=FILE][,levels=N]",
            "grids of codes [n, h, w] in .npy or .safetensors files, optionally with labels",
        ),
        (
            "imagenet32:DIR, imagenet64:DIR",
            "ImageNet as npz batches, or as the folders train_NxN and valid_NxN of PNG files",
        ),
        (
            "hf:OWNER/NAME[@REVISION][,config=NAME][,split=NAME][,image=COLUMN][,label=COLUMN]",
            "a data set of the Hugging Face hub: Parquet files with pictures of one size",
        ),
        (
            "cifar10, cifar100, mnist, fashion-mnist",
            "the same for well-known data sets of the hub",
        ),
    ];
}

impl fmt::Display for DataSpec {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Photos32 => formatter.write_str("photos32"),
            Self::Emoji32 { labels } => formatter.write_str(match labels {
                EmojiLabels::Category => "emoji32",
                EmojiLabels::Identity => "emoji32:identities",
            }),
            Self::Cifar10 { path } => write!(formatter, "cifar10:{}", path.display()),
            Self::Mnist {
                path,
                split,
                classes,
            } => {
                write!(formatter, "mnist:{}{split}", path.display())?;
                let Some(classes) = classes else {
                    return Ok(());
                };
                write!(formatter, ",classes={}", classes.display())
            }
            Self::Records(records) => write!(formatter, "records:{records}"),
            Self::Folder(folder) => write!(formatter, "folder:{folder}"),
            Self::Tokens(tokens) => write!(formatter, "tokens:{tokens}"),
            Self::ImageNet32 { path } => write!(formatter, "imagenet32:{}", path.display()),
            Self::ImageNet64 { path } => write!(formatter, "imagenet64:{}", path.display()),
            Self::Hub(hub) => write!(formatter, "hf:{hub}"),
        }
    }
}

/// The option of a spec, with its comma; empty for the default.
impl fmt::Display for SplitBy {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Image => "",
            Self::Class => ",split=class",
        })
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
            ("emoji32", None) => Ok(Self::Emoji32 {
                labels: EmojiLabels::Category,
            }),
            ("emoji32", Some("identities")) => Ok(Self::Emoji32 {
                labels: EmojiLabels::Identity,
            }),
            (short, None) if hub::of_short_name(short).is_some() => {
                let hub = hub::of_short_name(short).unwrap_or_default();
                Ok(Self::Hub(hub::parse(hub).map_err(bad)?))
            }
            ("hf", rest) => {
                let hub = hub::parse(rest.unwrap_or_default()).map_err(bad)?;
                Ok(Self::Hub(hub))
            }
            ("cifar10", None | Some("")) => Err(bad(
                "it needs a path: use cifar10:PATH, where PATH is the folder \
                 cifar-10-batches-bin or the file cifar-10-binary.tar.gz, or cifar10 for the \
                 hub"
                .into(),
            )),
            ("cifar10", Some(path)) => Ok(Self::Cifar10 { path: path.into() }),
            ("mnist", rest) => parse_mnist(rest.unwrap_or_default()).map_err(bad),
            ("records", rest) => {
                let records = records::parse(rest.unwrap_or_default()).map_err(bad)?;
                Ok(Self::Records(records))
            }
            ("folder", rest) => {
                let folder = folder::parse(rest.unwrap_or_default()).map_err(bad)?;
                Ok(Self::Folder(folder))
            }
            ("tokens", rest) => {
                let tokens = tokens::parse(rest.unwrap_or_default()).map_err(bad)?;
                Ok(Self::Tokens(tokens))
            }
            ("imagenet32" | "imagenet64", None | Some("")) => Err(bad(format!(
                "it needs a folder: use {name}:DIR, where DIR has the npz batches or the folders of PNG \
                 files"
            ))),
            ("imagenet32", Some(path)) => Ok(Self::ImageNet32 { path: path.into() }),
            ("imagenet64", Some(path)) => Ok(Self::ImageNet64 { path: path.into() }),
            _ => match path::parse(text) {
                Some(parsed) => parsed.map_err(bad),
                None => Err(DataError::UnknownSpec { spec: text.into() }),
            },
        }
    }
}

/// Parses the text after `mnist:`; the error is only the reason.
fn parse_mnist(text: &str) -> Result<DataSpec, String> {
    let needs = "it needs a folder of IDX files: use mnist:DIR";
    let options = Options::read(text, needs, &["split=class", "classes=FILE"])?;
    Ok(DataSpec::Mnist {
        path: options.path(),
        split: options.split()?,
        classes: options.value("classes").map(PathBuf::from),
    })
}

#[cfg(test)]
mod tests;
