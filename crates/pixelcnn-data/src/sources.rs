//! Readers for each kind of data set.

mod cifar10;
mod emoji32;
mod fixtures;
mod folder;
#[cfg(feature = "hub")]
mod hub;
mod imagenet;
mod mnist;
mod photos32;
mod records;
mod tokens;

use crate::{DataError, DataSpec, Dataset, Loading};

pub(crate) use records::record_length;

/// Opens a data set with the user's cache.
///
/// Class names and lists of files are read immediately. A split is opened at its first use
/// ([`Dataset::split`]), and only then is a missing or broken file an error. An open split
/// has labels and captions in memory. Values in records, IDX, NumPy and safetensors files
/// stay there and are read when they are used. The pictures of a folder, the files of
/// ImageNet, those of Parquet files, and records of more than 256 MiB unpacked are decoded once
/// into files of the [`Cache`](crate::Cache). The files of a data set of the hub are fetched
/// immediately. Smaller gzipped files and the archive of CIFAR-10 are unpacked
/// in memory.
///
/// If a data set has no validation images, a fixed tenth of its
/// training images (index ending in 9) becomes the validation split.
///
/// ```
/// use pixelcnn_data::{DataSpec, Split, load};
///
/// let train = load(&DataSpec::Photos32)?.split(Split::Train)?.clone();
/// assert_eq!(train.shape(), (3, 32, 32));
/// assert_eq!(train.len(), 2048);
/// # Ok::<(), pixelcnn_data::DataError>(())
/// ```
///
/// # Errors
///
/// If a file that is read immediately is missing or broken. The message has the file and
/// the position.
pub fn load(spec: &DataSpec) -> Result<Dataset, DataError> {
    load_with(spec, &Loading::default())
}

/// The same with another cache or with progress reports.
///
/// # Errors
///
/// As [`load`].
pub fn load_with(spec: &DataSpec, loading: &Loading) -> Result<Dataset, DataError> {
    let name = spec.to_string();
    let dataset = match spec {
        DataSpec::Photos32 => photos32::load(name, loading),
        DataSpec::Emoji32 { labels } => emoji32::load(name, *labels, loading),
        DataSpec::Cifar10 { path } => cifar10::load(name, path),
        DataSpec::Mnist {
            path,
            split,
            classes,
        } => mnist::load(name, path, *split, classes.as_deref()),
        DataSpec::Records(records) => records::load(name, records, loading),
        DataSpec::Folder(spec) => folder::load(name, spec, loading),
        DataSpec::Tokens(spec) => Ok(tokens::load(name, spec)),
        DataSpec::ImageNet32 { path } => imagenet::load(name, path, 32, loading),
        DataSpec::ImageNet64 { path } => imagenet::load(name, path, 64, loading),
        #[cfg(feature = "hub")]
        DataSpec::Hub(spec) => hub::load(name, spec, loading),
        #[cfg(not(feature = "hub"))]
        DataSpec::Hub(_) => Err(DataError::WithoutHub { spec: name }),
    }?;
    tracing::debug!(
        name = dataset.name,
        classes = dataset.classes.len(),
        "data set loaded"
    );
    Ok(dataset)
}
