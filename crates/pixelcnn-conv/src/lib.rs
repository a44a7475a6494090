#![doc = include_str!("../README.md")]
//!
//! [`Mask`] and [`ColourGroups`] define what comes earlier at the centre of a kernel.
//! [`Convolution`] has a weight, its mask and its padding. One function, [`convolve`],
//! computes every convolution of the workspace.
//!
//! | constructor | paper | rows and columns it reads |
//! |---|---|---|
//! | [`Convolution::masked`] | figure 1, middle | `n x n`, above and left, centre by mask |
//! | [`Convolution::vertical`] | figure 2, `n x n` | rows above, with or without its own |
//! | [`Convolution::horizontal`] | figure 2, `n x 1` | its own row, left, centre by mask |
//! | [`Convolution::pointwise`] | figure 2, `1 x 1` | the position itself |
//! | [`Convolution::window`] | | any rectangle that begins at or before the position |
//! | [`Convolution::plain`] | sections 2.3, 2.4: encoders, decoders | all around the position |
//!
//! Weights are `[out, in, height, width]`, maps `[b, maps, h, w]`.

mod constructors;
mod convolution;
mod mask;
mod pattern;

pub use constructors::Rows;
pub use convolution::Convolution;
pub use mask::{ColourGroups, Colours, Mask, Tap};
pub use pixelcnn_kernels::{Kernel, Padding, convolve};
