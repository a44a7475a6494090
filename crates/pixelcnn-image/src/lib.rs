//! Images as models see them: integer values `[b, c, h, w]` with a number of levels, and
//! their reduction to grey, to a smaller size or to fewer bits.
//!
//! ```
//! use candle_core::{DType, Device, Tensor};
//! use pixelcnn_image::{ImageShape, fewer_bits, scale};
//!
//! let shape = ImageShape { channels: 1, height: 1, width: 3, levels: 256 };
//! let values = Tensor::new(&[0u8, 129, 255], &Device::Cpu)?.reshape((1, 1, 1, 3))?;
//! shape.check(&values)?;
//! let few = [0, 129, 255].map(|value| fewer_bits(value, 256, 2));
//! assert_eq!(few, [0, 2, 3]); // of four levels
//! assert_eq!(scale(&values, 256, DType::F32)?.max_all()?.to_scalar::<f32>()?, 1.0);
//! # Ok::<(), pixelcnn_image::ImageError>(())
//! ```

mod bits;
mod error;
mod reduction;
mod scale;
mod shape;

pub use bits::{check_bits, fewer_bits};
pub use error::ImageError;
pub use reduction::{Reduction, luma, shrunk};
pub use scale::scale;
pub use shape::ImageShape;
