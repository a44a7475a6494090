//! A device computes what the CPU computes: the tables of layers and models, updates, a
//! training run, and files.
//!
//! `PIXELCNN_DEVICE` names the device: `cuda:N`, `metal`, or `cpu` for candle's operations on
//! the CPU, which tests these tests. Without it they are skipped, and say so.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod compare;
mod models;
mod muon;
mod step;
mod training;
