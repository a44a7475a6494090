//! Grids of codes.

use std::path::{Path, PathBuf};

use safetensors::{Dtype, SafeTensors};

use crate::npy::read_raw;
use crate::{DataError, Dataset, Images, TokensSpec, Values, file};
use pixelcnn_system::counted;

pub(super) fn load(name: String, spec: &TokensSpec) -> Result<Dataset, DataError> {
    let train = read(&spec.train)?;
    let (train, valid) = match &spec.valid {
        Some(path) => (train, read(path)?),
        None => train.hold_out_tenth(),
    };
    let test = match &spec.test {
        Some(path) => read(path)?,
        None => train.subset(&[]),
    };
    for (path, split) in [(&spec.valid, &valid), (&spec.test, &test)] {
        if let Some(path) = path
            && split.shape() != train.shape()
        {
            let text = |(c, h, w)| format!("[{c}, {h}, {w}]");
            let (found, expected) = (text(split.shape()), text(train.shape()));
            let train = spec.train.display();
            let why = format!("grids of {found}, but {train} has grids of {expected}");
            return Err(wrong(path, why));
        }
    }
    let most = [&train, &valid, &test]
        .into_iter()
        .filter_map(|split| split.values().max());
    let levels = spec
        .levels
        .unwrap_or_else(|| most.max().map_or(2, |most| most as usize + 1).max(2));
    let levelled = |images: Images| images.with_levels(levels);
    let dataset = Dataset {
        name,
        train,
        valid,
        test,
        classes: Vec::new(),
    };
    dataset.map(levelled)
}

fn wrong(path: &Path, reason: String) -> DataError {
    DataError::Tokens {
        path: path.into(),
        reason,
    }
}

