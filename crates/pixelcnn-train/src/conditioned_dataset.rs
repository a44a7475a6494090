//! Images with their conditions.

use std::path::Path;

use candle_core::{DType, Device, Tensor};
use pixelcnn_data::{Images, permutation, read_npy};
use pixelcnn_models::{ConditionShape, Conditioning, Given, ModelConfig, Task, read_tensors};
use pixelcnn_system::open_file;

use crate::classes::setting;
use crate::error::list;
use crate::{Result, TrainError};

/// Images of a split, each with the condition that a model takes: its
/// label, its caption, a given vector or maps, or the image itself, whole or
/// reduced.
///
/// # Example
///
/// ```
/// use candle_core::Device;
/// use pixelcnn_data::Images;
/// use pixelcnn_models::{Given, ModelConfig};
/// use pixelcnn_train::ConditionedDataset;
///
/// let config: ModelConfig = serde_json::from_str(
///     r#"{"kind": "gated-pixelcnn",
///         "image": {"channels": 1, "height": 2, "width": 2, "levels": 256},
///         "first_kernel": 3, "kernel": 3, "blocks": 1, "maps": 4, "head": 4,
///         "conditioning": {"kind": "class", "classes": 3}}"#,
/// )?;
/// let images = Images::new((1, 2, 2), vec![7; 12], vec![2, 0, 1])?;
/// let conditioned = ConditionedDataset::new(&config, &images, None)?;
/// let values = images.tensor(0..2, &Device::Cpu)?;
/// let given = conditioned.given(&[0, 1], &values)?;
/// assert!(matches!(given, Given::Labels(labels) if labels == [2, 0]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct ConditionedDataset<'a> {
    images: &'a Images,
    conditioning: Option<Conditioning>,
    given: Option<Tensor>,
    /// For each image, the one whose condition it gets.
    partners: Option<Vec<usize>>,
    /// For a classifier: the logarithm of each class's share of the images.
    log_shares: Option<Vec<f32>>,
}

impl<'a> ConditionedDataset<'a> {
    /// Images for a model of `config`; `given` has a vector `[n, d]` or maps
    /// `[n, s, h, w]` for each image, if the model takes these.
    ///
    /// # Errors
    ///
    /// If the images do not have what the model needs: labels of its classes,
    /// captions, given vectors of its length, or at least two images of one label and
    /// one of another.
    pub fn new(config: &ModelConfig, images: &'a Images, given: Option<Tensor>) -> Result<Self> {
        let conditioning = config.conditioning().cloned();
        let refused = |why: String| {
            Err(TrainError::Invalid {
                what: "condition".to_string(),
                why,
            })
        };
        let levels = config.image().levels;
        // Values are below the images' own number of levels, so they are read only if it is
        // larger.
        if images.levels() > levels
            && let Some(most) = images.max()?
            && most as usize >= levels
        {
            return Err(TrainError::Invalid {
                what: "values".to_string(),
                why: format!("the model has {levels} levels, found the value {most}"),
            });
        }
        if let Some(classes) = config.classes() {
            check_labels(config, images, classes.count())?;
        }
        if config.task() == Task::Verification {
            check_triplets(images)?;
        }
        match (&conditioning, &given) {
            (Some(Conditioning::Caption(_)), None) if images.captions().is_empty() => {
                return refused("the data set has no captions".to_string());
            }
            (Some(Conditioning::Vector { .. } | Conditioning::Map { .. }), Some(given)) => {
                check_given(config, images, given)?;
            }
            (Some(Conditioning::Vector { .. } | Conditioning::Map { .. }), None) => {
                return refused("the model expects a vector or maps for each image".to_string());
            }
            (_, Some(_)) => {
                return refused("vectors or maps are given, but the model takes none".to_string());
            }
            (_, None) => {}
        }
        let log_shares = match (config.task(), config.classes()) {
            (Task::Classification, Some(classes)) => {
                Some(log_shares(images.labels(), classes.count()))
            }
            _ => None,
        };
        Ok(Self {
            images,
            conditioning,
            given,
            partners: None,
            log_shares,
        })
    }

