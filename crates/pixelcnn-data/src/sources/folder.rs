//! Folders of PNG and JPEG files.

mod tree;

use std::path::PathBuf;

use crate::decoding::{Decoding, refuse_unusable, skip_unusable};
use crate::listing::{name, pass_over};
use crate::partition::{of_classes, of_path};
use crate::picture::central_square;
use crate::{DataError, Dataset, Depth, FolderSpec, OnError, Split, SplitBy, memory};
use pixelcnn_system::counted;
use tree::{Picture, Tree};

const SPLITS: [Split; 3] = [Split::Train, Split::Valid, Split::Test];

pub(super) fn load(name: String, spec: &FolderSpec) -> Result<Dataset, DataError> {
    let tree = Tree::read(&spec.path)?;
    pass_over(&spec.path, &tree.others);
    let splits = splits(spec, &tree)?;
    check_memory(spec, tree.pictures.len())?;
    let files = SPLITS.map(|split| {
        let all = tree.pictures.iter().zip(&splits);
        all.filter_map(|(picture, &own)| (own == split).then_some(picture))
            .collect::<Vec<_>>()
    });
    let mut decoded = files.each_ref().map(|files| {
        let paths: Vec<PathBuf> = files.iter().map(|file| file.path.clone()).collect();
        let shape = (spec.format.colours.channels(), spec.side, spec.side);
        Decoding::new(paths, shape, spec.format.depth, |path| {
            central_square(path, spec.side, spec.small, &spec.format)
        })
    });
    match spec.on_error {
        OnError::Refuse => refuse_unusable(&spec.path, &mut decoded)?,
        OnError::Skip => skip_unusable(&spec.path, &mut decoded)?,
    }
    let labels = files.map(|files| files.iter().map(|file| file.label).collect());
    let [train, valid, test] = decoded;
    let [of_train, of_valid, of_test] = labels;
    Ok(Dataset {
        train: train.images(of_train)?,
        valid: valid.images(of_valid)?,
        test: test.images(of_test)?,
        name,
        classes: tree.classes,
    })
}

/// The split of each picture.
fn splits(spec: &FolderSpec, tree: &Tree) -> Result<Vec<Split>, DataError> {
    if tree.pictures.iter().any(|picture| picture.split.is_some()) {
        if spec.split == SplitBy::Class {
            return Err(DataError::Folder {
                path: spec.path.clone(),
                reason: "its folders are already splits: split=class makes splits from a folder \
                         of classes"
                    .into(),
            });
        }
        return Ok(given(tree));
    }
    match spec.split {
        SplitBy::Image => {
            let split = |picture: &Picture| {
                let file = name(&picture.path)?;
                // Written in the same way on every system.
                let inside = match tree.classes.get(picture.label as usize) {
                    Some(class) => format!("{class}/{file}"),
                    None => file,
                };
                Ok(of_path(&inside))
            };
            tree.pictures.iter().map(split).collect()
        }
        SplitBy::Class => {
            let splits = of_classes(&tree.classes).ok_or_else(|| DataError::TooFewClasses {
                path: spec.path.clone(),
                // Without subfolders, all images have one class.
                classes: tree.classes.len().max(1),
            })?;
            let split = |picture: &Picture| splits[picture.label as usize];
            Ok(tree.pictures.iter().map(split).collect())
        }
    }
}

/// The splits given by the folders; without a validation split, a tenth of the
/// training pictures is used for it.
fn given(tree: &Tree) -> Vec<Split> {
    let own = |picture: &Picture| picture.split.unwrap_or(Split::Train);
    let mut splits: Vec<Split> = tree.pictures.iter().map(own).collect();
    if !splits.contains(&Split::Valid) {
        let training = splits.iter_mut().filter(|split| **split == Split::Train);
        for split in training.skip(9).step_by(10) {
            *split = Split::Valid;
        }
    }
    splits
}

/// Checks the memory for the images, their labels, and a picture on each core.
fn check_memory(spec: &FolderSpec, pictures: usize) -> Result<(), DataError> {
    let side = spec.side as u64;
    let bytes = if spec.format.depth == Depth::Sixteen {
        2
    } else {
        1
    };
    let channels = spec.format.colours.channels() as u64;
    let image = side.saturating_mul(side).saturating_mul(channels * bytes);
    let bytes = image.saturating_add(4).saturating_mul(pictures as u64);
    let what = format!("{} of {side}x{side}", counted(pictures, "image"));
    memory::check_for(&spec.path, what, bytes.saturating_add(bytes / 10))
}

#[cfg(test)]
mod tests;
