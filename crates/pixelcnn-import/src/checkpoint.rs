//! A checkpoint of another program: its tensors by name, read one at a time.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use pixelcnn_models::read_tensors;

use crate::archive::{Archive, is_archive};
use crate::pickle::{self, TensorPlace};
use crate::{ImportError, state_dict};

/// A file of tensors: an archive of `torch.save`, or safetensors.
///
/// Nothing of the file is executed. Of an archive, only names and shapes are in memory, and
/// the tensor that is read. Names are without what wraps all of them: `state_dict`, `model`,
/// `module.`, `_orig_mod.`; [`Checkpoint::notes`] says so.
///
/// # Example
///
/// ```
/// use std::collections::BTreeMap;
/// use candle_core::{Device, Tensor};
/// use pixelcnn_import::Checkpoint;
///
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("weights.safetensors");
/// let bias = Tensor::new(&[1f32, 2.0], &Device::Cpu)?;
/// pixelcnn_models::write_tensors(&path, &BTreeMap::from([("module.bias".into(), bias)]), "")?;
/// let mut checkpoint = Checkpoint::open(&path)?;
/// assert_eq!(checkpoint.shape("bias"), Some(&[2][..]));
/// assert_eq!(checkpoint.take("bias")?.to_vec1::<f32>()?, [1.0, 2.0]);
/// assert!(checkpoint.notes()[0].contains("module."));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Checkpoint {
    path: PathBuf,
    source: Source,
    notes: Vec<String>,
}

enum Source {
    Archive(Box<Archive>, BTreeMap<String, TensorPlace>),
    Tensors(BTreeMap<String, Tensor>),
}

impl Checkpoint {
    /// Opens a file and reads the names and shapes of its tensors.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, is not one of the two kinds, or is damaged.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, ImportError> {
        let path = path.as_ref();
        let mut first = Vec::new();
        let file = pixelcnn_system::open_file(path).map_err(ImportError::io(path))?;
        let read = file.take(16).read_to_end(&mut first);
        read.map_err(ImportError::io(path))?;
        let mut notes = Vec::new();
        let source = match is_archive(&first) {
            true => archive(path, &mut notes)?,
            // Earlier versions of PyTorch wrote bare pickles.
            false if first.starts_with(b"\x80\x02") => {
                let why = "a file of PyTorch before 1.6: load it there with torch.load, and save it \
                    again with torch.save or as safetensors";
                return Err(ImportError::file(path, why));
            }
            false if !is_safetensors(&first) => {
                let why = match first.is_empty() {
                    true => "it is empty",
                    false => "it begins like neither an archive of torch.save nor safetensors",
                };
                return Err(ImportError::file(path, why));
            }
            false => {
                let (tensors, _) = read_tensors(path, &Device::Cpu)?;
                Source::Tensors(state_dict::unwrapped(tensors, &mut notes))
            }
        };
        Ok(Self {
            path: path.to_path_buf(),
            source,
            notes,
        })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What was passed over, and what was left out of all names.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The names of the tensors that have not been taken, sorted.
    pub fn names(&self) -> Vec<String> {
        match &self.source {
            Source::Archive(_, places) => places.keys().cloned().collect(),
            Source::Tensors(tensors) => tensors.keys().cloned().collect(),
        }
    }

