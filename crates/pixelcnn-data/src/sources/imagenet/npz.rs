//! The form of Chrabaszcz et al., 2017: batches as NumPy archives, labelled.

use std::fs;
use std::path::{Path, PathBuf};

use candle_core::npy::NpzTensors;
use candle_core::{DType, Device, Tensor};

use super::{Part, Parts, dataset};
use crate::{DataError, Dataset};

const TEST: &str = "val_data.npz";
const BATCHES: usize = 10;
/// The labels of the files are 1 to this.
const CLASSES: i64 = 1000;
/// What deflate can make of a byte, at most.
const DEFLATE: u64 = 1032;

fn train() -> impl Iterator<Item = String> {
    (1..=BATCHES).map(|batch| format!("train_data_batch_{batch}.npz"))
}

/// Whether a folder has any file of this form.
pub(super) fn is_there(folder: &Path) -> bool {
    train()
        .chain([TEST.into()])
        .any(|name| folder.join(name).is_file())
}

pub(super) fn load(name: String, folder: &Path, side: usize) -> Result<Dataset, DataError> {
    let names = train().chain([TEST.into()]);
    let missing: Vec<String> = names.filter(|name| !folder.join(name).is_file()).collect();
    if !missing.is_empty() {
        return Err(DataError::MissingFiles {
            path: folder.into(),
            missing,
        });
    }
    let size = 3 * side * side;
    let batches = train()
        .map(|name| Batch::open(folder.join(name), size))
        .collect::<Result<Vec<_>, _>>()?;
    let mut parts = Parts::default();
    parts.reserve(batches.iter().map(|batch| batch.images).sum(), size);
    for batch in batches {
        batch.read(|values, label| parts.push(values, label))?;
    }
    let mut test = Part::default();
    Batch::open(folder.join(TEST), size)?.read(|values, label| test.push(values, label))?;
    dataset(name, side, parts, test)
}

/// A file whose arrays have the shapes they should have.
struct Batch {
    path: PathBuf,
    arrays: NpzTensors,
    images: usize,
    size: usize,
}

impl Batch {
    /// Opens a file of images of `size` values. The shapes are checked before
    /// memory is asked for.
    fn open(path: PathBuf, size: usize) -> Result<Self, DataError> {
        let arrays = NpzTensors::new(&path).map_err(|source| broken(&path, source))?;
        let shape = |name| {
            let found = arrays.get_shape_and_dtype(name);
            found.map_err(|source| broken(&path, source))
        };
        let (data, kind) = shape("data")?;
        let &[images, found] = data.dims() else {
            return Err(wrong(
                &path,
                "data",
                format!("has the shape {:?}", data.dims()),
            ));
        };
        if (kind, found) != (DType::U8, size) {
            let reason = format!("has {found} values of type {kind:?} an image, not {size} of U8");
            return Err(wrong(&path, "data", reason));
        }
        let (labels, kind) = shape("labels")?;
        if labels.dims() != [images] {
            let reason = format!("has the shape {:?}, not [{images}]", labels.dims());
            return Err(wrong(&path, "labels", reason));
        }
        if !kind.is_int() {
            return Err(wrong(
                &path,
                "labels",
                format!("is of type {kind:?}, not an integer"),
            ));
        }
        check_length(&path, images, size)?;
        Ok(Self {
            path,
            arrays,
            images,
            size,
        })
    }

    /// Hands each image and its label, from 0, to `push`.
    fn read(self, mut push: impl FnMut(&[u8], u32)) -> Result<(), DataError> {
        let labels = self
            .array("labels")?
            .to_dtype(DType::I64)?
            .to_vec1::<i64>()?;
        let values = self.array("data")?.flatten_all()?.to_vec1::<u8>()?;
        for (image, (values, label)) in values.chunks_exact(self.size).zip(labels).enumerate() {
            if !(1..=CLASSES).contains(&label) {
                let reason = format!("has {label} for image {image} (from 0), not 1 to {CLASSES}");
                return Err(wrong(&self.path, "labels", reason));
            }
            push(values, (label - 1) as u32);
        }
        Ok(())
    }

