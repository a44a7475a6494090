//! Grey images in IDX files with the names of MNIST.

use std::path::{Path, PathBuf};

use crate::class_names::read_classes;
use crate::file::check_folder;
use crate::idx::{header_bytes, image_sizes, open_images, read_labels};
use crate::lazy::Lazy;
use crate::partition::by_class;
use crate::store::{Coding, Part, Store, Width};
use crate::{DataError, Dataset, Images, Split, SplitBy};

/// The prefixes of the two published splits.
const PUBLISHED: [&str; 2] = ["train-", "t10k-"];
/// The prefix of a single pair.
const LONE: &str = "";

/// The files of a data set.
struct Files {
    folder: PathBuf,
    /// The number of classes, if they have names.
    classes: Option<usize>,
}

/// The images of two files that belong together.
struct Pair {
    /// The file of images, for errors.
    path: PathBuf,
    /// Height and width.
    size: [usize; 2],
    values: Part,
    labels: Vec<u32>,
}

impl Pair {
    fn images(self) -> Result<Images, DataError> {
        of_parts(self.size, vec![self.values], self.labels)
    }
}

fn of_parts(
    [height, width]: [usize; 2],
    parts: Vec<Part>,
    labels: Vec<u32>,
) -> Result<Images, DataError> {
    let store = Store::new(parts, height * width, Coding::plain(Width::Byte));
    Images::from_store((1, height, width), store, labels)
}

/// Checks the names of the files immediately, and opens a pair of files at the first use of
/// its split.
pub(super) fn load(
    name: String,
    path: &Path,
    split: SplitBy,
    classes: Option<&Path>,
) -> Result<Dataset, DataError> {
    check_folder(path)?;
    check_names(path)?;
    let names = classes.map_or_else(|| Ok(Vec::new()), read_classes)?;
    let files = Files {
        folder: path.to_path_buf(),
        classes: classes.map(|_| names.len()),
    };
    Ok(match split {
        SplitBy::Image => {
            check_published(path)?;
            Dataset::lazy(name, names, move |split| files.published(split))
        }
        SplitBy::Class => {
            let whole = Lazy::new(move || files.whole_classes());
            Dataset::lazy(name, names, move |split| {
                let [train, valid, test] = whole.get()?;
                Ok(match split {
                    Split::Train => train.clone(),
                    Split::Valid => valid.clone(),
                    Split::Test => test.clone(),
                })
            })
        }
    })
}

/// Refuses a single pair, which has no splits.
fn check_published(folder: &Path) -> Result<(), DataError> {
    let lone = file(folder, LONE, "images").filter(|_| PUBLISHED.iter().all(absent(folder)));
    match lone {
        None => Ok(()),
        Some(found) => Err(DataError::NeedsClassSplit {
            path: folder.into(),
            found: found.file_name().unwrap_or_default().display().to_string(),
        }),
    }
}

impl Files {
    /// The published splits, with validation images held out from the training images.
    fn published(&self, split: Split) -> Result<Images, DataError> {
        let [train, test] = PUBLISHED;
        if split == Split::Test {
            let test = self.pair(test)?;
            // If the training file exists. Only its header is read.
            if let Some(path) = file(&self.folder, train, "images")
                && let Ok([_, height, width]) = image_sizes(&path)
            {
                check_size((&path, [height, width]), &test)?;
            }
            return test.images();
        }
        let (train, valid) = self.pair(train)?.images()?.hold_out_tenth();
        Ok(match split {
            Split::Valid => valid,
            _ => train,
        })
    }

