//! `cargo xtask reproduce-figure3`: class-conditional samples, and the gain by the
//! label.

use anyhow::Result;
use pixelcnn_system::counted;

use crate::experiment::format::{each_of, index_list, percent, with_commas};
use crate::experiment::{
    Accuracy, Experiment, ExperimentRunner, Page, Picture, Preset, Run, Split, Table,
    likelihood_table,
};

pub(crate) const FIGURE_3: Experiment<'static> = Experiment {
    name: "figure3",
    folder: "figure3",
    presets: &[Preset::Smoke, Preset::Quick, Preset::Fashion, Preset::Paper],
    report: &report,
};

/// More classes than this are not drawn.
const DRAWN: usize = 10;

fn report(runner: &mut ExperimentRunner<'_>) -> Result<Page> {
    let [unconditional, conditional, classifier] =
        runner.read_runs(["unconditional", "class-conditional", "classifier"])?;
    let classes = classifier.classes()?;
    // The class-conditional run is first, because it refuses data without classes.
    for run in [&conditional, &classifier, &unconditional] {
        runner.train(run)?;
    }
    let without = runner.likelihood(&unconditional, Split::Test)?;
    let with = runner.shuffled_likelihood(&conditional)?;
    let samples = draw(runner, &conditional, classes)?;
    let rows = accuracies(runner, &conditional, &classifier, classes)?;
    Ok(Page {
        title: "Figure 3, class-conditional samples".to_owned(),
        notes: vec![
            format!(
                "The paper shows samples for eight classes of ImageNet but no numbers. Here: \
                 {}, {classes} classes. **A run on other images than ImageNet's shows the \
                 method, not the paper's result.**",
                conditional.images()
            ),
            format!(
                "With equally likely classes, a label carries at most {:.3} bits per image.",
                (classes as f64).log2()
            ),
        ],
        tables: vec![
            likelihood_table(&[("Unconditional", &without), ("Class-conditional", &with)]),
            rows,
        ],
        headline: with.headline("Class-conditional"),
        pictures: vec![samples],
        ..Page::default()
    })
}

/// Number of samples per class.
fn count(runner: &ExperimentRunner<'_>) -> usize {
    runner.preset().smoke_or(1, 32)
}

fn draw(runner: &mut ExperimentRunner<'_>, run: &Run, classes: usize) -> Result<Picture> {
    let (count, drawn) = (count(runner), classes.min(DRAWN));
    let mut command = runner.command_for("sample", run);
    command.args(["--label", &index_list(drawn, 1)]);
    // Each row shows one class, so that it can be labelled.
    let columns = count.min(16).to_string();
    command.args(["--count", &count.to_string(), "--columns", &columns]);
    command.arg("--npy").arg(run.folder.join("samples.npy"));
    let each = each_of(drawn, classes);
    let caption = format!("{} of {each}", counted(count, "sample"));
    let rows = run.class_names(drawn);
    runner.draw_labelled_rows(&[run], "samples", command, caption, rows)
}

fn accuracies(
    runner: &mut ExperimentRunner<'_>,
    conditional: &Run,
    classifier: &Run,
    classes: usize,
) -> Result<Table> {
    let real: Accuracy = runner.evaluate(classifier)?;
    let labels: Vec<String> = (0..classes.min(DRAWN))
        .flat_map(|label| std::iter::repeat_n(label.to_string(), count(runner)))
        .collect();
    let mut command = runner.command_for("classify", classifier);
    command
        .arg("--npy")
        .arg(conditional.folder.join("samples.npy"));
    command.args(["--label", &labels.join(",")]);
    let drawn: Accuracy = runner.run_or_reuse(&[conditional, classifier], "classified", command)?;
    let mut command = runner.command_on_data("classify", conditional, Split::Test);
    // Each image is scored once per class.
    let limit = runner.preset().smoke_or(8, 1000);
    command.args(["--limit", &limit.to_string()]);
    let likely: Accuracy = runner.run_or_reuse(&[conditional], "classify", command)?;
    let chance = format!("{:.1} %", 100.0 / classes as f64);
    let mut table = Table::new(
        "Accuracy; the mean over classes gives all classes the same weight",
        [
            "Classified",
            "Mean over classes",
            "Chance",
            "Over images",
            "Images",
        ],
    );
    for (what, accuracy) in [
        ("Test images, by the classifier", real),
        (
            "Samples, by the classifier: do they have the requested class?",
            drawn,
        ),
        (
            "First test images, by the likelihood of the class-conditional model",
            likely,
        ),
    ] {
        table.rows.push(vec![
            what.to_owned(),
            percent(accuracy.balanced_accuracy, accuracy.balanced_std_err),
            chance.clone(),
            percent(accuracy.accuracy, accuracy.std_err),
            with_commas(accuracy.images),
        ]);
    }
    Ok(table)
}
