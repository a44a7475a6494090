//! `cargo xtask reproduce-conditions`: the conditions that the paper proposes
//! and does not show, images (section 2.3) and captions (section 4).

use anyhow::Result;

use crate::experiment::format::{counted, list};
use crate::experiment::{
    Experiment, Laboratory, Page, Picture, Preset, Run, Split, Table, likelihoods,
};

pub const CONDITIONS: Experiment<'static> = Experiment {
    name: "conditions",
    folder: "conditions",
    presets: Preset::COMMON,
    report: &report,
};

/// Names of emoji, and the last two of none.
const CAPTIONS: [&str; 6] = [
    "SMILING FACE WITH SMILING EYES",
    "GREEN HEART",
    "Germany Flag",
    "RED APPLE",
    "BLUE APPLE",
    "GREEN CAT FACE",
];

fn report(laboratory: &mut Laboratory<'_>) -> Result<Page> {
    let images = laboratory.runs(["unconditional", "colourisation", "super-resolution"])?;
    // `--data` names the photographs; captions come with the configs' data alone.
    let captions = laboratory.runs_on(None, ["captions-unconditional", "captions"])?;
    for run in images.iter().chain(&captions) {
        laboratory.train(run)?;
    }
    let [unconditional, colourisation, super_resolution] = &images;
    let [without_captions, with_captions] = &captions;
    let mut tables = vec![given_images(laboratory, &images)?];
    let without = laboratory.likelihood(without_captions, Split::Test)?;
    let with = laboratory.shuffled(with_captions)?;
    let mut table = likelihoods(&[("Unconditional", &without), ("Given the caption", &with)]);
    table.caption = format!("{} of {}", table.caption, with_captions.images());
    tables.push(table);
    let mut pictures = vec![
        draw_given(laboratory, colourisation, "the image in grey")?,
        draw_given(laboratory, super_resolution, "the image shrunk by 4")?,
    ];
    for (index, caption) in CAPTIONS.iter().enumerate() {
        pictures.push(draw_captioned(laboratory, with_captions, index, caption)?);
    }
    Ok(Page {
        title: "Images and captions as conditions".to_owned(),
        notes: vec![format!(
            "The paper proposes both and shows neither: there is no published number. Here: {} \
             and {}.",
            unconditional.images(),
            with_captions.images()
        )],
        headline: with.headline("Given the caption"),
        tables,
        pictures,
        ..Page::default()
    })
}

fn given_images(laboratory: &mut Laboratory<'_>, runs: &[Run; 3]) -> Result<Table> {
    let [unconditional, colourisation, super_resolution] = runs;
    let without = laboratory.likelihood(unconditional, Split::Test)?;
    let grey = laboratory.shuffled(colourisation)?;
    let shrunk = laboratory.shuffled(super_resolution)?;
    let mut table = likelihoods(&[
        ("Unconditional", &without),
        ("Given the image in grey", &grey),
        ("Given the image shrunk by 4", &shrunk),
    ]);
    table.caption = format!("{} of {}", table.caption, unconditional.images());
    Ok(table)
}

fn draw_given(laboratory: &mut Laboratory<'_>, run: &Run, given: &str) -> Result<Picture> {
    let images = laboratory.preset().count(2, 8);
    let count = laboratory.preset().count(1, 6);
    let mut command = laboratory.on_data("sample", run, Split::Test);
    command.args(["--index", &list(images, 13), "--count", &count.to_string()]);
    command.arg("--show-condition");
    let samples = counted(count, "sample");
    let caption = format!("Each row: a test image, {given}, {samples} given that");
    laboratory.picture(&[run], "samples", command, caption)
}

fn draw_captioned(
    laboratory: &mut Laboratory<'_>,
    run: &Run,
    index: usize,
    caption: &str,
) -> Result<Picture> {
    let count = laboratory.preset().count(1, 8).to_string();
    let mut command = laboratory.with_model("sample", run);
    command.args(["--caption", caption, "--count", &count, "--columns", &count]);
    laboratory.picture(
        &[run],
        &format!("samples-{index}"),
        command,
        caption.to_owned(),
    )
}
