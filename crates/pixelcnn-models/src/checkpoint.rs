//! Tensors in files, written so that a file is either old or new, never half.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use candle_core::safetensors::Load;
use candle_core::{Device, Tensor};
use safetensors::SafeTensors;

use crate::ModelError;

/// The one metadata key of our files: a map of several keys would be written
/// in random order.
const METADATA: &str = "pixelcnn";

/// Writes `bytes` to `path` by way of a temporary file that is synced and
/// renamed.
///
/// # Errors
///
/// If the file cannot be written, or what is there is no regular file; what
/// was there before then still is.
///
/// # Example
///
/// ```
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("note.txt");
/// pixelcnn_models::write_file(&path, b"whole or not at all")?;
/// assert_eq!(std::fs::read(&path)?, b"whole or not at all");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn write_file(path: impl AsRef<Path>, bytes: &[u8]) -> Result<(), ModelError> {
    let path = path.as_ref();
    pixelcnn_system::write_file(path, bytes).map_err(|source| ModelError::Io {
        path: path.to_path_buf(),
        source,
    })
}

/// Writes named tensors and a note to a safetensors file; equal contents give
/// equal bytes.
///
/// # Errors
///
/// If a tensor cannot be read or the file cannot be written.
///
/// # Example
///
/// ```
/// use std::collections::BTreeMap;
/// use candle_core::{Device, Tensor};
/// use pixelcnn_models::{read_tensors, write_tensors};
///
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("model.safetensors");
/// let bias = Tensor::new(&[1f32, 2.0], &Device::Cpu)?;
/// write_tensors(&path, &BTreeMap::from([("bias".to_string(), bias)]), "a note")?;
/// let (tensors, note) = read_tensors(&path, &Device::Cpu)?;
/// assert_eq!(tensors["bias"].to_vec1::<f32>()?, [1.0, 2.0]);
/// assert_eq!(note.as_deref(), Some("a note"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn write_tensors(
    path: impl AsRef<Path>,
    tensors: &BTreeMap<String, Tensor>,
    note: &str,
) -> Result<(), ModelError> {
    let metadata = HashMap::from([(METADATA.to_string(), note.to_string())]);
    let bytes = safetensors::serialize(tensors, Some(metadata))
        .map_err(|error| file_error(path.as_ref(), error))?;
    write_file(path, &bytes)
}

/// Reads the tensors of a safetensors file and the note of [`write_tensors`],
/// which other programs' files lack.
///
/// # Errors
///
/// If the file cannot be read or is broken.
///
/// # Example
///
/// ```
/// use candle_core::Device;
///
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("broken.safetensors");
/// std::fs::write(&path, b"not tensors")?;
/// let error = pixelcnn_models::read_tensors(&path, &Device::Cpu).unwrap_err();
/// assert!(error.to_string().contains("broken.safetensors"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[allow(clippy::type_complexity)]
pub fn read_tensors(
    path: impl AsRef<Path>,
    device: &Device,
) -> Result<(BTreeMap<String, Tensor>, Option<String>), ModelError> {
    let path = path.as_ref();
    let bytes = std::fs::read(path).map_err(|source| ModelError::Io {
        path: path.to_path_buf(),
        source,
    })?;
    let file = SafeTensors::deserialize(&bytes).map_err(|error| file_error(path, error))?;
    let (_, header) =
        SafeTensors::read_metadata(&bytes).map_err(|error| file_error(path, error))?;
    let note = header.metadata().as_ref().and_then(|map| map.get(METADATA));
    let tensors = file
        .tensors()
        .into_iter()
        .map(|(name, view)| match view.load(device) {
            Ok(tensor) => Ok((name, tensor)),
            Err(error) => Err(file_error(path, format!("tensor {name}: {error}"))),
        })
        .collect::<Result<_, _>>()?;
    Ok((tensors, note.cloned()))
}

pub(crate) fn file_error(path: &Path, why: impl std::fmt::Display) -> ModelError {
    ModelError::File {
        path: path.to_path_buf(),
        why: why.to_string(),
    }
}
