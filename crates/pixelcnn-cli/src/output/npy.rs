//! NumPy files, written piece by piece.

use std::io::Write;

use anyhow::{Context, Result};

use super::{Sink, Target};

/// The number type of a NumPy file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Number {
    /// Unsigned, a byte.
    U8,
    /// Unsigned, four bytes.
    U32,
    /// Floating point, four bytes.
    F32,
}

impl Number {
    /// The type for values below `levels`.
    pub(crate) fn of_levels(levels: usize) -> Self {
        match levels <= 256 {
            true => Self::U8,
            false => Self::U32,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::U8 => "|u1",
            Self::U32 => "<u4",
            Self::F32 => "<f4",
        }
    }
}

/// Writes an array of a known shape, number by number in order.
pub(crate) struct NpyWriter {
    sink: Sink,
    number: Number,
    name: String,
}

impl NpyWriter {
    /// Writes the header, version 1.0 of the format.
    pub(crate) fn create(target: &Target, shape: &[usize], number: Number) -> Result<Self> {
        let mut sink = target.create()?;
        let sides: String = shape.iter().map(|side| format!("{side},")).collect();
        let descr = number.name();
        let mut header =
            format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({sides}), }}");
        // The numbers start at a multiple of 64 bytes, after a line break.
        let before = 10;
        let padding = 63 - (before + header.len()) % 64;
        header.push_str(&" ".repeat(padding));
        header.push('\n');
        let length =
            u16::try_from(header.len()).context("the header of a NumPy file is too long")?;
        let name = target.to_string();
        let mut start = b"\x93NUMPY\x01\x00".to_vec();
        start.extend_from_slice(&length.to_le_bytes());
        start.extend_from_slice(header.as_bytes());
        sink.write_all(&start)
            .with_context(|| format!("cannot write {name}"))?;
        Ok(Self { sink, number, name })
    }

    /// The next values.
    pub(crate) fn values(&mut self, values: &[u32]) -> Result<()> {
        let bytes: Vec<u8> = match self.number {
            Number::U8 => values.iter().map(|value| *value as u8).collect(),
            _ => values
                .iter()
                .flat_map(|value| value.to_le_bytes())
                .collect(),
        };
        self.bytes(&bytes)
    }

    /// The next numbers.
    pub(crate) fn floats(&mut self, numbers: &[f32]) -> Result<()> {
        self.bytes(&super::little_endian(numbers))
    }

    fn bytes(&mut self, bytes: &[u8]) -> Result<()> {
        self.sink
            .write_all(bytes)
            .with_context(|| format!("cannot write {}", self.name))
    }

    /// Moves the finished file to its final name.
    pub(crate) fn finish(self) -> Result<()> {
        self.sink.finish()
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Tensor;

    use super::*;

    #[test]
    fn written_arrays_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.npy");
        let target = Target::File(path.clone());
        for shape in [vec![2, 3], vec![6], vec![1, 1, 6, 1]] {
            let mut file = NpyWriter::create(&target, &shape, Number::U8).unwrap();
            file.values(&[1, 2]).unwrap();
            file.values(&[3, 4, 5, 255]).unwrap();
            file.finish().unwrap();
            let found = Tensor::read_npy(&path).unwrap();
            assert_eq!(found.dims(), shape);
            let found = found.flatten_all().unwrap().to_vec1::<u8>().unwrap();
            assert_eq!(found, [1, 2, 3, 4, 5, 255]);
            let bytes = std::fs::read(&path).unwrap();
            assert_eq!((bytes.len() - 6) % 64, 0);
        }
        let mut file = NpyWriter::create(&target, &[2], Number::F32).unwrap();
        file.floats(&[0.5, -1e9]).unwrap();
        file.finish().unwrap();
        let found = Tensor::read_npy(&path).unwrap().to_vec1::<f32>().unwrap();
        assert_eq!(found, [0.5, -1e9]);
    }
}