    /// The same images, each with the condition of another image: a permutation
    /// without a fixed point (for two or more images), keyed by `seed`. For
    /// labels, each image gets a different label, if no label has more than half of
    /// the images.
    pub fn shuffled(mut self, seed: u64) -> Self {
        let count = self.images.len();
        let mut order = permutation(seed, 0, count);
        // One cycle through all images: no image keeps its own condition.
        let mut shift = 1;
        if let Some(Conditioning::Class { .. }) = self.conditioning {
            // Shift beyond all images with the same label.
            let labels = self.images.labels();
            order.sort_by_key(|image| labels[*image]);
            let alike = order.chunk_by(|a, b| labels[*a] == labels[*b]);
            let largest = alike.map(<[usize]>::len).max();
            shift = largest.filter(|largest| *largest < count).unwrap_or(1);
        }
        let mut partners = vec![0; count];
        for (place, image) in order.iter().enumerate() {
            partners[*image] = order[(place + shift) % count];
        }
        self.partners = Some(partners);
        self
    }

    /// For a classifier, the logarithm of each class's share of the images; a
    /// class without images counts as if it had one.
    pub(crate) fn log_shares(&self) -> Option<&[f32]> {
        self.log_shares.as_deref()
    }

    /// The images.
    pub fn images(&self) -> &'a Images {
        self.images
    }

    /// The conditions of the images `indices`, whose values `[b, c, h,
    /// w]` are `values`, mirrored or not.
    ///
    /// # Errors
    ///
    /// If an index is out of range.
    pub fn given(&self, indices: &[usize], values: &Tensor) -> Result<Given> {
        let Some(conditioning) = &self.conditioning else {
            return Ok(Given::Nothing);
        };
        let count = self.images.len();
        if let Some(index) = indices.iter().find(|index| **index >= count) {
            return Err(TrainError::Invalid {
                what: "condition".to_string(),
                why: format!("image {index} (from 0) requested, but there are only {count} images"),
            });
        }
        let chosen: Vec<usize> = match &self.partners {
            Some(partners) => indices.iter().map(|index| partners[*index]).collect(),
            None => indices.to_vec(),
        };
        let others = || match &self.partners {
            Some(_) => Ok(self.images.gather(&chosen, values.device())?),
            None => Ok::<_, TrainError>(values.clone()),
        };
        Ok(match conditioning {
            Conditioning::Class { .. } => {
                Given::Labels(chosen.iter().map(|i| self.images.labels()[*i]).collect())
            }
            Conditioning::Caption(_) => {
                let captions = self.images.captions();
                Given::Text(chosen.iter().map(|i| captions[*i].clone()).collect())
            }
            Conditioning::Vector { .. } | Conditioning::Map { .. } => self.of_files(&chosen)?,
            Conditioning::Image { .. } | Conditioning::Code(_) | Conditioning::Embedding(_) => {
                let given = conditioning.given_image(&others()?)?;
                given.unwrap_or(Given::Nothing)
            }
        })
    }

    /// The rows of the vectors or maps.
    fn of_files(&self, chosen: &[usize]) -> Result<Given> {
        let Some(all) = &self.given else {
            return Ok(Given::Nothing);
        };
        let rows: Vec<u32> = chosen.iter().map(|index| *index as u32).collect();
        let rows = Tensor::from_vec(rows, chosen.len(), all.device())?;
        let rows = all.contiguous()?.index_select(&rows, 0)?;
        Ok(match rows.rank() {
            2 => Given::Vector(rows),
            _ => Given::Map(rows),
        })
    }
}

