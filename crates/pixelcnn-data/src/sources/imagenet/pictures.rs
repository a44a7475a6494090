//! The form of van den Oord et al., 2016: folders of PNG files, without labels.

use std::path::{Path, PathBuf};

use super::{HELD_OUT, check_memory};
use crate::decoding::{Decoding, refuse_unusable};
use crate::listing::Listing;
use crate::picture::exact_square;
use crate::{DataError, Dataset, Depth};

/// The subfolders of the training and the test images.
fn folders(side: usize) -> [String; 2] {
    ["train", "valid"].map(|split| format!("{split}_{side}x{side}"))
}

/// Whether a folder has either subfolder of this form.
pub(super) fn is_there(folder: &Path, side: usize) -> bool {
    folders(side).iter().any(|name| folder.join(name).is_dir())
}

pub(super) fn load(name: String, folder: &Path, side: usize) -> Result<Dataset, DataError> {
    let [train, test] = folders(side).map(|name| folder.join(name));
    let (train, test) = (Listing::pictures_of(&train)?, Listing::pictures_of(&test)?);
    check_memory(folder, train.len() + test.len(), 3 * side * side)?;
    let is_held_out = |&(index, _): &(usize, PathBuf)| (index + 1).is_multiple_of(HELD_OUT);
    let (valid, train): (Vec<_>, Vec<_>) = train.into_iter().enumerate().partition(is_held_out);
    let paths = |files: Vec<(usize, PathBuf)>| files.into_iter().map(|(_, path)| path).collect();
    let mut decoded = [paths(train), paths(valid), test].map(|paths: Vec<PathBuf>| {
        let shape = (3, side, side);
        Decoding::new(paths, shape, Depth::Eight, |path| exact_square(path, side))
    });
    refuse_unusable(folder, &mut decoded)?;
    let [train, valid, test] = decoded.map(|split| {
        let labels = vec![0; split.usable()];
        split.images(labels)
    });
    Ok(Dataset {
        name,
        train: train?,
        valid: valid?,
        test: test?,
        classes: Vec::new(),
    })
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
        crate::load(
            &format!("imagenet64:{}", folder.path().display())
                .parse()
                .unwrap(),
        )
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
        assert_eq!(dataset.train.shape(), (3, 64, 64));
        let values: Vec<u8> = (0..100)
            .map(|index| dataset.train.image(index)[0])
            .collect();
        assert!(values.into_iter().eq((0..99).chain([100])));
        assert_eq!(dataset.valid.image(0)[0], 99);
        assert_eq!(
            dataset.test.values().as_bytes().unwrap(),
            [200; 3 * 64 * 64]
        );
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
