//! Distributions over images.

use std::path::Path;

use candle_core::{DType, Device, Tensor};
use pixelcnn_layers::{Condition, ConditionShape};

use crate::{
    ConditionEncoder, Gaussian, Given, ImageShape, Likelihood, Model, ModelError, Network,
    uniform_nats,
};

/// A distribution over images, conditional or unconditional: a model with a likelihood.
///
/// It is the uniform distribution, a Gaussian, or a pixel network with the
/// encoder of its condition.
///
/// # Example
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use pixelcnn_models::{DensityModel, Given, ImageShape};
///
/// let image = ImageShape { channels: 3, height: 8, width: 8, levels: 256 };
/// let uniform = DensityModel::uniform(image);
/// let images = Tensor::zeros((2, 3, 8, 8), DType::U8, &Device::Cpu)?;
/// assert_eq!(uniform.bits_per_dim(&images, &Given::Nothing)?.bits_per_dim(), 8.0);
/// # Ok::<(), pixelcnn_models::ModelError>(())
/// ```
#[derive(Clone, Debug)]
pub struct DensityModel {
    image: ImageShape,
    density: Density,
    encoder: ConditionEncoder,
}

#[derive(Clone, Debug)]
enum Density {
    Uniform,
    Gaussian(Gaussian),
    Network(Network),
}

impl DensityModel {
    /// The uniform distribution: all images are equally likely.
    pub fn uniform(image: ImageShape) -> Self {
        Self {
            image,
            density: Density::Uniform,
            encoder: ConditionEncoder::nothing(image),
        }
    }

    /// A Gaussian over images of `image`.
    pub fn gaussian(image: ImageShape, gaussian: Gaussian) -> Self {
        Self {
            image,
            density: Density::Gaussian(gaussian),
            encoder: ConditionEncoder::nothing(image),
        }
    }

    /// A pixel network and the encoder of its condition.
    ///
    /// # Errors
    ///
    /// If the blocks take a different condition than the encoder gives.
    pub fn from_network(network: Network, encoder: ConditionEncoder) -> Result<Self, ModelError> {
        let given = encoder.shape();
        let shapes = network.graph().terms().into_iter().map(|term| term.shape());
        let shapes = shapes.collect::<candle_core::Result<Vec<_>>>()?;
        let fits = match given {
            ConditionShape::None => shapes.is_empty(),
            given => !shapes.is_empty() && shapes.iter().all(|shape| *shape == given),
        };
        if !fits {
            let why = format!("the encoder gives {given:?}, but the blocks take {shapes:?}");
            return Err(ModelError::invalid("conditioning", why));
        }
        Ok(Self {
            image: network.image(),
            density: Density::Network(network),
            encoder,
        })
    }

    /// Reads a model that [`Model::save`] wrote, in f32.
    ///
    /// # Errors
    ///
    /// As [`Model::load`], and if the model is not a distribution over images.
    pub fn load(path: impl AsRef<Path>, device: &Device) -> Result<Self, ModelError> {
        Ok(Model::load(path, device)?.density()?.clone())
    }

    /// Shape of the images.
    pub fn image(&self) -> ImageShape {
        self.image
    }

    /// The network, if it is one.
    pub fn network(&self) -> Option<&Network> {
        match &self.density {
            Density::Network(network) => Some(network),
            Density::Uniform | Density::Gaussian(_) => None,
        }
    }

    /// The encoder from what a user gives to the condition of the blocks.
    pub fn condition_encoder(&self) -> &ConditionEncoder {
        &self.encoder
    }

    pub(crate) fn encoder_mut(&mut self) -> &mut ConditionEncoder {
        &mut self.encoder
    }

    /// Nats `-log p(x|h)` of each image and channel, in f64; their sum over channels gives
    /// the nats of the image. For a Gaussian they are an upper bound. They are not finite if
    /// numbers overflow in the network.
    ///
    /// # Shapes
    ///
    /// `values [b, c, h, w]` to `[b, c]`, on the CPU.
    ///
    /// # Errors
    ///
    /// If the values or the condition do not fit.
    pub fn nats(&self, values: &Tensor, condition: &Condition) -> Result<Tensor, ModelError> {
        self.image.check(values)?;
        match (&self.density, condition) {
            (Density::Network(network), _) => {
                let nats = network.value_nats(values, condition)?;
                // Not every device has f64.
                let nats = nats.to_device(&Device::Cpu)?.to_dtype(DType::F64)?;
                Ok(nats.sum((2, 3))?)
            }
            (Density::Uniform, Condition::None) => Ok(uniform_nats(values, self.image.levels)?),
            (Density::Gaussian(gaussian), Condition::None) => gaussian.nats(values),
            (Density::Uniform | Density::Gaussian(_), found) => {
                let why = format!("the model expects no condition, found {found}");
                Err(ModelError::invalid("condition", why))
            }
        }
    }

    /// The likelihood of images given their conditions, in bits/dim.
    /// [`Likelihood::add`] does the same for several batches. The images may have another
    /// size than the training images.
    /// [`Definition::score`](crate::Definition::score) says whether the number is a
    /// likelihood of the images.
    ///
    /// # Shapes
    ///
    /// `images [b, c, h, w]`.
    ///
    /// # Errors
    ///
    /// If the images or the conditions do not fit.
    ///
    /// # Example
    ///
    /// ```
    /// use candle_core::{DType, Device, Tensor};
    /// use pixelcnn_models::{Given, Model, ModelConfig, PixelCnnConfig};
    ///
    /// let config = PixelCnnConfig { blocks: 1, maps: 3, head: 3, ..PixelCnnConfig::cifar10() };
    /// let (model, _) = Model::initialise(&ModelConfig::from(config), 1, &Device::Cpu)?;
    /// let images = Tensor::zeros((2, 3, 5, 7), DType::U8, &Device::Cpu)?;
    /// let likelihood = model.density()?.bits_per_dim(&images, &Given::Nothing)?;
    /// // Before it has learnt anything.
    /// assert!((likelihood.bits_per_dim() - 8.0).abs() < 0.5);
    /// assert_eq!(likelihood.std_err(), Some(0.0)); // both images are alike
    /// # Ok::<(), pixelcnn_models::ModelError>(())
    /// ```
    pub fn bits_per_dim(&self, images: &Tensor, given: &Given) -> Result<Likelihood, ModelError> {
        let mut likelihood = Likelihood::new();
        likelihood.add(self, images, given)?;
        Ok(likelihood)
    }
}
