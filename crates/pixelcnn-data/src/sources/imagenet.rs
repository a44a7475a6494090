//! Downsampled ImageNet, in either of its two published forms.
//!
//! The two were made with different filters and have different pixels.
//! The name of the data set says which one was read.

mod npz;
mod pictures;

use std::path::Path;

use crate::{DataError, Dataset, Images, file, memory};
use pixelcnn_system::counted;

/// The last of this many consecutive training images is a validation image.
const HELD_OUT: usize = 100;

pub(super) fn load(name: String, folder: &Path, side: usize) -> Result<Dataset, DataError> {
    file::check_folder(folder)?;
    match (npz::is_there(folder), pictures::is_there(folder, side)) {
        (true, false) => npz::load(format!("{name} (npz batches)"), folder, side),
        (false, true) => pictures::load(format!("{name} (PNG files)"), folder, side),
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

/// Checks the memory for this many images of `size` values.
fn check_memory(folder: &Path, images: usize, size: usize) -> Result<(), DataError> {
    // A label has four bytes; vectors and read buffers take some more.
    let bytes = (images as u64).saturating_mul(size as u64 + 4);
    memory::check_for(
        folder,
        counted(images, "image"),
        bytes.saturating_add(bytes / 10),
    )
}

/// Images during reading, with the held-out ones separate: separating them afterwards
/// would need twice the memory, which is gigabytes.
#[derive(Default)]
struct Parts {
    train: Part,
    valid: Part,
    count: usize,
}

/// The images of a split, during reading.
#[derive(Default)]
struct Part {
    values: Vec<u8>,
    labels: Vec<u32>,
}

impl Parts {
    /// Reserves memory for this many images of `size` values.
    fn reserve(&mut self, images: usize, size: usize) {
        let held_out = images / HELD_OUT + 1;
        self.train
            .values
            .reserve_exact(images.saturating_sub(images / HELD_OUT) * size);
        self.valid.values.reserve_exact(held_out * size);
    }

    fn push(&mut self, values: &[u8], label: u32) {
        self.count += 1;
        let held_out = self.count.is_multiple_of(HELD_OUT);
        let part = if held_out {
            &mut self.valid
        } else {
            &mut self.train
        };
        part.push(values, label);
    }
}

impl Part {
    fn push(&mut self, values: &[u8], label: u32) {
        self.values.extend_from_slice(values);
        self.labels.push(label);
    }

    fn images(self, side: usize) -> Result<Images, DataError> {
        Images::new((3, side, side), self.values, self.labels)
    }
}

fn dataset(name: String, side: usize, parts: Parts, test: Part) -> Result<Dataset, DataError> {
    Ok(Dataset {
        name,
        train: parts.train.images(side)?,
        valid: parts.valid.images(side)?,
        test: test.images(side)?,
        classes: Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use tempfile::tempdir;

    use super::*;
    use crate::testing::{assert_says, write};

    #[test]
    fn the_last_of_each_hundred_is_held_out() {
        let mut parts = Parts::default();
        (0..250).for_each(|label| parts.push(&[label as u8; 3], label));
        let dataset = dataset("some".into(), 1, parts, Part::default()).unwrap();
        assert_eq!(dataset.valid.labels(), [99, 199]);
        assert_eq!(dataset.train.len(), 248);
        assert_eq!(dataset.train.labels()[99], 100);
        assert_eq!(
            dataset.valid.values().as_bytes().unwrap(),
            [99, 99, 99, 199, 199, 199]
        );
    }

    #[test]
    fn neither_form_or_both_is_an_error() {
        let folder = tempdir().unwrap();
        let load = |side| load("imagenet32:x".into(), folder.path(), side).unwrap_err();
        assert_says(&load(32), &["neither", "val_data.npz nor train_32x32"]);
        std::fs::create_dir(folder.path().join("train_32x32")).unwrap();
        assert_says(&load(64), &["neither", "train_64x64"]);
        write(folder.path(), "val_data.npz", "");
        assert_says(&load(32), &["both", "different data"]);
    }
}
