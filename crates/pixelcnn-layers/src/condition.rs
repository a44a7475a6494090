//! The conditioning terms of eq. 4 and eq. 5.

use std::fmt;

use candle_core::{Result, Tensor, bail};
use candle_nn::{Init, VarBuilder};
use pixelcnn_conv::Convolution;

/// The kind and size of the condition that the blocks of a network take.
///
/// # Example
///
/// ```
/// use pixelcnn_layers::ConditionShape;
///
/// assert_eq!(ConditionShape::default(), ConditionShape::None);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ConditionShape {
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

/// The condition of the blocks in one forward pass.
///
/// # Example
///
/// ```
/// use candle_core::{Device, Tensor};
/// use pixelcnn_layers::Condition;
///
/// let condition = Condition::Vector(Tensor::new(&[[1f32, 2.0], [3.0, 4.0]], &Device::Cpu)?);
/// assert_eq!(condition.images(), Some(2));
/// let Condition::Vector(repeated) = condition.select(&[1, 1])? else { unreachable!() };
/// assert_eq!(repeated.to_vec2::<f32>()?, [[3.0, 4.0], [3.0, 4.0]]);
/// assert_eq!(condition.to_string(), "a vector [2, 2]");
/// # Ok::<(), candle_core::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub enum Condition {
    /// Nothing: p(x), eq. 1.
    #[default]
    None,
    /// h, `[b, d]`: eq. 4.
    Vector(Tensor),
    /// s, `[b, s, h, w]`: eq. 5.
    Map(Tensor),
}

impl Condition {
    /// h or s; `None` if there is no condition.
    pub fn tensor(&self) -> Option<&Tensor> {
        match self {
            Self::None => None,
            Self::Vector(tensor) | Self::Map(tensor) => Some(tensor),
        }
    }

    /// Number of images; `None` if there is no condition, which fits any number.
    pub fn images(&self) -> Option<usize> {
        self.tensor()?.dims().first().copied()
    }

    /// The conditions of the images `indices`, in this order. An index may be repeated;
    /// the condition is then reused without encoding it again.
    ///
    /// # Errors
    ///
    /// If an index is out of range.
    pub fn select(&self, indices: &[usize]) -> Result<Self> {
        let found = self.images().unwrap_or(usize::MAX);
        if let Some(index) = indices.iter().find(|index| **index >= found) {
            bail!("condition: image {index} requested, found {self}");
        }
        let rows = |tensor: &Tensor| {
            let indices: Vec<u32> = indices.iter().map(|index| *index as u32).collect();
            let count = indices.len();
            let indices = Tensor::from_vec(indices, count, tensor.device())?;
            tensor.contiguous()?.index_select(&indices, 0)
        };
        Ok(match self {
            Self::None => Self::None,
            Self::Vector(tensor) => Self::Vector(rows(tensor)?),
            Self::Map(tensor) => Self::Map(rows(tensor)?),
        })
    }
}

/// Kind and size, for error messages.
impl fmt::Display for Condition {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => formatter.write_str("none"),
            Self::Vector(tensor) => write!(formatter, "a vector {:?}", tensor.dims()),
            Self::Map(tensor) => write!(formatter, "a map {:?}", tensor.dims()),
        }
    }
}

/// Small initial scale of V, so that an untrained encoder does not swamp the image:
/// standard deviation of the terms, for conditions of standard deviation 1.
const DEVIATION: f64 = 0.1;

/// The term that a condition adds to the `2p` maps before a gate:
/// `V^T h` (eq. 4) or `V * s` (eq. 5), with separate columns for the tanh and
/// the sigmoid half.
///
/// # Example
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use candle_nn::VarBuilder;
/// use pixelcnn_layers::{Condition, ConditionShape, ConditionTerm};
///
/// let weights = VarBuilder::zeros(DType::F32, &Device::Cpu);
/// let term = ConditionTerm::new(ConditionShape::Vector { length: 10 }, 8, weights)?;
/// let h = Condition::Vector(Tensor::zeros((2, 10), DType::F32, &Device::Cpu)?);
/// let maps = Tensor::zeros((2, 8, 4, 4), DType::F32, &Device::Cpu)?;
/// let term_of_h = term.term(&maps, &h)?.expect("a vector adds something");
/// assert_eq!(term_of_h.dims(), [2, 8, 1, 1]);
/// assert!(term.term(&maps, &Condition::None).is_err());
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
    pub fn new(shape: ConditionShape, maps: usize, weights: VarBuilder) -> Result<Self> {
        Ok(match shape {
            ConditionShape::None => Self::None,
            ConditionShape::Vector { length: 0 } => {
                bail!("condition {}: a vector of length 0", weights.prefix())
            }
            ConditionShape::Vector { length } => {
                let bound = DEVIATION * (3.0 / length as f64).sqrt();
                let init = Init::Uniform {
                    lo: -bound,
                    up: bound,
                };
                Self::Vector(weights.get_with_hints((maps, length), "weight", init)?)
            }
            ConditionShape::Map { maps: inputs } => {
                Self::Map(Convolution::pointwise(inputs, maps, DEVIATION, weights)?)
            }
        })
    }

    /// The term that `condition` adds before a gate, if any; `maps` belong to the same
    /// images.
    ///
    /// # Shapes
    ///
    /// For `maps [b, ?, h, w]`: `[b, 2p, 1, 1]` with a vector, `[b, 2p, h, w]`
    /// with maps.
    ///
    /// # Errors
    ///
    /// If the condition is missing, has a wrong kind, length, batch or size, or is
    /// given to an unconditional model.
    pub fn term(&self, maps: &Tensor, condition: &Condition) -> Result<Option<Tensor>> {
        let (b, _, h, w) = maps.dims4()?;
        match (self, condition) {
            (Self::None, Condition::None) => Ok(None),
            (Self::Vector(weight), Condition::Vector(vector)) => {
                let length = weight.dim(1)?;
                if vector.dims() != [b, length] {
                    return mismatch(&format!("a vector [{b}, {length}]"), condition);
                }
                // A product on a device needs it: a code may be a part of a longer row.
                let term = vector.contiguous()?.matmul(&weight.t()?)?;
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

    /// The kind and size of its condition.
    ///
    /// # Errors
    ///
    /// If its weight has no inputs.
    pub fn shape(&self) -> Result<ConditionShape> {
        Ok(match self {
            Self::None => ConditionShape::None,
            Self::Vector(weight) => ConditionShape::Vector {
                length: weight.dim(1)?,
            },
            Self::Map(convolution) => ConditionShape::Map {
                maps: convolution.weight().dim(1)?,
            },
        })
    }

    /// Its weight, if it has one.
    pub(crate) fn weight(&self) -> Option<&Tensor> {
        match self {
            Self::None => None,
            Self::Vector(weight) => Some(weight),
            Self::Map(convolution) => Some(convolution.weight()),
        }
    }

    /// Number of maps that it is added to.
    pub fn outputs(&self) -> Result<usize> {
        match self {
            Self::None => Ok(0),
            Self::Vector(weight) => weight.dim(0),
            Self::Map(convolution) => convolution.weight().dim(0),
        }
    }

    /// Number of weights.
    pub fn parameters(&self) -> usize {
        match self {
            Self::None => 0,
            Self::Vector(weight) => weight.elem_count(),
            Self::Map(convolution) => convolution.parameters(),
        }
    }
}

fn mismatch(expected: &str, found: &Condition) -> Result<Option<Tensor>> {
    bail!("condition: the model expects {expected}, found {found}")
}
