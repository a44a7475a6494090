#![doc = include_str!("../README.md")]
//!
//! On the CPU in f32 the functions run code of this crate, with the vector instructions of
//! the machine ([`Level`]). With the feature `cuda`, some run kernels of `pixelcnn-cuda` on CUDA
//! devices. Elsewhere, and inside [`portable`], they use candle's own operations. The block ([`Block::forward`]) exists only for the CPU in f32.
//!
//! Its unsafe code: vector instructions, uninitialised buffers, and results that several threads
//! write in parts.

mod arithmetic;
mod block;
mod columns;
mod convolution;
mod cross_entropy;
mod device;
pub mod exact;
mod gate;
mod lanes;
mod level;
mod lstm;
mod memory;
mod mixture;
mod path;
mod peak;
mod product;
mod region_allocator;
mod threads;
mod update;
mod update_all;
mod values;

pub use block::{Block, ConditionTerms, Kernel};
pub use convolution::{Padding, convolve};
pub use cross_entropy::cross_entropy;
pub use device::cuda;
pub use level::Level;
pub use lstm::{Direction, lstm, lstm_paths};
pub use mixture::LogisticMixture;
pub use path::{is_cuda, is_fast, portable};
pub use peak::{peak_bandwidth, peak_flops};
pub use region_allocator::RegionAllocator;
pub use threads::{start_threads, threads};
pub use update::{Moments, Rule, Update, update};
pub use update_all::{Parameter, clip_factor, norm, scaled, update_all};
