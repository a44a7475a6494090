//! Generic checks of all layers and models in the tables, and the exact oracles.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod archive_records;
mod archives;
mod audit;
mod codec;
mod completion;
mod conditions;
mod engine;
mod foreign;
mod fuzz;
mod golden;
mod layers;
mod likelihood;
#[cfg(target_os = "linux")]
mod memory;
mod models;
mod odd;
mod recurrent;
mod refusals;
mod training;
