//! The auto-encoder for the comparison in section 3.4: a deconvolutional decoder
//! and the mean squared error.

use candle_core::{DType, Device, Result, Tensor};
use candle_nn::VarBuilder;
use serde::{Deserialize, Serialize};

use crate::condition::{Deconvolution, DeconvolutionInput, ImageEncoder};
use crate::{
    Definition, ImageEncoderConfig, ImageShape, Kind, ModelError, Score, SpatialConfig, Task,
};

/// Sizes of an [`AutoEncoder`].
///
/// # Example
///
/// ```
/// use pixelcnn_models::{AutoEncoderConfig, ImageShape};
///
/// let image = ImageShape { channels: 3, height: 32, width: 32, levels: 256 };
/// let config = AutoEncoderConfig { image, length: 10, encoder_maps: vec![32, 64, 64], hidden: 64 };
/// assert_eq!(config.image_encoder().length, 10);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AutoEncoderConfig {
    /// Shape of the images.
    pub image: ImageShape,
    /// Number of values `m` of the code.
    pub length: usize,
    /// Feature maps after each halving of height and width.
    #[serde(alias = "encoder")]
    pub encoder_maps: Vec<usize>,
    /// Feature maps of the decoder.
    pub hidden: usize,
}

impl AutoEncoderConfig {
    /// The encoder.
    pub fn image_encoder(&self) -> ImageEncoderConfig {
        ImageEncoderConfig {
            length: self.length,
            encoder_maps: self.encoder_maps.clone(),
        }
    }

    fn decoder(&self) -> SpatialConfig {
        SpatialConfig {
            maps: self.image.channels,
            hidden: self.hidden,
        }
    }
}

#[typetag::serde(name = "auto-encoder")]
impl Definition for AutoEncoderConfig {
    fn name(&self) -> &'static str {
        "Auto-encoder (mean squared error)"
    }

    fn image(&self) -> ImageShape {
        self.image
    }

    fn validate(&self) -> std::result::Result<(), ModelError> {
        self.image_encoder().validate()?;
        self.decoder().validate()
    }

    fn score(&self) -> Score {
        Score::SquaredError
    }

    fn build(&self, weights: VarBuilder) -> std::result::Result<Kind, ModelError> {
        Ok(Kind::AutoEncoder(Box::new(AutoEncoder::new(
            self, weights,
        )?)))
    }

    fn task(&self) -> Task {
        Task::Reconstruction
    }

    fn boxed(&self) -> Box<dyn Definition> {
        Box::new(self.clone())
    }
}

/// The same encoder as that of a Gated PixelCNN conditioned on a code, and a
/// deconvolutional decoder.
///
/// # Example
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use pixelcnn_models::{AutoEncoder, AutoEncoderConfig, ImageShape, Parameters};
///
/// let image = ImageShape { channels: 3, height: 8, width: 8, levels: 256 };
/// let config = AutoEncoderConfig { image, length: 10, encoder_maps: vec![4], hidden: 4 };
/// let weights = Parameters::drawn(0).builder(DType::F32, &Device::Cpu);
/// let network = AutoEncoder::new(&config, weights)?;
/// let images = Tensor::zeros((2, 3, 8, 8), DType::U8, &Device::Cpu)?;
/// assert_eq!(network.forward(&images)?.dims(), [2, 3, 8, 8]);
/// # Ok::<(), candle_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct AutoEncoder {
    size: (usize, usize),
    encoder: ImageEncoder,
    decoder: Deconvolution,
}

impl AutoEncoder {
    /// A network with weights `encoder` and `decoder`.
    ///
    /// # Errors
    ///
    /// If the weights do not fit.
    pub fn new(config: &AutoEncoderConfig, weights: VarBuilder) -> Result<Self> {
        let AutoEncoderConfig {
            image,
            length,
            encoder_maps,
            ..
        } = config;
        let decoder = config.decoder();
        let source = DeconvolutionInput::Vector(*length);
        Ok(Self {
            size: (image.height, image.width),
            encoder: ImageEncoder::new(image, encoder_maps, *length, weights.pp("encoder"))?,
            decoder: Deconvolution::new(source, image, &decoder, weights.pp("decoder"))?,
        })
    }

    /// Reconstructions, not limited to the range of the images.
    ///
    /// # Shapes
    ///
    /// Values `[b, c, h, w]` to numbers of the same shape, in the scale -1..1.
    ///
    /// # Errors
    ///
    /// If the images do not fit.
    pub fn forward(&self, values: &Tensor) -> Result<Tensor> {
        self.decoder
            .forward(&self.encoder.forward(values)?, self.size)
    }

    /// Reconstructions as values: the means within the range, rounded.
    ///
    /// # Shapes
    ///
    /// Values `[b, c, h, w]` to the same shape, `u32`, on the CPU.
    ///
    /// # Errors
    ///
    /// If the images do not fit.
    pub fn reconstruct(&self, values: &Tensor) -> Result<Tensor> {
        let half = (self.encoder.image().levels - 1) as f64 / 2.0;
        let means = self.forward(values)?.clamp(-1.0, 1.0)?;
        let values = means.affine(half, half)?.round()?;
        values.to_device(&Device::Cpu)?.to_dtype(DType::U32)
    }

    /// The squared error of reconstructions, for values from 0 to 1.
    ///
    /// # Shapes
    ///
    /// Reconstructions, scaled to -1..1, and values `[b, c, h, w]` to the same.
    ///
    /// # Errors
    ///
    /// If the images do not fit.
    pub fn squared_error(&self, found: &Tensor, values: &Tensor) -> Result<Tensor> {
        let images = self.encoder.scaled(values)?;
        (found - images)?.sqr()?.affine(0.25, 0.0)
    }
}
