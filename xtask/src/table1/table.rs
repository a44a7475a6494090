//! The table as `table1.json` holds it.

use serde::Serialize;

use super::paper::{self, Published};
use crate::experiment::{Likelihood, Training};

/// Table 1, published and measured, in bits/dim.
pub struct Table {
    pub data: String,
    pub seed: u64,
    pub rows: Vec<Row>,
}

/// What one model gave.
pub struct Results {
    pub training: Training,
    pub test: Likelihood,
    pub train: Likelihood,
}

/// One model.
#[derive(Debug, Serialize)]
pub struct Row {
    pub model: &'static str,
    pub paper: Published,
    /// `None` for models that are not built here.
    pub measured: Option<Measured>,
}

/// What was measured here.
#[derive(Debug, Serialize)]
pub struct Measured {
    pub test: f64,
    pub test_std_err: Option<f64>,
    pub train: f64,
    pub parameters: u64,
    pub images_seen: u64,
    /// Of training.
    pub seconds: f64,
}

impl Table {
    /// Puts the results of the runs, by name, beside the paper's.
    pub fn new(data: String, seed: u64, results: &[(&str, Results)]) -> Self {
        let measured = |name| {
            let found = results.iter().find(|(other, _)| *other == name);
            found.map(|(_, results)| Measured::from(results))
        };
        let rows = paper::ROWS.iter().map(|row| Row {
            model: row.model,
            paper: row.paper,
            measured: row.run.and_then(measured),
        });
        Self {
            data,
            seed,
            rows: rows.collect(),
        }
    }
}

impl From<&Results> for Measured {
    fn from(results: &Results) -> Self {
        Self {
            test: results.test.bits_per_dim,
            test_std_err: results.test.std_err,
            train: results.train.bits_per_dim,
            parameters: results.training.parameters,
            images_seen: results.training.images_seen,
            seconds: results.training.seconds,
        }
    }
}
