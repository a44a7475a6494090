//! `cargo xtask reproduce-figure3`: class-conditional samples, and what the
//! label is worth.

use anyhow::Result;

use crate::experiment::format::{counted, each_of, grouped, list, percent};
use crate::experiment::{
    Accuracy, Experiment, Laboratory, Page, Picture, Preset, Run, Split, Table, likelihoods,
};

pub const FIGURE_3: Experiment<'static> = Experiment {
    name: "figure3",
    folder: "figure3",
    presets: &[Preset::Smoke, Preset::Quick, Preset::Fashion, Preset::Paper],
    report: &report,
};

/// More classes than this are not drawn.
const DRAWN: usize = 10;

fn report(laboratory: &mut Laboratory<'_>) -> Result<Page> {
    let [unconditional, conditional, classifier] =
        laboratory.runs(["unconditional", "class-conditional", "classifier"])?;
    let classes = classifier.classes()?;
    // Data without classes are refused by the first of them.
    for run in [&conditional, &classifier, &unconditional] {
        laboratory.train(run)?;
    }
    let without = laboratory.likelihood(&unconditional, Split::Test)?;
    let with = laboratory.shuffled(&conditional)?;
    let samples = draw(laboratory, &conditional, classes)?;
    let rows = accuracies(laboratory, &conditional, &classifier, classes)?;
    Ok(Page {
        title: "Figure 3, class-conditional samples".to_owned(),
        notes: vec![
            format!(
                "The paper shows samples for eight classes of ImageNet and gives no number. Here: \
                 {}, {classes} classes. **A run on other images than ImageNet's shows the \
                 method, not the paper's result.**",
                conditional.images()
            ),
            format!(
                "A label carries at most {:.3} bits an image of classes that are equally likely.",
                (classes as f64).log2()
            ),
        ],
        tables: vec![
            likelihoods(&[("Unconditional", &without), ("Class-conditional", &with)]),
            rows,
        ],
        headline: with.headline("Class-conditional"),
        pictures: vec![samples],
        ..Page::default()
    })
}

/// How many samples a class has.
fn count(laboratory: &Laboratory<'_>) -> usize {
    laboratory.preset().count(1, 32)
}

fn draw(laboratory: &mut Laboratory<'_>, run: &Run, classes: usize) -> Result<Picture> {
    let (count, drawn) = (count(laboratory), classes.min(DRAWN));
    let mut command = laboratory.with_model("sample", run);
    command.args(["--label", &list(drawn, 1)]);
    // Whole rows of one class each, so that they can be labelled.
    let columns = count.min(16).to_string();
    command.args(["--count", &count.to_string(), "--columns", &columns]);
    command.arg("--npy").arg(run.folder.join("samples.npy"));
    let each = each_of(drawn, classes);
    let caption = format!("{} of {each}", counted(count, "sample"));
    let rows = run.class_names(drawn);
    laboratory.picture_of_rows(&[run], "samples", command, caption, rows)
}

fn accuracies(
    laboratory: &mut Laboratory<'_>,
    conditional: &Run,
    classifier: &Run,
    classes: usize,
) -> Result<Table> {
    let real: Accuracy = laboratory.evaluate(classifier)?;
    let labels: Vec<String> = (0..classes.min(DRAWN))
        .flat_map(|label| std::iter::repeat_n(label.to_string(), count(laboratory)))
        .collect();
    let mut command = laboratory.with_model("classify", classifier);
    command
        .arg("--npy")
        .arg(conditional.folder.join("samples.npy"));
    command.args(["--label", &labels.join(",")]);
    let drawn: Accuracy = laboratory.ask(&[conditional, classifier], "classified", command)?;
    let mut command = laboratory.on_data("classify", conditional, Split::Test);
    // Each image is scored once a class.
    let limit = laboratory.preset().count(8, 1000);
    command.args(["--limit", &limit.to_string()]);
    let likely: Accuracy = laboratory.ask(&[conditional], "classify", command)?;
    let chance = format!("{:.1} %", 100.0 / classes as f64);
    let mut table = Table::new(
        "Accuracy, of which the mean over classes counts frequent classes no more than others",
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
            "Samples, by the classifier: is it the class asked for?",
            drawn,
        ),
        (
            "The first test images, by the likelihood of the class-conditional model",
            likely,
        ),
    ] {
        table.rows.push(vec![
            what.to_owned(),
            percent(accuracy.balanced_accuracy, accuracy.balanced_std_err),
            chance.clone(),
            percent(accuracy.accuracy, accuracy.std_err),
            grouped(accuracy.images),
        ]);
    }
    Ok(table)
}
