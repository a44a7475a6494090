//! `cargo xtask reproduce-figure7`: class-conditional samples in two scales.

use anyhow::Result;

use crate::experiment::format::{counted, list};
use crate::experiment::{
    Experiment, Laboratory, Likelihood, Page, Picture, Preset, Run, likelihoods,
};

pub const FIGURE_7: Experiment<'static> = Experiment {
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

fn report(laboratory: &mut Laboratory<'_>) -> Result<Page> {
    let [small, large] = laboratory.runs(["small", "large"])?;
    for run in [&small, &large] {
        laboratory.train(run)?;
    }
    let first = laboratory.shuffled(&small)?;
    let second = laboratory.shuffled(&large)?;
    let pictures = draw(laboratory, &small, &large)?;
    Ok(Page {
        title: "Figure 7, class-conditional samples in two scales".to_owned(),
        notes: notes(&large, &first, &second),
        tables: vec![likelihoods(&[
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
            "The paper shows samples of 64x64 for classes of ImageNet and gives no number. Here: \
             `{}`, and the same images with each 2x2 pixels averaged for the small model. **A run \
             on other images than ImageNet's shows the method, not the paper's result.**",
            run.data
        ),
        format!(
            "Both together spend {:.3} bits a dimension of the large image: the small one has a \
             quarter of its dimensions. It is a bound, for the large model also gives \
             probability to images that do not shrink to the small one.",
            large.bits_per_dim + small.bits_per_dim / 4.0
        ),
    ]
}

/// The small samples, and one large one of each.
fn draw(laboratory: &mut Laboratory<'_>, small: &Run, large: &Run) -> Result<[Picture; 2]> {
    let values = small.folder.join("samples.npy");
    let count = laboratory.preset().count(1, 8);
    // A row for each class.
    let columns = count.to_string();
    let rows = small.class_names(DRAWN);
    let mut command = laboratory.with_model("sample", small);
    command.args(["--label", &list(DRAWN, 1), "--count", &count.to_string()]);
    command
        .args(["--columns", &columns])
        .arg("--npy")
        .arg(&values);
    let small_samples = counted(count, "small sample");
    let caption = format!("{small_samples} of each of the first {DRAWN} classes");
    let first = laboratory.picture_of_rows(&[small], "samples", command, caption, rows.clone())?;
    let mut command = laboratory.with_model("sample", large);
    command.arg("--image").arg(&values);
    command.args(["--count", "1", "--columns", &columns]);
    let caption = "A large sample given each small one".to_owned();
    let runs = [large, small];
    let second = laboratory.picture_of_rows(&runs, "samples", command, caption, rows)?;
    Ok([first, second])
}