/// The grids of a file, with their labels, or label 0 if there are no labels.
fn read(path: &Path) -> Result<Images, DataError> {
    let end = path.extension().and_then(|end| end.to_str());
    let (codes, labels) = match end {
        Some("npy") => {
            let beside = path.with_extension("labels.npy");
            let labels = match beside.exists() {
                true => Some((of_npy(&beside)?, beside)),
                false => None,
            };
            (of_npy(path)?, labels)
        }
        Some("safetensors") => of_safetensors(path)?,
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
    let values = codes.values(path, 1 << 16)?;
    let values = match values.iter().all(|value| *value < 1 << 8) {
        true => Values::U8(values.into_iter().map(|value| value as u8).collect()),
        false => Values::U16(values.into_iter().map(|value| value as u16).collect()),
    };
    let labels = match labels {
        None => vec![0; images],
        Some((labels, path)) if labels.shape == [images] => labels.values(&path, 1 << 32)?,
        Some((labels, path)) => {
            let (found, grids) = (&labels.shape, counted(images, "grid"));
            let why = format!("labels [{images}] of {grids} expected, found {found:?}");
            return Err(wrong(&path, why));
        }
    };
    Images::from_values(shape, values, labels)
}

/// Integers of any type.
struct Integers {
    shape: Vec<usize>,
    bytes: Vec<u8>,
    /// Bytes per integer.
    size: usize,
    signed: bool,
}

impl Integers {
    /// The numbers, all at least 0 and below `most`.
    fn values(&self, path: &Path, most: u64) -> Result<Vec<u32>, DataError> {
        let numbers = self.bytes.chunks_exact(self.size).enumerate();
        numbers
            .map(|(index, bytes)| {
                let mut wide = [0; 8];
                wide[..bytes.len()].copy_from_slice(bytes);
                let negative = self.signed && bytes.last().is_some_and(|last| last & 0x80 != 0);
                let number = u64::from_le_bytes(wide);
                match negative || number >= most {
                    false => Ok(number as u32),
                    true => {
                        let found = match negative {
                            true => "a negative number".to_string(),
                            false => number.to_string(),
                        };
                        let why = format!(
                            "number {index} (from 0) is {found}: 0 to {} expected",
                            most - 1
                        );
                        Err(wrong(path, why))
                    }
                }
            })
            .collect()
    }
}

fn of_npy(path: &Path) -> Result<Integers, DataError> {
    let (header, bytes) = read_raw(path)?;
    let (size, signed) = match header.number() {
        "u1" => (1, false),
        "u2" => (2, false),
        "u4" => (4, false),
        "i2" => (2, true),
        "i4" => (4, true),
        "i8" => (8, true),
        _ => {
            let why = format!(
                "integers of type u1, u2, u4, i2, i4 or i8 expected, found {}",
                header.kind
            );
            return Err(wrong(path, why));
        }
    };
    Ok(Integers {
        shape: header.shape,
        bytes,
        size,
        signed,
    })
}

type Labelled = (Integers, Option<(Integers, PathBuf)>);

fn of_safetensors(path: &Path) -> Result<Labelled, DataError> {
    let bytes = file::bytes(path)?;
    let damaged = |error| wrong(path, format!("it is not a safetensors file: {error}"));
    let tensors = SafeTensors::deserialize(&bytes).map_err(damaged)?;
    let mut names = tensors.names();
    names.sort_unstable();
    if !names.contains(&"codes") || names.iter().any(|name| !["codes", "labels"].contains(name)) {
        let found = names.join(", ");
        let why = format!("the tensor codes and optionally labels expected, found {found}");
        return Err(wrong(path, why));
    }
    let of = |name: &str| {
        let tensor = tensors.tensor(name).map_err(damaged)?;
        let (size, signed) = match tensor.dtype() {
            Dtype::U8 => (1, false),
            Dtype::U16 => (2, false),
            Dtype::U32 => (4, false),
            Dtype::I32 => (4, true),
            Dtype::I64 => (8, true),
            other => {
                let why = format!("{name}: u8, u16, u32, i32 or i64 expected, found {other:?}");
                return Err(wrong(path, why));
            }
        };
        Ok(Integers {
            shape: tensor.shape().to_vec(),
            bytes: tensor.data().to_vec(),
            size,
            signed,
        })
    };
    let labels = match names.contains(&"labels") {
        true => Some((of("labels")?, path.to_path_buf())),
        false => None,
    };
    Ok((of("codes")?, labels))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use candle_core::{DType, Device, Tensor};
    use tempfile::{TempDir, tempdir};

    use super::*;
    use crate::testing::{assert_says, write};
    use crate::{DataSpec, load as load_spec};

    fn load(folder: &TempDir, spec: &str) -> Result<Dataset, DataError> {
        let spec: DataSpec = format!("tokens:{}/{spec}", folder.path().display()).parse()?;
        load_spec(&spec)
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
            assert_eq!(dataset.train.shape(), (1, 2, 3));
            assert_eq!(dataset.train.levels(), 297);
            assert_eq!(dataset.train.identity(), all[0].train.identity());
            let found = dataset.train.tensor(0..2, &Device::Cpu).unwrap();
            assert_eq!(
                found.flatten_all().unwrap().to_vec1::<u32>().unwrap(),
                numbers
            );
        }
    }

    #[test]
    fn labels_stand_beside_and_a_tenth_is_held_out() {
        let folder = tempdir().unwrap();
        npy(&folder, "codes.npy", "|u1", "(20, 1, 1)", &[3; 20]);
        let labels: Vec<u8> = (0..20).flat_map(|label: i64| label.to_le_bytes()).collect();
        npy(&folder, "codes.labels.npy", "<i8", "(20,)", &labels);
        let dataset = load(&folder, "codes.npy,levels=512").unwrap();
        assert_eq!(dataset.valid.labels(), [9, 19]);
        assert_eq!((dataset.train.levels(), dataset.test.len()), (512, 0));
        npy(&folder, "codes.labels.npy", "<i8", "(19,)", &labels[8..]);
        let error = load(&folder, "codes.npy").unwrap_err();
        assert_says(
            &error,
            &["codes.labels.npy", "labels [20] of 20 grids", "[19]"],
        );
    }

    #[test]
    fn what_are_no_codes_is_named() {
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
        npy(&folder, "other.npy", "|u1", "(1, 2, 1)", &[7; 2]);
        write(folder.path(), "text.safetensors", "no tensors");
        for (spec, parts) in [
            (
                "negative.npy",
                ["negative.npy", "number 1 (from 0) is a negative"],
            ),
            ("large.npy", ["large.npy", "number 0 (from 0) is 65536"]),
            ("float.npy", ["float.npy", "found <f4"]),
            (
                "flat.npy",
                ["flat.npy", "[n, h, w] or [n, c, h, w] expected, found [4]"],
            ),
            ("small.npy,levels=7", ["7 levels", "largest value is 7"]),
            ("small.npy,test=none.npy", ["none.npy", "cannot read"]),
            (
                "text.safetensors",
                ["text.safetensors", "not a safetensors file"],
            ),
            ("codes.txt", ["codes.txt", ".npy or .safetensors"]),
        ] {
            assert_says(&load(&folder, spec).unwrap_err(), &parts);
        }
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