    /// The shape of a tensor that has not been taken.
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        match &self.source {
            Source::Archive(_, places) => places.get(name).map(|place| &place.shape[..]),
            Source::Tensors(tensors) => tensors.get(name).map(Tensor::dims),
        }
    }

    /// Reads a tensor and removes it from the list.
    ///
    /// # Errors
    ///
    /// If there is no such tensor, its numbers are not in the file, or, in an archive of PyTorch,
    /// they are not of the types F32, F16, BF16 and F64.
    pub fn take(&mut self, name: &str) -> Result<Tensor, ImportError> {
        let wrong = |why: String| ImportError::file(&self.path, format!("tensor {name}: {why}"));
        match &mut self.source {
            Source::Tensors(tensors) => {
                let tensor = tensors.remove(name);
                tensor.ok_or_else(|| wrong("it is missing".to_string()))
            }
            Source::Archive(archive, places) => match places.remove(name) {
                None => Err(wrong("it is missing".to_string())),
                Some(place) => numbers(archive, &place).map_err(wrong),
            },
        }
    }

    /// Removes tensors whose names fit, and says how many they were.
    pub(crate) fn pass_over(&mut self, fits: impl Fn(&str) -> bool) -> usize {
        let before = self.names().len();
        match &mut self.source {
            Source::Archive(_, places) => places.retain(|name, _| !fits(name)),
            Source::Tensors(tensors) => tensors.retain(|name, _| !fits(name)),
        }
        before - self.names().len()
    }

    /// An error about the file.
    pub(crate) fn wrong(&self, why: impl Into<String>) -> ImportError {
        ImportError::file(&self.path, why)
    }
}

/// Whether a file begins like safetensors: with the length of a JSON object.
fn is_safetensors(first: &[u8]) -> bool {
    first.get(8) == Some(&b'{')
}

/// The names and shapes of an archive's tensors.
fn archive(path: &Path, notes: &mut Vec<String>) -> Result<Source, ImportError> {
    let mut archive = Archive::open(path)?;
    let wrong = |why: String| ImportError::file(path, why);
    let pickle = archive.pickle().map_err(wrong)?;
    let pickle = pickle::read(&pickle).map_err(wrong)?;
    let places = state_dict::of_pickle(&pickle, notes).map_err(wrong)?;
    let places = state_dict::unwrapped(places, notes);
    // Several tensors may be views of the same numbers, so a short file could become a long
    // model.
    let bytes = |place: &TensorPlace| {
        let size = place.dtype.as_ref().map_or(1, DType::size_in_bytes);
        place
            .count()
            .map_or(u64::MAX, |it| (it as u64).saturating_mul(size as u64))
    };
    let all = places.values().map(bytes);
    let all = all.fold(0u64, |all, bytes| all.saturating_add(bytes));
    if all > archive.length {
        let why = format!("tensors of {all} bytes in a file of {}", archive.length);
        return Err(wrong(why));
    }
    Ok(Source::Archive(Box::new(archive), places))
}

/// The numbers of a tensor as a tensor of their own type.
fn numbers(archive: &mut Archive, place: &TensorPlace) -> Result<Tensor, String> {
    let dtype = match &place.dtype {
        Ok(dtype) => *dtype,
        Err(name) => return Err(format!("numbers of a {name}, not F32, F16, BF16 or F64")),
    };
    let size = dtype.size_in_bytes();
    let (Some(count), Some(end)) = (place.count(), place.end()) else {
        return Err("its place or its shape is too large".to_string());
    };
    if end > place.length {
        let held = place.length;
        return Err(format!("it ends at number {end} of a storage of {held}"));
    }
    let bytes = archive.numbers(&place.key, place.length.saturating_mul(size as u64))?;
    let start = place.offset as usize * size;
    let own = match place.is_contiguous() {
        true => Cow::Borrowed(&bytes[start..start + count * size]),
        false => Cow::Owned(gathered(place, count, size, &bytes[start..])),
    };
    Tensor::from_raw_buffer(&own, dtype, &place.shape, &Device::Cpu)
        .map_err(|error| error.to_string())
}

/// The numbers of a view in the order of its shape.
fn gathered(place: &TensorPlace, count: usize, size: usize, bytes: &[u8]) -> Vec<u8> {
    let mut own = Vec::with_capacity(count * size);
    for index in 0..count {
        let (mut rest, mut at) = (index, 0);
        for (side, stride) in place.shape.iter().zip(&place.strides).rev() {
            at += rest % side * stride;
            rest /= side;
        }
        own.extend_from_slice(&bytes[at * size..(at + 1) * size]);
    }
    own
}
