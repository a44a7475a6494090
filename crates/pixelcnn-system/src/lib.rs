#![doc = include_str!("../README.md")]
//!
//! - [`write_file`] and [`NewFile`] write a file completely or not at all;
//!   [`check_writable`] checks before whether this can work, [`destination`] returns
//!   the real path; [`remove_leftovers`] and [`remove_abandoned`] remove partial files of
//!   killed programs, [`remove_unfinished`] those of this program.
//! - [`open_file`] and [`read_file`] read regular files only, up to a limit;
//!   [`StableFile`] reads one at any place and sees where it has changed.
//! - [`check_memory`] compares an estimate with the available memory.
//! - [`counted`], [`escaped`] and [`shown`] format numbers and names for messages.
//! - [`fixture_places`] lists where the data sets and models that come with the source may be.
//! - [`guarded`] runs other people's code and converts a panic to an error.
//!
//! Every error of this crate is a sentence without the name of the file; the
//! caller adds the name.

mod fixtures;
mod guard;
mod memory;
mod read;
mod stable;
mod words;
mod write;

pub use fixtures::fixture_places;
pub use guard::guarded;
pub use memory::{NotEnoughMemory, available_memory, check_memory, peak_memory};
pub use read::{open_file, read_file};
pub use stable::StableFile;
pub use words::{counted, escaped, shown};
pub use write::{
    NewFile, check_writable, destination, remove_abandoned, remove_leftovers, remove_unfinished,
    write_file,
};
