//! `cargo xtask reproduce-table1`: the models of table 1, on CIFAR-10 or other
//! data.

mod paper;
mod table;

use anyhow::{Result, bail};
use serde_json::json;

use crate::experiment::{Experiment, ExperimentRunner, Page, Preset, Split};
use table::{Results, Table};

/// The models of the table that are implemented here, in the order in which they run.
pub(crate) const NAMES: [&str; 7] = [
    "uniform",
    "gaussian",
    "pixelcnn",
    "pixelrnn-row-lstm",
    "pixelrnn-diagonal-bilstm",
    "gated-pixelcnn",
    "gated-pixelcnn-ours",
];

pub(crate) const TABLE_1: Experiment<'static> = Experiment {
    name: "table1",
    folder: "table1",
    presets: &[Preset::Smoke, Preset::Quick, Preset::Cpu, Preset::Paper],
    report: &report,
};

fn report(runner: &mut ExperimentRunner<'_>) -> Result<Page> {
    let runs = runner.read_runs(NAMES)?;
    let first = &runs[0];
    if let Some(other) = runs
        .iter()
        .find(|run| (run.seed, &run.data) != (first.seed, &first.data))
    {
        let (config, seed, data) = (other.config.display(), other.seed, &other.data);
        bail!(
            "{config}: seed {seed} and data `{data}` differ from {} and `{}`: the numbers cannot \
             be in one table",
            first.seed,
            first.data
        );
    }
    let mut measured = Vec::new();
    for run in &runs {
        let training = runner.train(run)?;
        let test = runner.likelihood(run, Split::Test)?;
        let train = runner.likelihood(run, Split::Train)?;
        measured.push((
            run.name,
            Results {
                training,
                test,
                train,
            },
        ));
    }
    let [_, _, networks @ ..] = &runs;
    let count = runner.preset().smoke_or(2, 16);
    let samples = networks.iter().map(|run| runner.draw_samples(run, count));
    let mut pictures = samples.collect::<Result<Vec<_>>>()?;
    // The index shows the samples of the best model.
    pictures.reverse();
    let table = Table::new(first.data.clone(), first.seed, &measured);
    let mut page = table::page(&table, &measured);
    page.pictures = pictures;
    page.curves = networks.iter().rev().map(|run| runner.curve(run)).collect();
    page.headline = measured.last().map_or_else(String::new, |(_, it)| {
        it.test
            .headline(&format!("Gated PixelCNN, ours, on {}", table.data))
    });
    page.numbers = [
        ("data".to_owned(), json!(table.data)),
        ("seed".to_owned(), json!(table.seed)),
        ("rows".to_owned(), json!(table.rows)),
    ]
    .into_iter()
    .collect();
    Ok(page)
}

#[cfg(test)]
mod tests;
