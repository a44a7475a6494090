//! Reduced images as conditions.

use candle_core::{DType, Result, Tensor};
use serde::{Deserialize, Serialize};

use crate::{ImageError, ImageShape};

/// A reduced version of an image.
///
/// # Example
///
/// ```
/// use candle_core::{Device, Tensor};
/// use pixelcnn_image::Reduction;
///
/// let image = Tensor::new(&[[[[10u8, 20], [30, 41]]]], &Device::Cpu)?;
/// let small = Reduction::Shrunk { factor: 2 }.apply(&image)?;
/// assert_eq!(small.flatten_all()?.to_vec1::<u8>()?, [25]); // 25.25, rounded
/// # Ok::<(), candle_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Reduction {
    /// The luma of red, green and blue: (299 R + 587 G + 114 B) / 1000,
    /// rounded.
    Grey {},
    /// The mean of each square of side `factor`, rounded; at the right and
    /// the lower edge, of the part inside the image.
    Shrunk {
        /// A power of two.
        factor: usize,
    },
}

impl Reduction {
    /// Refuses grey for images without three channels, and factors that are not a power of two
    /// from 2 to 65,536.
    ///
    /// # Errors
    ///
    /// The error has the setting and what is expected.
    pub fn validate(&self, image: &ImageShape) -> std::result::Result<(), ImageError> {
        match *self {
            Self::Grey {} if image.channels != 3 => {
                let why = format!("grey needs three channels, found {}", image.channels);
                Err(ImageError::invalid("reduction", why))
            }
            Self::Shrunk { factor } if !(2..=1 << 16).contains(&factor) => {
                let why = format!("2 to 65536 expected, found {factor}");
                Err(ImageError::invalid("reduction.factor", why))
            }
            Self::Shrunk { factor } if !factor.is_power_of_two() => {
                let why = format!("a power of two expected, found {factor}");
                Err(ImageError::invalid("reduction.factor", why))
            }
            Self::Grey {} | Self::Shrunk { .. } => Ok(()),
        }
    }

    /// Channels, height and width of the reduced version of an image of `size` with
    /// `channels` channels.
    pub fn shape(&self, channels: usize, size: (usize, usize)) -> [usize; 3] {
        match self {
            Self::Grey {} => [1, size.0, size.1],
            Self::Shrunk { factor } => {
                let shrunk = |side: usize| side.div_ceil((*factor).max(1));
                [channels, shrunk(size.0), shrunk(size.1)]
            }
        }
    }

    /// Reduces images.
    ///
    /// # Shapes
    ///
    /// Values `[b, c, h, w]`, `u8` or `u32`, to values of the same type.
    ///
    /// # Errors
    ///
    /// If the images are not integer values or are empty, the factor is 0, or an image for
    /// grey does not have three channels.
    pub fn apply(&self, values: &Tensor) -> Result<Tensor> {
        let (b, c, h, w) = values.dims4()?;
        if values.elem_count() == 0 || matches!(self, Self::Shrunk { factor: 0 }) {
            candle_core::bail!("images {:?} are too small to be reduced", values.dims());
        }
        if matches!(self, Self::Grey {}) && c != 3 {
            candle_core::bail!("grey needs three channels, found {c}")
        }
        let [channels, height, width] = self.shape(c, (h, w));
        let (shape, device) = ((b, channels, height, width), values.device());
        if values.dtype() == DType::U8 {
            let reduced = self.of_numbers(&values.flatten_all()?.to_vec1::<u8>()?, (h, w));
            let reduced: Vec<u8> = reduced.into_iter().map(|value| value as u8).collect();
            return Tensor::from_vec(reduced, shape, device);
        }
        let numbers = values.to_dtype(DType::U32)?.flatten_all()?;
        let reduced = self.of_numbers(&numbers.to_vec1::<u32>()?, (h, w));
        Tensor::from_vec(reduced, shape, device)?.to_dtype(values.dtype())
    }

    fn of_numbers<T: Copy + Into<u32> + Into<u64>>(
        &self,
        numbers: &[T],
        (height, width): (usize, usize),
    ) -> Vec<u32> {
        match self {
            Self::Grey {} => grey(numbers, height * width),
            Self::Shrunk { factor } => numbers
                .chunks(height * width)
                .flat_map(|plane| shrunk(plane, width, *factor))
                .collect(),
        }
    }
}

/// The luma of red, green and blue: (299 R + 587 G + 114 B) / 1000, rounded half up.
/// For three equal values it is this value.
///
/// # Example
///
/// ```
/// use pixelcnn_image::luma;
///
/// assert_eq!(luma([255, 0, 0]), 76);
/// assert_eq!(luma([40_000; 3]), 40_000);
/// ```
pub fn luma(rgb: [u32; 3]) -> u32 {
    let [red, green, blue] = rgb.map(u64::from);
    ((299 * red + 587 * green + 114 * blue + 500) / 1000) as u32
}

fn grey<T: Copy + Into<u32>>(numbers: &[T], pixels: usize) -> Vec<u32> {
    let images = numbers.chunks(3 * pixels);
    images
        .flat_map(|image| {
            (0..pixels).map(move |pixel| luma([0, 1, 2].map(|c| image[c * pixels + pixel].into())))
        })
        .collect()
}

/// The means of the squares of side `factor` of a plane that is `width` wide,
/// rounded half up; at the right and the lower edge, of the part inside the plane.
///
/// # Example
///
/// ```
/// use pixelcnn_image::shrunk;
///
/// assert_eq!(shrunk(&[1u8, 2, 9, 4, 6, 11], 3, 2), [3, 10]);
/// ```
pub fn shrunk<T: Copy + Into<u64>>(plane: &[T], width: usize, factor: usize) -> Vec<u32> {
    let (width, factor) = (width.max(1), factor.max(1));
    let height = plane.len() / width;
    let mut small = Vec::with_capacity(height.div_ceil(factor) * width.div_ceil(factor));
    for top in (0..height).step_by(factor) {
        for left in (0..width).step_by(factor) {
            let (bottom, right) = (height.min(top + factor), width.min(left + factor));
            let rows = (top..bottom).map(|row| &plane[row * width..][left..right]);
            let sum: u64 = rows.flatten().map(|value| (*value).into()).sum();
            let count = ((bottom - top) * (right - left)) as u64;
            small.push(((sum + count / 2) / count) as u32);
        }
    }
    small
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    #[test]
    fn grey_weighs_the_colours_of_each_pixel() {
        let image = Tensor::new(&[[[[255u8, 0]], [[255, 100]], [[255, 0]]]], &Device::Cpu).unwrap();
        let grey = Reduction::Grey {}.apply(&image).unwrap();
        assert_eq!(grey.dims(), [1, 1, 1, 2]);
        assert_eq!(
            grey.flatten_all().unwrap().to_vec1::<u8>().unwrap(),
            [255, 59]
        );
    }

    #[test]
    fn an_edge_is_the_mean_of_its_part_inside() {
        let image = Tensor::new(
            &[[[[0u32, 2, 9], [4, 6, 11], [1, 3, 70_000]]]],
            &Device::Cpu,
        );
        let small = Reduction::Shrunk { factor: 2 }
            .apply(&image.unwrap())
            .unwrap();
        let values = small.flatten_all().unwrap().to_vec1::<u32>().unwrap();
        assert_eq!(values, [3, 10, 2, 70_000]);
    }
}
