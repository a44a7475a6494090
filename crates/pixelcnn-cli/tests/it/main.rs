//! The program, run as its users run it, on small files of records.

// Helpers of tests fail as tests do.
#![allow(clippy::unwrap_used, clippy::panic)]

mod audit;
mod classify;
mod conditions;
mod errors;
mod eval;
mod given;
mod info;
mod place;
mod sample;
#[cfg(unix)]
mod signals;
mod train;
