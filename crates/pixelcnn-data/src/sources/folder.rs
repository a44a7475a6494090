//! Folders of PNG and JPEG files.

use std::path::{Path, PathBuf};

use rayon::prelude::*;

use crate::listing::{Listing, name};
use crate::partition::{by_class, by_path};
use crate::picture::central_square;
use crate::{DataError, Dataset, FolderSpec, Images, SplitBy};

/// The image files of a folder, each with its label.
struct Files {
    files: Vec<(PathBuf, u32)>,
    classes: Vec<String>,
}

pub(super) fn load(name: String, spec: &FolderSpec) -> Result<Dataset, DataError> {
    let Files { files, classes } = find(&spec.path)?;
    let images = read(&files, spec.side)?;
    let [train, valid, test] = match spec.split {
        SplitBy::Image => by_path(&images, &paths_inside(&files, &classes)?),
        SplitBy::Class => {
            let name = |label: u32| classes.get(label as usize).cloned().unwrap_or_default();
            by_class(&images, name).map_err(|classes| DataError::TooFewClasses {
                path: spec.path.clone(),
                classes,
            })?
        }
    };
    Ok(Dataset {
        name,
        train,
        valid,
        test,
        classes,
    })
}

/// The files of a flat folder, or of one with a subfolder for each class.
fn find(folder: &Path) -> Result<Files, DataError> {
    let listing = Listing::read(folder)?;
    let Some(first) = listing.folders.first() else {
        let files = Listing::files_of(folder)?;
        return Ok(Files {
            files: files.into_iter().map(|file| (file, 0)).collect(),
            classes: Vec::new(),
        });
    };
    if let Some(file) = listing.files.first() {
        return Err(DataError::Folder {
            path: file.clone(),
            reason: format!(
                "a file beside the folder {}: give images alone, or one subfolder for each class",
                first.display()
            ),
        });
    }
    let (mut files, mut classes) = (Vec::new(), Vec::new());
    for (label, folder) in (0..).zip(&listing.folders) {
        classes.push(name(folder)?);
        let inside = Listing::files_of(folder)?;
        files.extend(inside.into_iter().map(|file| (file, label)));
    }
    Ok(Files { files, classes })
}

/// Decodes the files on all cores, and joins them in their order.
fn read(files: &[(PathBuf, u32)], side: usize) -> Result<Images, DataError> {
    let decoded: Vec<Result<Vec<u8>, DataError>> = files
        .par_iter()
        .map(|(path, _)| central_square(path, side))
        .collect();
    let mut values = Vec::new();
    for planes in decoded {
        values.extend(planes?);
    }
    let labels = files.iter().map(|&(_, label)| label).collect();
    Images::new((3, side, side), values, labels)
}

/// The path of each file inside the folder, written alike on every system.
fn paths_inside(files: &[(PathBuf, u32)], classes: &[String]) -> Result<Vec<String>, DataError> {
    let inside = |(path, label): &(PathBuf, u32)| {
        let file = name(path)?;
        Ok(match classes.get(*label as usize) {
            Some(class) => format!("{class}/{file}"),
            None => file,
        })
    };
    files.iter().map(inside).collect()
}

#[cfg(test)]
mod tests {
    use std::fs::{create_dir_all, remove_file};

    use image::{Rgb, RgbImage};
    use tempfile::{TempDir, tempdir};

    use super::*;
    use crate::testing::{assert_says, write};

    fn load(folder: &TempDir, options: &str) -> Result<Dataset, DataError> {
        crate::load(
            &format!("folder:{}{options}", folder.path().display())
                .parse()
                .unwrap(),
        )
    }

    /// A picture of one value.
    fn paint(folder: &TempDir, path: &str, value: u8) {
        let path = folder.path().join(path);
        create_dir_all(path.parent().unwrap()).unwrap();
        RgbImage::from_pixel(6, 5, Rgb([value; 3]))
            .save(path)
            .unwrap();
    }

