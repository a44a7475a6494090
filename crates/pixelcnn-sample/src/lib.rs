//! Sampling from PixelCNN models, and other computations that go through an
//! image value by value, with one exact and incremental engine.
//!
//! Running the whole network for each of the thousands of values of an image is slow.
//! [`Engine`] caches the activations of earlier values: it computes the vertical stack
//! once per row, the horizontal stack once per pixel and colour, and does not multiply
//! masked weights. Its logits have the
//! same bits on every processor, for any number of images and threads; see
//! [the arithmetic](pixelcnn_kernels::exact#arithmetic).
//!
//! - [`sample`] draws images; [`sample_each`] draws any number of them and returns
//!   each image as soon as it is done.
//! - [`nll_map`] gives the bits of each value of known images.
//! - [`outputs`] gives the parameters of the distribution of each value, such as logits.
//! - [`reconstruct`] and [`interpolate`] draw images given others.
//! - [`Engine::run`] is the basis of all these: a [`Driver`] for each image
//!   chooses each value.
//!
//! ```
//! use candle_core::Device;
//! use pixelcnn_models::{Condition, ImageShape, Model, ModelConfig, PixelCnnConfig};
//! use pixelcnn_sample::{Engine, SampleConfig, sample};
//!
//! let image = ImageShape { channels: 3, height: 4, width: 4, levels: 8 };
//! let config = PixelCnnConfig { image, blocks: 1, maps: 3, head: 3, ..PixelCnnConfig::cifar10() };
//! let (model, _) = Model::initialise(&ModelConfig::from(config), 1, &Device::Cpu)?;
//! let engine = Engine::new(model.density()?)?;
//! let config = SampleConfig { count: 2, ..SampleConfig::new(image) };
//! let images = sample(&engine, &config, &Condition::None, &|_, _, _| ())?;
//! assert_eq!(images.dims(), [2, 3, 4, 4]);
//! # Ok::<(), pixelcnn_sample::SampleError>(())
//! ```

mod compile;
mod draw;
mod engine;
mod error;
mod nll_map;
mod order;
mod parts;
mod sample;
mod stages;
mod value_distribution;
mod variations;

pub use draw::{SampleConfig, Watch};
pub use engine::Engine;
pub use error::SampleError;
pub use nll_map::{nll_map, outputs};
pub use pixelcnn_kernels::exact::{Driver, Frequencies, ValueIndex};
pub use sample::{sample, sample_each};
pub use variations::{interpolate, reconstruct};
