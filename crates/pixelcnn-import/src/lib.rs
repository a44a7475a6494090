#![doc = include_str!("../README.md")]

mod archive;
mod card;
mod checkpoint;
mod converter;
mod error;
mod format;
mod formats;
mod kernel;
mod pickle;
mod settings;
mod state_dict;

pub use card::card;
pub use checkpoint::Checkpoint;
pub use error::ImportError;
pub use format::{Format, Import, import};
pub use formats::anordertoreclaim::AnordertoreclaimConfig;
pub use formats::pytorch_generative::PytorchGenerativeConfig;
pub use formats::pytorch_vqvae::PytorchVqvaeConfig;
pub use formats::uvadlc::UvadlcConfig;
pub use settings::Settings;