    /// The value and the label of each image of all splits.
    fn contents(dataset: &Dataset) -> [Vec<(u8, u32)>; 3] {
        [&dataset.train, &dataset.valid, &dataset.test].map(|images| {
            let labels = images.labels().iter().enumerate();
            labels
                .map(|(index, &label)| (images.image(index)[0], label))
                .collect()
        })
    }

    #[test]
    fn a_flat_folder_has_no_classes() {
        let folder = tempdir().unwrap();
        (0..60).for_each(|value| paint(&folder, &format!("{value:02}.png"), value));
        write(folder.path(), ".hidden", "no picture");
        let dataset = load(&folder, ",side=4").unwrap();
        assert!(dataset.classes.is_empty());
        assert_eq!(dataset.train.shape(), (3, 4, 4));
        let parts = contents(&dataset);
        assert!(
            parts.iter().all(|part| part.is_sorted() && part.len() >= 2),
            "{parts:?}"
        );
        let mut all = parts.concat();
        all.sort_unstable();
        assert!(all.into_iter().eq((0..60).map(|value| (value, 0))));
        // Without half of the files, the others are where they were.
        (0..30)
            .for_each(|value| remove_file(folder.path().join(format!("{value:02}.png"))).unwrap());
        let others = contents(&load(&folder, ",side=4").unwrap());
        let kept = parts.map(|part| {
            part.into_iter()
                .filter(|&(value, _)| value >= 30)
                .collect::<Vec<_>>()
        });
        assert_eq!(others, kept);
    }

    #[test]
    fn subfolders_are_classes_in_the_order_of_their_names() {
        let folder = tempdir().unwrap();
        for (class, value) in [("dog", 1), ("cat", 0), ("eel", 2), ("ant", 3)] {
            (0..9).for_each(|index| paint(&folder, &format!("{class}/{index}.png"), value));
        }
        let dataset = load(&folder, ",side=5").unwrap();
        assert_eq!(dataset.classes, ["ant", "cat", "dog", "eel"]);
        let all = contents(&dataset).concat();
        assert_eq!(all.len(), 36);
        assert!(
            all.iter()
                .all(|&(value, label)| (value + 1) % 4 == label as u8)
        );
        let held_out = load(&folder, ",side=5,split=class").unwrap();
        assert_eq!(held_out.classes, dataset.classes);
        let parts = contents(&held_out);
        assert_eq!(parts.each_ref().map(Vec::len), [18, 9, 9]);
        assert!(parts[1].iter().all(|pair| pair == &parts[1][0]));
        assert!(!parts[0].contains(&parts[1][0]) && !parts[0].contains(&parts[2][0]));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let folder = tempdir().unwrap();
        let error = |part: &str| {
            for options in [",side=4", ",side=4,split=class"] {
                assert_says(&load(&folder, options).unwrap_err(), &[part]);
            }
        };
        error("no images");
        paint(&folder, "one/a.png", 1);
        create_dir_all(folder.path().join("two")).unwrap();
        error("two: no images");
        paint(&folder, "two/inner/a.png", 1);
        error("inner: a folder");
        std::fs::remove_dir_all(folder.path().join("two")).unwrap();
        write(folder.path(), "one/notes.txt", "no picture");
        error("notes.txt");
        remove_file(folder.path().join("one/notes.txt")).unwrap();
        paint(&folder, "b.png", 1);
        error("b.png: a file beside the folder");
        remove_file(folder.path().join("b.png")).unwrap();
        assert!(load(&folder, ",side=4").is_ok());
        assert_says(
            &load(&folder, ",side=6").unwrap_err(),
            &["a.png", "6x5", "at least 6"],
        );
        assert_says(
            &load(&folder, ",side=4,split=class").unwrap_err(),
            &["1 classes"],
        );
        let error = crate::load(&"folder:/no-such/place".parse().unwrap()).unwrap_err();
        assert_says(&error, &["/no-such/place"]);
    }
}
