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
    /// The bottleneck between encoder and decoder.
    pub bottleneck: Bottleneck,
    /// The network m of eq. 5; without it, eq. 4.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spatial: Option<SpatialConfig>,
}

/// The bottleneck between an encoder and a decoder.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Bottleneck {
    /// The code is used directly: the auto-encoder of section 2.4.
    Plain {},
    /// A Gaussian over codes, with the standard Gaussian as prior: the
    /// variational auto-encoder that the paper's conclusion proposes.
    Gaussian {
        /// Factor of the divergence from the prior in training; 1
        /// gives the bound itself.
        weight: f64,
        /// Bits per value of the code below which the divergence does not
        /// count in training.
        free_bits: f64,
    },
}

impl CodeConfig {
    /// The encoder from an image to a code.
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

/// A Gaussian over codes for each image: independent values, each with a mean and a
/// variance.
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
    /// Samples a code for each image, from standard normal numbers `[b, m]`.
    ///
    /// # Errors
    ///
    /// If the shape of the numbers is wrong.
    pub fn draw(&self, normal: &Tensor) -> Result<Tensor> {
        let deviation = self.log_variance.affine(0.5, 0.0)?.exp()?;
        &self.mean + (deviation * normal)?
    }

    /// The divergence of each value from the standard Gaussian, in nats:
    /// (mean^2 + variance - 1 - log variance) / 2, `[b, m]`.
    ///
    /// # Errors
    ///
    /// If a tensor operation fails.
    pub fn divergence(&self) -> Result<Tensor> {
        let moments = (self.mean.sqr()? + self.log_variance.exp()?)?;
        (moments - &self.log_variance)?.affine(0.5, -0.5)
    }
}