    /// All images, split by class.
    fn whole_classes(&self) -> Result<[Images; 3], DataError> {
        let there: Vec<&str> = PUBLISHED
            .into_iter()
            .chain([LONE])
            .filter(|prefix| !absent(&self.folder)(prefix))
            .collect();
        let Some((first, others)) = there.split_first() else {
            return Err(missing(&self.folder, &[format!("{}images", PUBLISHED[0])]));
        };
        let first = self.pair(first)?;
        let (mut parts, mut labels) = (vec![first.values.clone()], first.labels.clone());
        for prefix in others {
            let other = self.pair(prefix)?;
            check_size((&first.path, first.size), &other)?;
            parts.push(other.values);
            labels.extend(other.labels);
        }
        let pool = of_parts(first.size, parts, labels)?;
        by_class(&pool, |label| label.to_string()).map_err(|classes| DataError::TooFewClasses {
            path: self.folder.clone(),
            classes,
        })
    }

    /// The images and labels of one pair of files.
    fn pair(&self, prefix: &str) -> Result<Pair, DataError> {
        let folder = &self.folder;
        let kinds = ["images", "labels"];
        let [Some(path), Some(of_labels)] = kinds.map(|kind| file(folder, prefix, kind)) else {
            let lacking = kinds
                .iter()
                .filter(|kind| file(folder, prefix, kind).is_none());
            let lacking: Vec<String> = lacking.map(|kind| format!("{prefix}{kind}")).collect();
            return Err(missing(folder, &lacking));
        };
        let ([count, height, width], bytes) = open_images(&path)?;
        let labels = read_labels(&of_labels)?;
        if labels.len() != count {
            return Err(DataError::Content {
                path: of_labels,
                offset: 4,
                reason: format!(
                    "{} labels for the {count} images of {}",
                    labels.len(),
                    path.display()
                ),
            });
        }
        let beyond = |label: &u8| {
            self.classes
                .is_some_and(|classes| usize::from(*label) >= classes)
        };
        if let (Some(record), Some(classes)) = (labels.iter().position(beyond), self.classes) {
            return Err(DataError::Label {
                path: of_labels,
                record,
                offset: header_bytes(1) + record,
                label: labels[record].into(),
                classes,
            });
        }
        let values = Part {
            bytes,
            first: 0,
            stride: (height * width) as u64,
            images: count,
        };
        Ok(Pair {
            path,
            size: [height, width],
            values,
            labels: labels.into_iter().map(u32::from).collect(),
        })
    }
}

/// Whether both files of a pair are missing in a folder.
fn absent(folder: &Path) -> impl Fn(&&str) -> bool {
    move |prefix| {
        ["images", "labels"]
            .iter()
            .all(|kind| file(folder, prefix, kind).is_none())
    }
}

/// The file of one kind, under any of its names.
fn file(folder: &Path, prefix: &str, kind: &str) -> Option<PathBuf> {
    files(folder, prefix, kind).next()
}

/// The existing files of one kind; more than one is refused before.
fn files(folder: &Path, prefix: &str, kind: &str) -> impl Iterator<Item = PathBuf> {
    let axes = if kind == "images" { 3 } else { 1 };
    ["-", "."]
        .into_iter()
        .flat_map(move |mark| ["", ".gz"].map(|end| format!("{mark}idx{axes}-ubyte{end}")))
        .map(move |end| folder.join(format!("{prefix}{kind}{end}")))
        .filter(|path| path.exists())
}

/// Checks that no file exists under two of its names, because the two may differ.
fn check_names(folder: &Path) -> Result<(), DataError> {
    for prefix in PUBLISHED.into_iter().chain([LONE]) {
        for kind in ["images", "labels"] {
            let mut found = files(folder, prefix, kind);
            if let (Some(path), Some(other)) = (found.next(), found.next()) {
                return Err(DataError::both(path, &other));
            }
        }
    }
    Ok(())
}

fn missing(folder: &Path, stems: &[String]) -> DataError {
    let name = |stem: &String| {
        let axes = if stem.ends_with("images") { 3 } else { 1 };
        format!("{stem}-idx{axes}-ubyte[.gz]")
    };
    DataError::MissingFiles {
        path: folder.into(),
        missing: stems.iter().map(name).collect(),
    }
}

