#![doc = include_str!("../README.md")]
//!
//! - [`Codec`] compresses and decompresses tiles with a model, many at a time.
//! - [`ArchiveWriter`] writes an archive picture by picture to any stream.
//! - [`Archive`] finds the pictures and tiles of an archive, also of a damaged one, and
//!   decodes pictures or parts of them.

mod archive;
mod bytes;
mod codec;
mod decoding;
mod drivers;
mod error;
mod header;
mod identity;
mod picture;
mod prediction;
mod record;
mod table;
#[cfg(test)]
mod testing;
mod tiling;
mod writer;

pub use archive::{Archive, Entry, Gap, StoredTile};
pub use codec::{Codec, Method};
pub use decoding::{Decoded, Missing, Wanted};
pub use error::CodecError;
pub use header::{ARITHMETIC, Header, VERSION};
pub use identity::ModelIdentity;
pub use picture::{Metadata, Picture, check_name};
pub use tiling::{Area, TileSide};
pub use writer::{ArchiveWriter, Written};
