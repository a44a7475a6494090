//! `cargo xtask reproduce-table2`: the Gated PixelCNN and the PixelRNN on ImageNet or other data.

use std::path::Path;

use anyhow::Result;

use crate::experiment::format::{plus_minus, published, with_commas};
use crate::experiment::{
    self, Experiment, ExperimentRunner, Likelihood, Page, Preset, Run, Split, Table,
};

/// Table 2: the Gated PixelCNN on images of 32x32 and 64x64, the PixelRNN on those of 32x32
///
/// Trains on --data, and on --data64 if that is given or the preset is paper; evaluates
/// on the test images and on 512 training images.
// This is also the text of `--help`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    common: experiment::Arguments,
    /// Images of 64x64, for example records:TRAIN,test=FILE,side=64 or imagenet64:DIR
    #[arg(long, value_name = "SPEC")]
    data64: Option<String>,
}

/// One row of the table.
struct Row {
    model: &'static str,
    /// The paper's numbers at both sizes, if it has the model: test and training set, in bits/dim.
    paper: Option<[(f64, f64); 2]>,
    /// The runs here at both sizes, if there are any.
    runs: [Option<&'static str>; 2],
}

/// The PixelRNN behind the paper's numbers is the Row LSTM.
const ROWS: [Row; 4] = [
    Row {
        model: "Conv Draw",
        paper: Some([(4.40, 4.35), (4.10, 4.04)]),
        runs: [None, None],
    },
    Row {
        model: "PixelRNN (Row LSTM)",
        paper: Some([(3.86, 3.83), (3.63, 3.57)]),
        runs: [Some("pixelrnn-row-lstm-32"), None],
    },
    Row {
        model: "PixelRNN (Diagonal BiLSTM)",
        paper: None,
        runs: [Some("pixelrnn-diagonal-bilstm-32"), None],
    },
    Row {
        model: "Gated PixelCNN",
        paper: Some([(3.83, 3.77), (3.57, 3.48)]),
        runs: [Some("gated-pixelcnn-32"), Some("gated-pixelcnn-64")],
    },
];

pub(crate) const TABLE_2: Experiment<'static> = Experiment {
    name: "table2",
    folder: "table2",
    presets: Preset::COMMON,
    report: &|runner| report(runner, None),
};

/// Runs the task.
///
/// # Errors
/// As [`experiment::run`].
pub(crate) fn run(root: &Path, arguments: &Arguments) -> Result<()> {
    let data64 = arguments.data64.as_deref();
    let experiment = Experiment {
        report: &|runner: &mut ExperimentRunner<'_>| report(runner, data64),
        ..TABLE_2
    };
    experiment::run(root, &arguments.common, &experiment)
}

pub(crate) fn report(runner: &mut ExperimentRunner<'_>, data64: Option<&str>) -> Result<Page> {
    let small = runner.read_runs([
        "pixelrnn-row-lstm-32",
        "pixelrnn-diagonal-bilstm-32",
        "gated-pixelcnn-32",
    ])?;
    let mut page = Page {
        title: "Table 2, ImageNet, bits/dim".to_owned(),
        notes: vec![
            "The paper's column is as published, for ImageNet: validation set, and training set \
             in brackets. `published only`: the model is not implemented here, or no data were given."
                .to_owned(),
        ],
        ..Page::default()
    };
    // The workspace contains no images of 64x64.
    let large = match data64.is_some() || runner.preset() == Preset::Paper {
        true => Vec::from(runner.read_runs_on(data64, ["gated-pixelcnn-64"])?),
        false => Vec::new(),
    };
    for (index, (side, runs)) in [(32, Vec::from(small)), (64, large)].iter().enumerate() {
        let mut measured = Vec::new();
        for run in runs {
            let numbers = measure(runner, run)?;
            let count = runner.preset().smoke_or(2, 16);
            page.pictures.push(runner.draw_samples(run, count)?);
            page.curves.push(runner.curve(run));
            let [test, _] = &numbers;
            page.headline = test.headline(&format!("Gated PixelCNN on {}", run.data));
            measured.push((run.name, numbers));
        }
        page.notes.push(note(*side, runs.last()));
        page.tables.push(table(*side, index, &measured));
    }
    // The index shows the samples of the last run.
    page.pictures.reverse();
    Ok(page)
}

fn measure(runner: &mut ExperimentRunner<'_>, run: &Run) -> Result<[Likelihood; 2]> {
    runner.train(run)?;
    Ok([
        runner.likelihood(run, Split::Test)?,
        runner.likelihood(run, Split::Train)?,
    ])
}

fn note(side: u64, run: Option<&Run>) -> String {
    let Some(Run { data, .. }) = run else {
        return format!("{side}x{side}: no data were given (`--data{side}`).");
    };
    if data.starts_with(&format!("imagenet{side}")) {
        return format!(
            "{side}x{side}: `{data}`. **There are two versions of downsampled ImageNet, which cannot \
             be compared. The paper's version has the files `train_{side}x{side}` and \
             `valid_{side}x{side}` (49,999 validation images). The later version was made with a box \
             filter and has batches of NumPy arrays. The columns can be compared only for the paper's \
             version.**"
        );
    }
    format!(
        "{side}x{side}: **numbers on `{data}` are not ImageNet numbers: the measured columns and \
         the paper's cannot be compared.**"
    )
}

fn table(side: u64, index: usize, measured: &[(&str, [Likelihood; 2])]) -> Table {
    let mut table = Table::new(
        &format!("{side}x{side}, bits/dim"),
        [
            "Model",
            "Paper: ImageNet validation (train)",
            "Measured: test",
            "Images",
            "Measured: train",
            "Images",
        ],
    );
    for Row { model, paper, runs } in ROWS {
        let paper = paper.map(|paper| paper[index]);
        let paper = paper.map_or_else(String::new, |(test, train)| published(test, Some(train)));
        let mut row = vec![model.to_owned(), paper.clone()];
        let found = measured.iter().find(|(name, _)| runs[index] == Some(*name));
        match found {
            // There is nothing to say.
            None if paper.is_empty() => continue,
            None => {
                row.push("published only".to_owned());
                row.resize(6, String::new());
            }
            Some((_, [test, train])) => row.extend([
                plus_minus(test.bits_per_dim, test.std_err),
                with_commas(test.images),
                format!("{:.3}", train.bits_per_dim),
                with_commas(train.images),
            ]),
        }
        table.rows.push(row);
    }
    table
}