/// Images of one data set must be of one size.
fn check_size((path, size): (&Path, [usize; 2]), other: &Pair) -> Result<(), DataError> {
    if size == other.size {
        return Ok(());
    }
    let ([height, width], [rows, columns]) = (size, other.size);
    Err(DataError::Content {
        path: other.path.clone(),
        offset: 8,
        reason: format!(
            "images of {rows}x{columns}, but those of {} are {height}x{width}",
            path.display()
        ),
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::{TempDir, tempdir};

    use super::*;
    use crate::testing::{assert_says, gzip, idx_bytes, write};

    fn load(folder: &TempDir, options: &str) -> Result<Dataset, DataError> {
        crate::testing::load(&format!("mnist:{}{options}", folder.path().display()))
    }

    /// Images of 1x2 (the label and its own index), and their labels.
    fn pair_bytes(labels: &[u8]) -> [Vec<u8>; 2] {
        let values: Vec<u8> = labels
            .iter()
            .enumerate()
            .flat_map(|(index, &label)| [label, index as u8])
            .collect();
        [
            idx_bytes(&[labels.len(), 1, 2], &values),
            idx_bytes(&[labels.len()], labels),
        ]
    }

    fn write_pair(folder: &TempDir, prefix: &str, labels: &[u8]) {
        let [images, labels] = pair_bytes(labels);
        write(folder.path(), &format!("{prefix}images-idx3-ubyte"), images);
        write(folder.path(), &format!("{prefix}labels-idx1-ubyte"), labels);
    }

    fn published_folder() -> TempDir {
        let folder = tempdir().unwrap();
        write_pair(&folder, "train-", &[3; 20]);
        write_pair(&folder, "t10k-", &[4, 5]);
        folder
    }

    #[test]
    fn the_published_splits_are_read() {
        let dataset = load(&published_folder(), "").unwrap();
        assert_eq!(dataset.train().shape(), (1, 1, 2));
        assert_eq!(dataset.train().len(), 18);
        assert_eq!(dataset.valid().bytes(), [3, 9, 3, 19]);
        assert_eq!(dataset.test().labels(), [4, 5]);
        assert_eq!(dataset.test().bytes(), [4, 0, 5, 1]);
    }

    #[test]
    fn names_with_a_dot_and_gzipped_files_are_read() {
        let folder = tempdir().unwrap();
        let [images, labels] = pair_bytes(&[1; 10]);
        write(folder.path(), "train-images.idx3-ubyte", &images);
        write(folder.path(), "train-labels.idx1-ubyte.gz", gzip(&labels));
        let [images, labels] = pair_bytes(&[2]);
        write(folder.path(), "t10k-images-idx3-ubyte.gz", gzip(&images));
        write(folder.path(), "t10k-labels-idx1-ubyte", &labels);
        let dataset = load(&folder, "").unwrap();
        assert_eq!(dataset.train().len() + dataset.valid().len(), 10);
        assert_eq!(dataset.test().labels(), [2]);
    }

    #[test]
    fn whole_classes_are_held_out_of_all_images() {
        let folder = tempdir().unwrap();
        write_pair(&folder, "train-", &[0, 1, 2, 3, 0, 1, 2, 3]);
        write_pair(&folder, "t10k-", &[3, 2, 1, 0]);
        write_pair(&folder, "", &[7, 7]);
        let dataset = load(&folder, ",split=class").unwrap();
        let parts = dataset.all();
        let counts: usize = parts.iter().map(|part| part.len()).sum();
        assert_eq!(counts, 14);
        for part in parts {
            assert!(!part.is_empty());
            for (index, &label) in part.labels().iter().enumerate() {
                assert_eq!(u32::from(part.image(index)[0]), label);
                let elsewhere = parts.iter().filter(|other| other.labels().contains(&label));
                assert_eq!(elsewhere.count(), 1, "class {label}");
            }
        }
    }

    #[test]
    fn classes_have_the_names_of_their_file() {
        let folder = published_folder();
        let names = folder.path().join("names.txt");
        let options = format!(",classes={}", names.display());
        fs::write(&names, "a\nb\nc\nd\ne\nf\n").unwrap();
        let dataset = load(&folder, &options).unwrap();
        assert_eq!(dataset.classes, ["a", "b", "c", "d", "e", "f"]);
        assert_eq!(dataset.test().labels(), [4, 5]);
        fs::write(&names, "a\nb\nc\nd\ne\n").unwrap();
        let error = load(&folder, &options).unwrap_err();
        let parts = [
            "t10k-labels-idx1-ubyte",
            "record 1",
            "byte 9",
            "label 5",
            "5 classes",
        ];
        assert_says(&error, &parts);
        fs::remove_file(&names).unwrap();
        assert_says(&load(&folder, &options).unwrap_err(), &["names.txt"]);
    }

    #[test]
    fn a_file_under_two_names_is_refused() {
        let images = "train-images-idx3-ubyte";
        for other in ["train-images-idx3-ubyte.gz", "train-images.idx3-ubyte"] {
            let folder = published_folder();
            write(folder.path(), other, "");
            for options in ["", ",split=class"] {
                let parts = [images, other, "keep one of the two"];
                assert_says(&load(&folder, options).unwrap_err(), &parts);
            }
        }
    }

    #[test]
    fn a_lone_pair_needs_the_split_by_class() {
        let folder = tempdir().unwrap();
        write_pair(&folder, "", &[1, 2, 3, 4]);
        let error = load(&folder, "").unwrap_err();
        assert_says(&error, &["images-idx3-ubyte", "split=class"]);
        assert!(load(&folder, ",split=class").is_ok());
        write_pair(&folder, "", &[1, 2, 2, 2]);
        let error = load(&folder, ",split=class").unwrap_err();
        assert_says(&error, &["2 classes", "three or more"]);
    }

    #[test]
    fn missing_files_are_named() {
        for (kind, axes) in [("images", 3), ("labels", 1)] {
            for prefix in PUBLISHED {
                let folder = published_folder();
                let name = format!("{prefix}{kind}-idx{axes}-ubyte");
                fs::remove_file(folder.path().join(&name)).unwrap();
                for options in ["", ",split=class"] {
                    let error = load(&folder, options).unwrap_err();
                    assert_says(&error, &[&name, folder.path().to_str().unwrap()]);
                }
            }
        }
        let empty = tempdir().unwrap();
        for options in ["", ",split=class"] {
            assert_says(
                &load(&empty, options).unwrap_err(),
                &["train-images-idx3-ubyte"],
            );
        }
    }

    #[test]
    fn counts_and_sizes_must_agree() {
        let folder = published_folder();
        write(
            folder.path(),
            "t10k-labels-idx1-ubyte",
            idx_bytes(&[3], &[1, 2, 3]),
        );
        let parts = ["t10k-labels-idx1-ubyte", "byte 4", "3 labels", "2 images"];
        assert_says(&load(&folder, "").unwrap_err(), &parts);
        let folder = published_folder();
        write(
            folder.path(),
            "t10k-images-idx3-ubyte",
            idx_bytes(&[2, 2, 1], &[0; 4]),
        );
        for options in ["", ",split=class"] {
            let parts = ["t10k-images-idx3-ubyte", "byte 8", "2x1", "1x2"];
            assert_says(&load(&folder, options).unwrap_err(), &parts);
        }
    }

    #[test]
    fn swapped_files_are_recognised() {
        let folder = published_folder();
        let [images, labels] = pair_bytes(&[3; 20]);
        write(folder.path(), "train-images-idx3-ubyte", labels);
        write(folder.path(), "train-labels-idx1-ubyte", images);
        let error = load(&folder, "").unwrap_err();
        assert_says(&error, &["train-images-idx3-ubyte", "byte 3", "swapped"]);
    }
}
