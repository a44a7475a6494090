//! The models: the Gated PixelCNN, unconditional or conditioned on classes, vectors,
//! maps, captions, images or the code of an encoder; the plain PixelCNN, a
//! multivariate Gaussian and the uniform distribution; and three further
//! networks, an auto-encoder of means, an embedding network and a classifier. Also
//! their configurations, likelihoods and checkpoints, and the audit of a network's
//! receptive field.
//!
//! Images are integer tensors `[b, c, h, w]` (`u8` or `u32`) with values
//! below `levels`; logits are `[b, c, levels, h, w]`.
//!
//! ```
//! use candle_core::{DType, Device, Tensor};
//! use pixelcnn_models::{
//!     Condition, Distribution, GatedPixelCnnConfig, ImageShape, Model, ModelConfig,
//! };
//!
//! let config = ModelConfig::from(GatedPixelCnnConfig {
//!     image: ImageShape { channels: 3, height: 8, width: 8, levels: 256 },
//!     first_kernel: 7,
//!     kernel: 3,
//!     blocks: 2,
//!     maps: 6,
//!     head: 6,
//!     dilations: vec![1],
//!     distribution: Distribution::default(),
//!     conditioning: None,
//! });
//! let (model, _variables) = Model::initialise(&config, 0, &Device::Cpu)?;
//! let images = Tensor::zeros((2, 3, 8, 8), DType::U8, &Device::Cpu)?;
//! let nats = model.density()?.nats(&images, &Condition::None)?;
//! assert_eq!(nats.dims(), [2, 3]); // of each image and channel
//! # Ok::<(), pixelcnn_models::ModelError>(())
//! ```

pub mod audit;
mod auto_encoder;
mod checkpoint;
mod classes;
mod classifier;
mod condition;
mod config;
mod definition;
mod density;
mod distribution;
mod embedding;
mod error;
mod gated_pixelcnn;
mod gaussian;
mod likelihood;
mod model;
mod network;
mod noise;
mod parameters;
mod pixelcnn;
mod score;
mod size;
mod task;
mod uniform;

pub use auto_encoder::{AutoEncoder, AutoEncoderConfig};
pub use checkpoint::{read_note, read_tensors, write_file, write_tensors};
pub use classes::Classes;
pub use classifier::{Classifier, ClassifierConfig};
pub use condition::{
    Bottleneck, CaptionConfig, CaptionTokenizer, CodeConfig, ConditionEncoder, Conditioning, Given,
    ImageEncoderConfig, Latent, SpatialConfig,
};
pub use config::ModelConfig;
pub use definition::Definition;
pub use density::DensityModel;
pub use distribution::Distribution;
pub use embedding::{EmbeddingConfig, EmbeddingNetwork, triplet_loss};
pub use error::ModelError;
pub use gated_pixelcnn::GatedPixelCnnConfig;
pub use gaussian::{Gaussian, GaussianConfig, ImageSource};
pub use likelihood::Likelihood;
pub use model::{Kind, Model, Variables};
pub use network::Network;
pub use noise::normal;
pub use parameters::Parameters;
pub use pixelcnn::PixelCnnConfig;
pub use pixelcnn_image::{ImageError, ImageShape, Reduction, scale};
pub use pixelcnn_kernels::cross_entropy;
pub use pixelcnn_layers::{Condition, ConditionShape};
pub use score::Score;
pub use task::Task;
pub use uniform::{UniformConfig, uniform_nats};
