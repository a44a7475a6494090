//! Readers for each kind of data set.

mod cifar10;
mod emoji32;
mod files;
mod fixtures;
mod folder;
mod imagenet;
mod mnist;
mod photos32;
mod tokens;

use crate::{DataError, DataSpec, Dataset};

/// Reads a data set into memory.
///
/// If a data set has no validation images, a fixed tenth of its
/// training images (index ending in 9) becomes the validation split.
///
/// ```
/// use pixelcnn_data::{DataSpec, load};
///
/// let dataset = load(&DataSpec::Photos32)?;
/// assert_eq!(dataset.train.shape(), (3, 32, 32));
/// assert_eq!(dataset.train.len(), 2048);
/// # Ok::<(), pixelcnn_data::DataError>(())
/// ```
///
/// # Errors
///
/// If a file is missing, cannot be read, is empty or truncated, or
/// has a label without a class; the message names the file and the place
/// in it.
pub fn load(spec: &DataSpec) -> Result<Dataset, DataError> {
    let name = spec.to_string();
    let dataset = match spec {
        DataSpec::Photos32 => photos32::load(name),
        DataSpec::Emoji32 { labels } => emoji32::load(name, *labels),
        DataSpec::Cifar10 { path } => cifar10::load(name, path),
        DataSpec::Mnist { path, split } => mnist::load(name, path, *split),
        DataSpec::Records(records) => files::load(name, records),
        DataSpec::Folder(spec) => folder::load(name, spec),
        DataSpec::Tokens(spec) => tokens::load(name, spec),
        DataSpec::ImageNet32 { path } => imagenet::load(name, path, 32),
        DataSpec::ImageNet64 { path } => imagenet::load(name, path, 64),
    }?;
    tracing::debug!(
        name = dataset.name,
        train = dataset.train.len(),
        valid = dataset.valid.len(),
        test = dataset.test.len(),
        classes = dataset.classes.len(),
        "data set loaded"
    );
    Ok(dataset)
}
