//! CIFAR-10, the published binary version: a folder or its archive.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use pixelcnn_system::{check_memory, guarded};
use tar::Archive;

use super::records::Records;
use crate::bytes::Bytes;
use crate::class_names::parse_classes;
use crate::listing::check_known;
use crate::spec::DEFAULT_SIDE;
use crate::{DataError, Dataset, Split, file};

const FOLDER: &str = "cifar-10-batches-bin";
const TRAIN: [&str; 5] = [
    "data_batch_1.bin",
    "data_batch_2.bin",
    "data_batch_3.bin",
    "data_batch_4.bin",
    "data_batch_5.bin",
];
const TEST: [&str; 1] = ["test_batch.bin"];
const CLASSES: &str = "batches.meta.txt";

/// A file of the Python version.
const PICKLED: &str = "data_batch_1";
const PYTHON: &str = "this is the Python version of CIFAR-10: use the binary version, \
     https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz";
/// Limit on the unpacked size of an archive; the published one has 184 MB.
const MOST: u64 = 1 << 30;

/// The contents of the files of the data set, by name.
struct Files {
    /// The folder or the archive.
    path: PathBuf,
    contents: BTreeMap<&'static str, Content>,
    edition: Edition,
}

/// The content of a file in the folder, or of an unpacked one.
enum Content {
    File(PathBuf),
    Unpacked(Bytes),
}

impl Content {
    fn open(&self) -> Result<Bytes, DataError> {
        match self {
            Self::File(path) => Bytes::open(path),
            Self::Unpacked(bytes) => Ok(bytes.clone()),
        }
    }
}

/// The published versions of CIFAR-10.
#[derive(Clone, Copy, PartialEq)]
enum Edition {
    Binary,
    /// The Python version, which is not supported.
    Python,
}

pub(super) fn load(name: String, path: &Path) -> Result<Dataset, DataError> {
    let files = if path.is_dir() {
        find_in_folder(path)?
    } else {
        read_archive(path)?
    };
    files.check_complete()?;
    let path = files.path.join(CLASSES);
    let mut bytes = Vec::new();
    if let Some(content) = files.contents.get(CLASSES) {
        let content = content.open()?;
        content.append_to(&mut bytes, 0, content.length() as usize)?;
    }
    let classes = parse_classes(&path, &bytes)?;
    let known = classes.clone();
    let images = move |names: &[&'static str]| {
        let contents = names.iter().filter_map(|name| files.contents.get(name));
        let records = Records::new(DEFAULT_SIDE, &known);
        contents
            .map(Content::open)
            .try_fold(records, |records, content| records.append(content?))?
            .images()
    };
    Ok(Dataset::lazy(name, classes, move |split| {
        Ok(match split {
            Split::Train => images(&TRAIN)?.hold_out_tenth().0,
            Split::Valid => images(&TRAIN)?.hold_out_tenth().1,
            Split::Test => images(&TEST)?,
        })
    }))
}

/// Every file of the data set that is read.
fn names() -> impl Iterator<Item = &'static str> {
    TRAIN.into_iter().chain(TEST).chain([CLASSES])
}

impl Files {
    fn check_complete(&self) -> Result<(), DataError> {
        let missing: Vec<String> = names()
            .filter(|name| !self.contents.contains_key(name))
            .map(String::from)
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        if self.edition == Edition::Python {
            return Err(DataError::Folder {
                path: self.path.clone(),
                reason: PYTHON.into(),
            });
        }
        Err(DataError::MissingFiles {
            path: self.path.clone(),
            missing,
        })
    }
}

