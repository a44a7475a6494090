//! Changes of values after they are read.

use pixelcnn_image::fewer_bits;

use crate::Values;

/// A change of every image, applied when its values are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// Means of squares of side `factor`, in planes of `area` values and this width.
    Shrunk {
        area: usize,
        width: usize,
        factor: usize,
    },
    /// The upper bits of values of `levels` levels.
    Bits { levels: usize, bits: u32 },
}

impl Change {
    /// Changes the values of whole images.
    pub(crate) fn apply(self, values: Values) -> Values {
        match self {
            Self::Shrunk {
                area,
                width,
                factor,
            } => values.shrunk(area, width, factor),
            Self::Bits { levels, bits } => {
                values.map(1 << bits, |value| fewer_bits(value, levels, bits))
            }
        }
    }
}
