//! The form of Chrabaszcz et al., 2017: batches as NumPy archives, labelled.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use pixelcnn_system::guarded;
use zip::ZipArchive;
use zip::result::ZipError;

use super::{Part, dataset, split_of};
use crate::cache::{self, Kept, Key};
use crate::decoding::mark;
use crate::file::damage;
use crate::listing::check_known;
use crate::npy::header::Header;
use crate::{DataError, Dataset, Loading, Progress, Split, Values, file};
use pixelcnn_system::counted;

const TEST: &str = "val_data.npz";
const BATCHES: usize = 10;
/// The labels of the files are 1 to this.
const CLASSES: i64 = 1000;

fn train() -> impl Iterator<Item = String> {
    (1..=BATCHES).map(|batch| format!("train_data_batch_{batch}.npz"))
}

/// Whether a folder has any file of this form.
pub(super) fn is_there(folder: &Path) -> bool {
    train()
        .chain([TEST.into()])
        .any(|name| folder.join(name).exists())
}

pub(super) fn load(
    name: String,
    folder: &Path,
    side: usize,
    loading: &Loading,
) -> Result<Dataset, DataError> {
    let names: Vec<String> = train().chain([TEST.into()]).collect();
    check_known(folder, &names, (["train_data", "val_data"], ".npz"))?;
    let names = names.into_iter();
    let missing: Vec<String> = names.filter(|name| !folder.join(name).exists()).collect();
    if !missing.is_empty() {
        return Err(DataError::MissingFiles {
            path: folder.into(),
            missing,
        });
    }
    let (folder, loading) = (folder.to_path_buf(), loading.clone());
    let make = move |part| {
        let files: Vec<PathBuf> = match part {
            Part::Train => train().map(|name| folder.join(name)).collect(),
            Part::Test => vec![folder.join(TEST)],
        };
        unpacked(&folder, side, part, &files, &loading)
    };
    Ok(dataset(name, side, make))
}

/// The images of some files, from the cache if they are there.
fn unpacked(
    folder: &Path,
    side: usize,
    part: Part,
    files: &[PathBuf],
    loading: &Loading,
) -> Result<Kept, DataError> {
    let key = || {
        let options = format!("{part:?} {side}");
        Key::new("npz", folder, &options, files.iter().map(PathBuf::as_path))
    };
    cache::kept(loading, key, |sink| {
        let size = 3 * side * side;
        let open = |path: &PathBuf| Batch::open(path.clone(), size);
        let batches = files.iter().map(open).collect::<Result<Vec<_>, _>>()?;
        let images: usize = batches.iter().map(|batch| batch.images).sum();
        let bytes = (images as u64).saturating_mul(size as u64 + 4);
        sink.reserve(folder, counted(images, "image"), bytes)?;
        let mut index = 0;
        for batch in batches {
            batch.read(|values, label| {
                let split = match part {
                    Part::Train => split_of(index),
                    Part::Test => Split::Test,
                };
                index += 1;
                sink.push(&Values::U8(values.to_vec()), label, mark(split))
            })?;
            (loading.progress)(Progress {
                what: "unpacking",
                unit: "images",
                done: index,
                of: images,
            });
        }
        Ok(())
    })
}

/// A file whose arrays have the expected shapes.
struct Batch {
    path: PathBuf,
    archive: ZipArchive<BufReader<File>>,
    images: usize,
    size: usize,
}