/// Finds the files of the data set in `path` or in the published folder inside it.
fn find_in_folder(path: &Path) -> Result<Files, DataError> {
    let inside = path.join(FOLDER);
    let pickled = [path.into(), path.join("cifar-10-batches-py")];
    let is_python = |folder: &PathBuf| folder.join(PICKLED).exists();
    let here = names().find(|name| path.join(name).exists());
    let path = match (inside.is_dir(), here) {
        (true, Some(name)) => return Err(DataError::both(path.join(name), &inside)),
        (true, None) => inside,
        (false, _) => path.into(),
    };
    let known: Vec<String> = names().map(String::from).collect();
    check_known(&path, &known, (["data_batch", "test_batch"], ".bin"))?;
    let mut contents = BTreeMap::new();
    for name in names() {
        let file = path.join(name);
        if file.exists() {
            contents.insert(name, Content::File(file));
        }
    }
    Ok(Files {
        path,
        contents,
        edition: match pickled.iter().any(is_python) {
            true => Edition::Python,
            false => Edition::Binary,
        },
    })
}

fn read_archive(path: &Path) -> Result<Files, DataError> {
    let file = file::open(path)?;
    let unpacked = guarded(|| unpack(file));
    let unpacked = unpacked.unwrap_or_else(|panic| Err(io::Error::other(panic)));
    let (unpacked, edition) = unpacked.map_err(|source| DataError::Archive {
        path: path.into(),
        source,
    })?;
    let mut contents = BTreeMap::new();
    for (name, content) in unpacked {
        let content = Bytes::in_memory(&path.join(name), content);
        if contents.insert(name, Content::Unpacked(content)).is_some() {
            return Err(DataError::Twice {
                path: path.into(),
                name: name.into(),
            });
        }
    }
    Ok(Files {
        path: path.into(),
        contents,
        edition,
    })
}

