//! NumPy files.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use candle_core::{Result, Tensor, bail};

use crate::DataError;

/// The tensor in a NumPy file, on the CPU.
///
/// # Errors
///
/// If it is no such file, or is shorter or longer than it announces: candle
/// asks for memory by the announcement.
///
/// # Example
///
/// ```
/// use candle_core::{DType, Device, Tensor};
///
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("ones.npy");
/// Tensor::ones((5, 3), DType::F32, &Device::Cpu)?.write_npy(&path)?;
/// assert_eq!(pixelcnn_data::read_npy(&path)?.dims(), [5, 3]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn read_npy(path: &Path) -> std::result::Result<Tensor, DataError> {
    let read = || {
        check_length(path)?;
        Tensor::read_npy(path)
    };
    read().map_err(|source| DataError::Npy {
        path: path.into(),
        source: Box::new(source),
    })
}

fn check_length(path: &Path) -> Result<()> {
    let mut file = File::open(path)?;
    let found = file.metadata()?.len();
    let mut start = [0; 10];
    file.read_exact(&mut start)?;
    let [magic @ .., _, low, high] = &start;
    // In version 2 the length of the header has four bytes.
    let (before, header) = match magic {
        b"\x93NUMPY\x01" => (10, u32::from(u16::from_le_bytes([*low, *high]))),
        b"\x93NUMPY\x02" => {
            let mut more = [0; 2];
            file.read_exact(&mut more)?;
            (12, u32::from_le_bytes([*low, *high, more[0], more[1]]))
        }
        _ => bail!("no NumPy file of version 1 or 2"),
    };
    let mut text = String::new();
    file.take(header.into()).read_to_string(&mut text)?;
    let Some(values) = bytes_of_values(&text) else {
        bail!("cannot read the header {text:?}");
    };
    let announced = values.checked_add(before + u64::from(header));
    match announced == Some(found) {
        true => Ok(()),
        false => bail!("{found} bytes, not what the header {text:?} announces"),
    }
}

/// The bytes that an array of this header has.
fn bytes_of_values(header: &str) -> Option<u64> {
    let after = |key: &str| {
        let (_, rest) = header.split_once(key)?;
        // Of two, candle may read the other.
        let once = !rest.contains(key);
        once.then(|| rest.trim_start().strip_prefix(':'))?
    };
    let kind = after("'descr'")?.split('\'').nth(1)?;
    let size: u64 = kind
        .trim_start_matches(|c: char| !c.is_ascii_digit())
        .parse()
        .ok()?;
    let shape = after("'shape'")?.split_once('(')?.1.split_once(')')?.0;
    let mut sides = shape
        .split(',')
        .map(str::trim)
        .filter(|side| !side.is_empty());
    sides.try_fold(size, |bytes, side| bytes.checked_mul(side.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use std::error::Error;
    use std::fs;

    use candle_core::{DType, Device};

    use super::*;
    use crate::testing::{assert_says, write};

    /// Refused, with the file and the reason.
    fn refused(bytes: &[u8], reason: &str) {
        let folder = tempfile::tempdir().unwrap();
        let path = write(folder.path(), "some.npy", bytes);
        let error = read_npy(&path).unwrap_err();
        assert_says(&error, &["some.npy"]);
        let source = error.source().unwrap().to_string();
        assert!(source.contains(reason), "{source}");
    }

    #[test]
    fn a_file_is_as_long_as_it_says() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("some.npy");
        for tensor in [
            Tensor::ones((2, 3), DType::U8, &Device::Cpu).unwrap(),
            Tensor::ones(7, DType::F64, &Device::Cpu).unwrap(),
            Tensor::ones((), DType::F32, &Device::Cpu).unwrap(),
        ] {
            tensor.write_npy(&path).unwrap();
            assert_eq!(read_npy(&path).unwrap().dims(), tensor.dims());
            let bytes = fs::read(&path).unwrap();
            refused(&bytes[..bytes.len() - 1], "announces");
            refused(&[&bytes[..], &[0]].concat(), "announces");
        }
    }

    #[test]
    fn no_memory_is_asked_for_that_a_file_only_announces() {
        let header = "{'descr': '<f4', 'fortran_order': False, 'shape': (10000000000000, 3), }";
        let length = (header.len() as u16).to_le_bytes();
        let start = [b"\x93NUMPY\x01\x00", &length[..], header.as_bytes()].concat();
        refused(&[&start[..], &[0; 4]].concat(), "announces");
        refused(b"\x93NUMPY\x01\x00\x02\x00{}", "header");
        let twice = "{'descr': '<f4', 'shape': (1,), 'fortran_order': False, 'shape': (1, 9), }";
        let length = (twice.len() as u16).to_le_bytes();
        let start = [b"\x93NUMPY\x01\x00", &length[..], twice.as_bytes()].concat();
        refused(&[&start[..], &[0; 4]].concat(), "cannot read the header");
        refused(b"\x89PNG and more", "no NumPy file");
        refused(b"PNG", "");
    }
}
