//! The folders of a data set: splits, classes, pictures.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::listing::{Listing, name};
use crate::{DataError, Split};

/// The names of split folders, in lower or upper case.
const NAMES: [(&str, Split); 5] = [
    ("train", Split::Train),
    ("valid", Split::Valid),
    ("val", Split::Valid),
    ("validation", Split::Valid),
    ("test", Split::Test),
];

/// A file that should be a picture.
pub(super) struct Found {
    pub(super) path: PathBuf,
    pub(super) label: u32,
    /// The split, if a folder gives it.
    pub(super) split: Option<Split>,
}

/// All pictures of a folder, in the order of their paths.
pub(super) struct Tree {
    pub(super) pictures: Vec<Found>,
    /// The classes in the order of their names.
    pub(super) classes: Vec<String>,
    /// Files that are not pictures.
    pub(super) others: Vec<PathBuf>,
}

/// The pictures of a folder or of a split, with their classes, if there
/// are classes.
struct Level {
    pictures: Vec<(PathBuf, Option<String>)>,
    others: Vec<PathBuf>,
}

impl Tree {
    /// Reads a folder of pictures, a folder with one subfolder per class, or a folder with
    /// one subfolder per split, each of which is one of the two.
    pub(super) fn read(folder: &Path) -> Result<Self, DataError> {
        let listing = Listing::read(folder)?;
        let splits: Vec<(PathBuf, Split)> = listing
            .folders
            .iter()
            .filter_map(|folder| Some((folder.clone(), split_named(folder)?)))
            .collect();
        if splits.is_empty() {
            check_classes(folder, &listing)?;
            check_depth(folder, &listing)?;
            return Ok(Self::new(vec![(None, Level::read(folder, listing)?)]));
        }
        check_splits(folder, &listing, &splits)?;
        let mut levels = Vec::new();
        for (folder, split) in splits {
            let mut inside = Listing::read(&folder)?;
            if let Some(inner) = inside
                .folders
                .iter()
                .find(|inner| split_named(inner).is_some())
            {
                let reason = "a split inside a split: if it is a class, rename it";
                return Err(wrong(inner, reason.into()));
            }
            inside.others.extend_from_slice(&listing.others);
            levels.push((folder.clone(), Some(split), Level::read(&folder, inside)?));
        }
        check_alike(&levels)?;
        let levels = levels.into_iter();
        Ok(Self::new(
            levels.map(|(_, split, level)| (split, level)).collect(),
        ))
    }

    fn new(levels: Vec<(Option<Split>, Level)>) -> Self {
        let mut labels = BTreeMap::new();
        for (_, class) in levels.iter().flat_map(|(_, level)| &level.pictures) {
            labels.extend(class.clone().map(|class| (class, 0)));
        }
        for (label, place) in labels.values_mut().zip(0_u32..) {
            *label = place;
        }
        let mut tree = Self {
            pictures: Vec::new(),
            classes: labels.keys().cloned().collect(),
            others: Vec::new(),
        };
        for (split, level) in levels {
            let picture = |(path, class): (PathBuf, Option<String>)| Found {
                path,
                label: class
                    .and_then(|class| labels.get(&class).copied())
                    .unwrap_or(0),
                split,
            };
            tree.pictures
                .extend(level.pictures.into_iter().map(picture));
            tree.others.extend(level.others);
        }
        tree.others.sort();
        tree.others.dedup();
        tree
    }
}

impl Level {
    fn read(folder: &Path, listing: Listing) -> Result<Self, DataError> {
        let Some(first) = listing.folders.first() else {
            listing.check_flat(folder)?;
            return Ok(Self {
                pictures: listing
                    .pictures
                    .into_iter()
                    .map(|path| (path, None))
                    .collect(),
                others: listing.others,
            });
        };
        if let Some(file) = listing.pictures.first() {
            let reason = format!(
                "a file beside the folder {}: use either only images or one subfolder per class",
                first.display()
            );
            return Err(wrong(file, reason));
        }
        let mut level = Self {
            pictures: Vec::new(),
            others: listing.others,
        };
        for folder in &listing.folders {
            let class = name(folder)?;
            let inside = Listing::read(folder)?;
            inside.check_flat(folder)?;
            let pictures = inside.pictures.into_iter();
            level
                .pictures
                .extend(pictures.map(|path| (path, Some(class.clone()))));
            level.others.extend(inside.others);
        }
        Ok(level)
    }

    fn has_classes(&self) -> bool {
        self.pictures.iter().any(|(_, class)| class.is_some())
    }
}

