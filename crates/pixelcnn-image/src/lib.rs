#![doc = include_str!("../README.md")]

mod bits;
mod error;
mod reduction;
mod scale;
mod shape;

pub use bits::{check_bits, fewer_bits};
pub use error::ImageError;
pub use reduction::{Reduction, luma, shrunk};
pub use scale::scale;
pub use shape::ImageShape;
