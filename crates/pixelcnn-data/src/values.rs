//! Values of images, in the smallest type for their levels.

use std::ops::Range;

use candle_core::{DType, Device, Tensor};
use pixelcnn_image::shrunk;

use crate::DataError;

/// Integer values in memory: one byte each for up to 256 levels, two bytes for more.
///
/// # Example
///
/// ```
/// use pixelcnn_data::Values;
///
/// let values = Values::from(vec![7u16, 65_535]);
/// assert_eq!((values.len(), values.max()), (2, Some(65_535)));
/// assert_eq!(values.as_bytes(), None);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Values {
    /// Up to 256 levels.
    U8(Vec<u8>),
    /// Up to 65,536 levels.
    U16(Vec<u16>),
}

/// The same operation on either kind of values.
macro_rules! each {
    ($values:expr, $vector:ident => $result:expr) => {
        match $values {
            Values::U8($vector) => $result,
            Values::U16($vector) => $result,
        }
    };
}

impl From<Vec<u8>> for Values {
    fn from(values: Vec<u8>) -> Self {
        Self::U8(values)
    }
}

impl From<Vec<u16>> for Values {
    fn from(values: Vec<u16>) -> Self {
        Self::U16(values)
    }
}

impl Values {
    /// Number of values.
    pub fn len(&self) -> usize {
        each!(self, values => values.len())
    }

    /// Whether there are no values.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The largest number of levels of this type: 256 or 65,536.
    pub fn most_levels(&self) -> usize {
        match self {
            Self::U8(_) => 1 << 8,
            Self::U16(_) => 1 << 16,
        }
    }

    /// The largest value.
    pub fn max(&self) -> Option<u32> {
        each!(self, values => values.iter().max().map(|value| u32::from(*value)))
    }

    /// One value; `None` if the index is out of range.
    pub fn get(&self, index: usize) -> Option<u32> {
        each!(self, values => values.get(index).map(|value| u32::from(*value)))
    }

    /// The values, if each is a byte.
    pub fn as_bytes(&self) -> Option<&[u8]> {
        match self {
            Self::U8(values) => Some(values),
            Self::U16(_) => None,
        }
    }

    /// Their type in a tensor: candle has no operations on unsigned 16-bit integers.
    pub fn dtype(&self) -> DType {
        match self {
            Self::U8(_) => DType::U8,
            Self::U16(_) => DType::U32,
        }
    }

    /// Passes the bytes of all values to `each`, little-endian.
    pub(crate) fn bytes(&self, mut each: impl FnMut(&[u8])) {
        match self {
            Self::U8(values) => each(values),
            Self::U16(values) => {
                let mut bytes = Vec::new();
                for values in values.chunks(1 << 12) {
                    bytes.clear();
                    bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
                    each(&bytes);
                }
            }
        }
    }

    /// A tensor of the values, `[n, c, h, w]`, as u8 or u32.
    pub(crate) fn into_tensor(
        self,
        shape: (usize, usize, usize, usize),
        device: &Device,
    ) -> Result<Tensor, DataError> {
        Ok(match self {
            Self::U8(values) => Tensor::from_vec(values, shape, device)?,
            Self::U16(values) => {
                let values: Vec<u32> = values.into_iter().map(u32::from).collect();
                Tensor::from_vec(values, shape, device)?
            }
        })
    }

    /// Reverses each row of `width` values of a range.
    pub(crate) fn mirror(&mut self, range: Range<usize>, width: usize) {
        each!(self, values => {
            values[range].chunks_exact_mut(width).for_each(|row| row.reverse());
        });
    }

    /// Maps each value to another one below `levels`.
    pub(crate) fn map(self, levels: usize, act: impl Fn(u32) -> u32) -> Self {
        each!(self, values => {
            let all = values.into_iter().map(|value| act(u32::from(value)));
            match levels <= 1 << 8 {
                true => Self::U8(all.map(|value| value as u8).collect()),
                false => Self::U16(all.map(|value| value as u16).collect()),
            }
        })
    }

    /// Shrinks each plane of `area` values, `width` wide, by `factor`.
    pub(crate) fn shrunk(self, area: usize, width: usize, factor: usize) -> Self {
        match self {
            Self::U8(values) => {
                let planes = values
                    .chunks(area)
                    .flat_map(|plane| shrunk(plane, width, factor));
                Self::U8(planes.map(|value| value as u8).collect())
            }
            Self::U16(values) => {
                let planes = values
                    .chunks(area)
                    .flat_map(|plane| shrunk(plane, width, factor));
                Self::U16(planes.map(|value| value as u16).collect())
            }
        }
    }
}
