//! Folders of PNG and JPEG files.

mod tree;

use std::path::Path;

use crate::cache::{self, Kept, Key};
use crate::decoding::{Decoding, Picture, Shape, images_of};
use crate::lazy::Lazy;
use crate::listing::{name, pass_over};
use crate::partition::{of_classes, of_path};
use crate::picture::central_square;
use crate::{DataError, Dataset, FolderSpec, Loading, Split, SplitBy};
use tree::{Found, Tree};

/// Lists the folders immediately. The first use of any split decodes the pictures of all
/// splits.
pub(super) fn load(
    name: String,
    spec: &FolderSpec,
    loading: &Loading,
) -> Result<Dataset, DataError> {
    let tree = Tree::read(&spec.path)?;
    pass_over(&spec.path, &tree.others);
    let splits = splits(spec, &tree)?;
    let pictures = tree.pictures.into_iter().zip(splits);
    let pictures: Vec<Picture> = pictures
        .map(|(found, split)| Picture {
            path: found.path,
            label: found.label,
            split,
        })
        .collect();
    let shape = Shape {
        image: (spec.format.colours.channels(), spec.side, spec.side),
        depth: spec.format.depth,
    };
    let (spec, loading) = (spec.clone(), loading.clone());
    let decoded = Lazy::new(move || decoded(&spec, shape, &pictures, &loading));
    let open = move |split| images_of(split, &shape, decoded.get()?);
    Ok(Dataset::lazy(name, tree.classes, open))
}

/// All decoded pictures, from the cache if possible.
fn decoded(
    spec: &FolderSpec,
    shape: Shape,
    pictures: &[Picture],
    loading: &Loading,
) -> Result<Kept, DataError> {
    let key = || {
        // Without the folder, because its path can be written in several ways.
        let options = FolderSpec {
            path: "".into(),
            ..spec.clone()
        };
        let files = pictures.iter().map(|picture| picture.path.as_path());
        Key::new("folder", &spec.path, &options.to_string(), files)
    };
    let decoding = Decoding {
        folder: &spec.path,
        pictures,
        shape,
        on_error: spec.on_error,
        decode: |path: &Path| central_square(path, spec.side, spec.small, &spec.format),
    };
    cache::kept(loading, key, |sink| decoding.run(sink, loading))
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
            let split = |picture: &Found| {
                let file = name(&picture.path)?;
                // The separator must be the same on every system.
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
            let split = |picture: &Found| splits[picture.label as usize];
            Ok(tree.pictures.iter().map(split).collect())
        }
    }
}

/// The splits given by the folders; without a validation split, a tenth of the
/// training pictures is used for it.
fn given(tree: &Tree) -> Vec<Split> {
    let own = |picture: &Found| picture.split.unwrap_or(Split::Train);
    let mut splits: Vec<Split> = tree.pictures.iter().map(own).collect();
    if !splits.contains(&Split::Valid) {
        let training = splits.iter_mut().filter(|split| **split == Split::Train);
        for split in training.skip(9).step_by(10) {
            *split = Split::Valid;
        }
    }
    splits
}

#[cfg(test)]
mod tests;
