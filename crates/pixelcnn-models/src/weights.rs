//! The weights of a model directory: one safetensors file, or several with an index.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

use candle_core::{Device, Tensor};
use serde::Deserialize;

use crate::checkpoint::{file_error, json_error, read_text};
use crate::{ModelError, read_tensors};

/// The file of all weights.
pub(crate) const WEIGHTS: &str = "model.safetensors";
/// The index of weights in several files.
pub(crate) const INDEX: &str = "model.safetensors.index.json";
/// Limit on the bytes of an index: about a hundred thousand tensors.
const MOST_INDEX: u64 = 16 << 20;

/// An index, as the Hugging Face libraries write it: the file of each tensor.
#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

impl Index {
    fn read(path: &Path) -> Result<Self, ModelError> {
        let text = read_text(path, MOST_INDEX)?;
        let index: Self =
            serde_json::from_str(&text).map_err(|error| json_error(path, &text, &error))?;
        let outside = index.files().into_iter().find(|file| !is_plain(file));
        match outside.map(String::from) {
            None => Ok(index),
            Some(file) => {
                let why =
                    format!("{file:?} is not the name of a .safetensors file in the same folder");
                Err(file_error(path, why))
            }
        }
    }

    /// The files, each once.
    fn files(&self) -> BTreeSet<&str> {
        self.weight_map.values().map(String::as_str).collect()
    }

    /// The names of the tensors in a file.
    fn tensors(&self, file: &str) -> BTreeSet<&str> {
        let own = self.weight_map.iter().filter(|(_, other)| *other == file);
        own.map(|(name, _)| name.as_str()).collect()
    }
}

/// Whether a text is the name of a weights file, without any folder.
fn is_plain(file: &str) -> bool {
    let mut parts = Path::new(file).components();
    let single = matches!(
        (parts.next(), parts.next()),
        (Some(Component::Normal(_)), None)
    );
    single && file.ends_with(".safetensors") && !file.contains(['/', '\\'])
}

/// The files with the weights of a model directory: `model.safetensors`, or without it
/// the files that `model.safetensors.index.json` lists.
///
/// # Errors
///
/// If the index cannot be read, or names a file outside of the folder.
///
/// # Example
///
/// ```
/// let folder = tempfile::tempdir()?;
/// std::fs::write(
///     folder.path().join("model.safetensors.index.json"),
///     r#"{"weight_map": {"first.bias": "model-1.safetensors"}}"#,
/// )?;
/// let files = pixelcnn_models::weight_files(folder.path())?;
/// assert_eq!(files, [folder.path().join("model-1.safetensors")]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn weight_files(folder: impl AsRef<Path>) -> Result<Vec<PathBuf>, ModelError> {
    let folder = folder.as_ref();
    match index_of(folder) {
        None => Ok(vec![folder.join(WEIGHTS)]),
        Some(path) => {
            let index = Index::read(&path)?;
            Ok(index
                .files()
                .into_iter()
                .map(|file| folder.join(file))
                .collect())
        }
    }
}

/// The names of the files that the index at `path` lists.
#[cfg(feature = "hub")]
pub(crate) fn listed_files(path: &Path) -> Result<Vec<String>, ModelError> {
    let index = Index::read(path)?;
    Ok(index.files().into_iter().map(String::from).collect())
}

/// The index, if the folder has one instead of a single file.
fn index_of(folder: &Path) -> Option<PathBuf> {
    let index = folder.join(INDEX);
    (!folder.join(WEIGHTS).exists() && index.exists()).then_some(index)
}

/// The file to name in messages about all weights of a folder.
pub(crate) fn weights_file(folder: &Path) -> PathBuf {
    index_of(folder).unwrap_or_else(|| folder.join(WEIGHTS))
}

