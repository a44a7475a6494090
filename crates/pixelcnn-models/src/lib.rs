//! The models of the paper's table 1: the Gated PixelCNN, the plain PixelCNN,
//! a multivariate Gaussian and the uniform distribution, with their
//! configurations, likelihoods, checkpoints, and the audit of a network's
//! receptive field.
//!
//! Images are integer tensors `[b, c, h, w]` (`u8` or `u32`) whose values lie
//! below `levels`; logits are `[b, c, levels, h, w]`.
//!
//! ```
//! use candle_core::{DType, Device, Tensor};
//! use pixelcnn_models::{Condition, GatedPixelCnnConfig, ImageShape, Model, ModelConfig};
//!
//! let config = ModelConfig::GatedPixelCnn(GatedPixelCnnConfig {
//!     image: ImageShape { channels: 3, height: 8, width: 8, levels: 256 },
//!     first_kernel: 7,
//!     kernel: 3,
//!     blocks: 2,
//!     maps: 6,
//!     head: 6,
//!     dilations: vec![1],
//!     conditioning: Default::default(),
//! });
//! let (model, _variables) = Model::initialise(&config, 0, &Device::Cpu)?;
//! let images = Tensor::zeros((2, 3, 8, 8), DType::U8, &Device::Cpu)?;
//! let nats = model.nats(&images, &Condition::None)?;
//! assert_eq!(nats.dims(), [2, 3]); // of each image and channel
//! # Ok::<(), pixelcnn_models::ModelError>(())
//! ```

pub mod audit;
mod checkpoint;
mod config;
mod error;
mod gated_pixelcnn;
mod gaussian;
mod image_shape;
mod likelihood;
mod model;
mod network;
mod parameters;
mod pixelcnn;
mod uniform;

pub use checkpoint::{read_tensors, write_file, write_tensors};
pub use config::{BaselineConfig, ModelConfig};
pub use error::ModelError;
pub use gated_pixelcnn::{GatedPixelCnn, GatedPixelCnnConfig};
pub use gaussian::Gaussian;
pub use image_shape::ImageShape;
pub use likelihood::Likelihood;
pub use model::{Model, Variables};
pub use network::{Network, scale};
pub use parameters::Parameters;
pub use pixelcnn::{PixelCnn, PixelCnnConfig};
pub use pixelcnn_kernels::cross_entropy;
pub use pixelcnn_layers::{Activation, Condition, Conditioning};
pub use uniform::uniform_nats;