/// One vector or map for each image, of a size that the model takes.
fn check_given(config: &ModelConfig, images: &Images, given: &Tensor) -> Result<()> {
    let (_, height, width) = images.shape();
    let vector = match config.conditioning().and_then(Conditioning::length) {
        Some(length) => vec![images.len(), length],
        None => Vec::new(),
    };
    let map = match config.condition_shape() {
        ConditionShape::Map { maps } => vec![images.len(), maps, height, width],
        _ => Vec::new(),
    };
    let allowed: Vec<_> = [vector, map]
        .into_iter()
        .filter(|dims| !dims.is_empty())
        .collect();
    match allowed.iter().any(|dims| dims == given.dims()) {
        true => Ok(()),
        false => {
            let allowed: Vec<_> = allowed.iter().map(|dims| list(dims)).collect();
            Err(TrainError::Invalid {
                what: "condition".to_string(),
                why: format!(
                    "one condition per image ({}) expected, found {}{}",
                    allowed.join(" or "),
                    list(given.dims()),
                    length_wanted(config, given.dims())
                ),
            })
        }
    }
}

/// The length that the model expects, if that of the vectors is another.
fn length_wanted(config: &ModelConfig, found: &[usize]) -> String {
    match (config.conditioning().and_then(Conditioning::length), found) {
        (Some(length), [_, found]) if *found != length => {
            format!(": the model expects vectors of length {length} (model.conditioning.length)")
        }
        _ => String::new(),
    }
}

fn log_shares(labels: &[u32], classes: usize) -> Vec<f32> {
    let mut counts = vec![0usize; classes];
    for label in labels {
        // The labels were checked: none is out of range.
        if let Some(count) = counts.get_mut(*label as usize) {
            *count += 1;
        }
    }
    let share = |count: usize| count.max(1) as f64 / labels.len().max(1) as f64;
    counts
        .into_iter()
        .map(|count| share(count).ln() as f32)
        .collect()
}

/// Checks that the training images of a classifier have more than one label. Images
/// of a folder without subfolders, or of a data set without classes, all have label 0.
pub(crate) fn check_classes_differ(config: &ModelConfig, images: &Images) -> Result<()> {
    let Some(classes) = config.classes() else {
        return Ok(());
    };
    let labels = images.labels();
    match labels.windows(2).all(|pair| pair[0] == pair[1])
        && classes.count() > 1
        && labels.len() > 1
    {
        false => Ok(()),
        true => Err(TrainError::Invalid {
            what: "labels".to_string(),
            why: format!(
                "images of {classes} classes expected, found {} training images that all have \
                 the label {}: does the data set have classes?",
                labels.len(),
                labels[0]
            ),
        }),
    }
}

/// Checks that there are two images of one label and one of another.
fn check_triplets(images: &Images) -> Result<()> {
    let mut labels = images.labels().to_vec();
    labels.sort_unstable();
    let same = labels.windows(2).any(|pair| pair[0] == pair[1]);
    match same && labels.first() != labels.last() {
        true => Ok(()),
        false => Err(TrainError::Invalid {
            what: "labels".to_string(),
            why: "at least two images of one label and one of another expected".to_string(),
        }),
    }
}

/// Checks that each label is below the number of classes.
fn check_labels(config: &ModelConfig, images: &Images, classes: usize) -> Result<()> {
    let beyond = |label: &u32| *label as usize >= classes;
    match images.labels().iter().position(beyond) {
        None => Ok(()),
        Some(image) => Err(TrainError::Invalid {
            what: "labels".to_string(),
            why: format!(
                "image {image} (from 0) has the label {}, but the model has {classes} classes: \
                 {} must be above the largest label, which is {}",
                images.labels()[image],
                setting(config),
                images.labels().iter().max().unwrap_or(&0)
            ),
        }),
    }
}

