//! The table in `table1.json` and on the page.

use std::collections::BTreeSet;

use serde::Serialize;

use super::paper::{self, Published};
use crate::experiment::format::{duration, plus_minus, published, with_commas};
use crate::experiment::{self, Likelihood, Page, Training};

/// Table 1, published and measured, in bits/dim.
pub(super) struct Table {
    pub data: String,
    pub seed: u64,
    pub rows: Vec<Row>,
}

/// The results of one model.
pub(super) struct Results {
    pub training: Training,
    pub test: Likelihood,
    pub train: Likelihood,
}

/// One model.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    pub model: &'static str,
    /// `None` for a model that the paper does not have.
    pub paper: Option<Published>,
    /// `None` for models that are not implemented here.
    pub measured: Option<Measured>,
}

/// The numbers measured here.
#[derive(Debug, Serialize)]
pub(super) struct Measured {
    pub test: f64,
    pub test_std_err: Option<f64>,
    pub train: f64,
    pub parameters: u64,
    pub images_seen: u64,
    /// Seconds of training.
    pub seconds: f64,
}

impl Table {
    /// Combines the results of the runs, by name, with the paper's.
    pub(super) fn new(data: String, seed: u64, results: &[(&str, Results)]) -> Self {
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

/// The table with explanations.
pub(super) fn page(table: &Table, results: &[(&str, Results)]) -> Page {
    let test = counts(results.iter().map(|(_, it)| it.test.images));
    let train = counts(results.iter().map(|(_, it)| it.train.images));
    let header = [
        "Model",
        "Paper: CIFAR-10 test (train)",
        &format!("Measured: test ({test} images)"),
        &format!("Measured: train ({train} images)"),
        "Parameters",
        "Images seen",
        "Training time",
    ];
    let mut cells_of_all = experiment::Table::new("Bits/dim", header);
    cells_of_all.rows = table.rows.iter().map(cells).collect();
    Page {
        title: "Table 1, bits/dim".to_owned(),
        notes: notes(table),
        tables: vec![cells_of_all],
        ..Page::default()
    }
}

fn notes(table: &Table) -> Vec<String> {
    let Table { data, seed, .. } = table;
    let mut notes = vec![format!(
        "The paper's column is for CIFAR-10: test set, and training set in brackets. The \
         measured columns are for `{data}`, seed {seed}. `published only`: the model is not \
         implemented here. `Gated PixelCNN, ours`: the same network with another distribution, \
         optimiser, first layer and head. The Gaussian is a density of real numbers: its measured number is an \
         upper bound of that of the levels."
    )];
    if !is_cifar10(data) {
        notes.push(format!(
            "**Numbers on `{data}` are not CIFAR-10 numbers: the measured columns and the paper's \
             cannot be compared.**"
        ));
    }
    notes
}

fn is_cifar10(data: &str) -> bool {
    data == "cifar10" || data.starts_with("cifar10:")
}

fn counts(images: impl Iterator<Item = u64>) -> String {
    let distinct: BTreeSet<u64> = images.collect();
    let texts: Vec<String> = distinct.into_iter().map(with_commas).collect();
    texts.join(" or ")
}

fn cells(row: &Row) -> Vec<String> {
    let paper = row.paper.map(|it| published(it.test, it.train));
    let paper = paper.unwrap_or_default();
    let mut cells = vec![row.model.to_owned(), paper];
    match &row.measured {
        None => {
            cells.push("published only".to_owned());
            cells.resize(7, String::new());
        }
        Some(measured) => cells.extend([
            plus_minus(measured.test, measured.test_std_err),
            format!("{:.3}", measured.train),
            with_commas(measured.parameters),
            with_commas(measured.images_seen),
            duration(measured.seconds),
        ]),
    }
    cells
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_depend_on_the_data() {
        let notes = |data: &str| {
            let (data, rows) = (data.to_owned(), Vec::new());
            let seed = 3;
            notes(&Table { data, seed, rows }).join("\n")
        };
        let paper = notes("cifar10:/d");
        assert!(paper.contains("`cifar10:/d`, seed 3"));
        assert!(!paper.contains("**"), "{paper}");
        let other = notes("cifar10-like");
        assert!(other.contains("Numbers on `cifar10-like` are not CIFAR-10 numbers"));
    }
}
