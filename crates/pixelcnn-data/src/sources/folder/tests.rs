use std::fs::{create_dir_all, remove_file};

use std::sync::{Arc, Mutex};

use image::{Rgb, RgbImage};
use tempfile::{TempDir, tempdir};

use super::*;
use crate::testing::{assert_says, write};
use crate::{Cache, Progress};

fn load(folder: &TempDir, options: &str) -> Result<Dataset, DataError> {
    crate::testing::load(&format!("folder:{}{options}", folder.path().display()))
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
    dataset.all().map(|images| {
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
    assert_eq!(dataset.train().shape(), (3, 4, 4));
    let parts = contents(&dataset);
    assert!(
        parts.iter().all(|part| part.is_sorted() && part.len() >= 2),
        "{parts:?}"
    );
    let mut all = parts.concat();
    all.sort_unstable();
    assert!(all.into_iter().eq((0..60).map(|value| (value, 0))));
    // If half of the files are removed, the others keep their splits.
    (0..30).for_each(|value| remove_file(folder.path().join(format!("{value:02}.png"))).unwrap());
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
fn errors_in_folders_are_named() {
    let folder = tempdir().unwrap();
    let error = |part: &str| {
        for options in [",side=4", ",side=4,split=class"] {
            assert_says(&load(&folder, options).unwrap_err(), &[part]);
        }
    };
    error("no images");
    paint(&folder, "one/a.png", 1);
    create_dir_all(folder.path().join("two")).unwrap();
    error("two: the folder has no images");
    write(folder.path(), "two/notes.txt", "no picture");
    error("two: the folder has no images, only 1 other file (notes.txt): PNG and JPEG");
    write(folder.path(), "two/codes.npy", "no picture");
    error("two/codes.npy");
    paint(&folder, "two/inner/a.png", 1);
    error("inner: a folder");
    std::fs::remove_dir_all(folder.path().join("two")).unwrap();
    paint(&folder, "b.png", 1);
    error("b.png: a file beside the folder");
    remove_file(folder.path().join("b.png")).unwrap();
    assert!(load(&folder, ",side=4").is_ok());
    assert_says(
        &load(&folder, ",side=6").unwrap_err(),
        &[
            "1 of 1 picture in",
            "a.png",
            "6x5",
            "at least 6",
            "there is no other picture",
            "enlarge",
        ],
    );
    assert_says(
        &load(&folder, ",side=4,split=class").unwrap_err(),
        &["1 classes"],
    );
    let error = crate::load(&"folder:/no-such/place".parse().unwrap()).unwrap_err();
    assert_says(&error, &["/no-such/place"]);
}

/// Folders of photographs often contain such files.
#[test]
fn files_that_are_not_pictures_are_skipped() {
    let folder = tempdir().unwrap();
    (0..20).for_each(|value| paint(&folder, &format!("{value:02}.png"), value));
    let expected = load(&folder, ",side=4").unwrap();
    for name in [
        "notes.txt",
        "Thumbs.db",
        ".DS_Store",
        "._00.png",
        "README",
        "a.mp4",
        ".hidden.png",
    ] {
        write(folder.path(), name, "no picture");
    }
    std::fs::create_dir(folder.path().join(".git")).unwrap();
    std::fs::create_dir(folder.path().join("__MACOSX")).unwrap();
    assert_eq!(load(&folder, ",side=4").unwrap().all(), expected.all());
    // The content decides whether a file is a picture, not the name.
    let picture = std::fs::read(folder.path().join("07.png")).unwrap();
    write(folder.path(), "unnamed", picture);
    let more = load(&folder, ",side=4").unwrap();
    assert_eq!(contents(&more).concat().len(), 21);
}

#[test]
fn all_files_that_cannot_be_used_are_named() {
    let folder = tempdir().unwrap();
    (0..30).for_each(|value| paint(&folder, &format!("{value:02}.png"), value));
    let expected = load(&folder, ",side=5").unwrap();
    let good = std::fs::read(folder.path().join("00.png")).unwrap();
    write(folder.path(), "broken.png", &good[..good.len() - 5]);
    write(folder.path(), "empty.jpg", "");
    write(folder.path(), "moving.gif", "GIF89a and so on");
    write(folder.path(), "photo.heic", b"\0\0\0\x18ftypheic");
    write(folder.path(), "text.png", "no picture");
    let deep = image::ImageBuffer::from_pixel(9, 9, image::Luma([4095_u16]));
    deep.save(folder.path().join("deep.png")).unwrap();
    RgbImage::new(4, 9)
        .save(folder.path().join("small.png"))
        .unwrap();
    let error = load(&folder, ",side=5").unwrap_err();
    assert_says(
        &error,
        &[
            "7 of 37 pictures",
            "broken.png",
            "empty.jpg as a PNG or JPEG image: it is empty",
            "moving.gif as a PNG or JPEG image: it is a GIF file",
            "HEIC",
            "text.png",
            "deep.png as a PNG or JPEG image: it has 16 bits",
            "small.png is 4x9",
            "on_error=skip",
        ],
    );
    assert_eq!(error.to_string().lines().count(), 9);
    let skipped = load(&folder, ",side=5,on_error=skip").unwrap();
    assert_eq!(contents(&skipped), contents(&expected));
    let enlarged = load(&folder, ",side=5,on_error=skip,enlarge").unwrap();
    assert_eq!(contents(&enlarged).concat().len(), 31);
    let large = load(&folder, ",side=50,on_error=skip,enlarge").unwrap();
    assert_eq!(large.train().shape(), (3, 50, 50));
    // Now no file is usable.
    (0..30).for_each(|value| write_over(&folder, &format!("{value:02}.png")));
    let error = load(&folder, ",side=5,on_error=skip").unwrap_err();
    assert_says(&error, &["37 of 37", "and 17 more"]);
}

fn write_over(folder: &TempDir, name: &str) {
    write(folder.path(), name, "no picture");
}

#[test]
fn folders_of_splits_are_splits() {
    let folder = tempdir().unwrap();
    for (split, count, value) in [("train", 25, 100), ("val", 7, 150), ("TEST", 5, 200)] {
        (0..count)
            .for_each(|index| paint(&folder, &format!("{split}/{index:02}.png"), value + index));
    }
    let dataset = load(&folder, ",side=4").unwrap();
    assert!(dataset.classes.is_empty());
    let [train, valid, test] = contents(&dataset);
    assert!(train.into_iter().eq((100..125).map(|value| (value, 0))));
    assert!(valid.into_iter().eq((150..157).map(|value| (value, 0))));
    assert!(test.into_iter().eq((200..205).map(|value| (value, 0))));
    assert_says(
        &load(&folder, ",side=4,split=class").unwrap_err(),
        &["already splits"],
    );
    std::fs::remove_dir_all(folder.path().join("val")).unwrap();
    let [train, valid, _] = contents(&load(&folder, ",side=4").unwrap());
    assert_eq!(valid, [(109, 0), (119, 0)]);
    assert_eq!(train.len(), 23);
    std::fs::remove_dir_all(folder.path().join("TEST")).unwrap();
    assert!(load(&folder, ",side=4").unwrap().test().is_empty());
}

#[test]
fn classes_of_splits_go_by_their_names() {
    let folder = tempdir().unwrap();
    for (path, value) in [
        ("train/cat", 0),
        ("train/dog", 2),
        ("validation/dog", 2),
        ("test/bird", 1),
        ("test/dog", 2),
    ] {
        (0..3).for_each(|index| paint(&folder, &format!("{path}/{index}.png"), value));
    }
    let dataset = load(&folder, ",side=4").unwrap();
    assert_eq!(dataset.classes, ["bird", "cat", "dog"]);
    let [train, valid, test] = contents(&dataset);
    assert_eq!(train, [[(0, 1); 3], [(2, 2); 3]].concat());
    assert_eq!(valid, [(2, 2); 3]);
    assert_eq!(test, [[(1, 0); 3], [(2, 2); 3]].concat());
}

#[test]
fn ambiguous_folders_are_refused() {
    for (paths, parts) in [
        (
            &["train/a.png", "car/a.png"][..],
            ["rename train", "move car away"],
        ),
        (
            &["train/a.png", "val/a.png", "valid/a.png"],
            ["are the valid split", "keep one"],
        ),
        (
            &["train/cat/a.png", "test/a.png"],
            ["test: this split has no subfolders", "train"],
        ),
        (
            &["train/a.png", "b.png"],
            ["b.png: a picture beside the folder train", "a split"],
        ),
        (
            &["train/test/a.png", "train/cat/a.png"],
            ["test: a split inside a split", "rename"],
        ),
        (
            &["train/a.png", "train/cat/a.png"],
            ["train/a.png: a file beside", "cat"],
        ),
        (
            &["photos/cat/a.png", "photos/dog/a.png"],
            ["its only folder contains folders", "photos"],
        ),
    ] {
        let folder = tempdir().unwrap();
        paths.iter().for_each(|path| paint(&folder, path, 1));
        assert_says(&load(&folder, ",side=4").unwrap_err(), &parts);
    }
    // Classes may have any other names.
    let folder = tempdir().unwrap();
    (0..9).for_each(|index| paint(&folder, &format!("trains/{index}.png"), 1));
    assert_eq!(load(&folder, ",side=4").unwrap().classes, ["trains"]);
}

#[cfg(unix)]
#[test]
fn only_regular_files_are_read() {
    let folder = tempdir().unwrap();
    paint(&folder, "a.png", 1);
    std::os::unix::fs::symlink("/dev/zero", folder.path().join("b.png")).unwrap();
    std::os::unix::fs::symlink("none", folder.path().join("c.png")).unwrap();
    std::os::unix::fs::symlink("/dev/zero", folder.path().join("d")).unwrap();
    let error = load(&folder, ",side=4").unwrap_err();
    assert_says(
        &error,
        &[
            "2 of 3 pictures",
            "b.png: it is not a regular file",
            "c.png",
        ],
    );
}

#[test]
fn more_images_than_there_is_memory_are_refused() {
    let folder = tempdir().unwrap();
    paint(&folder, "a.png", 1);
    for side in ["2000000", "18446744073709551615"] {
        let error = load(&folder, &format!(",side={side},enlarge")).unwrap_err();
        assert_says(&error, &["1 image of", side, "memory"]);
    }
}

#[test]
fn folders_that_look_like_splits_are_refused() {
    for names in [
        ["train2017", "val2017"],
        ["train_images", "test_images"],
        ["Training", "Testing"],
        ["dev", "eval"],
        ["trn", "tst"],
        ["train ", "test "],
        ["images-train", "images-test"],
    ] {
        let folder = tempdir().unwrap();
        for name in names {
            paint(&folder, &format!("{name}/a.png"), 1);
        }
        let error = load(&folder, "").unwrap_err();
        assert_says(&error, &["look like splits", names[0], names[1]]);
    }
    // A class whose name contains such a word is not a split.
    for names in [
        ["model train", "ship"],
        ["test tube", "testing bench"],
        ["tester", "trainer"],
    ] {
        let folder = tempdir().unwrap();
        for name in names {
            paint(&folder, &format!("{name}/a.png"), 1);
        }
        assert_eq!(load(&folder, ",side=4").unwrap().classes, names);
    }
}

/// The second time, no picture is decoded.
#[test]
fn a_folder_is_decoded_once_into_a_cache() {
    let (folder, cache) = (tempdir().unwrap(), tempdir().unwrap());
    for value in 0..30 {
        paint(&folder, &format!("{}/{value:02}.png", value % 3), value);
    }
    write(folder.path(), "1/99.png", "no picture");
    for path in std::fs::read_dir(folder.path().join("1")).unwrap() {
        age(&path.unwrap().path());
    }
    for class in [0, 2] {
        for path in std::fs::read_dir(folder.path().join(class.to_string())).unwrap() {
            age(&path.unwrap().path());
        }
    }
    let spec = format!("folder:{},side=4,on_error=skip", folder.path().display());
    let expected = crate::testing::load(&spec).unwrap();
    let (decoded, heard) = (loaded(&spec, &cache), loaded(&spec, &cache));
    assert_eq!(decoded.0.all(), expected.all());
    assert_eq!(heard.0.all(), expected.all());
    assert!(!decoded.0.train().is_empty() && decoded.0.classes.len() == 3);
    let last = decoded.1.last().unwrap();
    assert_eq!((last.what, last.done, last.of), ("decoding", 31, 31));
    assert!(heard.1.iter().all(|it| it.what == "checking the cache"));
    // A new picture: all are decoded again.
    paint(&folder, "0/50.png", 50);
    let (more, heard) = loaded(&spec, &cache);
    let count = |dataset: &Dataset| {
        dataset
            .all()
            .map(|images| images.len())
            .iter()
            .sum::<usize>()
    };
    assert_eq!(count(&more), count(&expected) + 1);
    assert!(heard.iter().any(|it| it.what == "decoding"));
}

/// Sets the modification time to the past.
fn age(path: &Path) {
    let file = std::fs::File::options().write(true).open(path).unwrap();
    let before = std::time::SystemTime::now() - std::time::Duration::from_secs(60);
    file.set_modified(before).unwrap();
}

/// The data set, and the progress reports of loading it.
fn loaded(spec: &str, cache: &TempDir) -> (Dataset, Vec<Progress>) {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let hearing = Arc::clone(&heard);
    let loading = Loading {
        cache: Cache::Folder(cache.path().into()),
        progress: Arc::new(move |progress| hearing.lock().unwrap().push(progress)),
    };
    let dataset = crate::load_with(&spec.parse().unwrap(), &loading).unwrap();
    let dataset = dataset.opened().unwrap();
    let heard = heard.lock().unwrap().clone();
    (dataset, heard)
}

#[test]
fn two_bytes_a_value_are_kept_too() {
    use image::{ImageBuffer, Luma};
    let (folder, cache) = (tempdir().unwrap(), tempdir().unwrap());
    for value in 0..40u16 {
        let path = folder.path().join(format!("{value:02}.png"));
        let picture = ImageBuffer::from_pixel(4, 4, Luma([value * 1000]));
        picture.save(&path).unwrap();
        age(&path);
    }
    let spec = format!("{},side=2,depth=16,channels=1", folder.path().display());
    let expected = crate::testing::load(&spec).unwrap();
    for _ in 0..2 {
        let kept = loaded(&spec, &cache).0;
        assert_eq!(kept.all(), expected.all());
        let identities = [&kept, &expected].map(|it| it.identity().unwrap());
        assert_eq!(identities[0], identities[1]);
    }
    assert_eq!(expected.train().levels(), 65_536);
}
