//! Downsampled ImageNet, in either of its two published forms.
//!
//! The two were made with different filters and have different pixels.
//! The name of the data set says which one was read.

mod npz;
mod pictures;

use std::path::Path;

use crate::cache::Kept;
use crate::decoding::{Shape, images_of};
use crate::lazy::Lazy;
use crate::{DataError, Dataset, Depth, Loading, Split, file};

/// The last of this many consecutive training images is a validation image.
const HELD_OUT: usize = 100;

pub(super) fn load(
    name: String,
    folder: &Path,
    side: usize,
    loading: &Loading,
) -> Result<Dataset, DataError> {
    file::check_folder(folder)?;
    match (npz::is_there(folder), pictures::is_there(folder, side)) {
        (true, false) => npz::load(format!("{name} (npz batches)"), folder, side, loading),
        (false, true) => pictures::load(format!("{name} (PNG files)"), folder, side, loading),
        (both, _) => Err(DataError::Folder {
            path: folder.into(),
            reason: format!(
                "{} train_data_batch_1.npz to train_data_batch_10.npz with val_data.npz {} \
                 train_{side}x{side} with valid_{side}x{side}, which are different data: \
                 use a folder with only one of the two",
                if both {
                    "this folder has both"
                } else {
                    "this folder has neither"
                },
                if both { "and" } else { "nor" },
            ),
        }),
    }
}

/// The split of a training image: the last image of every hundred is held out.
fn split_of(index: usize) -> Split {
    match (index + 1).is_multiple_of(HELD_OUT) {
        true => Split::Valid,
        false => Split::Train,
    }
}

/// A data set that decodes the training or test images at the first use of their split.
fn dataset(
    name: String,
    side: usize,
    make: impl Fn(Part) -> Result<Kept, DataError> + Clone + Send + Sync + 'static,
) -> Dataset {
    let shape = shape(side);
    let of = |part| {
        let make = make.clone();
        Lazy::new(move || make(part))
    };
    let (train, test) = (of(Part::Train), of(Part::Test));
    Dataset::lazy(name, Vec::new(), move |split| {
        let kept = match split {
            Split::Train | Split::Valid => train.get()?,
            Split::Test => test.get()?,
        };
        images_of(split, &shape, kept)
    })
}

/// The splits that have their own files.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Part {
    Train,
    Test,
}

fn shape(side: usize) -> Shape {
    Shape {
        image: (3, side, side),
        depth: Depth::Eight,
    }
}

#[cfg(test)]
mod tests {
    use tempfile::tempdir;

    use super::*;
    use crate::testing::{assert_says, write};

    #[test]
    fn the_last_of_each_hundred_is_held_out() {
        let held_out = |index: &usize| split_of(*index) == Split::Valid;
        let held_out: Vec<usize> = (0..250).filter(held_out).collect();
        assert_eq!(held_out, [99, 199]);
    }

    #[test]
    fn neither_form_or_both_is_an_error() {
        let folder = tempdir().unwrap();
        let loading = Loading::default();
        let load = |side| {
            let dataset = load("imagenet32:x".into(), folder.path(), side, &loading);
            dataset.unwrap_err()
        };
        assert_says(&load(32), &["neither", "val_data.npz nor train_32x32"]);
        std::fs::create_dir(folder.path().join("train_32x32")).unwrap();
        assert_says(&load(64), &["neither", "train_64x64"]);
        write(folder.path(), "val_data.npz", "");
        assert_says(&load(32), &["both", "different data"]);
    }
}
