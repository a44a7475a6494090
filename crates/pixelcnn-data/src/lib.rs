#![doc = include_str!("../README.md")]
//!
//! A [`DataSpec`] names a data set, [`load`] reads it into memory, and [`Batches`] gives
//! a training loop its batches. [`read_picture`] reads a single file.

mod batches;
mod dataset;
mod decoding;
mod error;
mod file;
mod identity;
mod idx;
mod images;
mod in_order;
mod listing;
mod memory;
mod npy;
mod order;
mod partition;
mod picture;
mod records;
mod sources;
mod spec;
mod split;
mod table;
mod values;
mod words;

pub use batches::{Batch, BatchConfig, Batches, Flips};
pub use dataset::Dataset;
pub use error::DataError;
pub use identity::{DataIdentity, SplitIdentity};
pub use images::Images;
pub use in_order::InOrder;
pub use npy::read_npy;
pub use order::permutation;
pub use picture::{Alpha, Colours, Depth, PictureFormat, read_picture, read_picture_as};
pub use sources::load;
pub use spec::{
    DataSpec, EmojiLabels, FolderSpec, OnError, RecordsSpec, SmallPictures, SplitBy, TokensSpec,
};
pub use split::Split;
pub use values::Values;

#[cfg(test)]
mod testing;
