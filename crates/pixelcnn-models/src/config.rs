//! The configuration of a model, as in `config.json`.

mod published;

use std::any::Any;
use std::ops::Deref;
use std::path::Path;

use pixelcnn_layers::ConditionShape;
use serde::{Deserialize, Serialize};

use crate::checkpoint::{file_error, json_error, read_text};
use crate::classes::listed;
use crate::{Classes, Conditioning, Definition, ImageShape, ModelError};

/// Limit on the bytes of a config.json, enough for the names of very many classes.
const MOST_CONFIG: u64 = 16 << 20;

/// The kind of a model and its sizes.
///
/// # Example
///
/// ```
/// use pixelcnn_models::ModelConfig;
///
/// let text = r#"{"kind": "uniform",
///     "image": {"channels": 1, "height": 28, "width": 28, "levels": 2}}"#;
/// let config: ModelConfig = serde_json::from_str(text)?;
/// assert_eq!(config.image().levels, 2);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ModelConfig(Box<dyn Definition>);

impl Clone for ModelConfig {
    fn clone(&self) -> Self {
        Self(self.0.boxed())
    }
}

/// Equal if the JSON is equal.
impl PartialEq for ModelConfig {
    fn eq(&self, other: &Self) -> bool {
        let written = |config: &Self| serde_json::to_value(config).ok();
        written(self).is_some_and(|own| written(other) == Some(own))
    }
}

impl Deref for ModelConfig {
    type Target = dyn Definition;

    fn deref(&self) -> &Self::Target {
        &*self.0
    }
}

impl ModelConfig {
    /// Reads the `config.json` of a model and validates it. The fields `model_type` and
    /// `format_version` of [`Model::export`](crate::Model::export) are checked and left out.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, or does not describe a model; the error has the line.
    ///
    /// # Example
    ///
    /// ```
    /// use pixelcnn_models::ModelConfig;
    ///
    /// let folder = tempfile::tempdir()?;
    /// let path = folder.path().join("config.json");
    /// let image = r#"{"channels": 1, "height": 2, "width": 2, "levels": 256}"#;
    /// std::fs::write(&path, format!(r#"{{"kind": "uniform", "image": {image}}}"#))?;
    /// assert_eq!(ModelConfig::read(&path)?.image().levels, 256);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn read(path: impl AsRef<Path>) -> Result<Self, ModelError> {
        let path = path.as_ref();
        let text = read_text(path, MOST_CONFIG)?;
        let config: Self = match published::settings(path, &text)? {
            Some(settings) => serde_json::from_value(settings),
            None => serde_json::from_str(&text),
        }
        .map_err(|error| json_error(path, &text, &error))?;
        config.validate().map_err(|error| file_error(path, error))?;
        Ok(config)
    }

    /// The text of a `config.json` that says whose model it is, for the hub.
    pub(crate) fn published(&self) -> serde_json::Result<String> {
        published::text(self)
    }

    pub(crate) fn new(definition: Box<dyn Definition>) -> Self {
        Self(definition)
    }

    /// The settings, if the model is of this kind.
    ///
    /// # Example
    ///
    /// ```
    /// use pixelcnn_models::{ModelConfig, PixelCnnConfig, UniformConfig};
    ///
    /// let config = ModelConfig::from(PixelCnnConfig::cifar10());
    /// assert_eq!(config.get::<PixelCnnConfig>().map(|config| config.maps), Some(128));
    /// assert!(config.get::<UniformConfig>().is_none());
    /// ```
    pub fn get<D: Definition>(&self) -> Option<&D> {
        let any: &dyn Any = &*self.0;
        any.downcast_ref()
    }

    /// The same, mutable.
    pub fn get_mut<D: Definition>(&mut self) -> Option<&mut D> {
        let any: &mut dyn Any = &mut *self.0;
        any.downcast_mut()
    }

    /// The same model with these names of its classes; unchanged if it has no
    /// classes.
    ///
    /// # Errors
    ///
    /// If there is not one name for each class, or the model already has other names.
    pub fn with_class_names(mut self, names: &[String]) -> Result<Self, ModelError> {
        let Some(classes) = self.0.classes_mut() else {
            return Ok(self);
        };
        let fits = match &*classes {
            Classes::Count(count) => *count == names.len(),
            Classes::Names(own) => own == names,
        };
        if !fits {
            let of = |names: &[String]| format!("{} classes ({})", names.len(), listed(names));
            let found = match &*classes {
                Classes::Count(count) => format!("{count} classes"),
                Classes::Names(own) => of(own),
            };
            let why = format!("{} expected, found {found}", of(names));
            return Err(ModelError::invalid("classes", why));
        }
        *classes = Classes::Names(names.to_vec());
        Ok(self)
    }

    /// The condition that its blocks take.
    pub fn condition_shape(&self) -> ConditionShape {
        let conditioning = self.conditioning();
        conditioning.map_or(ConditionShape::None, Conditioning::shape)
    }

    /// Refuses invalid settings.
    ///
    /// # Errors
    ///
    /// The error has the setting and the reason.
    pub fn validate(&self) -> Result<(), ModelError> {
        let image = self.image();
        image.validate()?;
        self.distribution().validate(&image)?;
        if let Some(conditioning) = self.conditioning() {
            conditioning.validate(&image)?;
        }
        self.0.validate()
    }
}

// Limits far above networks that can be trained, so that a damaged file cannot make
// the program allocate too much.
const MOST_KERNEL: usize = 255;
pub(crate) const MOST_MAPS: usize = 65_536;
const MOST_BLOCKS: usize = 4_096;
pub(crate) const MOST_DILATION: usize = 1_024;

/// Checks shared by both networks.
pub(crate) fn validate_network(
    image: &ImageShape,
    kernels: [usize; 2],
    maps: [usize; 2],
    blocks: usize,
) -> Result<(), ModelError> {
    let [first_kernel, kernel] = kernels;
    let most = [
        ("model.first_kernel", first_kernel, MOST_KERNEL),
        ("model.kernel", kernel, MOST_KERNEL),
        ("model.maps", maps[0], MOST_MAPS),
        ("model.head", maps[1], MOST_MAPS),
        ("model.blocks", blocks, MOST_BLOCKS),
    ];
    for (name, found, most) in most {
        if found > most {
            let why = format!("at most {most} expected, found {found}");
            return Err(ModelError::invalid(name, why));
        }
    }
    if first_kernel < 3 || first_kernel.is_multiple_of(2) {
        let why = format!("an odd kernel of at least 3 expected, found {first_kernel}");
        return Err(ModelError::invalid("model.first_kernel", why));
    }
    if kernel.is_multiple_of(2) {
        let why = format!("an odd kernel expected, found {kernel}");
        return Err(ModelError::invalid("model.kernel", why));
    }
    for (name, count) in [("model.maps", maps[0]), ("model.head", maps[1])] {
        if count < image.channels {
            let why = format!(
                "at least one map per channel ({} channels) expected, found {count}",
                image.channels
            );
            return Err(ModelError::invalid(name, why));
        }
    }
    if blocks == 0 {
        return Err(ModelError::invalid("model.blocks", "at least one expected"));
    }
    Ok(())
}
