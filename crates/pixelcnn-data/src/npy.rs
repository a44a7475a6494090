//! NumPy files.

pub(crate) mod header;

use std::path::Path;

use candle_core::{DType, Device, Tensor};

use crate::bytes::Bytes;
use crate::{DataError, file, memory};
use header::Header;

/// Reads the tensor in a NumPy file, on the CPU.
///
/// # Errors
///
/// If it is not a NumPy file, its length does not match its header, it is too large
/// for the memory, or tensors do not support its type; if
/// NumPy can convert the values, the message says how.
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
pub fn read_npy(path: &Path) -> Result<Tensor, DataError> {
    let (header, values) = open_values(path)?;
    let kind = value_type(&header).map_err(|reason| DataError::Npy {
        path: path.into(),
        reason,
    })?;
    memory::check_for(path, "the array", values.length().saturating_mul(2))?;
    let mut bytes = Vec::new();
    values.append_to(&mut bytes, 0, values.length() as usize)?;
    Ok(Tensor::from_raw_buffer(
        &bytes,
        kind,
        &header.shape,
        &Device::Cpu,
    )?)
}

/// The header of a file, and the bytes of its values, which stay there.
pub(crate) fn open_values(path: &Path) -> Result<(Header, Bytes), DataError> {
    let wrong = |reason| DataError::Npy {
        path: path.into(),
        reason,
    };
    let header = Header::read(&mut file::open(path)?).map_err(wrong)?;
    let bytes = Bytes::open(path)?;
    let values = header.values().map(|values| values * header.size);
    let announced = values.and_then(|bytes| bytes.checked_add(header.length));
    if announced.map(|bytes| bytes as u64) != Some(bytes.length()) {
        return Err(wrong(format!(
            "it has {} bytes, not what {} values of type {} need",
            bytes.length(),
            header.shape_text(),
            header.kind
        )));
    }
    let first = header.length as u64;
    Ok((header, bytes.part(first, u64::MAX)))
}

/// The type of a tensor of these values.
fn value_type(header: &Header) -> Result<DType, String> {
    let number = header.number();
    Ok(match number {
        "u1" => DType::U8,
        "u4" => DType::U32,
        "i2" => DType::I16,
        "i4" => DType::I32,
        "i8" => DType::I64,
        "f2" => DType::F16,
        "f4" => DType::F32,
        "f8" => DType::F64,
        _ => {
            let other = match number {
                "b1" => "|u1",
                "i1" => "<i2",
                "u2" => "<u4",
                "u8" => "<i8",
                _ => "<f4",
            };
            return Err(format!(
                "its values have type {}, but only u1, u4, i2, i4, i8, f2, f4 and f8 can be read: \
                 save arr.astype('{other}')",
                header.kind
            ));
        }
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use candle_core::{DType, Device};

    use super::*;
    use crate::testing::{assert_says, write};

    /// Asserts that the error has the file and the reason.
    fn refused(bytes: &[u8], reason: &str) {
        let folder = tempfile::tempdir().unwrap();
        let path = write(folder.path(), "some.npy", bytes);
        let error = read_npy(&path).unwrap_err();
        assert_says(&error, &["some.npy", reason]);
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
            refused(&bytes[..bytes.len() - 1], "bytes, not what");
            refused(&[&bytes[..], &[0]].concat(), "bytes, not what");
        }
    }

    #[test]
    fn booleans_are_refused() {
        let header = "{'descr': '|b1', 'fortran_order': False, 'shape': (3,), }";
        let length = (header.len() as u16).to_le_bytes();
        let start = [b"\x93NUMPY\x01\x00", &length[..], header.as_bytes()].concat();
        let reason = "type |b1, but only u1, u4, i2, i4, i8, f2, f4 and f8 can be read: save \
                      arr.astype('|u1')";
        refused(&[&start[..], &[0, 1, 1]].concat(), reason);
    }

    #[test]
    fn memory_that_a_file_only_announces_is_not_allocated() {
        let header = "{'descr': '<f4', 'fortran_order': False, 'shape': (10000000000000, 3), }";
        let length = (header.len() as u16).to_le_bytes();
        let start = [b"\x93NUMPY\x01\x00", &length[..], header.as_bytes()].concat();
        refused(&[&start[..], &[0; 4]].concat(), "bytes, not what");
        refused(b"\x93NUMPY\x01\x00\x02\x00{}", "header");
        let twice = "{'descr': '<f4', 'shape': (1,), 'fortran_order': False, 'shape': (1, 9), }";
        let length = (twice.len() as u16).to_le_bytes();
        let start = [b"\x93NUMPY\x01\x00", &length[..], twice.as_bytes()].concat();
        refused(&[&start[..], &[0; 4]].concat(), "cannot be parsed");
        refused(b"\x89PNG and more", "not a NumPy file");
        refused(b"PNG", "");
    }
}
