//! Generic checks that walk the tables of layers and models, and the exact
//! oracles on top.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod audit;
mod conditions;
mod engine;
mod fuzz;
mod golden;
mod layers;
mod likelihood;
mod models;
mod odd;
mod refusals;
mod training;
