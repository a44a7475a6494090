//! The program, run as its users run it, on small files of records.

// Helpers of tests fail as tests do.
#![allow(clippy::unwrap_used, clippy::panic)]

mod audit;
mod classify;
mod conditions;
mod depth;
mod describe;
mod errors;
mod eval;
mod given;
mod help;
mod info;
mod json;
mod names;
mod outputs;
mod runs;
mod sample;
mod score;
#[cfg(unix)]
mod signals;
mod test_folder;
mod train;
