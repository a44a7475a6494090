//! The distribution of each value, given the values before it.

use candle_core::{Result, Tensor, bail};
use pixelcnn_conv::ColourGroups;
use pixelcnn_kernels::{LogisticMixture, cross_entropy};
use serde::{Deserialize, Serialize};

use crate::{ImageShape, ModelError};

/// The distribution whose parameters a network predicts.
///
/// # Example
///
/// ```
/// use pixelcnn_models::{Distribution, ImageShape};
///
/// let image = ImageShape { channels: 3, height: 32, width: 32, levels: 256 };
/// assert_eq!(Distribution::default().outputs(&image)?.maps(), 3 * 256);
/// let mixture: Distribution =
///     serde_json::from_str(r#"{"kind": "logistic-mixture", "components": 10, "coupled": true}"#)?;
/// assert_eq!(mixture.outputs(&image)?.maps(), 100);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Distribution {
    /// A logit for each level: a softmax, as in the paper.
    Softmax {},
    /// A discretised mixture of logistics, "PixelCNN++", Salimans et al., 2017,
    /// section 2.1: [`LogisticMixture`].
    LogisticMixture {
        /// Number of logistics.
        components: usize,
        /// Whether the network predicts the parameters of all channels of a pixel at
        /// once, and the means of later channels depend linearly on earlier channels
        /// (section 2.2). Otherwise masks order the channels, as with the
        /// softmax.
        #[serde(default)]
        coupled: bool,
    },
}

impl Default for Distribution {
    fn default() -> Self {
        Self::Softmax {}
    }
}

impl Distribution {
    /// Whether it is the softmax, which `config.json` omits.
    pub fn is_softmax(&self) -> bool {
        *self == Self::Softmax {}
    }

    /// The channels of an image in groups; the network predicts the parameters group by
    /// group.
    ///
    /// # Errors
    ///
    /// If there are no channels.
    pub fn groups(&self, image: &ImageShape) -> Result<ColourGroups> {
        ColourGroups::new(self.group_count(image), image.channels)
    }

    fn group_count(&self, image: &ImageShape) -> usize {
        match self {
            Self::LogisticMixture { coupled: true, .. } => 1,
            _ => image.channels,
        }
    }

    /// The outputs of the network, the parameters of a pixel, in these groups.
    ///
    /// # Errors
    ///
    /// If there are no channels.
    pub fn outputs(&self, image: &ImageShape) -> Result<ColourGroups> {
        let maps = match self.mixture(image) {
            None => image.channels * image.levels,
            Some(mixture) => mixture.parameters(),
        };
        ColourGroups::new(self.group_count(image), maps)
    }

    /// The name of the layer that gives the parameters.
    pub fn layer(&self) -> &'static str {
        match self {
            Self::Softmax {} => "logits",
            Self::LogisticMixture { .. } => "mixture",
        }
    }

    /// The mixture for an image, or `None` for the softmax.
    pub fn mixture(&self, image: &ImageShape) -> Option<LogisticMixture> {
        match *self {
            Self::Softmax {} => None,
            Self::LogisticMixture {
                components,
                coupled,
            } => Some(LogisticMixture {
                components,
                levels: image.levels,
                channels: image.channels,
                coupled,
            }),
        }
    }

    /// Refuses invalid settings.
    ///
    /// # Errors
    ///
    /// The error has the setting and the reason.
    pub fn validate(&self, image: &ImageShape) -> std::result::Result<(), ModelError> {
        match self.mixture(image).map(|mixture| mixture.check()) {
            None | Some(Ok(())) => Ok(()),
            Some(Err(error)) => Err(ModelError::invalid("model.distribution", error.to_string())),
        }
    }

    /// Nats `-log p` of every value.
    ///
    /// # Shapes
    ///
    /// Outputs `[b, outputs, h, w]` and values `[b, c, h, w]` to `[b, c, h, w]`.
    ///
    /// # Errors
    ///
    /// If the shapes do not fit.
    pub fn nats(&self, image: &ImageShape, outputs: &Tensor, values: &Tensor) -> Result<Tensor> {
        match self.mixture(image) {
            Some(mixture) => mixture.nats(outputs, values),
            None => {
                let (b, maps, h, w) = outputs.dims4()?;
                if maps != image.channels * image.levels {
                    let expected = image.channels * image.levels;
                    bail!("distribution: {expected} outputs expected, found {maps}");
                }
                let logits = outputs.reshape((b, image.channels, image.levels, h, w))?;
                cross_entropy(&logits, values)
            }
        }
    }
}
