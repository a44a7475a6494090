//! The shape of a model's images.

use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use crate::ImageError;

/// Channels, size and levels of a model's images.
///
/// A network accepts any height and width; these are the ones of its training
/// images and the default for sampling.
///
/// # Example
///
/// ```
/// use pixelcnn_image::ImageShape;
///
/// let cifar10 = ImageShape { channels: 3, height: 32, width: 32, levels: 256 };
/// assert_eq!(cifar10.dimensions(), 3072);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageShape {
    /// Number of channels: 1 for grey, 3 for RGB, or any other.
    pub channels: usize,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// Number of values of a channel, 2 to 65,536.
    pub levels: usize,
}

impl ImageShape {
    /// Number of values of an image; saturates for invalid shapes.
    pub fn dimensions(&self) -> usize {
        let area = self.height.saturating_mul(self.width);
        self.channels.saturating_mul(area)
    }

    /// Refuses invalid sizes and levels.
    ///
    /// # Errors
    ///
    /// The error has the size and what is expected.
    pub fn validate(&self) -> Result<(), ImageError> {
        let sizes = [self.channels, self.height, self.width];
        if !sizes.iter().all(|size| (1..=65_536).contains(size)) {
            let why = format!("sizes of 1 to 65536 expected, found {sizes:?}");
            return Err(ImageError::invalid("model.image", why));
        }
        if !(2..=65_536).contains(&self.levels) {
            let why = format!("2 to 65536 levels expected, found {}", self.levels);
            return Err(ImageError::invalid("model.image.levels", why));
        }
        Ok(())
    }

    /// Checks that `values` are integers `[b, c, h, w]` with these channels and
    /// levels; height and width may be any.
    ///
    /// # Errors
    ///
    /// If the values do not fit.
    pub fn check(&self, values: &Tensor) -> Result<(), ImageError> {
        self.check_shape(values)?;
        let most = values.max_all()?.to_dtype(candle_core::DType::U32)?;
        let most = most.to_scalar::<u32>()? as usize;
        if most >= self.levels {
            let why = format!(
                "the model has {} levels, found the value {most}",
                self.levels
            );
            return Err(ImageError::invalid("values", why));
        }
        Ok(())
    }

    /// The same without reading the values, because on a device this would wait for all
    /// earlier work.
    ///
    /// # Errors
    ///
    /// If channels or type are wrong, or there are no values.
    pub fn check_shape(&self, values: &Tensor) -> Result<(), ImageError> {
        let shape = |expected: String| ImageError::Shape {
            expected,
            found: format!("{:?} {:?}", values.dtype(), values.dims()),
        };
        match values.dims() {
            [b, c, h, w] if *c == self.channels && ![b, h, w].contains(&&0) => {}
            _ => return Err(shape(format!("non-empty [b, {}, h, w]", self.channels))),
        }
        if !matches!(
            values.dtype(),
            candle_core::DType::U8 | candle_core::DType::U32
        ) {
            return Err(shape("u8 or u32".to_string()));
        }
        Ok(())
    }
}
