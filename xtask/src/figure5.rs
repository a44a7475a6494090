//! `cargo xtask reproduce-figure5`: interpolation between persons.

use anyhow::Result;

use crate::experiment::{Experiment, Laboratory, Page, Split, Verification};
use crate::figure4;

pub const FIGURE_5: Experiment<'static> = Experiment {
    name: "figure5",
    folder: figure4::FOLDER,
    presets: figure4::PRESETS,
    report: &report,
};

fn report(laboratory: &mut Laboratory<'_>) -> Result<Page> {
    let (embedding, portraits) = figure4::train(laboratory)?;
    let verification: Verification = laboratory.evaluate(&embedding)?;
    let mut command = laboratory.on_data("interpolate", &portraits, Split::Test);
    command.args(["--index", &figure4::persons(laboratory, &verification)]);
    let steps = laboratory.preset().count(2, 9);
    command.args(["--steps", &steps.to_string()]);
    let caption = format!(
        "Each row: a test image, samples at {steps} points on the line from its embedding to that \
         of another person's image (with the same random numbers), and that image"
    );
    let picture =
        laboratory.picture(&[&portraits, &embedding], "interpolation", command, caption)?;
    Ok(Page {
        title: "Figure 5, interpolations between embeddings".to_owned(),
        notes: vec![figure4::note(&portraits, &verification)],
        headline: format!("{steps} points on each line"),
        pictures: vec![picture],
        ..Page::default()
    })
}
