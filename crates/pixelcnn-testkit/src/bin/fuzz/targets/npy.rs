//! NumPy files. They have no checksum: the values must be the bytes after the header.

use std::path::Path;

use anyhow::Result;
use candle_core::{DType, Device, Tensor};
use pixelcnn_data::read_npy;
use pixelcnn_testkit::wave;
use rand::Rng;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;

use super::expected::{either, write};
use super::{Target, Verdict};
use crate::{mutation, text};

const WORDS: [&str; 24] = [
    "<f4",
    ">f4",
    "|u1",
    "|i1",
    "<i8",
    "<u4",
    "<f2",
    "<f8",
    "=f4",
    "|b1",
    "<c8",
    "|O",
    "<U4",
    "True",
    "False",
    "fortran_order",
    "descr",
    "shape",
    "(",
    ")",
    ",",
    "'",
    "{",
    "}",
];

pub(super) struct Npy {
    seeds: Vec<Vec<u8>>,
}

impl Npy {
    /// # Errors
    /// When a seed cannot be made.
    pub(super) fn new() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("seed.npy");
        let seeds = [DType::U8, DType::U32, DType::I64, DType::F32, DType::F64].map(|kind| {
            let tensor = wave(&[2, 3, 4], 0.3)?.affine(50.0, 60.0)?.to_dtype(kind)?;
            tensor.write_npy(&path)?;
            Ok(std::fs::read(&path)?)
        });
        let seeds = seeds.into_iter().collect::<Result<_>>()?;
        Ok(Self { seeds })
    }
}

impl Target for Npy {
    fn run(&mut self, random: &mut ChaCha8Rng, folder: &Path) -> Result<Verdict> {
        let none = Vec::new();
        let seed = self.seeds.choose(random).unwrap_or(&none);
        let bytes = match random.random_bool(0.4) {
            true => header(random, seed),
            false => {
                let other = self.seeds.choose(random).unwrap_or(&none);
                mutation::mutate(random, seed, other)
            }
        };
        write(folder, "some.npy", &bytes)?;
        Ok(match read_npy(&folder.join("some.npy")) {
            Ok(tensor) => compare(&tensor, &bytes)?,
            refused => either(refused),
        })
    }
}

/// Replaces the header and sets its length.
fn header(random: &mut ChaCha8Rng, seed: &[u8]) -> Vec<u8> {
    let end = length(seed);
    let header = String::from_utf8_lossy(&seed[10..end]).into_owned();
    let mutated = text::mutate(random, &header, &WORDS);
    let count = (mutated.len() as u16).to_le_bytes();
    [&seed[..8], &count, mutated.as_bytes(), &seed[end..]].concat()
}

/// The position of the first value.
fn length(bytes: &[u8]) -> usize {
    let at = |place: usize| usize::from(bytes.get(place).copied().unwrap_or_default());
    let (before, header) = match at(6) {
        1 => (10, at(8) | at(9) << 8),
        _ => (12, at(8) | at(9) << 8 | at(10) << 16 | at(11) << 24),
    };
    (before + header).min(bytes.len())
}

/// Compares with the values of the file, in the order that the header defines.
fn compare(tensor: &Tensor, bytes: &[u8]) -> Result<Verdict> {
    let (header, values) = bytes.split_at(length(bytes));
    let header = String::from_utf8_lossy(header);
    let size = tensor.dtype().size_in_bytes();
    if header.contains("'>") && size > 1 {
        return Ok(Verdict::Changed(
            "bytes in big-endian order read the other way".into(),
        ));
    }
    if header.contains("True") && tensor.rank() > 1 {
        return Ok(Verdict::Changed("columns read as rows".into()));
    }
    if tensor.elem_count() * size != values.len() {
        return Ok(Verdict::Changed("not all values are read".into()));
    }
    let shape = tensor.elem_count();
    let expected = Tensor::from_raw_buffer(values, tensor.dtype(), &[shape], &Device::Cpu)?;
    let same = bits(&expected)? == bits(tensor)?;
    Ok(match same {
        true => Verdict::Accepted,
        false => Verdict::Changed("other values than the file has".into()),
    })
}

/// The numbers as bits, so that NaN equals itself.
fn bits(tensor: &Tensor) -> Result<Vec<u64>> {
    let flat = tensor.flatten_all()?;
    Ok(match tensor.dtype() {
        DType::I64 => flat
            .to_vec1::<i64>()?
            .into_iter()
            .map(|it| it as u64)
            .collect(),
        _ => {
            let numbers = flat.to_dtype(DType::F64)?.to_vec1::<f64>()?;
            numbers.into_iter().map(f64::to_bits).collect()
        }
    })
}