impl Batch {
    /// Opens a file of images of `size` values. The shapes are checked before
    /// memory is allocated.
    fn open(path: PathBuf, size: usize) -> Result<Self, DataError> {
        let reader = BufReader::new(file::open(&path)?);
        let opened = guarded(|| ZipArchive::new(reader).map_err(|error| words(&error)));
        let mut batch = Self {
            archive: opened
                .unwrap_or_else(Err)
                .map_err(|reason| broken(&path, reason))?,
            path,
            images: 0,
            size,
        };
        if batch.archive.has_duplicate_names() {
            let reason = "it contains two arrays of one name";
            return Err(broken(&batch.path, reason.into()));
        }
        let data = batch.header("data")?;
        let shape = data.shape_text();
        batch.images = match data.shape[..] {
            _ if data.number() != "u1" => {
                let reason = format!("has values of type {}, not |u1", data.kind);
                return Err(batch.wrong("data", reason));
            }
            [0, _] => return Err(batch.wrong("data", "has no images".into())),
            [images, found] if found == size => images,
            _ => {
                let reason = format!("has the shape {shape}, not (images, {size})");
                return Err(batch.wrong("data", reason));
            }
        };
        let labels = batch.header("labels")?;
        if labels.shape != [batch.images] {
            let (found, images) = (labels.shape_text(), batch.images);
            return Err(batch.wrong("labels", format!("has the shape {found}, not ({images},)")));
        }
        if !labels.number().starts_with(['i', 'u']) {
            let reason = format!("has type {}, not an integer type", labels.kind);
            return Err(batch.wrong("labels", reason));
        }
        Ok(batch)
    }

    /// The header of an array. Its length must match the entry and the size of the file,
    /// because memory is allocated by it.
    fn header(&mut self, name: &str) -> Result<Header, DataError> {
        let most = file::length(&self.path)?.saturating_mul(file::DEFLATE);
        let (header, found) = self.member(name, |member| {
            let found = member.size();
            Ok((Header::read(member)?, found))
        })?;
        let values = header.values().map(|values| (values * header.size) as u64);
        match values.and_then(|bytes| bytes.checked_add(header.length as u64)) {
            Some(bytes) if bytes == found && bytes <= most => Ok(header),
            _ => {
                let shape = header.shape_text();
                let reason = format!("has {found} bytes, which does not match its shape {shape}");
                Err(self.wrong(name, reason))
            }
        }
    }

    /// Passes each image and its label, from 0, to `push`.
    fn read(
        mut self,
        mut push: impl FnMut(&[u8], u32) -> Result<(), DataError>,
    ) -> Result<(), DataError> {
        let labels = self.labels()?;
        let mut image = vec![0; self.size];
        self.member("data", |member| {
            Header::read(member)?;
            for label in labels {
                read_exact(member, &mut image)?;
                if let Err(error) = push(&image, label) {
                    return Ok(Err(error));
                }
            }
            read_end(member).map(Ok)
        })?
    }

    fn labels(&mut self) -> Result<Vec<u32>, DataError> {
        let images = self.images;
        let labels = self.member("labels", |member| {
            let header = Header::read(member)?;
            let mut bytes = vec![0; images * header.size];
            read_exact(member, &mut bytes)?;
            read_end(member)?;
            let signed = header.kind.contains('i');
            let values = bytes.chunks_exact(header.size);
            Ok(values
                .map(|value| integer(value, signed))
                .collect::<Vec<_>>())
        })?;
        let label = |(image, label)| {
            let known = |label: &i64| (1..=CLASSES).contains(label);
            let label = Some(label).filter(known).ok_or_else(|| {
                let reason = format!("has {label} for image {image} (from 0), not 1 to {CLASSES}");
                self.wrong("labels", reason)
            })?;
            Ok((label - 1) as u32)
        };
        labels.into_iter().enumerate().map(label).collect()
    }

