#![doc = include_str!("../README.md")]
//!
//! Images are integer tensors `[b, c, h, w]` (`u8` or `u32`) with values below `levels`;
//! logits are `[b, c, levels, h, w]`. A network of your own implements [`Definition`].

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
mod pixelrnn;
mod precision;
mod score;
mod size;
mod source;
mod task;
mod tensor_file;
mod training_step;
mod uniform;
mod weights;

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
pub use pixelcnn_layers::{Activation, Condition, ConditionShape, RecurrentLayer};
pub use pixelrnn::PixelRnnConfig;
pub use precision::Precision;
pub use score::Score;
pub use source::{find_model, find_model_with, included_models};
pub use task::Task;
pub use training_step::TrainingStep;
pub use uniform::{UniformConfig, uniform_nats};
pub use weights::weight_files;
