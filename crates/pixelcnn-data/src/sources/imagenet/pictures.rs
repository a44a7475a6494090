//! The form of van den Oord et al., 2016: folders of PNG files, without labels.

use std::path::Path;

use super::{Part, dataset, shape, split_of};
use crate::cache::{self, Kept, Key};
use crate::decoding::{Decoding, Picture};
use crate::file::check_folder;
use crate::listing::Listing;
use crate::picture::exact_square;
use crate::{DataError, Dataset, Loading, OnError, Split};

/// The subfolders of the training and the test images.
fn folders(side: usize) -> [String; 2] {
    ["train", "valid"].map(|split| format!("{split}_{side}x{side}"))
}

/// Whether a folder has either subfolder of this form.
pub(super) fn is_there(folder: &Path, side: usize) -> bool {
    folders(side).iter().any(|name| folder.join(name).is_dir())
}

pub(super) fn load(
    name: String,
    folder: &Path,
    side: usize,
    loading: &Loading,
) -> Result<Dataset, DataError> {
    let folders = folders(side).map(|name| folder.join(name));
    folders.iter().try_for_each(|folder| check_folder(folder))?;
    let loading = loading.clone();
    let make = move |part| {
        let [train, test] = &folders;
        match part {
            Part::Train => decoded(train, side, split_of, &loading),
            Part::Test => decoded(test, side, |_| Split::Test, &loading),
        }
    };
    Ok(dataset(name, side, make))
}

/// The pictures of a folder, from the cache if they are there.
fn decoded(
    folder: &Path,
    side: usize,
    split: fn(usize) -> Split,
    loading: &Loading,
) -> Result<Kept, DataError> {
    let paths = Listing::pictures_of(folder)?.into_iter().enumerate();
    let pictures: Vec<Picture> = paths
        .map(|(index, path)| Picture {
            path,
            label: 0,
            split: split(index),
        })
        .collect();
    let key = || {
        let files = pictures.iter().map(|picture| picture.path.as_path());
        Key::new("imagenet", folder, &side.to_string(), files)
    };
    let decoding = Decoding {
        folder,
        pictures: &pictures,
        shape: shape(side),
        on_error: OnError::Refuse,
        decode: |path: &Path| exact_square(path, side),
    };
    cache::kept(loading, key, |sink| decoding.run(sink, loading))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use image::{Rgb, RgbImage};
    use tempfile::{TempDir, tempdir};

    use super::*;
    use crate::testing::assert_says;

    fn paint(folder: &TempDir, split: &str, name: &str, side: u32, value: u8) {
        let folder = folder.path().join(split);
        fs::create_dir_all(&folder).unwrap();
        RgbImage::from_pixel(side, side, Rgb([value; 3]))
            .save(folder.join(name))
            .unwrap();
    }

    fn load(folder: &TempDir) -> Result<Dataset, DataError> {
        crate::testing::load(&format!("imagenet64:{}", folder.path().display()))
    }

    #[test]
    fn the_files_are_read_in_the_order_of_their_names() {
        let folder = tempdir().unwrap();
        for value in 0..101 {
            paint(
                &folder,
                "train_64x64",
                &format!("{value:07}.png"),
                64,
                value,
            );
        }
        paint(&folder, "valid_64x64", "0.png", 64, 200);
        let dataset = load(&folder).unwrap();
        assert!(dataset.name.ends_with("(PNG files)"), "{}", dataset.name);
        assert_eq!(dataset.train().shape(), (3, 64, 64));
        let values: Vec<u8> = (0..100)
            .map(|index| dataset.train().image(index)[0])
            .collect();
        assert!(values.into_iter().eq((0..99).chain([100])));
        assert_eq!(dataset.valid().image(0)[0], 99);
        assert_eq!(dataset.test().bytes(), [200; 3 * 64 * 64]);
        assert!(dataset.classes.is_empty());
    }

    #[test]
    fn a_missing_folder_and_a_wrong_size_are_named() {
        let folder = tempdir().unwrap();
        paint(&folder, "train_64x64", "0.png", 64, 1);
        assert_says(&load(&folder).unwrap_err(), &["valid_64x64"]);
        paint(&folder, "valid_64x64", "1.png", 32, 1);
        assert_says(&load(&folder).unwrap_err(), &["1.png", "32x32", "64x64"]);
    }
}
