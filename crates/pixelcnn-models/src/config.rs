//! The configuration of a model, as `config.json` holds it.

use std::path::Path;

use pixelcnn_layers::ConditionShape;
use serde::{Deserialize, Serialize};

use crate::checkpoint::{file_error, json_error, read_text};
use crate::classes::listed;
use crate::{
    AutoEncoderConfig, Classes, ClassifierConfig, Conditioning, GatedPixelCnnConfig, ImageShape,
    ModelError, PixelCnnConfig, TowerConfig,
};

/// Bytes of a config.json: names of very many classes.
const MOST_CONFIG: u64 = 16 << 20;

/// Which model, and its sizes.
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
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum ModelConfig {
    /// Every value equally likely.
    Uniform(BaselineConfig),
    /// Full covariance, fitted in closed form.
    Gaussian(BaselineConfig),
    /// The plain PixelCNN.
    #[serde(rename = "pixelcnn")]
    PixelCnn(PixelCnnConfig),
    /// The Gated PixelCNN.
    #[serde(rename = "gated-pixelcnn")]
    GatedPixelCnn(GatedPixelCnnConfig),
    /// The auto-encoder of means that section 3.4 compares with.
    AutoEncoder(AutoEncoderConfig),
    /// The embedding network of section 3.3.
    Embedding(EmbeddingConfig),
    /// A classifier.
    Classifier(ClassifierConfig),
}

/// Sizes and loss of an [`EmbeddingNetwork`](crate::EmbeddingNetwork).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EmbeddingConfig {
    /// The images it is for.
    pub image: ImageShape,
    /// Number of values of an embedding.
    pub length: usize,
    /// Feature maps after each halving of height and width.
    pub encoder: Vec<usize>,
    /// How much farther than a positive a negative must be to cost nothing, in
    /// squared distance.
    pub margin: f64,
}

impl EmbeddingConfig {
    /// The network's sizes.
    pub fn tower(&self) -> TowerConfig {
        TowerConfig {
            length: self.length,
            encoder: self.encoder.clone(),
        }
    }

    fn validate(&self) -> Result<(), ModelError> {
        if !(self.margin > 0.0 && self.margin <= 4.0) {
            let why = format!("above 0, at most 4 expected, found {}", self.margin);
            return Err(ModelError::invalid("model.margin", why));
        }
        self.tower().validate()
    }
}

/// A model that is known from the images' shape alone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BaselineConfig {
    /// The images it is for.
    pub image: ImageShape,
}

impl ModelConfig {
    /// Reads the `config.json` of a model and validates it.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, or does not describe a model; with its line.
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
        let config: Self =
            serde_json::from_str(&text).map_err(|error| json_error(path, &text, &error))?;
        config.validate().map_err(|error| file_error(path, error))?;
        Ok(config)
    }

    /// The images the model is for.
    pub fn image(&self) -> ImageShape {
        match self {
            Self::Uniform(config) | Self::Gaussian(config) => config.image,
            Self::PixelCnn(config) => config.image,
            Self::GatedPixelCnn(config) => config.image,
            Self::AutoEncoder(config) => config.image,
            Self::Embedding(config) => config.image,
            Self::Classifier(config) => config.image,
        }
    }

    /// The classes that the model tells apart or is conditioned on; `None` where
    /// it knows of none.
    pub fn classes(&self) -> Option<&Classes> {
        match (self, self.conditioning()) {
            (Self::Classifier(config), _) => Some(&config.classes),
            (_, Some(Conditioning::Class { classes })) => Some(classes),
            _ => None,
        }
    }

    /// The same model with these names of its classes; itself where it knows of
    /// none.
    ///
    /// # Errors
    ///
    /// If there is not one name for each class, or the model has other names.
    pub fn with_class_names(mut self, names: &[String]) -> Result<Self, ModelError> {
        let classes = match &mut self {
            Self::Classifier(config) => &mut config.classes,
            Self::GatedPixelCnn(config) => match &mut config.conditioning {
                Some(Conditioning::Class { classes }) => classes,
                _ => return Ok(self),
            },
            _ => return Ok(self),
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

    /// What the model is conditioned on, if on anything.
    pub fn conditioning(&self) -> Option<&Conditioning> {
        match self {
            Self::GatedPixelCnn(config) => config.conditioning.as_ref(),
            _ => None,
        }
    }

    /// What its blocks take as a condition.
    pub fn condition_shape(&self) -> ConditionShape {
        match self {
            Self::GatedPixelCnn(config) => config.condition_shape(),
            _ => ConditionShape::None,
        }
    }

    /// The model's name, as in table 1 where it is there.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Uniform(_) => "Uniform Distribution",
            Self::Gaussian(_) => "Multivariate Gaussian",
            Self::PixelCnn(_) => "PixelCNN",
            Self::GatedPixelCnn(_) => "Gated PixelCNN",
            Self::AutoEncoder(_) => "Auto-encoder (mean squared error)",
            Self::Embedding(_) => "Embedding network",
            Self::Classifier(_) => "Classifier",
        }
    }

    /// Refuses sizes that make no sense.
    ///
    /// # Errors
    ///
    /// The setting and why it is refused.
    pub fn validate(&self) -> Result<(), ModelError> {
        self.image().validate()?;
        match self {
            Self::Uniform(_) | Self::Gaussian(_) => Ok(()),
            Self::PixelCnn(config) => config.validate(),
            Self::GatedPixelCnn(config) => config.validate(),
            Self::AutoEncoder(config) => config.validate(),
            Self::Embedding(config) => config.validate(),
            Self::Classifier(config) => config.validate(),
        }
    }
}

// Far beyond any network that can be trained; what a broken file asks for must
// not be allocated.
const MOST_KERNEL: usize = 255;
const MOST_MAPS: usize = 65_536;
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
                "at least one map for each of {} channels, found {count}",
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
