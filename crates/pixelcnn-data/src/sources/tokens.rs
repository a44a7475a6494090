//! Grids of codes.

use std::path::{Path, PathBuf};

use safetensors::Dtype;
use safetensors::tensor::Metadata;

use super::records::of_files;
use crate::bytes::Bytes;
use crate::npy::open_values;
use crate::store::{Coding, Part, Store, Width};
use crate::{DataError, Dataset, Images, Split, TokensSpec};
use pixelcnn_system::counted;

/// The longest header of a safetensors file.
const LONGEST_HEADER: u64 = 1 << 24;

/// Opens a file at the first use of its split. Without a number of levels, the first use
/// opens all files, because the largest code gives it.
pub(super) fn load(name: String, spec: &TokensSpec) -> Dataset {
    let train = spec.train.clone();
    let most_levels = spec.levels.unwrap_or(1 << 16);
    let read = move |path: &Path| {
        let images = read(path, most_levels)?;
        // If the training file exists. Only its header is read.
        if let Ok(grids) = Grids::open(&train) {
            grids.check_alike(&train, &images, path)?;
        }
        Ok(images)
    };
    let files = (spec.train.clone(), spec.valid.clone(), spec.test.clone());
    let dataset = of_files(name, Vec::new(), files, read);
    if let Some(levels) = spec.levels {
        return dataset.map(move |images| images.with_levels(levels));
    }
    let all = dataset.clone();
    dataset.map(move |images| {
        let mut levels = images.levels();
        for split in [Split::Train, Split::Valid, Split::Test] {
            levels = levels.max(all.images(split)?.levels());
        }
        images.with_levels(levels)
    })
}

fn wrong(path: &Path, reason: String) -> DataError {
    DataError::Tokens {
        path: path.into(),
        reason,
    }
}

/// What integers are.
#[derive(Clone, Copy)]
enum Role {
    Codes,
    Labels,
}

impl Role {
    fn wrong(self, path: &Path, reason: String) -> DataError {
        let path = path.into();
        match self {
            Self::Codes => DataError::Tokens { path, reason },
            Self::Labels => DataError::TokenLabels { path, reason },
        }
    }
}

/// The content of a file.
struct Grids {
    codes: Integers,
    /// The labels and their file; without them, all labels are 0.
    labels: Option<(Integers, PathBuf)>,
    images: usize,
    /// Channels, height and width.
    shape: (usize, usize, usize),
}

impl Grids {
    fn open(path: &Path) -> Result<Self, DataError> {
        let end = path.extension().and_then(|end| end.to_str());
        let (codes, labels) = match end {
            Some("npy") => {
                let beside = path.with_extension("labels.npy");
                let labels = match beside.exists() {
                    true => Some((of_npy(&beside, Role::Labels)?, beside)),
                    false => None,
                };
                (of_npy(path, Role::Codes)?, labels)
            }
            Some("safetensors") => of_safetensors(path)?,
            Some("npz") => {
                let why = "a .npy or .safetensors file expected: save one array of the \
                           archive, numpy.save('codes.npy', archive['NAME'].astype('<i8'))";
                return Err(wrong(path, why.into()));
            }
            _ => {
                let why = "a .npy or .safetensors file expected".to_string();
                return Err(wrong(path, why));
            }
        };
        let (images, shape) = match codes.shape[..] {
            [n, h, w] => (n, (1, h, w)),
            [n, c, h, w] => (n, (c, h, w)),
            ref other => {
                let why = format!("codes [n, h, w] or [n, c, h, w] expected, found {other:?}");
                return Err(wrong(path, why));
            }
        };
        Ok(Self {
            codes,
            labels,
            images,
            shape,
        })
    }

    /// Checks that the images of the file `path` have the same shape as these in the file
    /// `own`.
    fn check_alike(&self, own: &Path, images: &Images, path: &Path) -> Result<(), DataError> {
        if images.shape() == self.shape {
            return Ok(());
        }
        let text = |(c, h, w)| format!("[{c}, {h}, {w}]");
        let (found, expected) = (text(images.shape()), text(self.shape));
        let own = own.display();
        let why = format!("grids of {found}, those of {own} are of {expected}");
        Err(wrong(path, why))
    }
}

