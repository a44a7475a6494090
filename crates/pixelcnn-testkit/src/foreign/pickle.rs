//! Writes the archives of `torch.save`: a pickle of protocol 2, and an entry for the numbers of
//! each tensor.

use std::collections::BTreeMap;
use std::io::{Cursor, Write};

use anyhow::Result;
use candle_core::{DType, Tensor};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

/// What a state dict is wrapped in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrapping {
    /// Nothing.
    Bare,
    /// A dictionary of PyTorch Lightning, with the state dict under `state_dict`.
    Lightning,
}

/// The bytes of an archive with these tensors.
///
/// # Errors
///
/// If a tensor cannot be read.
///
/// # Example
///
/// ```
/// use std::collections::BTreeMap;
/// use candle_core::{Device, Tensor};
/// use pixelcnn_testkit::foreign::{Wrapping, archive};
///
/// let bias = Tensor::new(&[1f32, 2.0], &Device::Cpu)?;
/// let bytes = archive(&BTreeMap::from([("bias".to_string(), bias)]), Wrapping::Bare)?;
/// assert!(bytes.starts_with(b"PK"));
/// # Ok::<(), anyhow::Error>(())
/// ```
pub fn archive(tensors: &BTreeMap<String, Tensor>, wrapping: Wrapping) -> Result<Vec<u8>> {
    zipped(&entries(tensors, wrapping)?)
}

/// The entries of an archive: names and bytes.
///
/// # Errors
///
/// If a tensor cannot be read.
pub fn entries(
    tensors: &BTreeMap<String, Tensor>,
    wrapping: Wrapping,
) -> Result<Vec<(String, Vec<u8>)>> {
    let mut entries = vec![("model/data.pkl".to_string(), pickle(tensors, wrapping))];
    for (index, tensor) in tensors.values().enumerate() {
        entries.push((format!("model/data/{index}"), numbers(tensor)?));
    }
    entries.push(("model/version".to_string(), b"3\n".to_vec()));
    Ok(entries)
}

/// The archive of entries, not compressed.
///
/// # Errors
///
/// Never, as it writes to memory.
pub fn zipped(entries: &[(String, Vec<u8>)]) -> Result<Vec<u8>> {
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    for (name, bytes) in entries {
        archive.start_file(name.as_str(), options)?;
        archive.write_all(bytes)?;
    }
    Ok(archive.finish()?.into_inner())
}

/// The numbers of a tensor as they are in a file: in the order of memory, also of a view with
/// exchanged sides, as torch.save does.
fn numbers(tensor: &Tensor) -> Result<Vec<u8>> {
    let mut sides: Vec<_> = (0..tensor.rank()).collect();
    sides.sort_by_key(|side| std::cmp::Reverse(tensor.stride()[*side]));
    let stored = tensor.permute(sides)?;
    // safetensors stores numbers in the same order and form.
    let file = safetensors::serialize([("", &stored)], None)?;
    let (header, _) = safetensors::SafeTensors::read_metadata(&file)?;
    Ok(file[8 + header..].to_vec())
}

/// The pickle of an archive.
///
/// # Example
///
/// ```
/// use std::collections::BTreeMap;
/// use pixelcnn_testkit::foreign::{Wrapping, pickle};
///
/// assert!(pickle(&BTreeMap::new(), Wrapping::Bare).ends_with(b"."));
/// ```
pub fn pickle(tensors: &BTreeMap<String, Tensor>, wrapping: Wrapping) -> Vec<u8> {
    let mut bytes = b"\x80\x02".to_vec();
    if wrapping == Wrapping::Lightning {
        bytes.extend(b"}q\x00(");
        text(&mut bytes, "epoch");
        bytes.extend(b"K\x03");
        text(&mut bytes, "hyper_parameters");
        bytes.extend(b"}");
        text(&mut bytes, "lr");
        bytes.extend(b"G?PbM\xd2\xf1\xa9\xfcs");
        text(&mut bytes, "callbacks");
        bytes.extend(b"]cpytorch_lightning.callbacks\nModelCheckpoint\n)\x81}ba");
        text(&mut bytes, "state_dict");
    }
    bytes.extend(b"ccollections\nOrderedDict\n)Rq\x01(");
    for (index, (name, tensor)) in tensors.iter().enumerate() {
        text(&mut bytes, name);
        bytes.extend(b"ctorch._utils\n_rebuild_tensor_v2\n((");
        text(&mut bytes, "storage");
        let class = match tensor.dtype() {
            DType::F16 => "HalfStorage",
            DType::BF16 => "BFloat16Storage",
            DType::F64 => "DoubleStorage",
            _ => "FloatStorage",
        };
        bytes.extend(format!("ctorch\n{class}\n").bytes());
        text(&mut bytes, &index.to_string());
        text(&mut bytes, "cpu");
        number(&mut bytes, tensor.elem_count());
        bytes.extend(b"tQK\x00");
        tuple(&mut bytes, tensor.dims());
        tuple(&mut bytes, tensor.stride());
        bytes.extend(b"\x89ccollections\nOrderedDict\n)RtR");
    }
    bytes.extend(b"u");
    if wrapping == Wrapping::Lightning {
        bytes.extend(b"u");
    }
    bytes.push(b'.');
    bytes
}

fn text(bytes: &mut Vec<u8>, text: &str) {
    bytes.push(b'X');
    bytes.extend((text.len() as u32).to_le_bytes());
    bytes.extend(text.as_bytes());
}

fn number(bytes: &mut Vec<u8>, number: usize) {
    match number {
        0..=255 => bytes.extend([b'K', number as u8]),
        _ => {
            bytes.push(b'J');
            bytes.extend((number as i32).to_le_bytes());
        }
    }
}

fn tuple(bytes: &mut Vec<u8>, numbers: &[usize]) {
    bytes.push(b'(');
    for number in numbers {
        self::number(bytes, *number);
    }
    bytes.push(b't');
}
