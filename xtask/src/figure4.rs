//! `cargo xtask reproduce-figure4`: new portraits of persons of whom the
//! training saw no image.

use anyhow::Result;

use crate::experiment::format::{counted, grouped};
use crate::experiment::{
    Experiment, Laboratory, Page, Preset, Run, Split, Table, Verification, likelihoods,
};

/// Figure 5 shares its runs.
pub const FOLDER: &str = "figure4";

/// Those of figure 5 as well.
pub const PRESETS: &[Preset] = &[Preset::Smoke, Preset::Quick, Preset::Faces, Preset::Paper];

pub const FIGURE_4: Experiment<'static> = Experiment {
    name: "figure4",
    folder: FOLDER,
    presets: PRESETS,
    report: &report,
};

fn report(laboratory: &mut Laboratory<'_>) -> Result<Page> {
    let [unconditional] = laboratory.runs(["unconditional"])?;
    let (embedding, portraits) = train(laboratory)?;
    laboratory.train(&unconditional)?;
    let verification: Verification = laboratory.evaluate(&embedding)?;
    let without = laboratory.likelihood(&unconditional, Split::Test)?;
    let with = laboratory.shuffled(&portraits)?;
    let mut command = laboratory.on_data("sample", &portraits, Split::Test);
    command.args(["--index", &persons(laboratory, &verification)]);
    let count = laboratory.preset().count(1, 8);
    command.args(["--count", &count.to_string()]);
    command.arg("--show-condition");
    let samples = counted(count, "sample");
    let caption = format!(
        "Each row: a test image, each of another person, then {samples} given its embedding"
    );
    let picture = laboratory.picture(&[&portraits, &embedding], "samples", command, caption)?;
    Ok(Page {
        title: "Figure 4, new portraits of unseen persons".to_owned(),
        notes: vec![note(&portraits, &verification)],
        tables: vec![
            table(&verification),
            likelihoods(&[("Unconditional", &without), ("Given the embedding", &with)]),
        ],
        headline: with.headline("Given the embedding of the image, no likelihood of it"),
        pictures: vec![picture],
        ..Page::default()
    })
}

/// Trains the embedding, and the model that is given it.
pub fn train(laboratory: &mut Laboratory<'_>) -> Result<(Run, Run)> {
    let [embedding, portraits] = laboratory.runs(["embedding", "portraits"])?;
    laboratory.train(&embedding)?;
    laboratory.train_with(&portraits, Some(&embedding))?;
    Ok((embedding, portraits))
}

/// The first test image of each of some persons.
pub fn persons(laboratory: &Laboratory<'_>, verification: &Verification) -> String {
    let first = verification.first_of_each_label.iter();
    let first = first.take(laboratory.preset().count(2, 8));
    let first: Vec<_> = first.map(ToString::to_string).collect();
    first.join(",")
}

/// What the data are.
pub fn note(portraits: &Run, verification: &Verification) -> String {
    let seen = match verification.labels_trained_on {
        0 => "No person of the test images was seen in training.".to_owned(),
        seen => format!("**{seen} persons of the test images were seen in training.**"),
    };
    format!(
        "The paper's portraits come from Flickr and are not published, and it gives no number. \
         Here: {}, where each label stands for a person: with emoji, one emoji in all its skin \
         tones. {seen} **These images show the method, not the paper's result.**",
        portraits.images()
    )
}

fn table(verification: &Verification) -> Table {
    let mut table = Table::new(
        "The embedding tells whether two test images are of one person",
        ["Measure", "Value", "Chance"],
    );
    let pairs = grouped(verification.pairs);
    for (measure, value) in [
        ("Area under the curve", verification.area_under_curve),
        (
            "Accuracy at the threshold that is best on validation persons",
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
