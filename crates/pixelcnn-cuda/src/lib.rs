#![doc = include_str!("../README.md")]

#[cfg(feature = "cuda")]
mod device;

#[cfg(feature = "cuda")]
pub use device::device;
