//! The conditioning terms of eq. 4 and eq. 5.

use candle_core::{Result, Tensor, bail};
use candle_nn::{Init, VarBuilder};
use pixelcnn_conv::Convolution;
use serde::{Deserialize, Serialize};

/// What a model is conditioned on, as its configuration says.
///
/// # Example
///
/// ```
/// use pixelcnn_layers::Conditioning;
///
/// assert_eq!(Conditioning::default(), Conditioning::None);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", from = "Fields")]
pub enum Conditioning {
    /// Nothing: p(x), eq. 1.
    #[default]
    None,
    /// A vector h of `length` values, the same at every position: eq. 4.
    Vector {
        /// Number of values of h.
        length: usize,
    },
    /// Maps s of the image's height and width: eq. 5.
    Map {
        /// Number of feature maps of s.
        maps: usize,
    },
}

/// [`Conditioning`] as it is read: serde lets unknown fields beside the tag of
/// a unit variant pass, and refuses them beside that of an empty one.
#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
enum Fields {
    None {},
    Vector { length: usize },
    Map { maps: usize },
}

impl From<Fields> for Conditioning {
    fn from(fields: Fields) -> Self {
        match fields {
            Fields::None {} => Self::None,
            Fields::Vector { length } => Self::Vector { length },
            Fields::Map { maps } => Self::Map { maps },
        }
    }
}

/// What one call of a model is conditioned on.
///
/// # Example
///
/// ```
/// use candle_core::{Device, Tensor};
/// use pixelcnn_layers::Condition;
///
/// let one_hot = Tensor::new(&[[0f32, 1., 0.]], &Device::Cpu)?;
/// let condition = Condition::Vector(one_hot);
/// assert!(matches!(condition, Condition::Vector(_)));
/// # Ok::<(), candle_core::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub enum Condition {
    /// Nothing.
    #[default]
    None,
    /// `[b, d]`.
    Vector(Tensor),
    /// `[b, s, h, w]`.
    Map(Tensor),
}

/// The term that a condition adds to the `2p` maps before a gate:
/// `V^T h` (eq. 4) or `V * s` (eq. 5), with separate columns for the tanh and
/// the sigmoid half.
///
/// # Example
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use candle_nn::VarBuilder;
/// use pixelcnn_layers::{Condition, ConditionTerm, Conditioning};
///
/// let weights = VarBuilder::zeros(DType::F32, &Device::Cpu);
/// let term = ConditionTerm::new(Conditioning::Vector { length: 10 }, 8, weights)?;
/// let h = Condition::Vector(Tensor::zeros((2, 10), DType::F32, &Device::Cpu)?);
/// let maps = Tensor::zeros((2, 8, 4, 4), DType::F32, &Device::Cpu)?;
/// let term_of_h = term.of(&maps, &h)?.expect("a vector adds something");
/// assert_eq!(term_of_h.dims(), [2, 8, 1, 1]);
/// assert!(term.of(&maps, &Condition::None).is_err());
/// # Ok::<(), candle_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub enum ConditionTerm {
    /// No term.
    None,
    /// `V`, `[2p, d]`, stored as `weight`.
    Vector(Tensor),
    /// `V` as an unmasked 1x1 convolution.
    Map(Convolution),
}

impl ConditionTerm {
    /// The term for `maps` maps (`2p`).
    ///
    /// # Errors
    ///
    /// If a size is zero or the weights do not fit.
    pub fn new(conditioning: Conditioning, maps: usize, weights: VarBuilder) -> Result<Self> {
        Ok(match conditioning {
            Conditioning::None => Self::None,
            Conditioning::Vector { length: 0 } => {
                bail!("condition {}: a vector of length 0", weights.prefix())
            }
            Conditioning::Vector { length } => {
                let bound = (3.0 / length as f64).sqrt();
                let init = Init::Uniform {
                    lo: -bound,
                    up: bound,
                };
                Self::Vector(weights.get_with_hints((maps, length), "weight", init)?)
            }
            Conditioning::Map { maps: inputs } => {
                Self::Map(Convolution::pointwise(inputs, maps, weights)?)
            }
        })
    }

    /// The term that `condition` adds before a gate, if it adds any; `maps`
    /// are of the same images.
    ///
    /// # Shapes
    ///
    /// For `maps [b, ?, h, w]`: `[b, 2p, 1, 1]` of a vector, `[b, 2p, h, w]`
    /// of a map.
    ///
    /// # Errors
    ///
    /// If the condition is missing, of another kind, length, batch or size
    /// than the model expects, or given to a model that takes none.
    pub fn of(&self, maps: &Tensor, condition: &Condition) -> Result<Option<Tensor>> {
        let (b, _, h, w) = maps.dims4()?;
        match (self, condition) {
            (Self::None, Condition::None) => Ok(None),
            (Self::Vector(weight), Condition::Vector(vector)) => {
                let length = weight.dim(1)?;
                if vector.dims() != [b, length] {
                    return mismatch(&format!("a vector [{b}, {length}]"), condition);
                }
                let term = vector.matmul(&weight.t()?)?;
                Ok(Some(term.reshape((b, (), 1, 1))?))
            }
            (Self::Map(convolution), Condition::Map(map)) => {
                let inputs = convolution.weight().dim(1)?;
                if map.dims() != [b, inputs, h, w] {
                    return mismatch(&format!("a map [{b}, {inputs}, {h}, {w}]"), condition);
                }
                Ok(Some(convolution.forward(map)?))
            }
            (Self::None, _) => mismatch("no condition", condition),
            (Self::Vector(weight), _) => {
                mismatch(&format!("a vector [{b}, {}]", weight.dim(1)?), condition)
            }
            (Self::Map(convolution), _) => {
                let inputs = convolution.weight().dim(1)?;
                mismatch(&format!("a map [{b}, {inputs}, {h}, {w}]"), condition)
            }
        }
    }

    /// Number of weights.
    pub fn parameters(&self) -> Result<usize> {
        match self {
            Self::None => Ok(0),
            Self::Vector(weight) => Ok(weight.elem_count()),
            Self::Map(convolution) => convolution.parameters(),
        }
    }
}

fn mismatch(expected: &str, found: &Condition) -> Result<Option<Tensor>> {
    let found = match found {
        Condition::None => "none".to_string(),
        Condition::Vector(vector) => format!("a vector {:?}", vector.dims()),
        Condition::Map(map) => format!("a map {:?}", map.dims()),
    };
    bail!("condition: the model expects {expected}, found {found}")
}