/// The split with the name of a folder.
fn split_named(folder: &Path) -> Option<Split> {
    let name = folder.file_name()?.to_str()?;
    let named = |(known, _): &&(&str, Split)| known.eq_ignore_ascii_case(name);
    NAMES.iter().find(named).map(|&(_, split)| split)
}

/// Other spellings for split folders than [`NAMES`].
const WORDS: [(&str, Split); 13] = [
    ("train", Split::Train),
    ("training", Split::Train),
    ("trn", Split::Train),
    ("valid", Split::Valid),
    ("val", Split::Valid),
    ("validation", Split::Valid),
    ("dev", Split::Valid),
    ("test", Split::Test),
    ("testing", Split::Test),
    ("tst", Split::Test),
    ("eval", Split::Test),
    ("evaluation", Split::Test),
    ("holdout", Split::Test),
];

/// The split of a word in a folder's name, as in `train2017`.
fn split_worded(folder: &Path) -> Option<Split> {
    let name = folder.file_name()?.to_str()?;
    let words = name.split(|letter: char| !letter.is_alphabetic());
    words.into_iter().find_map(|word| {
        let named = |(known, _): &&(&str, Split)| known.eq_ignore_ascii_case(word);
        WORDS.iter().find(named).map(|&(_, split)| split)
    })
}

/// Checks that the folders do not look like splits with other names, because as
/// classes their test images would be used for training.
fn check_classes(folder: &Path, listing: &Listing) -> Result<(), DataError> {
    let worded: Option<Vec<Split>> = listing.folders.iter().map(|it| split_worded(it)).collect();
    let Some((first, rest)) = worded.as_deref().and_then(<[Split]>::split_first) else {
        return Ok(());
    };
    if rest.iter().all(|split| split == first) {
        return Ok(());
    }
    let names = listing.folders.iter().filter_map(|it| it.file_name());
    let names: Vec<String> = names.map(|name| format!("{:?}", name.display())).collect();
    let reason = format!(
        "its folders ({}) look like splits: name them train, valid and test; if they are \
         classes, use other names",
        names.join(", ")
    );
    Err(wrong(folder, reason))
}

/// Refuses a folder that only contains the folder of the data set.
fn check_depth(folder: &Path, listing: &Listing) -> Result<(), DataError> {
    let [only] = &listing.folders[..] else {
        return Ok(());
    };
    let inside = Listing::read(only)?;
    match inside.folders.is_empty() {
        true => Ok(()),
        false => Err(wrong(
            folder,
            format!(
                "its only folder contains folders: use folder:{}",
                only.display()
            ),
        )),
    }
}

/// Checks that all folders are splits, and each split is one folder.
fn check_splits(
    folder: &Path,
    listing: &Listing,
    splits: &[(PathBuf, Split)],
) -> Result<(), DataError> {
    let text = |path: &PathBuf| path.file_name().unwrap_or_default().display().to_string();
    if let Some(other) = listing
        .folders
        .iter()
        .find(|folder| split_named(folder).is_none())
    {
        let (first, other) = (text(&splits[0].0), text(other));
        return Err(wrong(
            folder,
            format!(
                "{first} is the name of a split, {other} is not: if all folders are classes, \
                 rename {first}; if they are splits, move {other} away"
            ),
        ));
    }
    if let Some(file) = listing.pictures.first() {
        let reason = format!(
            "a picture beside the folder {}, which is a split: move it into one of the splits",
            text(&splits[0].0)
        );
        return Err(wrong(file, reason));
    }
    for (place, (path, split)) in splits.iter().enumerate() {
        if let Some((first, _)) = splits[..place].iter().find(|(_, other)| other == split) {
            let reason = format!(
                "both {} and {} are the {split} split: keep one of them",
                text(first),
                text(path)
            );
            return Err(wrong(folder, reason));
        }
    }
    Ok(())
}

/// Checks that all splits have classes, or none has.
fn check_alike(levels: &[(PathBuf, Option<Split>, Level)]) -> Result<(), DataError> {
    let find = |with: bool| {
        levels
            .iter()
            .find(|(_, _, level)| level.has_classes() == with)
    };
    match (find(true), find(false)) {
        (Some((with, ..)), Some((without, ..))) => Err(wrong(
            without,
            format!(
                "this split has no subfolders, but {} has one per class: sort its pictures into \
                 the same subfolders, or move the split away",
                with.display()
            ),
        )),
        _ => Ok(()),
    }
}

fn wrong(path: &Path, reason: String) -> DataError {
    DataError::Folder {
        path: path.into(),
        reason,
    }
}
