//! A safetensors file, read one tensor at a time: memory is that of the tensors and of one more.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use candle_core::safetensors::Load;
use candle_core::{Device, Tensor};
use pixelcnn_system::check_memory;
use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo, TensorView};

use crate::ModelError;
use crate::checkpoint::{file_error, io_error, wrong_type};

/// The length of the header, before it.
const LENGTH: u64 = 8;
/// The supported number types. candle has more, but some of its conversions fail or
/// never return.
const READ: [Dtype; 7] = [
    Dtype::BF16,
    Dtype::F16,
    Dtype::F32,
    Dtype::F64,
    Dtype::I64,
    Dtype::U32,
    Dtype::U8,
];

/// Limit on the bytes of names and shapes: about a hundred thousand tensors.
const MOST_HEADER: u64 = 16 << 20;
const DAMAGED: &str = "it is not a safetensors file, or it is damaged";
const TRUNCATED: &str = "its length does not match its header: it is truncated or damaged";

/// An open file whose header is in memory.
pub(crate) struct TensorFile {
    path: PathBuf,
    file: File,
    header: Metadata,
    /// The place of the first number.
    start: u64,
    /// The bytes of the tensor that was read last.
    bytes: Vec<u8>,
}

impl TensorFile {
    /// # Errors
    ///
    /// If the file cannot be read, or its header is damaged or does not match its length.
    pub(crate) fn open(path: &Path) -> Result<Self, ModelError> {
        let mut file = pixelcnn_system::open_file(path).map_err(io_error(path))?;
        let length = file.metadata().map_err(io_error(path))?.len();
        let damaged = || file_error(path, DAMAGED);
        let mut of_header = [0; LENGTH as usize];
        if length < LENGTH {
            return Err(damaged());
        }
        file.read_exact(&mut of_header).map_err(io_error(path))?;
        let of_header = u64::from_le_bytes(of_header);
        if of_header > MOST_HEADER {
            let why = format!("its header has {of_header} bytes, at most {MOST_HEADER} expected");
            return Err(file_error(path, why));
        }
        let start = LENGTH + of_header;
        if start > length {
            return Err(damaged());
        }
        let mut header = Vec::new();
        let read = (&mut file).take(of_header).read_to_end(&mut header);
        read.map_err(io_error(path))?;
        let header: Metadata = serde_json::from_slice(&header).map_err(|_| damaged())?;
        if start.checked_add(header.data_len() as u64) != Some(length) {
            return Err(file_error(path, TRUNCATED));
        }
        Ok(Self {
            path: path.to_path_buf(),
            file,
            header,
            start,
            bytes: Vec::new(),
        })
    }

    /// An entry of the metadata.
    pub(crate) fn note(&self, key: &str) -> Option<String> {
        self.header.metadata().as_ref()?.get(key).cloned()
    }

    /// All tensors by name.
    ///
    /// # Errors
    ///
    /// If they do not fit into memory, the file cannot be read, or a tensor has numbers of
    /// another type than those of [`READ`].
    pub(crate) fn tensors(
        mut self,
        device: &Device,
    ) -> Result<BTreeMap<String, Tensor>, ModelError> {
        // If there are several mistakes, always report the first by name.
        let infos: BTreeMap<_, _> = self.header.tensors().into_iter().collect();
        let infos = infos.into_iter().map(|(name, info)| (name, info.clone()));
        let infos: Vec<_> = infos.collect();
        let largest = infos.iter().map(|(_, info)| size(info)).max();
        let bytes = self.header.data_len() as u64;
        check_memory(
            self.path.display().to_string(),
            bytes.saturating_add(largest.unwrap_or_default() as u64),
        )?;
        infos
            .into_iter()
            .map(|(name, info)| {
                if !READ.contains(&info.dtype) {
                    let why = format!("tensor {name}: {}", wrong_type(&info.dtype.to_string()));
                    return Err(file_error(&self.path, why));
                }
                let tensor = self.read(&name, &info, device)?;
                Ok((name, tensor))
            })
            .collect()
    }

    fn read(
        &mut self,
        name: &str,
        info: &TensorInfo,
        device: &Device,
    ) -> Result<Tensor, ModelError> {
        let place = SeekFrom::Start(self.start + info.data_offsets.0 as u64);
        self.bytes.resize(size(info), 0);
        let read = self.file.seek(place);
        let read = read.and_then(|_| self.file.read_exact(&mut self.bytes));
        read.map_err(io_error(&self.path))?;
        let wrong = |why: String| file_error(&self.path, format!("tensor {name}: {why}"));
        let view = TensorView::new(info.dtype, info.shape.clone(), &self.bytes);
        let view = view.map_err(|error| wrong(error.to_string()))?;
        view.load(device).map_err(|error| wrong(error.to_string()))
    }
}

/// Bytes of a tensor in the file; the header has been checked.
fn size(info: &TensorInfo) -> usize {
    let (first, end) = info.data_offsets;
    end.saturating_sub(first)
}
