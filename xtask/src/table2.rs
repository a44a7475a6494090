//! `cargo xtask reproduce-table2`: the Gated PixelCNN on ImageNet, or what
//! stands for it.

use std::path::Path;

use anyhow::Result;

use crate::experiment::format::{grouped, plus_minus, published};
use crate::experiment::{
    self, Experiment, Laboratory, Likelihood, Page, Preset, Run, Split, Table,
};

/// The Gated PixelCNN on images of 32x32 and 64x64, beside table 2
///
/// Trains on --data and on --data64, the latter only where it is given or the
/// preset is paper, and evaluates on the test and on 512 training images.
// This is also the text of `--help`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    common: experiment::Arguments,
    /// Images of 64x64, for example records:TRAIN,test=FILE,side=64 or imagenet64:DIR
    #[arg(long, value_name = "SPEC")]
    data64: Option<String>,
}

/// The paper's rows at both sizes: test and training set, bits/dim.
const PUBLISHED: [(&str, [(f64, f64); 2]); 3] = [
    ("Conv Draw", [(4.40, 4.35), (4.10, 4.04)]),
    ("PixelRNN", [(3.86, 3.83), (3.63, 3.57)]),
    ("Gated PixelCNN", [(3.83, 3.77), (3.57, 3.48)]),
];

pub const TABLE_2: Experiment<'static> = Experiment {
    name: "table2",
    folder: "table2",
    presets: Preset::COMMON,
    report: &|laboratory| report(laboratory, None),
};

/// Carries the task out.
///
/// # Errors
/// As [`experiment::run`].
pub fn run(root: &Path, arguments: &Arguments) -> Result<()> {
    let data64 = arguments.data64.as_deref();
    let experiment = Experiment {
        report: &|laboratory: &mut Laboratory<'_>| report(laboratory, data64),
        ..TABLE_2
    };
    experiment::run(root, &arguments.common, &experiment)
}

pub fn report(laboratory: &mut Laboratory<'_>, data64: Option<&str>) -> Result<Page> {
    let [small] = laboratory.runs(["gated-pixelcnn-32"])?;
    let mut page = Page {
        title: "Table 2, ImageNet, bits/dim".to_owned(),
        notes: vec![
            "The paper's column is as published: ImageNet, the validation set, the training set \
             in brackets. `published only`: there is no such model here, or no data were given."
                .to_owned(),
        ],
        ..Page::default()
    };
    // No images of 64x64 come with the workspace.
    let large = match data64.is_some() || laboratory.preset() == Preset::Paper {
        true => laboratory
            .runs_on(data64, ["gated-pixelcnn-64"])?
            .into_iter()
            .next(),
        false => None,
    };
    for (index, (side, run)) in [(32, Some(small)), (64, large)].into_iter().enumerate() {
        let measured = match &run {
            None => None,
            Some(run) => Some(measure(laboratory, run)?),
        };
        if let (Some(run), Some([test, _])) = (&run, &measured) {
            let count = laboratory.preset().count(2, 16);
            page.pictures.push(laboratory.samples(run, count)?);
            page.pictures.push(laboratory.curve(run));
            page.headline = test.headline(&format!("Gated PixelCNN on {}", run.data));
        }
        page.notes.push(note(side, run.as_ref()));
        page.tables.push(table(side, index, measured.as_ref()));
    }
    Ok(page)
}

fn measure(laboratory: &mut Laboratory<'_>, run: &Run) -> Result<[Likelihood; 2]> {
    laboratory.train(run)?;
    Ok([
        laboratory.likelihood(run, Split::Test)?,
        laboratory.likelihood(run, Split::Train)?,
    ])
}

fn note(side: u64, run: Option<&Run>) -> String {
    let Some(Run { data, .. }) = run else {
        return format!("{side}x{side}: no data were given (`--data{side}`).");
    };
    if data.starts_with(&format!("imagenet{side}")) {
        return format!(
            "{side}x{side}: `{data}`. **ImageNet was scaled down in two ways that cannot be \
             compared: the paper's set has the files `train_{side}x{side}` and \
             `valid_{side}x{side}` (49,999 validation images), the later one comes from a box \
             filter, as batches of NumPy arrays. Which one these files are decides whether the \
             columns can be compared.**"
        );
    }
    format!(
        "{side}x{side}: **a run on `{data}` is not an ImageNet number: the measured columns and \
         the paper's cannot be compared.**"
    )
}

fn table(side: u64, index: usize, measured: Option<&[Likelihood; 2]>) -> Table {
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
    for (model, paper) in PUBLISHED {
        let (test, train) = paper[index];
        let mut row = vec![model.to_owned(), published(test, Some(train))];
        match measured.filter(|_| model == "Gated PixelCNN") {
            None => {
                row.push("published only".to_owned());
                row.resize(6, String::new());
            }
            Some([test, train]) => row.extend([
                plus_minus(test.bits_per_dim, test.std_err),
                grouped(test.images),
                format!("{:.3}", train.bits_per_dim),
                grouped(train.images),
            ]),
        }
        table.rows.push(row);
    }
    table
}
