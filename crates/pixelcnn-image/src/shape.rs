//! The images a model is for.

use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use crate::ImageError;

/// Channels, size and levels of the images a model was made for.
///
/// A network works on any height and width; these are the ones it is trained
/// on and samples by default.
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
    /// Number of values a channel can take, 2 to 65,536.
    pub levels: usize,
}

impl ImageShape {
    /// Number of values of an image; of one that is refused, at most the largest
    /// number there is.
    pub fn dimensions(&self) -> usize {
        let area = self.height.saturating_mul(self.width);
        self.channels.saturating_mul(area)
    }

    /// Refuses sizes and levels that no image has.
    ///
    /// # Errors
    ///
    /// The size and what is expected.
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

    /// Checks that `values` are integers `[b, c, h, w]` of these channels and
    /// levels; height and width are free.
    ///
    /// # Errors
    ///
    /// If they are not.
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

    /// The same without a look at the values: on a device, that would wait for all work
    /// before it.
    ///
    /// # Errors
    ///
    /// If channels or type are others, or there are no values.
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
