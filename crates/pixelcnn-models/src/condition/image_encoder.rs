//! The encoder of images: from an image to a vector.

use candle_core::{Error, Result, Tensor, bail};
use candle_nn::VarBuilder;
use pixelcnn_conv::Convolution;
use serde::{Deserialize, Serialize};

use super::within;
use crate::{ImageShape, ModelError, scale};

/// Sizes of a convolutional network from an image to a vector.
///
/// # Example
///
/// ```
/// use pixelcnn_models::ImageEncoderConfig;
///
/// let config = ImageEncoderConfig { length: 10, encoder_maps: vec![32, 64, 64] };
/// assert_eq!(config.encoder_maps.len(), 3); // 32 x 32 to 4 x 4, then 10 values
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageEncoderConfig {
    /// Length of the vector.
    pub length: usize,
    /// Feature maps after each halving of height and width.
    #[serde(alias = "encoder")]
    pub encoder_maps: Vec<usize>,
}

/// Limit on the number of halvings: no image has a side of 2^16 pixels.
const MOST_HALVINGS: usize = 16;
const MOST_MAPS: usize = 65_536;

impl ImageEncoderConfig {
    pub(crate) fn validate(&self) -> std::result::Result<(), ModelError> {
        within("length", self.length, 1, MOST_MAPS)?;
        within(
            "encoder_maps: number of halvings",
            self.encoder_maps.len(),
            1,
            MOST_HALVINGS,
        )?;
        for maps in &self.encoder_maps {
            within("encoder_maps", *maps, 1, MOST_MAPS)?;
        }
        Ok(())
    }
}

/// Halvings by space-to-depth, each followed by two 3x3 convolutions with SiLU, and
/// a linear layer at the end. Every convolution keeps the size of its input, so the
/// convolution function of the workspace is enough.
#[derive(Clone, Debug)]
pub(crate) struct ImageEncoder {
    image: ImageShape,
    stages: Vec<[Convolution; 2]>,
    linear: Convolution,
}

impl ImageEncoder {
    /// A network with weights `stages.0.0`, `stages.0.1`, ... and `linear`, to
    /// `outputs` values.
    pub(crate) fn new(
        image: &ImageShape,
        encoder: &[usize],
        outputs: usize,
        weights: VarBuilder,
    ) -> Result<Self> {
        let (mut inputs, mut height, mut width) = (image.channels, image.height, image.width);
        let mut stages = Vec::with_capacity(encoder.len());
        for (stage, &maps) in encoder.iter().enumerate() {
            let weights = weights.pp("stages").pp(stage);
            stages.push([
                Convolution::plain(4 * inputs, maps, (3, 3), weights.pp(0))?,
                Convolution::plain(maps, maps, (3, 3), weights.pp(1))?,
            ]);
            (inputs, height, width) = (maps, height.div_ceil(2), width.div_ceil(2));
        }
        Ok(Self {
            image: *image,
            stages,
            linear: linear(inputs * height * width, outputs, weights.pp("linear"))?,
        })
    }

    pub(crate) fn image(&self) -> &ImageShape {
        &self.image
    }

    /// Images scaled to -1..1, with the type and device of the weights. Does not check
    /// whether the values are below the levels.
    pub(crate) fn scaled(&self, values: &Tensor) -> Result<Tensor> {
        self.image.check_shape(values).map_err(Error::wrap)?;
        let weight = self.linear.weight();
        let values = values.to_device(weight.device())?;
        scale(&values, self.image.levels, weight.dtype())
    }

    /// Values `[b, c, h, w]` to `[b, outputs]`.
    pub(crate) fn forward(&self, values: &Tensor) -> Result<Tensor> {
        let mut maps = self.scaled(values)?;
        let expected = [self.image.channels, self.image.height, self.image.width];
        if maps.dims()[1..] != expected {
            bail!(
                "images of {expected:?} expected, found {:?}",
                &maps.dims()[1..]
            );
        }
        for [first, second] in &self.stages {
            maps = first.forward(&space_to_depth(&maps)?)?.silu()?;
            maps = second.forward(&maps)?.silu()?;
        }
        let b = maps.dim(0)?;
        self.linear
            .forward(&maps.reshape((b, (), 1, 1))?)?
            .reshape((b, ()))
    }
}

/// A linear layer with bias, as a convolution on images of one pixel.
pub(crate) fn linear(inputs: usize, outputs: usize, weights: VarBuilder) -> Result<Convolution> {
    Convolution::plain(inputs, outputs, (1, 1), weights)
}

/// Halves height and width: the 2x2 pixels of a map become four maps; an odd side
/// is padded with a zero at its end. `[b, p, h, w]` to `[b, 4p, h/2, w/2]`.
fn space_to_depth(maps: &Tensor) -> Result<Tensor> {
    let (_, _, h, w) = maps.dims4()?;
    let maps = maps
        .pad_with_zeros(2, 0, h % 2)?
        .pad_with_zeros(3, 0, w % 2)?;
    let (b, p, h, w) = maps.dims4()?;
    maps.reshape(&[b, p, h / 2, 2, w / 2, 2][..])?
        .permute([0, 3, 5, 1, 2, 4])?
        .reshape((b, 4 * p, h / 2, w / 2))
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{DType, Device};

    #[test]
    fn depth_holds_each_pixel_of_a_square_and_zeros_beyond_the_end() {
        let image = Tensor::arange(1f32, 7.0, &Device::Cpu).unwrap();
        let image = image.reshape((1, 1, 2, 3)).unwrap();
        let depth = space_to_depth(&image).unwrap();
        assert_eq!(depth.dims(), [1, 4, 1, 2]);
        let values: Vec<f32> = depth.flatten_all().unwrap().to_vec1().unwrap();
        assert_eq!(values, [1.0, 3.0, 2.0, 0.0, 4.0, 6.0, 5.0, 0.0]);
    }

    #[test]
    fn odd_sides_are_rounded_up() {
        let image = ImageShape {
            channels: 1,
            height: 28,
            width: 23,
            levels: 256,
        };
        let weights = VarBuilder::zeros(DType::F32, &Device::Cpu);
        let image_encoder = ImageEncoder::new(&image, &[4, 5, 6], 7, weights).unwrap();
        let image = Tensor::zeros((2, 1, 28, 23), DType::U8, &Device::Cpu).unwrap();
        assert_eq!(image_encoder.forward(&image).unwrap().dims(), [2, 7]);
        // The number of values before the linear layer fits, but the images do not.
        let turned = image.transpose(2, 3).unwrap();
        let error = image_encoder.forward(&turned).unwrap_err().to_string();
        assert!(
            error.contains("[1, 28, 23] expected, found [1, 23, 28]"),
            "{error}"
        );
    }
}
