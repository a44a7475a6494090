//! `cargo xtask reproduce-figure4`: new portraits of persons of whom the
//! training saw no image.

use anyhow::Result;

use crate::experiment::format::grouped;
use crate::experiment::{
    Experiment, Laboratory, Page, Preset, Run, Split, Table, Verification, likelihoods,
};

/// Figure 5 shares its runs.
pub const FOLDER: &str = "figure4";

pub const FIGURE_4: Experiment<'static> = Experiment {
    name: "figure4",
    folder: FOLDER,
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
    command.args(["--images", &persons(laboratory.preset(), 8)]);
    let count = laboratory.preset().count(1, 8);
    command.args(["--count", &count.to_string()]);
    command.arg("--show-given");
    let caption = "Each row: an image of a person not seen in training, then samples given its \
                   embedding";
    let picture = laboratory.picture(
        &[&portraits, &embedding],
        "samples",
        command,
        caption.to_owned(),
    )?;
    Ok(Page {
        title: "Figure 4, new portraits of unseen persons".to_owned(),
        notes: vec![note(&portraits)],
        tables: vec![
            table(&verification),
            likelihoods(&[("Unconditional", &without), ("Given the embedding", &with)]),
        ],
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

/// Test images of so many persons: as far apart as one person has images.
pub fn persons(preset: Preset, count: usize) -> String {
    let images = match preset {
        Preset::Faces => 10,
        _ => 6,
    };
    // Few persons of the small set of faces are left for the test.
    let count = preset.count(2, if preset == Preset::Faces { 4 } else { count });
    crate::experiment::format::list(count, images)
}

/// What the data are.
pub fn note(portraits: &Run) -> String {
    format!(
        "The paper's portraits come from Flickr and are not published, and it gives no number. \
         Here: `{}`, split by person. **It shows the method, not the paper's result.**",
        portraits.data
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
            "Accuracy, threshold of the validation persons",
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
