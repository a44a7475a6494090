//! `cargo xtask reproduce-cost`: the time that the recurrent and the convolutional networks take
//! for the same bits/dim (sections 2 and 3.1).

mod plot;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::experiment::format::{duration, plus_minus, with_commas};
use crate::experiment::{
    Experiment, ExperimentRunner, Likelihood, Page, Picture, Preset, Run, Split, Table, Training,
};
use plot::Curve;

pub(crate) const COST: Experiment<'static> = Experiment {
    name: "cost",
    folder: "cost",
    presets: Preset::COMMON,
    report: &report,
};

/// The runs, with the names of their models.
const NAMES: [(&str, &str); 4] = [
    ("pixelcnn", "PixelCNN"),
    ("gated-pixelcnn", "Gated PixelCNN"),
    ("pixelrnn-row-lstm", "PixelRNN (Row LSTM)"),
    ("pixelrnn-diagonal-bilstm", "PixelRNN (Diagonal BiLSTM)"),
];

/// `pixelcnn sample`.
#[derive(Debug, Default, Deserialize)]
struct Sampling {
    seconds: f64,
}

/// The results of one model.
#[derive(Debug, Serialize)]
struct Row {
    model: &'static str,
    parameters: u64,
    steps: u64,
    seconds_per_step: f64,
    /// Seconds of training.
    seconds: f64,
    bits_per_dim: f64,
    std_err: Option<f64>,
    /// Seconds of training until the validation score was as good as the best of the gated
    /// network; `None` if it never was.
    seconds_to_match: Option<f64>,
    sampling_seconds_per_image: f64,
    /// Most bytes of the process that trained, its data included.
    peak_memory: Option<u64>,
}

fn report(runner: &mut ExperimentRunner<'_>) -> Result<Page> {
    let runs = runner.read_runs(NAMES.map(|(name, _)| name))?;
    let mut trained = Vec::new();
    for run in &runs {
        let training = runner.train(run)?;
        let test = runner.likelihood(run, Split::Test)?;
        let sampling = sampling(runner, run)?;
        trained.push((training, test, sampling));
    }
    let curves = runs
        .iter()
        .zip(NAMES)
        .map(|(run, (_, model))| Curve::read(model, &run.folder))
        .collect::<Result<Vec<_>>>()?;
    let target = curves.get(1).and_then(Curve::best);
    let rows: Vec<_> = NAMES
        .into_iter()
        .zip(&trained)
        .zip(&curves)
        .map(|(((_, model), results), curve)| Row::new(model, results, curve.time_to(target)))
        .collect();
    let mut page = page(&rows, &runs[0].images());
    if let Some(svg) = plot::draw(&curves) {
        let file = "cost.svg".to_owned();
        let path = runner.out().join(&file);
        std::fs::write(&path, svg).with_context(|| path.display().to_string())?;
        page.pictures.push(Picture {
            file,
            caption: "Validation bits/dim against seconds of training".to_owned(),
            rows: Vec::new(),
        });
    }
    Ok(page)
}

/// Seconds for one of several samples that are drawn together.
fn sampling(runner: &mut ExperimentRunner<'_>, run: &Run) -> Result<f64> {
    let count = runner.preset().smoke_or(2, 16);
    let mut command = runner.command_for("sample", run);
    command.args(["--count", &count.to_string()]);
    command.arg("--out").arg(run.folder.join("samples.png"));
    let sampling: Sampling = runner.run_or_reuse(&[run], "samples", command)?;
    Ok(sampling.seconds / count as f64)
}

impl Row {
    fn new(
        model: &'static str,
        (training, test, sampling): &(Training, Likelihood, f64),
        seconds_to_match: Option<f64>,
    ) -> Self {
        Self {
            model,
            parameters: training.parameters,
            steps: training.steps,
            seconds_per_step: training.seconds / training.steps.max(1) as f64,
            seconds: training.seconds,
            bits_per_dim: test.bits_per_dim,
            std_err: test.std_err,
            seconds_to_match,
            sampling_seconds_per_image: *sampling,
            peak_memory: training.peak_memory,
        }
    }
}

fn page(rows: &[Row], data: &str) -> Page {
    let mut table = Table::new(
        "Cost of the same bits/dim",
        [
            "Model",
            "Parameters",
            "Updates",
            "ms an update",
            "Training time",
            "Test bits/dim",
            "Time to the gated network's best validation score",
            "Sampling, s an image",
            "Peak memory of training, MB",
        ],
    );
    for row in rows {
        table.rows.push(vec![
            row.model.to_owned(),
            with_commas(row.parameters),
            with_commas(row.steps),
            format!("{:.0}", 1000.0 * row.seconds_per_step),
            duration(row.seconds),
            plus_minus(row.bits_per_dim, row.std_err),
            row.seconds_to_match
                .map_or_else(|| "not reached".to_owned(), duration),
            format!("{:.3}", row.sampling_seconds_per_image),
            row.peak_memory
                .map_or_else(String::new, |bytes| with_commas(bytes / 1_000_000)),
        ]);
    }
    let mut page = Page {
        title: "Cost of recurrent and convolutional networks".to_owned(),
        notes: vec![format!(
            "Networks of about as many parameters on {data}, with the same optimiser, batch and \
             number of updates. The paper says that the Gated PixelCNN matches the PixelRNN in less \
             than half of its training time."
        )],
        headline: headline(rows),
        tables: vec![table],
        ..Page::default()
    };
    page.numbers.insert("rows".to_owned(), json!(rows));
    page
}

/// How long the best recurrent network and the gated one trained.
fn headline(rows: &[Row]) -> String {
    let text = |row: &Row| {
        format!(
            "{}: {:.3} bits/dim in {}",
            row.model,
            row.bits_per_dim,
            duration(row.seconds)
        )
    };
    let recurrent = rows.iter().skip(2);
    let best = recurrent.min_by(|a, b| a.bits_per_dim.total_cmp(&b.bits_per_dim));
    let texts = rows.get(1).into_iter().chain(best).map(text);
    texts.collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_says_who_reached_the_score() {
        let row = |model, bits_per_dim, seconds_to_match| Row {
            model,
            parameters: 1000,
            steps: 10,
            seconds_per_step: 0.25,
            seconds: 2.5,
            bits_per_dim,
            std_err: None,
            seconds_to_match,
            sampling_seconds_per_image: 0.5,
            peak_memory: Some(1_234_000_000),
        };
        let rows = [
            row("one", 5.0, None),
            row("gated", 4.0, Some(2.0)),
            row("row", 4.5, None),
            row("diagonal", 3.9, Some(1.0)),
        ];
        let page = page(&rows, "`noise`");
        assert_eq!(page.tables[0].rows[0][3], "250");
        assert_eq!(page.tables[0].rows[0][6], "not reached");
        assert_eq!(page.tables[0].rows[0][8], "1,234");
        assert!(
            page.headline.starts_with("gated: 4.000"),
            "{}",
            page.headline
        );
        assert!(
            page.headline.contains("diagonal: 3.900"),
            "{}",
            page.headline
        );
    }
}
