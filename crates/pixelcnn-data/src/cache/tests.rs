//! What is kept, when it is used again, and when not.

use std::cell::Cell;
use std::fs::{self, File};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tempfile::{TempDir, tempdir};

use super::*;
use crate::Values;
use crate::testing::write;

/// A folder for the cache, a folder of files, and how often the files were read.
struct Place {
    cache: TempDir,
    files: TempDir,
    made: Cell<usize>,
}

impl Place {
    fn new() -> Self {
        let place = Self {
            cache: tempdir().unwrap(),
            files: tempdir().unwrap(),
            made: Cell::new(0),
        };
        place.write("a.bin", &[1, 2, 3], 100);
        place
    }

    /// Writes a file that changed this number of seconds ago.
    fn write(&self, name: &str, bytes: &[u8], seconds: u64) {
        let path = write(self.files.path(), name, bytes);
        let file = File::options().write(true).open(path).unwrap();
        let modified = SystemTime::now() - Duration::from_secs(seconds);
        file.set_modified(modified).unwrap();
    }

    fn loading(&self) -> Loading {
        Loading {
            cache: Cache::Folder(self.cache.path().join("inner")),
            progress: Arc::new(|_| ()),
        }
    }

    /// The bytes of the file as values with labels and marks, and whether the file was read
    /// now.
    fn load(&self, options: &str) -> (Vec<u8>, Index, bool) {
        self.load_with(&self.loading(), options)
    }

    fn load_with(&self, loading: &Loading, options: &str) -> (Vec<u8>, Index, bool) {
        let (path, before) = (self.files.path().join("a.bin"), self.made.get());
        let key = || Key::new("test", self.files.path(), options, [path.as_path()]);
        let kept = kept(loading, key, |sink| {
            self.made.set(self.made.get() + 1);
            sink.warn("some".into());
            for (value, label) in fs::read(&path).unwrap().into_iter().zip(10..) {
                sink.push(&Values::U8(vec![value]), label, 7)?;
            }
            Ok(())
        });
        let kept = kept.unwrap();
        let mut bytes = Vec::new();
        let length = kept.bytes.length() as usize;
        kept.bytes.append_to(&mut bytes, 0, length).unwrap();
        (bytes, kept.index, self.made.get() > before)
    }

    /// The files of the cache.
    fn kept(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.cache.path().join("inner")).unwrap();
        let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        paths
    }
}

#[test]
fn cached_data_are_used_again() {
    let place = Place::new();
    let (bytes, index, made) = place.load("");
    assert_eq!((&bytes[..], made), (&[1, 2, 3][..], true));
    assert_eq!(
        (&index.labels[..], &index.marks[..]),
        (&[10, 11, 12][..], &[7; 3][..])
    );
    assert_eq!(place.load(""), (bytes, index, false));
    assert_eq!(place.kept().len(), 1);
    // Other options have their own file.
    assert!(place.load("other").2);
    assert_eq!(place.kept().len(), 2);
}

#[test]
fn a_file_that_has_changed_is_read_again_into_the_same_cache_file() {
    let place = Place::new();
    place.load("");
    place.write("a.bin", &[4, 5, 6], 90);
    let (bytes, _, made) = place.load("");
    assert_eq!((&bytes[..], made), (&[4, 5, 6][..], true));
    assert!(!place.load("").2);
    assert_eq!(place.kept().len(), 1);
}

/// Such a file may change again before the clock of the file system advances.
#[test]
fn data_of_a_file_that_has_just_changed_are_used_once() {
    let place = Place::new();
    for seconds in [0, 1] {
        place.write("a.bin", &[4], seconds);
        assert!(place.load("").2);
        assert!(place.load("").2);
    }
    assert_eq!(place.kept().len(), 1);
}

#[test]
fn a_damaged_cache_is_written_again() {
    let place = Place::new();
    let (bytes, index, _) = place.load("");
    let path = &place.kept()[0];
    let good = fs::read(path).unwrap();
    for byte in 0..good.len() {
        let mut bad = good.clone();
        bad[byte] ^= 4;
        fs::write(path, &bad).unwrap();
        assert_eq!(
            place.load(""),
            (bytes.clone(), index.clone(), true),
            "{byte}"
        );
        assert_eq!(fs::read(path).unwrap(), good);
    }
    for length in 0..good.len() {
        fs::write(path, &good[..length]).unwrap();
        assert_eq!(
            place.load(""),
            (bytes.clone(), index.clone(), true),
            "{length}"
        );
    }
    fs::write(path, [&good[..], &[0]].concat()).unwrap();
    assert!(place.load("").2);
    assert!(!place.load("").2);
}

#[test]
fn temporary_files_of_killed_programs_are_removed() {
    let place = Place::new();
    place.load("");
    let path = place.kept().remove(0);
    let good = fs::read(&path).unwrap();
    let name = path.file_name().unwrap().to_str().unwrap();
    let left = path.with_file_name(format!(".{name}.x1y2z3.pixelcnn-partial"));
    fs::rename(&path, &left).unwrap();
    assert!(place.load("").2);
    assert_eq!(place.kept(), std::slice::from_ref(&path));
    assert_eq!(fs::read(&path).unwrap(), good);
}

#[test]
fn without_a_cache_folder_all_data_are_kept_in_memory() {
    let place = Place::new();
    let file = write(place.cache.path(), "file", "");
    for cache in [Cache::Off, Cache::Folder(file)] {
        let loading = Loading {
            cache,
            ..place.loading()
        };
        for _ in 0..2 {
            let (bytes, index, made) = place.load_with(&loading, "");
            assert_eq!(
                (&bytes[..], index.labels.len(), made),
                (&[1, 2, 3][..], 3, true)
            );
        }
    }
}

#[test]
fn an_error_in_the_files_is_returned() {
    let place = Place::new();
    let made = Cell::new(0);
    let key = || Key::new("test", place.files.path(), "", []);
    let kept = kept(&place.loading(), key, |_| {
        made.set(made.get() + 1);
        Err(DataError::UnknownSpec { spec: "x".into() })
    });
    assert!(matches!(kept.err(), Some(DataError::UnknownSpec { .. })));
    assert_eq!((made.get(), place.kept().len()), (1, 0));
}
