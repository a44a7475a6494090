//! What the workspace asks of the operating system.
//!
//! - [`write_file`] and [`NewFile`] write a file whole or not at all;
//!   [`check_writable`] says beforehand whether that can work, [`destination`]
//!   which file it is; [`remove_leftovers`] and [`remove_abandoned`] remove what
//!   killed programs have left, [`remove_unfinished`] what this one is writing.
//! - [`open_file`] and [`read_file`] read regular files only, up to a limit.
//! - [`check_memory`] compares an estimate with the memory that is available.
//! - [`counted`], [`escaped`] and [`shown`] put numbers and names into messages.
//! - [`guarded`] runs code of other people where a panic becomes an error.
//!
//! Every error of this crate is a sentence without the name of the file: who
//! calls knows the name and puts it in front.

mod guard;
mod memory;
mod read;
mod words;
mod write;

pub use guard::guarded;
pub use memory::{NotEnoughMemory, available_memory, check_memory};
pub use read::{open_file, read_file};
pub use words::{counted, escaped, shown};
pub use write::{
    NewFile, check_writable, destination, remove_abandoned, remove_leftovers, remove_unfinished,
    write_file,
};