/// The grids of a file with their labels. The number of levels is the largest code plus
/// one, for which all codes are read; it is at most `most_levels`.
fn read(path: &Path, most_levels: usize) -> Result<Images, DataError> {
    let Grids {
        codes,
        labels,
        images,
        shape,
    } = Grids::open(path)?;
    let labels = match labels {
        None => vec![0; images],
        Some((labels, path)) if labels.shape == [images] => {
            let mut numbers = Vec::with_capacity(images);
            labels.each(&path, 1 << 32, |label| numbers.push(label as u32))?;
            numbers
        }
        Some((labels, path)) => {
            let (found, grids) = (&labels.shape, counted(images, "grid"));
            let why = format!("labels [{images}] of {grids} expected, found {found:?}");
            return Err(Role::Labels.wrong(&path, why));
        }
    };
    let (channels, height, width) = shape;
    let size = channels * height * width;
    let levels = (largest(&codes, path, size, most_levels)? + 1).max(2);
    let part = Part {
        bytes: codes.bytes,
        first: 0,
        stride: (size * codes.size) as u64,
        images,
    };
    let coding = Coding {
        bytes: codes.size,
        width: Width::for_levels(levels),
    };
    let store = Store::new(vec![part], size, coding);
    Ok(Images::from_store(shape, store, labels)?.with_known_levels(levels))
}

/// The largest code of grids of `size` codes; all must be below `levels`.
fn largest(codes: &Integers, path: &Path, size: usize, levels: usize) -> Result<usize, DataError> {
    let (mut most, mut index, mut beyond) = (0, 0, None);
    codes.each(path, 1 << 16, |code| {
        if code as usize >= levels && beyond.is_none() {
            beyond = Some((index, code));
        }
        most = most.max(code as usize);
        index += 1;
    })?;
    let Some((index, code)) = beyond else {
        return Ok(most);
    };
    let (grid, inside) = (index / size, index % size);
    let why = format!(
        "grid {grid} (from 0) has the code {code} at index {inside}, but levels={levels} allows \
         0 to {}: levels must be above the largest code, which is {most}",
        levels - 1
    );
    Err(wrong(path, why))
}

/// Integers of some type in a file.
struct Integers {
    role: Role,
    shape: Vec<usize>,
    bytes: Bytes,
    /// Bytes per number.
    size: usize,
    signed: bool,
}

impl Integers {
    /// Calls `act` with each number; all must be from 0 to `most - 1`.
    fn each(&self, path: &Path, most: u64, mut act: impl FnMut(u64)) -> Result<(), DataError> {
        self.bytes.blocks(self.size, |offset, block| {
            for (index, bytes) in block.chunks_exact(self.size).enumerate() {
                let mut wide = [0; 8];
                wide[..bytes.len()].copy_from_slice(bytes);
                let negative = self.signed && bytes.last().is_some_and(|last| last & 0x80 != 0);
                if negative {
                    wide[bytes.len()..].fill(0xff);
                }
                let number = u64::from_le_bytes(wide);
                if negative || number >= most {
                    let found = match negative {
                        true => number.cast_signed().to_string(),
                        false => number.to_string(),
                    };
                    let index = offset as usize / self.size + index;
                    let most = most - 1;
                    let why = format!(
                        "the number at index {index} (from 0) is {found}: 0 to {most} expected"
                    );
                    return Err(self.role.wrong(path, why));
                }
                act(number);
            }
            Ok(())
        })
    }
}

fn of_npy(path: &Path, role: Role) -> Result<Integers, DataError> {
    let (header, bytes) = open_values(path)?;
    let (size, signed) = match header.number() {
        "u1" => (1, false),
        "u2" => (2, false),
        "u4" => (4, false),
        "i2" => (2, true),
        "i4" => (4, true),
        "i8" => (8, true),
        _ => {
            let why = format!(
                "integers of type u1, u2, u4, i2, i4 or i8 expected, found {}: \
                 save arr.astype('<i8')",
                header.kind
            );
            return Err(role.wrong(path, why));
        }
    };
    Ok(Integers {
        role,
        shape: header.shape,
        bytes,
        size,
        signed,
    })
}

type Labelled = (Integers, Option<(Integers, PathBuf)>);

