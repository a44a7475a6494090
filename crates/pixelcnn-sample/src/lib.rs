#![doc = include_str!("../README.md")]
//!
//! - [`sample`] draws images with an [`Engine`]; [`sample_each`] draws any number of them and
//!   returns each image as soon as it is done.
//! - [`complete`] draws the unknown pixels of an image.
//! - [`nll_map`] gives the bits of each value of known images.
//! - [`outputs`] gives the parameters of the distribution of each value, such as logits.
//! - [`reconstruct`] and [`interpolate`] draw images given others.
//! - [`Engine::run`] is the basis of all these: a [`Driver`] for each image
//!   chooses each value.
//!
//! [The arithmetic](pixelcnn_kernels::exact#arithmetic) defines the order of every sum.

mod compile;
mod complete;
mod completion;
mod draw;
mod engine;
mod error;
mod nll_map;
mod order;
mod parts;
mod sample;
mod scans;
mod stages;
mod value_distribution;
mod variations;

pub use complete::{Completions, complete};
pub use completion::KnownPixels;
pub use draw::{SampleConfig, Watch};
pub use engine::Engine;
pub use error::SampleError;
pub use nll_map::{nll_map, outputs};
pub use pixelcnn_kernels::exact::{Driver, Frequencies, Sharing, ValueIndex};
pub use sample::{sample, sample_each};
pub use value_distribution::ValueDistribution;
pub use variations::{interpolate, reconstruct};
