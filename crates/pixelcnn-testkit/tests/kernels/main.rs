//! The CUDA kernels of `pixelcnn-cuda`, compiled as C++ and run on the CPU, give what the
//! portable operations or formulas in f64 give: values, gradients, and sizes that do not fill a
//! block of threads.
//!
//! They need a C++ compiler; without one they are skipped, and say so. A device is not needed:
//! what a device may still do otherwise is the rounding of its exp, tanh and log.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod columns;
mod condition;
mod cross_entropy;
mod fibres;
mod gate;
mod host;
mod mixture;
mod muon;
mod step;
mod update;