/// Reads vectors `[n, d]` or maps `[n, s, h, w]` from a `.npy` file, or from the
/// only tensor of a `.safetensors` file, in f32 on the CPU.
///
/// # Errors
///
/// If the file is not one of these, its rank is wrong or a number is not finite;
/// the message names the file.
///
/// # Example
///
/// ```
/// use candle_core::{DType, Device, Tensor};
///
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("vectors.npy");
/// Tensor::ones((5, 3), DType::F64, &Device::Cpu)?.write_npy(&path)?;
/// assert_eq!(pixelcnn_train::read_condition_file(&path)?.dims(), [5, 3]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn read_condition_file(path: &Path) -> Result<Tensor> {
    open_file(path).map_err(TrainError::read(path))?;
    let tensor = match path.extension().and_then(|extension| extension.to_str()) {
        Some("npy") => read_npy(path)?,
        Some("safetensors") => {
            let (tensors, _) = read_tensors(path, &Device::Cpu)?;
            let mut tensors = tensors.into_values();
            match (tensors.next(), tensors.next()) {
                (Some(tensor), None) => tensor,
                (first, _) => {
                    let found = if first.is_some() { "several" } else { "none" };
                    return Err(TrainError::run(
                        path,
                        format!("one tensor expected, found {found}"),
                    ));
                }
            }
        }
        Some("npz") => {
            let why = "a .npy or .safetensors file expected: save one array of the archive, \
                       numpy.save('conditions.npy', archive['NAME'].astype('<f4'))";
            return Err(TrainError::run(path, why));
        }
        _ => {
            return Err(TrainError::run(
                path,
                "a .npy or .safetensors file expected",
            ));
        }
    };
    if !matches!(tensor.rank(), 2 | 4) {
        let found = list(tensor.dims());
        let why = format!("[n, d] or [n, s, h, w] expected, found {found}");
        return Err(TrainError::run(path, why));
    }
    let tensor = tensor.to_dtype(DType::F32)?;
    let rows = tensor.flatten_from(1)?.to_vec2::<f32>()?;
    let finite = |row: &Vec<f32>| row.iter().all(|number| number.is_finite());
    match rows.iter().position(|row| !finite(row)) {
        None => Ok(tensor),
        Some(row) => {
            let why = format!("row {row} (from 0) has a number that is not finite");
            Err(TrainError::run(path, why))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(conditioning: &str) -> ModelConfig {
        let text = format!(
            r#"{{"kind": "gated-pixelcnn",
                "image": {{"channels": 3, "height": 2, "width": 2, "levels": 256}},
                "first_kernel": 3, "kernel": 3, "blocks": 1, "maps": 4, "head": 4,
                "conditioning": {conditioning}}}"#
        );
        serde_json::from_str(&text).unwrap()
    }

    fn images() -> Images {
        let values = (0..60).map(|value| value * 4).collect();
        Images::new((3, 2, 2), values, (0..5).collect()).unwrap()
    }

    #[test]
    fn shuffled_no_image_keeps_its_condition() {
        let images = images();
        let config = config(r#"{"kind": "class", "classes": 5}"#);
        let values = images.tensor(0..5, &Device::Cpu).unwrap();
        for seed in 0..20 {
            let conditioned = ConditionedDataset::new(&config, &images, None)
                .unwrap()
                .shuffled(seed);
            let condition = conditioned.given(&[0, 1, 2, 3, 4], &values).unwrap();
            let Given::Labels(mut labels) = condition else {
                panic!("{condition}");
            };
            assert!(
                (0..5).all(|image| labels[image] != image as u32),
                "{labels:?}"
            );
            labels.sort_unstable();
            assert_eq!(labels, [0, 1, 2, 3, 4]);
        }
    }

    #[test]
    fn shuffled_every_image_has_another_label() {
        let config = config(r#"{"kind": "class", "classes": 3}"#);
        // Half of the images have one label; then more than half; then all.
        for (labels, kept) in [
            (vec![0u32, 1, 1, 2, 1, 0], 0),
            (vec![0, 1, 1, 1, 1], 3),
            (vec![1, 1, 1], 3),
        ] {
            let images = Images::new((3, 2, 2), vec![0; 12 * labels.len()], labels.clone());
            let images = images.unwrap();
            let all: Vec<usize> = (0..labels.len()).collect();
            let values = images.tensor(0..labels.len(), &Device::Cpu).unwrap();
            for seed in 0..20 {
                let conditioned = ConditionedDataset::new(&config, &images, None).unwrap();
                let conditioned = conditioned.shuffled(seed);
                let Given::Labels(given) = conditioned.given(&all, &values).unwrap() else {
                    panic!();
                };
                let same = labels.iter().zip(&given).filter(|(a, b)| a == b);
                assert_eq!(same.count(), kept, "{labels:?} {given:?}");
            }
        }
    }

    #[test]
    fn an_image_that_is_not_there_is_an_error() {
        let images = images();
        let values = images.tensor(0..1, &Device::Cpu).unwrap();
        let config = config(r#"{"kind": "class", "classes": 5}"#);
        let conditioned = ConditionedDataset::new(&config, &images, None).unwrap();
        for conditioned in [conditioned.clone(), conditioned.shuffled(1)] {
            let error = conditioned.given(&[5], &values).unwrap_err().to_string();
            assert!(
                error.contains("image 5 (from 0) requested, but there are only 5"),
                "{error}"
            );
        }
    }

    #[test]
    fn images_are_reduced_and_a_shuffled_one_is_anothers() {
        let images = images();
        let config = config(
            r#"{"kind": "image", "reduction": {"kind": "grey"}, "spatial": {"maps": 1, "hidden": 1}}"#,
        );
        let right = ConditionedDataset::new(&config, &images, None).unwrap();
        let values = images.tensor(0..5, &Device::Cpu).unwrap();
        let of = |conditioned: &ConditionedDataset, indices: &[usize], values: &Tensor| {
            let condition = conditioned.given(indices, values).unwrap();
            let Given::Image(image) = condition else {
                panic!("{condition}");
            };
            image.flatten_from(1).unwrap().to_vec2::<u8>().unwrap()
        };
        let all = of(&right, &[0, 1, 2, 3, 4], &values);
        let shuffled = right.clone().shuffled(3);
        let partner = shuffled.partners.as_ref().unwrap()[2];
        let found = of(&shuffled, &[2], &values.narrow(0, 2, 1).unwrap());
        assert_eq!(found[0], all[partner]);
        assert_ne!(found[0], all[2]);
    }

    #[test]
    fn missing_conditions_are_named() {
        let images = images();
        let refused = |conditioning: &str, given| {
            let error = ConditionedDataset::new(&config(conditioning), &images, given).unwrap_err();
            error.to_string()
        };
        let few = Tensor::zeros((4, 2), DType::F32, &Device::Cpu).unwrap();
        let error = refused(r#"{"kind": "class", "classes": 4}"#, None);
        assert!(
            error.contains("image 4 (from 0) has the label 4"),
            "{error}"
        );
        let caption = r#"{"kind": "caption", "vocabulary": 9, "embedding": 2, "length": 2}"#;
        assert!(refused(caption, None).contains("no captions"));
        let vector = r#"{"kind": "vector", "length": 2}"#;
        assert!(refused(vector, None).contains("expects a vector"));
        let error = refused(vector, Some(few.clone()));
        assert!(error.contains("[5, 2]) expected, found [4, 2]"), "{error}");
        let long = r#"{"kind": "vector", "length": 3}"#;
        let error = refused(long, Some(few.clone()));
        assert!(
            error.ends_with("length 3 (model.conditioning.length)"),
            "{error}"
        );
        let spatial = r#"{"kind": "vector", "length": 3, "spatial": {"maps": 1, "hidden": 1}}"#;
        let error = refused(spatial, Some(few.clone()));
        assert!(
            error.contains("[5, 3] or [5, 1, 2, 2]) expected"),
            "{error}"
        );
        assert!(refused(r#"{"kind": "class", "classes": 5}"#, Some(few)).contains("takes none"));
    }
}
