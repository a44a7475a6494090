//! The conditioning of a model, and the encoders that compute h or s
//! (section 2.3).

mod caption;
mod code;
mod deconvolution;
mod encoder;
mod foreign;
mod given;
mod image_encoder;
mod tokenizer;

use candle_core::Tensor;
use pixelcnn_image::ImageError;
use pixelcnn_layers::ConditionShape;
use serde::{Deserialize, Serialize};

pub use caption::CaptionConfig;
pub use code::{Bottleneck, CodeConfig, Latent};
pub use deconvolution::SpatialConfig;
pub(crate) use deconvolution::{Deconvolution, DeconvolutionInput};
pub use encoder::ConditionEncoder;
pub use given::Given;
pub use image_encoder::ImageEncoderConfig;
pub(crate) use image_encoder::{ImageEncoder, linear};
pub use tokenizer::CaptionTokenizer;

use crate::{Classes, ImageShape, ModelError, Reduction};

/// The conditioning of a Gated PixelCNN in its configuration.
///
/// A model takes what its kind says (labels, texts, images). It also takes h itself
/// if h is a vector ([`Given::Vector`]), and s itself if its blocks take maps
/// ([`Given::Map`]).
///
/// # Example
///
/// ```
/// use pixelcnn_models::{ConditionShape, Conditioning};
///
/// let text = r#"{"kind": "class", "classes": 10}"#;
/// let conditioning: Conditioning = serde_json::from_str(text)?;
/// assert_eq!(conditioning, Conditioning::Class { classes: 10.into() });
/// assert_eq!(conditioning.shape(), ConditionShape::Vector { length: 10 });
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Conditioning {
    /// A label: V^T h with h one-hot is a table of biases (eq. 4).
    Class {
        /// The number of classes, or their names.
        classes: Classes,
    },
    /// A vector h (eq. 4), or m(h) (eq. 5).
    Vector {
        /// Number of values of h.
        length: usize,
        /// m, for eq. 5.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        spatial: Option<SpatialConfig>,
    },
    /// Maps s of the image's height and width, used directly (eq. 5).
    Map {
        /// Number of maps.
        maps: usize,
    },
    /// A text, read by an encoder that is trained with the model.
    Caption(CaptionConfig),
    /// A grey or a small version of the image, through m(h) of eq. 5:
    /// colourisation, super-resolution.
    Image {
        /// How the image is reduced.
        #[serde(alias = "given")]
        reduction: Reduction,
        /// The network m.
        spatial: SpatialConfig,
    },
    /// The code of the image in an auto-encoder (section 2.4).
    Code(CodeConfig),
    /// The embedding of an image by a pretrained, frozen
    /// [`EmbeddingNetwork`](crate::EmbeddingNetwork)
    /// (section 3.3).
    Embedding(ImageEncoderConfig),
}

impl Conditioning {
    /// The condition that the blocks take.
    pub fn shape(&self) -> ConditionShape {
        match (self.spatial(), self) {
            (Some(spatial), _) => ConditionShape::Map { maps: spatial.maps },
            (None, Self::Map { maps }) => ConditionShape::Map { maps: *maps },
            (None, _) => match self.length() {
                Some(length) => ConditionShape::Vector { length },
                None => ConditionShape::None,
            },
        }
    }

    /// The classes, if it is by classes, to set their names.
    pub fn classes_mut(&mut self) -> Option<&mut Classes> {
        match self {
            Self::Class { classes } => Some(classes),
            _ => None,
        }
    }

    /// Length of h, if h is a vector.
    pub fn length(&self) -> Option<usize> {
        match self {
            Self::Class { classes } => Some(classes.count()),
            Self::Vector { length, .. } => Some(*length),
            Self::Caption(config) => Some(config.length),
            Self::Code(config) => Some(config.length),
            Self::Embedding(config) => Some(config.length),
            Self::Map { .. } | Self::Image { .. } => None,
        }
    }

    /// The condition computed from images `[b, c, h, w]`, if the model is conditioned on
    /// the image itself, whole or reduced; `None` for other conditioning.
    ///
    /// # Errors
    ///
    /// If the image cannot be reduced.
    pub fn given_image(&self, values: &Tensor) -> Result<Option<Given>, ModelError> {
        Ok(match self {
            Self::Image { reduction, .. } => Some(Given::Image(reduction.apply(values)?)),
            Self::Code(_) | Self::Embedding(_) => Some(Given::Image(values.clone())),
            Self::Class { .. } | Self::Vector { .. } | Self::Map { .. } | Self::Caption(_) => None,
        })
    }

    /// The network m of eq. 5, if there is one.
    pub fn spatial(&self) -> Option<&SpatialConfig> {
        match self {
            Self::Vector { spatial, .. } => spatial.as_ref(),
            Self::Image { spatial, .. } => Some(spatial),
            Self::Code(config) => config.spatial.as_ref(),
            Self::Class { .. } | Self::Map { .. } | Self::Caption(_) | Self::Embedding(_) => None,
        }
    }

    pub(crate) fn validate(&self, image: &ImageShape) -> Result<(), ModelError> {
        match self {
            Self::Class { classes } => classes.validate()?,
            Self::Vector { .. } => {}
            Self::Map { maps } => within("maps", *maps, 1, MOST_LENGTH)?,
            Self::Caption(config) => config.validate()?,
            Self::Image { reduction, .. } => {
                reduction.validate(image).map_err(|error| match error {
                    ImageError::Invalid { what, why } => {
                        ModelError::invalid(&format!("model.conditioning.{what}"), why)
                    }
                    error => error.into(),
                })?
            }
            Self::Code(config) => config.validate()?,
            Self::Embedding(config) => config.validate()?,
        }
        if let Some(length) = self.length() {
            within("length", length, 1, MOST_LENGTH)?;
        }
        match self.spatial() {
            Some(spatial) => spatial.validate(),
            None => Ok(()),
        }
    }
}

/// A limit far above sizes that can be trained, so that a damaged file cannot make
/// the program allocate too much.
const MOST_LENGTH: usize = 65_536;

/// Refuses a size outside `least..=most`.
pub(crate) fn within(
    name: &str,
    found: usize,
    least: usize,
    most: usize,
) -> Result<(), ModelError> {
    match (least..=most).contains(&found) {
        true => Ok(()),
        false => Err(ModelError::invalid(
            &format!("model.conditioning.{name}"),
            format!("{least} to {most} expected, found {found}"),
        )),
    }
}