/// The tensors of a model directory. Each file of an index must have exactly the tensors
/// that the index says.
pub(crate) fn read_weights(
    folder: &Path,
    device: &Device,
) -> Result<BTreeMap<String, Tensor>, ModelError> {
    let Some(path) = index_of(folder) else {
        return Ok(read_tensors(folder.join(WEIGHTS), device)?.0);
    };
    let index = Index::read(&path)?;
    let mut all = BTreeMap::new();
    for file in index.files() {
        let part = folder.join(file);
        let (tensors, _) = read_tensors(&part, device)?;
        let (expected, found) = (index.tensors(file), tensors.keys().map(String::as_str));
        let found: BTreeSet<&str> = found.collect();
        if let Some(name) = expected.symmetric_difference(&found).next() {
            let why = match expected.contains(name) {
                true => format!("it has no tensor {name}, but {INDEX} says so"),
                false => format!("it has the tensor {name}, but {INDEX} does not say so"),
            };
            return Err(file_error(&part, why));
        }
        all.extend(tensors);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use candle_core::DType;

    use super::*;
    use crate::{Condition, Model, ModelConfig, PixelCnnConfig, write_file, write_tensors};

    fn small() -> Model {
        let config = PixelCnnConfig {
            blocks: 1,
            maps: 6,
            head: 6,
            ..PixelCnnConfig::cifar10()
        };
        Model::initialise(&ModelConfig::from(config), 3, &Device::Cpu)
            .unwrap()
            .0
    }

    fn nats(model: &Model) -> Vec<Vec<f64>> {
        let values: Vec<u8> = (0..2 * 3 * 5 * 4)
            .map(|value| (value * 37 % 251) as u8)
            .collect();
        let images = Tensor::from_vec(values, (2, 3, 5, 4), &Device::Cpu).unwrap();
        let nats = model.density().unwrap().nats(&images, &Condition::None);
        nats.unwrap().to_vec2().unwrap()
    }

    /// Stored in fewer bits, the numbers themselves are used, in f32.
    #[test]
    fn half_precision_files_give_the_results_of_their_numbers_in_f32() {
        let model = small();
        let folder = tempfile::tempdir().unwrap();
        model.save(folder.path()).unwrap();
        let file = folder.path().join(WEIGHTS);
        for dtype in [DType::F16, DType::BF16] {
            let stored: BTreeMap<_, _> = model
                .tensors()
                .iter()
                .map(|(name, tensor)| (name.clone(), tensor.to_dtype(dtype).unwrap()))
                .collect();
            write_tensors(&file, &stored, "").unwrap();
            let loaded = Model::load(folder.path(), &Device::Cpu).unwrap();
            let rounded = stored
                .iter()
                .map(|(name, tensor)| (name.clone(), tensor.to_dtype(DType::F32).unwrap()))
                .collect();
            let expected =
                Model::from_tensors(model.config(), rounded, DType::F32, &Device::Cpu).unwrap();
            assert!(
                loaded
                    .tensors()
                    .values()
                    .all(|tensor| tensor.dtype() == DType::F32)
            );
            assert_eq!(nats(&loaded), nats(&expected), "{dtype:?}");
            assert_ne!(nats(&loaded), nats(&model), "{dtype:?}");
        }
    }

    /// Divides the weights into two files with an index.
    fn divide(model: &Model, folder: &Path) {
        model.save(folder).unwrap();
        std::fs::remove_file(folder.join(WEIGHTS)).unwrap();
        let mut parts = [BTreeMap::new(), BTreeMap::new()];
        let mut map = serde_json::Map::new();
        for (index, (name, tensor)) in model.tensors().iter().enumerate() {
            parts[index % 2].insert(name.clone(), tensor.clone());
            let file = format!("model-0000{}-of-00002.safetensors", index % 2 + 1);
            map.insert(name.clone(), file.into());
        }
        for (index, part) in parts.iter().enumerate() {
            let file = format!("model-0000{}-of-00002.safetensors", index + 1);
            write_tensors(folder.join(file), part, "").unwrap();
        }
        let index = serde_json::json!({"metadata": {"total_size": 7}, "weight_map": map});
        write_file(folder.join(INDEX), index.to_string().as_bytes()).unwrap();
    }

    #[test]
    fn weights_in_several_files_are_those_of_one() {
        let (model, folder) = (small(), tempfile::tempdir().unwrap());
        divide(&model, folder.path());
        let loaded = Model::load(folder.path(), &Device::Cpu).unwrap();
        assert_eq!(nats(&loaded), nats(&model));
        assert_eq!(weight_files(folder.path()).unwrap().len(), 2);
    }

    #[test]
    fn an_index_that_does_not_fit_its_files_is_refused() {
        let (model, folder) = (small(), tempfile::tempdir().unwrap());
        let fails = |change: &dyn Fn(String) -> String, parts: &[&str]| {
            divide(&model, folder.path());
            let path = folder.path().join(INDEX);
            let text = change(std::fs::read_to_string(&path).unwrap());
            std::fs::write(&path, text).unwrap();
            let error = Model::load(folder.path(), &Device::Cpu)
                .unwrap_err()
                .to_string();
            for part in parts {
                assert!(error.contains(part), "{part} is not in: {error}");
            }
        };
        let first = "model-00001-of-00002.safetensors";
        let second = "model-00002-of-00002.safetensors";
        fails(
            &|text| text.replacen(first, second, 1),
            &[first, "it has the tensor", "does not say so"],
        );
        fails(
            &|text| {
                text.replacen(
                    "\"weight_map\":{",
                    &format!("\"weight_map\":{{\"x\":\"{first}\","),
                    1,
                )
            },
            &[first, "it has no tensor x"],
        );
        for outside in [
            "../model.safetensors",
            "/etc/model.safetensors",
            "a/b.safetensors",
            "model.bin",
        ] {
            fails(
                &|text| text.replace(first, outside),
                &[INDEX, outside, "in the same folder"],
            );
        }
        fails(&|_| "{".to_string(), &[INDEX, "not a valid JSON file"]);
    }
}