fn of_safetensors(path: &Path) -> Result<Labelled, DataError> {
    let (tensors, data) = safetensors_header(path)?;
    let mut names = tensors.offset_keys();
    names.sort_unstable();
    let known = |name: &String| ["codes", "labels"].contains(&name.as_str());
    if !names.iter().any(|name| name == "codes") || !names.iter().all(known) {
        let found = names.join(", ");
        let why = format!("the tensor codes and optionally labels expected, found {found}");
        return Err(wrong(path, why));
    }
    let of = |name: &str, role: Role| {
        let Some(tensor) = tensors.info(name) else {
            return Ok(None);
        };
        let (size, signed) = match tensor.dtype {
            Dtype::U8 => (1, false),
            Dtype::U16 => (2, false),
            Dtype::U32 => (4, false),
            Dtype::I32 => (4, true),
            Dtype::I64 => (8, true),
            other => {
                let why = format!(
                    "{name}: u8, u16, u32, i32 or i64 expected, found {other:?}: \
                     save tensor.to(torch.int64)"
                );
                return Err(role.wrong(path, why));
            }
        };
        let (start, end) = tensor.data_offsets;
        Ok(Some(Integers {
            role,
            shape: tensor.shape.clone(),
            bytes: data.part(start as u64, (end - start) as u64),
            size,
            signed,
        }))
    };
    let labels = of("labels", Role::Labels)?.map(|labels| (labels, path.to_path_buf()));
    match of("codes", Role::Codes)? {
        Some(codes) => Ok((codes, labels)),
        None => Err(wrong(path, "it has no tensor codes".into())),
    }
}

