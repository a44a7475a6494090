//! `cargo xtask reproduce-figure4`: new portraits of persons without training images; and
//! `reproduce-figure5`: interpolations between persons, with the same runs.

use anyhow::Result;
use pixelcnn_system::counted;

use crate::experiment::format::with_commas;
use crate::experiment::{
    Experiment, ExperimentRunner, Page, Preset, Run, Split, Table, Verification, likelihood_table,
};

pub(crate) const FIGURE_4: Experiment<'static> = Experiment {
    name: "figure4",
    folder: "figure4",
    presets: &[Preset::Smoke, Preset::Quick, Preset::Faces, Preset::Paper],
    report: &portraits,
};

pub(crate) const FIGURE_5: Experiment<'static> = Experiment {
    name: "figure5",
    report: &interpolations,
    ..FIGURE_4
};

fn portraits(runner: &mut ExperimentRunner<'_>) -> Result<Page> {
    let [unconditional] = runner.read_runs(["unconditional"])?;
    let (embedding, portraits) = train(runner)?;
    runner.train(&unconditional)?;
    let verification: Verification = runner.evaluate(&embedding)?;
    let without = runner.likelihood(&unconditional, Split::Test)?;
    let with = runner.shuffled_likelihood(&portraits)?;
    let mut command = runner.command_on_data("sample", &portraits, Split::Test);
    command.args(["--index", &persons(runner, &verification)]);
    let count = runner.preset().smoke_or(1, 8);
    command.args(["--count", &count.to_string()]);
    command.arg("--show-condition");
    let samples = counted(count, "sample");
    let caption =
        format!("Each row: a test image of another person, then {samples} given its embedding");
    let picture = runner.draw(&[&portraits, &embedding], "samples", command, caption)?;
    Ok(Page {
        title: "Figure 4, new portraits of unseen persons".to_owned(),
        notes: vec![note(&portraits, &verification)],
        tables: vec![
            table(&verification),
            likelihood_table(&[("Unconditional", &without), ("Given the embedding", &with)]),
        ],
        headline: with.headline("Given the embedding of the image, not a likelihood"),
        pictures: vec![picture],
        ..Page::default()
    })
}

fn interpolations(runner: &mut ExperimentRunner<'_>) -> Result<Page> {
    let (embedding, portraits) = train(runner)?;
    let verification: Verification = runner.evaluate(&embedding)?;
    let mut command = runner.command_on_data("interpolate", &portraits, Split::Test);
    command.args(["--index", &persons(runner, &verification)]);
    let steps = runner.preset().smoke_or(2, 9);
    command.args(["--steps", &steps.to_string()]);
    let caption = format!(
        "Each row: a test image, {steps} points on the line from its embedding to that of \
         another person's image, drawn with the same random numbers, and that image"
    );
    let picture = runner.draw(&[&portraits, &embedding], "interpolation", command, caption)?;
    Ok(Page {
        title: "Figure 5, interpolations between embeddings".to_owned(),
        notes: vec![note(&portraits, &verification)],
        headline: format!("{steps} points on each line"),
        pictures: vec![picture],
        ..Page::default()
    })
}

/// Trains the embedding network and the model conditioned on it.
fn train(runner: &mut ExperimentRunner<'_>) -> Result<(Run, Run)> {
    let [embedding, portraits] = runner.read_runs(["embedding", "portraits"])?;
    runner.train(&embedding)?;
    runner.train_with(&portraits, Some(&embedding))?;
    Ok((embedding, portraits))
}

/// The first test image of several persons.
fn persons(runner: &ExperimentRunner<'_>, verification: &Verification) -> String {
    let first = verification.first_of_each_label.iter();
    let first = first.take(runner.preset().smoke_or(2, 8));
    let first: Vec<_> = first.map(ToString::to_string).collect();
    first.join(",")
}

/// The note about the data.
fn note(portraits: &Run, verification: &Verification) -> String {
    let seen = match verification.labels_trained_on {
        0 => "No person of the test images is in the training images.".to_owned(),
        seen => format!("**{seen} persons of the test images are in the training images.**"),
    };
    format!(
        "The paper's portraits come from Flickr and are not published; the paper gives no numbers. \
         Here: {}, where each label is a person; with emoji, a person is one emoji in all its skin \
         tones. {seen} **These images show the method, not the paper's result.**",
        portraits.images()
    )
}

fn table(verification: &Verification) -> Table {
    let mut table = Table::new(
        "Verification with the embedding: do two test images show the same person?",
        ["Measure", "Value", "Chance"],
    );
    let pairs = with_commas(verification.pairs);
    for (measure, value) in [
        ("Area under the curve", verification.area_under_curve),
        (
            "Accuracy at the best threshold of the validation persons",
            verification.accuracy,
        ),
    ] {
        table.rows.push(vec![
            format!(
                "{measure} ({pairs} pairs of {} images)",
                verification.images
            ),
            format!("{value:.3}"),
            "0.500".to_owned(),
        ]);
    }
    table
}