    fn array(&self, name: &str) -> Result<Tensor, DataError> {
        let array = self
            .arrays
            .get(name)
            .map_err(|source| broken(&self.path, source))?;
        array.map_or_else(
            || Err(wrong(&self.path, name, "is not there".into())),
            |array| Ok(array.to_device(&Device::Cpu)?),
        )
    }
}

/// That a file is long enough for what it announces: memory is asked for by
/// the announcement.
fn check_length(path: &Path, images: usize, size: usize) -> Result<(), DataError> {
    let metadata = fs::metadata(path).map_err(|source| DataError::Read {
        path: path.into(),
        source,
    })?;
    let most = metadata.len().saturating_mul(DEFLATE);
    let values = images
        .checked_mul(size)
        .filter(|&values| values as u64 <= most);
    match values {
        Some(0) => Err(wrong(path, "data", "has no images".into())),
        Some(_) => Ok(()),
        None => {
            let bytes = metadata.len();
            let reason = format!("cannot have {images} images in a file of {bytes} bytes");
            Err(wrong(path, "data", reason))
        }
    }
}

fn broken(path: &Path, source: candle_core::Error) -> DataError {
    DataError::Npz {
        path: path.into(),
        source: Box::new(source),
    }
}

fn wrong(path: &Path, array: &str, reason: String) -> DataError {
    DataError::Array {
        path: path.into(),
        array: array.into(),
        reason,
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, Cursor, Write};

    use tempfile::{TempDir, tempdir};
    use zip::write::SimpleFileOptions;
    use zip::{CompressionMethod, ZipArchive, ZipWriter};

    use super::*;
    use crate::testing::{assert_says, write};

    const SIDE: usize = 32;
    const SIZE: usize = 3 * SIDE * SIDE;

    /// A batch whose images are all of the value of their label.
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
        crate::load(
            &format!("imagenet32:{}", folder.path().display())
                .parse()
                .unwrap(),
        )
    }

    #[test]
    fn the_batches_are_read_in_their_order() {
        let dataset = load(&whole()).unwrap();
        assert!(dataset.name.starts_with("imagenet32:"), "{}", dataset.name);
        assert!(dataset.name.ends_with("(npz batches)"), "{}", dataset.name);
        assert_eq!(dataset.train.shape(), (3, 32, 32));
        assert_eq!(dataset.train.len(), 109);
        assert_eq!(dataset.train.labels()[97..100], [8, 8, 9]);
        assert_eq!(dataset.valid.labels(), [9]);
        assert_eq!(dataset.valid.image(0), [10; SIZE]);
        assert_eq!(dataset.test.labels(), [0, 999]);
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
        assert_eq!(load(&folder).unwrap(), expected);
    }

    #[test]
    fn every_file_must_be_there() {
        for name in ["train_data_batch_10.npz", TEST] {
            let folder = whole();
            fs::remove_file(folder.path().join(name)).unwrap();
            assert_says(&load(&folder).unwrap_err(), &[name]);
        }
    }

    #[test]
    fn wrong_arrays_are_named() {
        let device = &Device::Cpu;
        let data = |images, size| Tensor::zeros((images, size), DType::U8, device).unwrap();
        let labels = |label: i64| Tensor::full(label, 2, device).unwrap();
        for (arrays, part) in [
            (
                vec![("data", data(2, 12288)), ("labels", labels(1))],
                "12288 values",
            ),
            (
                vec![
                    ("data", data(2, SIZE).to_dtype(DType::U32).unwrap()),
                    ("labels", labels(1)),
                ],
                "U32",
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
                "not [3]",
            ),
            (
                vec![
                    ("data", data(2, SIZE)),
                    ("labels", labels(1).to_dtype(DType::F32).unwrap()),
                ],
                "F32",
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

    /// An array that is a header alone.
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
