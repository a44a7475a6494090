//! The condition as a user gives it.

use std::fmt;

use candle_core::{Result, Tensor, bail};
use pixelcnn_system::counted;

/// The condition as a user gives it: one per image, or nothing.
///
/// A [`ConditionEncoder`](crate::ConditionEncoder) converts it to the
/// [`Condition`](crate::Condition) of the blocks.
///
/// # Example
///
/// ```
/// use pixelcnn_models::Given;
///
/// let given = Given::Labels(vec![3, 1, 4]);
/// assert_eq!(given.images(), Some(3));
/// let Given::Labels(last) = given.one(2)? else { unreachable!() };
/// assert_eq!(last, [4]);
/// assert_eq!(given.to_string(), "3 labels");
/// # Ok::<(), candle_core::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub enum Given {
    /// Nothing.
    #[default]
    Nothing,
    /// The class of each image, from 0.
    Labels(Vec<u32>),
    /// A text for each image.
    Text(Vec<String>),
    /// The texts as tokens, `u32`, `[b, t]`; shorter texts are padded with 0.
    Tokens(Tensor),
    /// An image for each image, `u8` or `u32`, `[b, c, h, w]`: grey, small, or to be
    /// read by an encoder.
    Image(Tensor),
    /// h itself, `[b, d]`.
    Vector(Tensor),
    /// s itself, `[b, s, h, w]`.
    Map(Tensor),
}

impl Given {
    /// Number of images; `None` if nothing is given, which fits any number.
    pub fn images(&self) -> Option<usize> {
        match self {
            Self::Nothing => None,
            Self::Labels(labels) => Some(labels.len()),
            Self::Text(texts) => Some(texts.len()),
            Self::Tokens(tensor)
            | Self::Image(tensor)
            | Self::Vector(tensor)
            | Self::Map(tensor) => tensor.dims().first().copied(),
        }
    }

    /// The condition of one image.
    ///
    /// # Errors
    ///
    /// If the index is out of range.
    pub fn one(&self, image: usize) -> Result<Self> {
        if self.images().is_some_and(|images| image >= images) {
            bail!("condition: image {image} requested, found {self}");
        }
        let row = |tensor: &Tensor| tensor.narrow(0, image, 1);
        Ok(match self {
            Self::Nothing => Self::Nothing,
            Self::Labels(labels) => Self::Labels(vec![labels[image]]),
            Self::Text(texts) => Self::Text(vec![texts[image].clone()]),
            Self::Tokens(tensor) => Self::Tokens(row(tensor)?),
            Self::Image(tensor) => Self::Image(row(tensor)?),
            Self::Vector(tensor) => Self::Vector(row(tensor)?),
            Self::Map(tensor) => Self::Map(row(tensor)?),
        })
    }
}

/// Kind and size, for error messages.
impl fmt::Display for Given {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => formatter.write_str("none"),
            Self::Labels(labels) => formatter.write_str(&counted(labels.len(), "label")),
            Self::Text(texts) => formatter.write_str(&counted(texts.len(), "text")),
            Self::Tokens(tensor) => write!(formatter, "tokens {:?}", tensor.dims()),
            Self::Image(tensor) => write!(formatter, "an image {:?}", tensor.dims()),
            Self::Vector(tensor) => write!(formatter, "a vector {:?}", tensor.dims()),
            Self::Map(tensor) => write!(formatter, "a map {:?}", tensor.dims()),
        }
    }
}
