//! Runs the program, as users do, on small files of records.

// Helper functions of tests may panic, like the tests.
#![allow(clippy::unwrap_used, clippy::panic)]

mod audit;
mod classify;
mod complete;
mod compress;
mod conditions;
mod depth;
mod describe;
mod errors;
mod eval;
mod export;
mod given;
mod help;
mod import;
mod info;
mod json;
mod models;
mod names;
mod outputs;
mod runs;
mod sample;
mod score;
#[cfg(unix)]
mod signals;
mod test_folder;
mod train;
