//! The table as `table1.json` holds it.

use serde::Serialize;

use super::paper::{self, Published};
use super::plan::{Plan, Preset};
use super::record::Results;

/// Table 1, published and measured, in bits/dim.
#[derive(Debug, Serialize)]
pub struct Table {
    #[serde(serialize_with = "as_text")]
    pub preset: Preset,
    pub data: String,
    pub seed: u64,
    pub rows: Vec<Row>,
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
    pub test_std_err: f64,
    pub train: f64,
    pub parameters: u64,
    pub images_seen: u64,
    /// Of training.
    pub seconds: f64,
}

impl Table {
    /// Puts the results of the runs, by name, beside the paper's.
    pub fn new(plan: &Plan, results: &[(&str, Results)]) -> Self {
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
            preset: plan.preset,
            data: plan.data.clone(),
            seed: plan.seed,
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

fn as_text<S: serde::Serializer>(preset: &Preset, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(preset)
}
