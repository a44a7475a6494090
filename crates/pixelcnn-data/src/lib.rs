#![doc = include_str!("../README.md")]
//!
//! A [`DataSpec`] names a data set, [`load`] opens it, and [`Batches`] gives a training loop
//! its batches. A set may be larger than the memory: values are read from their files as
//! they are used. [`read_picture`] reads a single file.

mod batches;
mod bytes;
mod cache;
mod change;
mod class_names;
mod dataset;
mod decoding;
mod error;
mod file;
mod identity;
mod idx;
mod images;
mod in_order;
mod lazy;
mod listing;
mod loading;
mod memory;
mod npy;
mod order;
mod partition;
mod picture;
mod sources;
mod spec;
mod split;
mod store;
mod table;
mod values;
mod words;

pub use batches::{Batch, BatchConfig, Batches, Flips};
pub use dataset::Dataset;
pub use error::DataError;
pub use identity::{DataIdentity, SplitIdentity};
pub use images::{Blocks, Images};
pub use in_order::InOrder;
pub use loading::{Cache, Loading, Progress};
pub use npy::read_npy;
pub use order::permutation;
pub use picture::{Alpha, Colours, Depth, PictureFormat, read_picture, read_picture_as};
pub use sources::{load, load_with};
pub use spec::{
    DataSpec, EmojiLabels, FolderSpec, HubSpec, OnError, RecordsSpec, SmallPictures, SplitBy,
    TokensSpec,
};
pub use split::Split;
pub use values::Values;

#[cfg(test)]
mod testing;