/// The header of a safetensors file, and the bytes of its tensors. The crate `safetensors`
/// reads only files in memory, so this function reads the header itself.
fn safetensors_header(path: &Path) -> Result<(Metadata, Bytes), DataError> {
    let damaged = |why: String| wrong(path, format!("it is no safetensors file: {why}"));
    let bytes = Bytes::open(path)?;
    let mut length = [0; 8];
    if bytes.length() < length.len() as u64 {
        return Err(damaged("it ends within its header".into()));
    }
    bytes.read_at(0, &mut length)?;
    let length = u64::from_le_bytes(length);
    if length > LONGEST_HEADER.min(bytes.length() - 8) {
        return Err(damaged(format!("its header has {length} bytes")));
    }
    let mut header = Vec::new();
    bytes.append_to(&mut header, 8, length as usize)?;
    let tensors = serde_json::from_slice::<Metadata>(&header);
    let tensors = tensors.map_err(|error| damaged(error.to_string()))?;
    let data = bytes.part(8 + length, u64::MAX);
    let (found, announced) = (data.length(), tensors.data_len());
    if found != announced as u64 {
        return Err(damaged(format!(
            "it has {found} bytes of values, its header needs {announced}"
        )));
    }
    Ok((tensors, data))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use candle_core::{DType, Device, Tensor};
    use tempfile::{TempDir, tempdir};

    use super::*;
    use crate::DataSpec;
    use crate::testing::{assert_says, write};

    fn load(folder: &TempDir, spec: &str) -> Result<Dataset, DataError> {
        crate::testing::load(&format!("tokens:{}/{spec}", folder.path().display()))
    }

    fn npy(folder: &TempDir, name: &str, kind: &str, shape: &str, bytes: &[u8]) -> PathBuf {
        let header = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}");
        let length = (header.len() as u16).to_le_bytes();
        let start = [b"\x93NUMPY\x01\x00", &length[..], header.as_bytes()].concat();
        write(folder.path(), name, [&start[..], bytes].concat())
    }

    #[test]
    fn codes_of_every_type_are_the_same_grids() {
        let numbers: Vec<u32> = (0..12).map(|value| value * 37 % 300).collect();
        let wide = |size: usize| -> Vec<u8> {
            let bytes = numbers
                .iter()
                .map(|number| u64::from(*number).to_le_bytes());
            bytes.flat_map(|bytes| bytes[..size].to_vec()).collect()
        };
        let folder = tempdir().unwrap();
        let mut all = Vec::new();
        for (kind, size) in [("<u2", 2), ("<u4", 4), ("<i2", 2), ("<i4", 4), ("<i8", 8)] {
            let file = format!("{}.npy", &kind[1..]);
            npy(&folder, &file, kind, "(2, 2, 3)", &wide(size));
            all.push(load(&folder, &file).unwrap());
        }
        let tensor = Tensor::from_vec(numbers.clone(), (2, 2, 3), &Device::Cpu).unwrap();
        let tensors = HashMap::from([("codes", tensor.to_dtype(DType::I64).unwrap())]);
        let path = folder.path().join("codes.safetensors");
        candle_core::safetensors::save(&tensors, path).unwrap();
        all.push(load(&folder, "codes.safetensors").unwrap());
        for dataset in &all {
            assert_eq!(dataset.train().shape(), (1, 2, 3));
            assert_eq!(dataset.train().levels(), 297);
            assert_eq!(dataset.train(), all[0].train());
            assert_eq!(
                dataset.train().identity().unwrap(),
                all[0].train().identity().unwrap()
            );
            let found = dataset.train().tensor(0..2, &Device::Cpu).unwrap();
            assert_eq!(
                found.flatten_all().unwrap().to_vec1::<u32>().unwrap(),
                numbers
            );
        }
    }

    #[test]
    fn labels_are_read_and_a_tenth_is_held_out() {
        let folder = tempdir().unwrap();
        npy(&folder, "codes.npy", "|u1", "(20, 1, 1)", &[3; 20]);
        let labels: Vec<u8> = (0..20).flat_map(|label: i64| label.to_le_bytes()).collect();
        npy(&folder, "codes.labels.npy", "<i8", "(20,)", &labels);
        let dataset = load(&folder, "codes.npy,levels=512").unwrap();
        assert_eq!(dataset.valid().labels(), [9, 19]);
        assert_eq!((dataset.train().levels(), dataset.test().len()), (512, 0));
        npy(&folder, "codes.labels.npy", "<i8", "(19,)", &labels[8..]);
        let error = load(&folder, "codes.npy").unwrap_err();
        assert_says(
            &error,
            &[
                "codes.labels.npy as labels",
                "labels [20] of 20 grids",
                "[19]",
            ],
        );
    }

    #[test]
    fn files_without_codes_are_named() {
        let folder = tempdir().unwrap();
        npy(
            &folder,
            "negative.npy",
            "<i2",
            "(1, 1, 2)",
            &[1, 0, 0xff, 0xff],
        );
        npy(&folder, "large.npy", "<u4", "(1, 1, 1)", &[0, 0, 1, 0]);
        npy(&folder, "float.npy", "<f4", "(1, 1, 1)", &[0; 4]);
        npy(&folder, "flat.npy", "|u1", "(4,)", &[0; 4]);
        npy(&folder, "small.npy", "|u1", "(10, 1, 1)", &[7; 10]);
        write(folder.path(), "text.safetensors", "no tensors");
        for (spec, parts) in [
            (
                "negative.npy",
                ["negative.npy", "the number at index 1 (from 0) is -1"],
            ),
            (
                "large.npy",
                ["large.npy", "the number at index 0 (from 0) is 65536"],
            ),
            (
                "float.npy",
                ["float.npy", "found <f4: save arr.astype('<i8')"],
            ),
            (
                "flat.npy",
                ["flat.npy", "[n, h, w] or [n, c, h, w] expected, found [4]"],
            ),
            (
                "small.npy,levels=7",
                [
                    "small.npy",
                    "grid 0 (from 0) has the code 7 at index 0, but levels=7",
                ],
            ),
            ("small.npy,test=none.npy", ["none.npy", "cannot read"]),
            (
                "text.safetensors",
                ["text.safetensors", "no safetensors file"],
            ),
            ("codes.txt", ["codes.txt", ".npy or .safetensors"]),
            ("codes.npz", ["codes.npz", "numpy.save("]),
        ] {
            assert_says(&load(&folder, spec).unwrap_err(), &parts);
        }
    }

    #[test]
    fn files_of_two_splits_that_do_not_fit_are_named() {
        let folder = tempdir().unwrap();
        npy(&folder, "small.npy", "|u1", "(10, 1, 1)", &[7; 10]);
        npy(&folder, "other.npy", "|u1", "(1, 2, 1)", &[7; 2]);
        npy(&folder, "high.npy", "|u1", "(2, 1, 2)", &[7, 6, 7, 9]);
        let high = folder.path().join("high.npy");
        let spec = format!("small.npy,levels=8,valid={}", high.display());
        let error = load(&folder, &spec).unwrap_err();
        assert_says(
            &error,
            &["high.npy", "grid 1 (from 0) has the code 9 at index 1"],
        );
        let test = folder.path().join("other.npy");
        let spec = format!("small.npy,test={}", test.display());
        let error = load(&folder, &spec).unwrap_err();
        assert_says(&error, &["other.npy", "[1, 2, 1]", "[1, 1, 1]"]);
        for (text, part) in [
            ("tokens", "tokens:FILE.npy"),
            ("tokens:a.npy,levels=1", "levels=1 is not"),
            ("tokens:a.npy,levels=65537", "levels=65537 is not"),
        ] {
            assert_says(&text.parse::<DataSpec>().unwrap_err(), &[part]);
        }
    }
}
