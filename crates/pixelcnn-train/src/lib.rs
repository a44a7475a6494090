#![doc = include_str!("../README.md")]
//!
//! [`train`] takes a [`RunConfig`], a data set and a folder:
//!
//! | file | content |
//! |---|---|
//! | `run.toml` | the resolved configuration; another one is refused |
//! | `data.json` | a description of the training data; other data are refused |
//! | `metrics.jsonl` | a line every few steps |
//! | `curve.svg` | the same as a plot |
//! | `last/` | the averaged weights as a model, and `training.safetensors`: everything that the next step needs |
//! | `best/` | the model with the best validation score |
//! | `summary.json` | the result; exists only if the run is finished |

pub mod average;
mod card;
mod classes;
mod classification;
mod classify;
pub mod clip;
mod conditioned_dataset;
mod config;
#[cfg(feature = "curve")]
pub mod curve;
mod differentiation;
mod error;
mod evaluate;
mod extension;
mod folder;
mod inputs;
mod lock;
mod loss;
mod measure;
pub mod metrics;
mod mistake;
mod muon;
mod network_run;
mod objective;
pub mod optimiser;
mod outcome;
mod reconstruction;
mod record;
mod run;
pub mod schedule;
mod state;
mod tensors;
mod verification;
mod warm_start;

pub use card::{ModelCard, Publication};
pub use classification::mistakes;
pub use classify::{ClassLogs, balanced_mean, classify, mean_and_error};
pub use conditioned_dataset::{ConditionedDataset, read_condition_file};
pub use config::{ConditionFiles, RunConfig, Training};
pub use differentiation::Differentiation;
pub use error::{Result, TrainError};
pub use evaluate::{condition_vectors, evaluate};
pub use loss::Loss;
pub use measure::{Measure, Provenance};
pub use outcome::{Outcome, Progress, Summary};
pub use reconstruction::squared_errors;
pub use record::{check_model, condition_file_difference, data_difference};
pub use run::train;
pub use tensors::collect_gradients;
pub use verification::{Pairs, embeddings};

/// The mean of some numbers; NaN if there are none.
fn mean(numbers: &[f64]) -> f64 {
    numbers.iter().sum::<f64>() / numbers.len() as f64
}
