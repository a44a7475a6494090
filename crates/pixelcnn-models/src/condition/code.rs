//! The code of an auto-encoder (section 2.4).

use candle_core::{Result, Tensor};
use serde::{Deserialize, Serialize};

use super::{ImageEncoderConfig, SpatialConfig, within};
use crate::ModelError;

/// Sizes of the encoder and the bottleneck of an auto-encoder whose decoder is
/// the Gated PixelCNN.
///
/// # Example
///
/// ```
/// use pixelcnn_models::{Bottleneck, CodeConfig};
///
/// let config = CodeConfig {
///     length: 10,
///     encoder_maps: vec![32, 64, 64],
///     bottleneck: Bottleneck::Plain {},
///     spatial: None,
/// };
/// assert_eq!(config.image_encoder().length, 10);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CodeConfig {
    /// Number of values `m` of the code.
    pub length: usize,
    /// Feature maps after each halving of height and width.
    #[serde(alias = "encoder")]
    pub encoder_maps: Vec<usize>,
    /// What stands between encoder and decoder.
    pub bottleneck: Bottleneck,
    /// m of eq. 5, if the code is to have a position; without, eq. 4.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spatial: Option<SpatialConfig>,
}

/// What stands between an encoder and a decoder.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Bottleneck {
    /// The code as it is: the auto-encoder of section 2.4.
    Plain {},
    /// A Gaussian over codes, with the standard Gaussian as its prior: the
    /// variational auto-encoder that the paper's conclusion asks for.
    Gaussian {
        /// What the divergence from the prior is multiplied by in training; 1
        /// is the bound itself.
        weight: f64,
        /// Bits that each value of the code may carry before its divergence
        /// counts in training.
        free_bits: f64,
    },
}

impl CodeConfig {
    /// The encoder, to a code.
    pub fn image_encoder(&self) -> ImageEncoderConfig {
        ImageEncoderConfig {
            length: self.length,
            encoder_maps: self.encoder_maps.clone(),
        }
    }

    pub(crate) fn validate(&self) -> std::result::Result<(), ModelError> {
        self.image_encoder().validate()?;
        within("length", self.length, 1, 32_768)?;
        let Bottleneck::Gaussian { weight, free_bits } = self.bottleneck else {
            return Ok(());
        };
        for (name, value) in [("weight", weight), ("free_bits", free_bits)] {
            if !(value >= 0.0 && value.is_finite()) {
                let name = format!("model.conditioning.bottleneck.{name}");
                let why = format!("zero or more expected, found {value}");
                return Err(ModelError::invalid(&name, why));
            }
        }
        Ok(())
    }
}

/// A Gaussian over codes for each image: independent values with a mean and a
/// variance each.
///
/// # Example
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use pixelcnn_models::Latent;
///
/// let zeros = Tensor::zeros((1, 4), DType::F32, &Device::Cpu)?;
/// let latent = Latent { mean: zeros.clone(), log_variance: zeros };
/// // The prior itself.
/// assert_eq!(latent.divergence()?.sum_all()?.to_scalar::<f32>()?, 0.0);
/// # Ok::<(), candle_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Latent {
    /// `[b, m]`.
    pub mean: Tensor,
    /// `[b, m]`.
    pub log_variance: Tensor,
}

impl Latent {
    /// A code of each image, by standard normal numbers `[b, m]`.
    ///
    /// # Errors
    ///
    /// If there are other numbers.
    pub fn draw(&self, normal: &Tensor) -> Result<Tensor> {
        let deviation = self.log_variance.affine(0.5, 0.0)?.exp()?;
        &self.mean + (deviation * normal)?
    }

    /// Nats of the divergence from the standard Gaussian of each value:
    /// (mean^2 + variance - 1 - log variance) / 2, `[b, m]`.
    ///
    /// # Errors
    ///
    /// Those of the tensor operations.
    pub fn divergence(&self) -> Result<Tensor> {
        let moments = (self.mean.sqr()? + self.log_variance.exp()?)?;
        (moments - &self.log_variance)?.affine(0.5, -0.5)
    }
}
