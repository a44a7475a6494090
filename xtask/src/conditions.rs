//! `cargo xtask reproduce-conditions`: conditions that the paper proposes but does
//! not show: images (section 2.3) and captions (section 4).

use anyhow::Result;
use pixelcnn_system::counted;

use crate::experiment::format::index_list;
use crate::experiment::{
    Experiment, ExperimentRunner, Page, Picture, Preset, Run, Split, Table, likelihood_table,
};

pub(crate) const CONDITIONS: Experiment<'static> = Experiment {
    name: "conditions",
    folder: "conditions",
    presets: Preset::COMMON,
    report: &report,
};

/// Names of emoji, except the last two.
const CAPTIONS: [&str; 6] = [
    "SMILING FACE WITH SMILING EYES",
    "GREEN HEART",
    "Germany Flag",
    "RED APPLE",
    "BLUE APPLE",
    "GREEN CAT FACE",
];

fn report(runner: &mut ExperimentRunner<'_>) -> Result<Page> {
    let images = runner.read_runs(["unconditional", "colourisation", "super-resolution"])?;
    // `--data` replaces the photographs; only the data of the configs have captions.
    let captions = runner.read_runs_on(None, ["captions-unconditional", "captions"])?;
    for run in images.iter().chain(&captions) {
        runner.train(run)?;
    }
    let [unconditional, colourisation, super_resolution] = &images;
    let [without_captions, with_captions] = &captions;
    let mut tables = vec![given_images(runner, &images)?];
    let without = runner.likelihood(without_captions, Split::Test)?;
    let with = runner.shuffled_likelihood(with_captions)?;
    let mut table = likelihood_table(&[("Unconditional", &without), ("Given the caption", &with)]);
    table.caption = format!("{} of {}", table.caption, with_captions.images());
    tables.push(table);
    let mut pictures = vec![
        draw_given(runner, colourisation, "the image in grey")?,
        draw_given(runner, super_resolution, "the image shrunk by 4")?,
    ];
    for (index, caption) in CAPTIONS.iter().enumerate() {
        pictures.push(draw_captioned(runner, with_captions, index, caption)?);
    }
    Ok(Page {
        title: "Images and captions as conditions".to_owned(),
        notes: vec![format!(
            "The paper proposes both but shows neither, so there are no published numbers. Here: {} \
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

fn given_images(runner: &mut ExperimentRunner<'_>, runs: &[Run; 3]) -> Result<Table> {
    let [unconditional, colourisation, super_resolution] = runs;
    let without = runner.likelihood(unconditional, Split::Test)?;
    let grey = runner.shuffled_likelihood(colourisation)?;
    let shrunk = runner.shuffled_likelihood(super_resolution)?;
    let mut table = likelihood_table(&[
        ("Unconditional", &without),
        ("Given the image in grey", &grey),
        ("Given the image shrunk by 4", &shrunk),
    ]);
    table.caption = format!("{} of {}", table.caption, unconditional.images());
    Ok(table)
}

fn draw_given(runner: &mut ExperimentRunner<'_>, run: &Run, given: &str) -> Result<Picture> {
    let images = runner.preset().smoke_or(2, 8);
    let count = runner.preset().smoke_or(1, 6);
    let mut command = runner.command_on_data("sample", run, Split::Test);
    command.args([
        "--index",
        &index_list(images, 13),
        "--count",
        &count.to_string(),
    ]);
    command.arg("--show-condition");
    let samples = counted(count, "sample");
    let caption = format!("Each row: a test image, {given}, {samples} given this condition");
    runner.draw(&[run], "samples", command, caption)
}

fn draw_captioned(
    runner: &mut ExperimentRunner<'_>,
    run: &Run,
    index: usize,
    caption: &str,
) -> Result<Picture> {
    let count = runner.preset().smoke_or(1, 8).to_string();
    let mut command = runner.command_for("sample", run);
    command.args(["--caption", caption, "--count", &count, "--columns", &count]);
    runner.draw(
        &[run],
        &format!("samples-{index}"),
        command,
        caption.to_owned(),
    )
}
