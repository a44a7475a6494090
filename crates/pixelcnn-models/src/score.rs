//! The meaning of a model's score.

use std::fmt;

use crate::{Bottleneck, Conditioning, Given, Reduction};

/// The meaning of a model's score on images; lower is better.
///
/// Only some scores in bits/dim are likelihoods that can be compared with those
/// of other models. A model that knows something about the image needs fewer
/// bits.
///
/// # Example
///
/// ```
/// use pixelcnn_models::{ModelConfig, Score};
///
/// let text = r#"{"kind": "uniform",
///     "image": {"channels": 1, "height": 28, "width": 28, "levels": 2}}"#;
/// let config: ModelConfig = serde_json::from_str(text)?;
/// assert_eq!(config.score(), Score::Likelihood);
/// assert_eq!(config.score().unit(), "bits/dim");
/// assert_eq!(Score::Bound.to_string(), "bits/dim, a bound");
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Score {
    /// `-log2 p(x|h)` per dimension, without a condition or with h from the labels,
    /// captions or files of the data set.
    Likelihood,
    /// An upper bound of the same, for a Gaussian and for a model with a Gaussian
    /// bottleneck, where the bits of the codes are counted.
    Bound,
    /// `-log2 p(x|h)` with h computed from the image by the encoder of the
    /// model. h may contain any information about the image, and its bits are not counted.
    GivenCode,
    /// The same with h or s given directly, for a model that computes it from the image.
    GivenNumbers,
    /// The same with the embedding of the image as h.
    GivenEmbedding,
    /// The same with the grey version of the image as h.
    GivenGrey,
    /// The same with the shrunk image as h.
    GivenShrunk,
    /// Mean squared error, for values from 0 to 1.
    SquaredError,
    /// Area above the ROC curve of verification.
    AreaAboveCurve,
    /// Share of images with a wrong class.
    ErrorRate,
}

impl Score {
    /// The unit of the score, with the condition if it is computed from the image.
    pub fn unit(self) -> &'static str {
        match self {
            Self::Likelihood => "bits/dim",
            Self::Bound => "bits/dim, a bound",
            Self::GivenCode => "bits/dim given the image's code",
            Self::GivenNumbers => "bits/dim given a vector or maps",
            Self::GivenEmbedding => "bits/dim given the image's embedding",
            Self::GivenGrey => "bits/dim given the grey image",
            Self::GivenShrunk => "bits/dim given the shrunk image",
            Self::SquaredError => "mean squared error",
            Self::AreaAboveCurve => "area above the ROC curve",
            Self::ErrorRate => "error rate",
        }
    }

    /// A sentence that says why the score is not a likelihood; `None` if it is a
    /// likelihood.
    pub fn note(self) -> Option<&'static str> {
        Some(match self {
            Self::Likelihood => return None,
            Self::Bound => "A bound: the likelihood of the images is at least as good.",
            Self::GivenCode => {
                "Not a likelihood of the images: the condition is a code of the image itself. \
                 Do not compare it with models whose condition does not use the image."
            }
            Self::GivenNumbers => {
                "Perhaps not a likelihood of the images: the vector or maps may contain information \
                 about the image. Do not compare it with unconditional models."
            }
            Self::GivenEmbedding => {
                "Not a likelihood of the images: the condition is an embedding of the image \
                 itself. Do not compare it with models whose condition does not use the image."
            }
            Self::GivenGrey => {
                "The likelihood of the colours given the grey image: do not compare it with models \
                 of whole images."
            }
            Self::GivenShrunk => {
                "The likelihood of the image given the shrunk image: do not compare it with models \
                 of whole images."
            }
            Self::SquaredError => "Not a likelihood: the mean squared error of values from 0 to 1.",
            Self::AreaAboveCurve => {
                "Not a likelihood: how well distances separate images of one label from others."
            }
            Self::ErrorRate => "Not a likelihood: the share of images with a wrong class.",
        })
    }

    /// The score if the model is given this.
    pub fn with(self, given: &Given) -> Self {
        match (self, given) {
            // h itself contains no more than the labels or captions of the data set.
            (Self::Likelihood, _) => self,
            (_, Given::Vector(_) | Given::Map(_)) if self.is_bits_per_dim() => Self::GivenNumbers,
            _ => self,
        }
    }

    /// Whether the score is in bits/dim.
    pub fn is_bits_per_dim(self) -> bool {
        !matches!(
            self,
            Self::SquaredError | Self::AreaAboveCurve | Self::ErrorRate
        )
    }
}

/// The unit.
impl fmt::Display for Score {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.unit())
    }
}

impl Score {
    /// The score of a network with this conditioning.
    pub fn for_network(conditioning: Option<&Conditioning>) -> Self {
        match conditioning {
            Some(Conditioning::Code(config)) => match config.bottleneck {
                Bottleneck::Plain {} => Self::GivenCode,
                Bottleneck::Gaussian { .. } => Score::Bound,
            },
            Some(Conditioning::Embedding(_)) => Score::GivenEmbedding,
            Some(Conditioning::Image { reduction, .. }) => match reduction {
                Reduction::Grey {} => Score::GivenGrey,
                Reduction::Shrunk { .. } => Score::GivenShrunk,
            },
            Some(
                Conditioning::Class { .. }
                | Conditioning::Vector { .. }
                | Conditioning::Map { .. }
                | Conditioning::Caption(_),
            )
            | None => Score::Likelihood,
        }
    }
}