    /// Calls `act` with an array of the archive.
    fn member<T>(
        &mut self,
        name: &str,
        work: impl FnOnce(&mut zip::read::ZipFile<'_, BufReader<File>>) -> Result<T, String>,
    ) -> Result<T, DataError> {
        let archive = &mut self.archive;
        let done = guarded(|| {
            let member = archive.by_name(&format!("{name}.npy"));
            work(&mut member.map_err(|error| words(&error))?)
        });
        done.unwrap_or_else(Err)
            .map_err(|reason| broken(&self.path, format!("the array {name}: {reason}")))
    }

    fn wrong(&self, array: &str, reason: String) -> DataError {
        DataError::Array {
            path: self.path.clone(),
            array: array.into(),
            reason,
        }
    }
}

fn read_exact(reader: &mut dyn Read, bytes: &mut [u8]) -> Result<(), String> {
    reader.read_exact(bytes).map_err(|error| damage(&error))
}

/// Reads to the end of an array, because its checksum is compared only there.
fn read_end(reader: &mut dyn Read) -> Result<(), String> {
    match reader.read(&mut [0]).map_err(|error| damage(&error))? {
        0 => Ok(()),
        _ => Err("it is longer than its header says".into()),
    }
}

/// A little-endian number of at most 8 bytes; a number above 63 bits is not a label.
fn integer(bytes: &[u8], signed: bool) -> i64 {
    let negative = signed && bytes.last().is_some_and(|&byte| byte > 127);
    let mut all = [if negative { 255 } else { 0 }; 8];
    all[..bytes.len()].copy_from_slice(bytes);
    i64::from_le_bytes(all)
}

/// A description of an error in an archive.
fn words(error: &ZipError) -> String {
    match error {
        ZipError::Io(error) => damage(error),
        ZipError::FileNotFound => "it is not in the archive".into(),
        ZipError::UnsupportedArchive(ZipError::PASSWORD_REQUIRED) => "it is encrypted".into(),
        ZipError::CompressionMethodNotSupported(_) => {
            "its compression is not supported: save it with numpy.savez".into()
        }
        _ => "it is not a zip archive, or it is damaged".into(),
    }
}

fn broken(path: &Path, reason: String) -> DataError {
    DataError::Npz {
        path: path.into(),
        reason,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::{self, Cursor, Write};

    use candle_core::{DType, Device, Tensor};
    use tempfile::{TempDir, tempdir};
    use zip::write::SimpleFileOptions;
    use zip::{CompressionMethod, ZipArchive, ZipWriter};

    use super::*;
    use crate::testing::{assert_says, write};

    const SIDE: usize = 32;
    const SIZE: usize = 3 * SIDE * SIDE;

    /// A batch in which all values of an image are its label.
    fn write_batch(folder: &TempDir, name: &str, labels: &[i64]) {
        let device = &Device::Cpu;
        let values = labels
            .iter()
            .flat_map(|&label| vec![label as u8; SIZE])
            .collect();
        let data = Tensor::from_vec(values, (labels.len(), SIZE), device).unwrap();
        let labels = Tensor::from_slice(labels, labels.len(), device).unwrap();
        save(folder, name, &[("data", data), ("labels", labels)]);
    }

    fn save(folder: &TempDir, name: &str, arrays: &[(&str, Tensor)]) {
        Tensor::write_npz(arrays, folder.path().join(name)).unwrap();
    }

    fn whole() -> TempDir {
        let folder = tempdir().unwrap();
        for (name, label) in train().zip(1..) {
            write_batch(&folder, &name, &[label; 11]);
        }
        write_batch(&folder, TEST, &[1, 1000]);
        folder
    }

    fn load(folder: &TempDir) -> Result<Dataset, DataError> {
        crate::testing::load(&format!("imagenet32:{}", folder.path().display()))
    }

    #[test]
    fn the_batches_are_read_in_their_order() {
        let dataset = load(&whole()).unwrap();
        assert!(dataset.name.starts_with("imagenet32:"), "{}", dataset.name);
        assert!(dataset.name.ends_with("(npz batches)"), "{}", dataset.name);
        assert_eq!(dataset.train().shape(), (3, 32, 32));
        assert_eq!(dataset.train().len(), 109);
        assert_eq!(dataset.train().labels()[97..100], [8, 8, 9]);
        assert_eq!(dataset.valid().labels(), [9]);
        assert_eq!(dataset.valid().image(0), [10; SIZE]);
        assert_eq!(dataset.test().labels(), [0, 999]);
    }

    #[test]
    fn compressed_batches_are_read() {
        let folder = whole();
        let expected = load(&folder).unwrap();
        let path = folder.path().join("train_data_batch_2.npz");
        let mut stored = ZipArchive::new(fs::File::open(&path).unwrap()).unwrap();
        let mut packed = ZipWriter::new(Cursor::new(Vec::new()));
        let options = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
        for name in ["data.npy", "labels.npy"] {
            packed.start_file(name, options).unwrap();
            io::copy(&mut stored.by_name(name).unwrap(), &mut packed).unwrap();
        }
        let packed = packed.finish().unwrap().into_inner();
        assert!(packed.len() < SIZE);
        fs::write(&path, packed).unwrap();
        assert_eq!(load(&folder).unwrap().all(), expected.all());
    }

    #[test]
    fn every_file_must_be_there() {
        for name in ["train_data_batch_10.npz", TEST] {
            let folder = whole();
            fs::remove_file(folder.path().join(name)).unwrap();
            assert_says(&load(&folder).unwrap_err(), &[name]);
        }
        for name in ["train_data_batch_11.npz", "val_data_2.npz"] {
            let folder = whole();
            write(folder.path(), name, "");
            let parts = [folder.path().to_str().unwrap(), "no file", name];
            assert_says(&load(&folder).unwrap_err(), &parts);
        }
    }

    #[test]
    fn an_array_that_comes_twice_is_an_error() {
        let folder = whole();
        let path = folder.path().join(TEST);
        let mut bytes = fs::read(&path).unwrap();
        // In the list of contents, renames the other array to the same name.
        for place in 0..bytes.len() - 10 {
            if &bytes[place..place + 10] == b"labels.npy" {
                bytes[place..place + 10].copy_from_slice(b"others.npy");
            }
        }
        fs::write(&path, &bytes).unwrap();
        assert_says(
            &load(&folder).unwrap_err(),
            &[TEST, "the array labels: it is not in the archive"],
        );
        let device = &Device::Cpu;
        let labels = Tensor::new(&[1_i64, 2], device).unwrap();
        let arrays = ["labels", "labelz"].map(|name| (name, labels.clone()));
        let data = Tensor::zeros((2, SIZE), DType::U8, device).unwrap();
        save(&folder, TEST, &[&arrays[..], &[("data", data)]].concat());
        let mut bytes = fs::read(&path).unwrap();
        for place in 0..bytes.len() - 10 {
            if &bytes[place..place + 10] == b"labelz.npy" {
                bytes[place + 5] = b's';
            }
        }
        fs::write(&path, &bytes).unwrap();
        let parts = [TEST, "two arrays of one name"];
        assert_says(&load(&folder).unwrap_err(), &parts);
    }

    #[test]
    fn wrong_arrays_are_named() {
        let device = &Device::Cpu;
        let data = |images, size| Tensor::zeros((images, size), DType::U8, device).unwrap();
        let labels = |label: i64| Tensor::full(label, 2, device).unwrap();
        for (arrays, part) in [
            (
                vec![("data", data(2, 12288)), ("labels", labels(1))],
                "the shape (2, 12288), not (images, 3072)",
            ),
            (
                vec![
                    ("data", data(2, SIZE).to_dtype(DType::U32).unwrap()),
                    ("labels", labels(1)),
                ],
                "type <u4, not |u1",
            ),
            (
                vec![
                    ("data", data(2, SIZE).flatten_all().unwrap()),
                    ("labels", labels(1)),
                ],
                "shape",
            ),
            (
                vec![("data", data(3, SIZE)), ("labels", labels(1))],
                "not (3,)",
            ),
            (
                vec![
                    ("data", data(2, SIZE)),
                    ("labels", labels(1).to_dtype(DType::F32).unwrap()),
                ],
                "type <f4, not an integer",
            ),
            (
                vec![("data", data(2, SIZE)), ("labels", labels(0))],
                "0 for image 0",
            ),
            (
                vec![("data", data(2, SIZE)), ("labels", labels(1001))],
                "1001 for image 0",
            ),
        ] {
            let folder = whole();
            save(&folder, "train_data_batch_4.npz", &arrays);
            let error = load(&folder).unwrap_err();
            assert_says(&error, &["train_data_batch_4.npz", part]);
        }
        let folder = whole();
        save(&folder, TEST, &[("labels", labels(1))]);
        assert_says(&load(&folder).unwrap_err(), &[TEST]);
    }

    #[test]
    fn a_broken_file_is_named() {
        let folder = whole();
        let path = folder.path().join(TEST);
        let good = fs::read(&path).unwrap();
        for length in [0, 100, good.len() - 1] {
            write(folder.path(), TEST, &good[..length]);
            assert_says(&load(&folder).unwrap_err(), &[TEST]);
        }
    }

    /// If an archive changes, its checksums detect it, or the content is the same.
    #[test]
    fn an_archive_is_whole_or_refused() {
        let folder = tempdir().unwrap();
        for method in [CompressionMethod::Stored, CompressionMethod::Deflated] {
            let data: Vec<u8> = (0..24).map(|index| index * 7 % 11).collect();
            let data = Tensor::from_vec(data, (2, 12), &Device::Cpu).unwrap();
            let labels = Tensor::new(&[3_i64, 1000], &Device::Cpu).unwrap();
            save(&folder, "one.npz", &[("data", data), ("labels", labels)]);
            let path = folder.path().join("one.npz");
            let mut stored = ZipArchive::new(fs::File::open(&path).unwrap()).unwrap();
            let mut packed = ZipWriter::new(Cursor::new(Vec::new()));
            let options = SimpleFileOptions::default().compression_method(method);
            for name in ["data.npy", "labels.npy"] {
                packed.start_file(name, options).unwrap();
                io::copy(&mut stored.by_name(name).unwrap(), &mut packed).unwrap();
            }
            let good = packed.finish().unwrap().into_inner();
            let read = |bytes: &[u8]| -> Result<_, DataError> {
                let mut read = Vec::new();
                let path = write(folder.path(), "changed.npz", bytes);
                let batch = Batch::open(path, 12)?;
                batch.read(|values, label| {
                    read.push((values.to_vec(), label));
                    Ok(())
                })?;
                Ok(read)
            };
            let expected = read(&good).unwrap();
            assert_eq!((expected.len(), expected[1].1), (2, 999));
            for byte in 0..good.len() {
                let mut bytes = good.clone();
                bytes[byte] ^= 1 << (byte % 8);
                if let Ok(found) = read(&bytes) {
                    assert_eq!(found, expected, "byte {byte}");
                }
            }
            for length in (0..good.len()).step_by(7) {
                assert!(read(&good[..length]).is_err(), "cut at {length}");
            }
        }
    }

    /// The header of an array, without its values.
    fn header(kind: &str, shape: &str) -> Vec<u8> {
        let text = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}}}\n");
        let length = (text.len() as u16).to_le_bytes();
        [b"\x93NUMPY\x01\x00", length.as_slice(), text.as_bytes()].concat()
    }

    #[test]
    fn more_images_than_the_file_can_hold_are_refused() {
        let folder = whole();
        for count in ["9999999999", "18446744073709551615", "0"] {
            let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
            for (name, array) in [
                ("data.npy", header("|u1", &format!("({count}, {SIZE})"))),
                ("labels.npy", header("<i8", &format!("({count},)"))),
            ] {
                archive
                    .start_file(name, SimpleFileOptions::default())
                    .unwrap();
                archive.write_all(&array).unwrap();
            }
            let bytes = archive.finish().unwrap().into_inner();
            write(folder.path(), TEST, bytes);
            let images = if count == "0" { "no images" } else { count };
            assert_says(&load(&folder).unwrap_err(), &[TEST, "data", images]);
        }
    }
}