/// The files of the data set among those of the archive, in its order.
type Unpacked = Vec<(&'static str, Vec<u8>)>;

fn unpack(file: File) -> io::Result<(Unpacked, Edition)> {
    // Content beyond the limit is cut off and detected as missing.
    let content = GzDecoder::new(BufReader::new(file)).take(MOST);
    let mut archive = Archive::new(content);
    let (mut unpacked, mut edition) = (Vec::new(), Edition::Binary);
    for entry in archive.entries()? {
        let mut entry = entry?;
        let path = entry.path()?.into_owned();
        if path.file_name() == Some(PICKLED.as_ref()) {
            edition = Edition::Python;
        }
        let wanted = names().find(|name| path.file_name() == Some(name.as_ref()));
        if let Some(name) = wanted.filter(|_| entry.header().entry_type().is_file()) {
            let size = entry.size();
            check_memory(name, size).map_err(io::Error::other)?;
            let mut content = Vec::new();
            if entry.by_ref().take(size).read_to_end(&mut content)? as u64 != size {
                return Err(io::Error::other(format!("{name} is incomplete")));
            }
            unpacked.push((name, content));
        }
    }
    // The checksum comes last, after the data that the tar reader needs.
    let mut content = archive.into_inner();
    io::copy(&mut content, &mut io::sink())?;
    match content.limit() {
        0 => Err(io::Error::other(format!(
            "it contains more than {MOST} bytes"
        ))),
        _ => Ok((unpacked, edition)),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use proptest::prelude::*;
    use tempfile::{TempDir, tempdir};

    use super::*;
    use crate::testing::{assert_says, gzip, record_bytes, write};

    const NAMES: &str = "airplane\nautomobile\nbird\ncat\ndeer\ndog\nfrog\nhorse\nship\ntruck\n\n";

    fn load(path: &Path) -> Result<Dataset, DataError> {
        crate::testing::load(&format!("cifar10:{}", path.display()))
    }

    /// The files of a small data set: four records per batch, labelled with the number of
    /// the batch (6 for the test batch).
    fn small() -> Vec<(&'static str, Vec<u8>)> {
        let batches = TRAIN.into_iter().chain(TEST).zip(1..);
        batches
            .map(|(name, number)| (name, record_bytes(DEFAULT_SIDE, &[number; 4])))
            .chain([(CLASSES, NAMES.into())])
            .collect()
    }

    fn folder_of(files: &[(&str, Vec<u8>)]) -> TempDir {
        let folder = tempdir().unwrap();
        for (name, content) in files {
            write(folder.path(), name, content);
        }
        folder
    }

    /// A tar.gz with the files in the published folder.
    fn archive_of(files: &[(&str, Vec<u8>)]) -> Vec<u8> {
        let mut builder = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
        append(&mut builder, files);
        builder.into_inner().unwrap().finish().unwrap()
    }

    fn append(builder: &mut tar::Builder<impl Write>, files: &[(&str, Vec<u8>)]) {
        for (name, content) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            let path = Path::new(FOLDER).join(name);
            builder
                .append_data(&mut header, path, content.as_slice())
                .unwrap();
        }
    }

    fn load_archive(bytes: &[u8]) -> Result<Dataset, DataError> {
        let folder = tempdir().unwrap();
        load(&write(folder.path(), "cifar.tar.gz", bytes))
    }

    #[track_caller]
    fn assert_small(dataset: &Dataset) {
        let train = [1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5];
        assert_eq!(dataset.train().labels(), train);
        assert_eq!(dataset.valid().labels(), [3, 5]);
        assert_eq!(dataset.test().labels(), [6; 4]);
        assert_eq!(dataset.test().shape(), (3, 32, 32));
        assert_eq!(dataset.classes.len(), 10);
        assert_eq!(dataset.classes[9], "truck");
    }

    #[test]
    fn the_folder_is_read() {
        let folder = folder_of(&small());
        assert_small(&load(folder.path()).unwrap());
    }

    #[test]
    fn the_folder_above_is_accepted() {
        let above = tempdir().unwrap();
        let inside = above.path().join(FOLDER);
        fs::create_dir(&inside).unwrap();
        for (name, content) in small() {
            write(&inside, name, content);
        }
        assert_small(&load(above.path()).unwrap());
    }

    #[test]
    fn the_archive_holds_the_same_as_the_folder() {
        let mut files = small();
        files.insert(0, ("readme.html", b"<html>".to_vec()));
        let folder = folder_of(&files);
        let archive = load_archive(&archive_of(&files)).unwrap();
        assert_small(&archive);
        let expected = load(folder.path()).unwrap();
        assert_eq!(archive.train(), expected.train());
        assert_eq!(archive.valid(), expected.valid());
        assert_eq!(archive.test(), expected.test());
    }

    #[test]
    fn every_file_must_be_there() {
        for absent in names() {
            let mut files = small();
            files.retain(|(name, _)| *name != absent);
            let folder = folder_of(&files);
            let error = load(folder.path()).unwrap_err();
            assert_says(&error, &[folder.path().to_str().unwrap(), absent]);
            let error = load_archive(&archive_of(&files)).unwrap_err();
            assert_says(&error, &["cifar.tar.gz", absent]);
            assert!(
                matches!(error, DataError::MissingFiles { missing, .. } if missing == [absent])
            );
        }
    }

    #[test]
    fn files_that_are_not_of_the_data_set_are_refused() {
        let folder = folder_of(&small());
        write(folder.path(), "data_batch_6.bin", "");
        assert_says(
            &load(folder.path()).unwrap_err(),
            &["no file data_batch_6.bin"],
        );
        fs::create_dir(folder.path().join(FOLDER)).unwrap();
        let parts = [TRAIN[0], FOLDER, "keep one of the two"];
        assert_says(&load(folder.path()).unwrap_err(), &parts);
    }

    #[test]
    fn a_broken_batch_is_named_with_the_place() {
        let mut files = small();
        files[2].1.truncate(2 * 3073 + 5);
        let folder = folder_of(&files);
        let parts = ["data_batch_3.bin", "6151 bytes", "record 2", "byte 6146"];
        assert_says(&load(folder.path()).unwrap_err(), &parts);
        let error = load_archive(&archive_of(&files)).unwrap_err();
        assert_says(&error, &["cifar.tar.gz", "data_batch_3.bin", "record 2"]);
    }

    #[test]
    fn labels_are_checked_against_the_names() {
        let mut files = small();
        files[5].1[3073] = 10;
        let folder = folder_of(&files);
        let error = load(folder.path()).unwrap_err();
        assert_says(
            &error,
            &["test_batch.bin", "record 1", "byte 3073", "label 10"],
        );
    }

    #[test]
    fn an_archive_cut_anywhere_is_an_error() {
        let bytes = archive_of(&small());
        assert!(load_archive(&bytes).is_ok());
        let last = (bytes.len() - 8..bytes.len()).chain(0..12);
        for length in last.chain((0..bytes.len()).step_by(997)) {
            let error = load_archive(&bytes[..length]).unwrap_err();
            assert_says(&error, &["cifar.tar.gz"]);
            assert!(
                matches!(error, DataError::Archive { .. }),
                "{length}: {error}"
            );
        }
    }

    #[test]
    fn a_wrong_checksum_is_an_error() {
        let mut bytes = archive_of(&small());
        let checksum = bytes.len() - 8;
        bytes[checksum] ^= 1;
        let error = load_archive(&bytes).unwrap_err();
        assert!(matches!(error, DataError::Archive { .. }), "{error}");
    }

    #[test]
    fn a_file_that_comes_twice_is_an_error() {
        let mut files = small();
        files.push(files[1].clone());
        let error = load_archive(&archive_of(&files)).unwrap_err();
        assert_says(&error, &["cifar.tar.gz", "data_batch_2.bin", "twice"]);
    }

    #[test]
    fn a_folder_in_the_archive_is_not_a_file_of_the_data_set() {
        let mut builder = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
        let folder = tempdir().unwrap();
        builder.append_dir(TEST[0], folder.path()).unwrap();
        append(&mut builder, &small());
        let bytes = builder.into_inner().unwrap().finish().unwrap();
        assert_small(&load_archive(&bytes).unwrap());
    }

    #[test]
    fn a_missing_path_is_named() {
        let error = load(Path::new("/no-such/place")).unwrap_err();
        assert_says(&error, &["/no-such: no such folder", "/no-such/place"]);
        let folder = tempdir().unwrap();
        let error = load(&folder.path().join("none")).unwrap_err();
        assert!(matches!(error, DataError::Read { .. }), "{error}");
    }

    #[test]
    fn the_version_for_python_gets_a_hint() {
        let pickled = [("data_batch_1", vec![0; 10]), ("test_batch", vec![0; 10])];
        let folder = folder_of(&pickled);
        let above = tempdir().unwrap();
        let inside = above.path().join("cifar-10-batches-py");
        fs::create_dir(&inside).unwrap();
        write(&inside, "data_batch_1", "");
        for error in [
            load(folder.path()).unwrap_err(),
            load(above.path()).unwrap_err(),
            load_archive(&archive_of(&pickled)).unwrap_err(),
        ] {
            assert_says(&error, &["Python version", "cifar-10-binary.tar.gz"]);
        }
    }

    /// The program reads an archive with endless content only up to a limit.
    #[test]
    fn an_endless_archive_is_refused() {
        let zeros = gzip(&vec![0; 1 << 24]);
        let path = tempdir().unwrap();
        let many = zeros.repeat(2); // the second is not part of the archive
        assert!(load(&write(path.path(), "cifar.tar.gz", &many)).is_err());
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        let mut header = tar::Header::new_gnu();
        header.set_path("batches.meta.txt").unwrap();
        header.set_size(1 << 60);
        header.set_cksum();
        encoder.write_all(header.as_bytes()).unwrap();
        let error = load_archive(&encoder.finish().unwrap()).unwrap_err();
        assert!(matches!(error, DataError::Archive { .. }), "{error}");
    }

    proptest! {
        #[test]
        fn any_bytes_in_gzip_are_an_error(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
            encoder.write_all(&bytes).unwrap();
            assert_says(&load_archive(&encoder.finish().unwrap()).unwrap_err(), &["cifar.tar.gz"]);
            assert_says(&load_archive(&bytes).unwrap_err(), &["cifar.tar.gz"]);
        }
    }
}
