//! `cargo xtask reproduce-figure7`: class-conditional samples at two scales.

use anyhow::Result;
use pixelcnn_system::counted;

use crate::experiment::format::index_list;
use crate::experiment::{
    Experiment, ExperimentRunner, Likelihood, Page, Picture, Preset, Run, likelihood_table,
};

pub(crate) const FIGURE_7: Experiment<'static> = Experiment {
    name: "figure7",
    folder: "figure7",
    presets: &[
        Preset::Smoke,
        Preset::Quick,
        Preset::Photos64,
        Preset::Paper,
    ],
    report: &report,
};

/// More classes than this are not drawn.
const DRAWN: usize = 8;

fn report(runner: &mut ExperimentRunner<'_>) -> Result<Page> {
    let [small, large] = runner.read_runs(["small", "large"])?;
    for run in [&small, &large] {
        runner.train(run)?;
    }
    let first = runner.shuffled_likelihood(&small)?;
    let second = runner.shuffled_likelihood(&large)?;
    let pictures = draw(runner, &small, &large)?;
    Ok(Page {
        title: "Figure 7, class-conditional samples at two scales".to_owned(),
        notes: notes(&large, &first, &second),
        tables: vec![likelihood_table(&[
            ("Small image given the class", &first),
            ("Large image given the small one", &second),
        ])],
        headline: second.headline("The large image given the small one"),
        pictures: pictures.into(),
        ..Page::default()
    })
}

fn notes(run: &Run, small: &Likelihood, large: &Likelihood) -> Vec<String> {
    vec![
        format!(
            "The paper shows 64x64 samples for classes of ImageNet but no numbers. Here: \
             `{}`, and the same images shrunk by 2 for the small model. **A run \
             on other images than ImageNet's shows the method, not the paper's result.**",
            run.data
        ),
        format!(
            "Both models together need {:.3} bits per dimension of the large image; the small image \
             has a quarter of its dimensions. This is a bound, because the large model also gives \
             probability to images that do not shrink to the small one.",
            large.bits_per_dim + small.bits_per_dim / 4.0
        ),
    ]
}

/// The small samples, and one large sample for each.
fn draw(runner: &mut ExperimentRunner<'_>, small: &Run, large: &Run) -> Result<[Picture; 2]> {
    let values = small.folder.join("samples.npy");
    let count = runner.preset().smoke_or(1, 8);
    // One row per class.
    let columns = count.to_string();
    let rows = small.class_names(DRAWN);
    let mut command = runner.command_for("sample", small);
    command.args([
        "--label",
        &index_list(DRAWN, 1),
        "--count",
        &count.to_string(),
    ]);
    command
        .args(["--columns", &columns])
        .arg("--npy")
        .arg(&values);
    let small_samples = counted(count, "small sample");
    let caption = format!("{small_samples} of each of the first {DRAWN} classes");
    let first = runner.draw_labelled_rows(&[small], "samples", command, caption, rows.clone())?;
    let mut command = runner.command_for("sample", large);
    command.arg("--image").arg(&values);
    command.args(["--count", "1", "--columns", &columns]);
    let caption = "A large sample given each small one".to_owned();
    let runs = [large, small];
    let second = runner.draw_labelled_rows(&runs, "samples", command, caption, rows)?;
    Ok([first, second])
}
