//! A safetensors file, read one tensor at a time: memory is that of the tensors and of one more.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use candle_core::safetensors::Load;
use candle_core::{Device, Tensor};
use pixelcnn_system::check_memory;
use safetensors::tensor::{Metadata, TensorInfo, TensorView};

use crate::ModelError;
use crate::checkpoint::{check_header, file_error, io_error};

/// The length of the header, before it.
const LENGTH: u64 = 8;
pub(crate) const DAMAGED: &str = "it is not a safetensors file, or it is damaged";
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
    /// If the file cannot be read, its header is damaged or does not match its length, or its
    /// tensors do not fit into memory.
    pub(crate) fn open(path: &Path) -> Result<Self, ModelError> {
        let mut file = pixelcnn_system::open_file(path).map_err(io_error(path))?;
        let length = file.metadata().map_err(io_error(path))?.len();
        let damaged = || file_error(path, DAMAGED);
        let mut of_header = [0; LENGTH as usize];
        if length < LENGTH {
            return Err(damaged());
        }
        file.read_exact(&mut of_header).map_err(io_error(path))?;
        let of_header = check_header(path, u64::from_le_bytes(of_header))?;
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
        let sizes = header.tensors().into_values().map(size);
        let largest = sizes.max().unwrap_or_default() as u64;
        check_memory(path.display().to_string(), length.saturating_add(largest))?;
        Ok(Self {
            path: path.to_path_buf(),
            file,
            header,
            start,
            bytes: Vec::new(),
        })
    }

    pub(crate) fn header(&self) -> &Metadata {
        &self.header
    }

    /// Reads a tensor of the header.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, or candle has no such type of numbers.
    pub(crate) fn read(
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
