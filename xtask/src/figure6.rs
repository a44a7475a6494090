//! `cargo xtask reproduce-figure6`: auto-encoders with a PixelCNN for a decoder.

use anyhow::Result;

use crate::experiment::format::{counted, grouped, list};
use crate::experiment::{
    Experiment, Laboratory, Likelihood, Page, Picture, Preset, Run, Split, SquaredError, Table,
    likelihoods,
};

pub const FIGURE_6: Experiment<'static> = Experiment {
    name: "figure6",
    folder: "figure6",
    presets: Preset::COMMON,
    report: &report,
};

fn report(laboratory: &mut Laboratory<'_>) -> Result<Page> {
    let runs = train(laboratory)?;
    let [
        unconditional,
        code_10,
        code_100,
        variational,
        mse_10,
        mse_100,
    ] = &runs;
    let without = laboratory.likelihood(unconditional, Split::Test)?;
    let ten = laboratory.shuffled(code_10)?;
    let hundred = laboratory.shuffled(code_100)?;
    let bound = laboratory.shuffled(variational)?;
    let errors = [
        (10, laboratory.evaluate(mse_10)?),
        (100, laboratory.evaluate(mse_100)?),
    ];
    let mut pictures = Vec::new();
    for (run, what) in [
        (mse_10, "the auto-encoder trained on squared error, m = 10"),
        (code_10, "the PixelCNN auto-encoder, m = 10"),
        (
            mse_100,
            "the auto-encoder trained on squared error, m = 100",
        ),
        (code_100, "the PixelCNN auto-encoder, m = 100"),
        (variational, "the variational auto-encoder, m = 10"),
    ] {
        pictures.push(draw(laboratory, run, what)?);
    }
    Ok(Page {
        title: "Figure 6, auto-encoders".to_owned(),
        notes: notes(unconditional, &bound),
        tables: vec![
            likelihoods(&[
                ("Unconditional", &without),
                ("Code, m = 10", &ten),
                ("Code, m = 100", &hundred),
                ("Variational bound, m = 10", &bound),
            ]),
            squared_errors(&errors),
        ],
        headline: hundred.headline("Given a code of 100 numbers of the image, no likelihood of it"),
        pictures,
        ..Page::default()
    })
}

/// Trains the models; codes begin with the auto-encoders of means, for from
/// drawn weights they take longer to be of use.
fn train(laboratory: &mut Laboratory<'_>) -> Result<[Run; 6]> {
    let runs = laboratory.runs([
        "unconditional",
        "code-10",
        "code-100",
        "variational-10",
        "mse-10",
        "mse-100",
    ])?;
    let [unconditional, ten, hundred, variational, mse_10, mse_100] = &runs;
    for run in [unconditional, mse_10, mse_100] {
        laboratory.train(run)?;
    }
    for (run, means) in [(ten, mse_10), (hundred, mse_100), (variational, mse_10)] {
        laboratory.train_with(run, Some(means))?;
    }
    Ok(runs)
}

fn notes(run: &Run, bound: &Likelihood) -> Vec<String> {
    let divergence = bound.divergence_bits_per_dim;
    let divergence = divergence.map_or_else(String::new, |divergence| {
        format!(" Of the variational bound {divergence:.4} bits/dim are the divergence.")
    });
    vec![
        format!(
            "The paper shows reconstructions of 32x32 patches of ImageNet and gives no number. \
             Here: {}. **A run on other images shows the method, not the paper's result.**",
            run.images()
        ),
        format!(
            "**Bits/dim given a code are no likelihood of the image**, for the code is computed \
             from it: only the unconditional number is one, and the variational number is a \
             bound on one.{divergence}"
        ),
    ]
}

fn draw(laboratory: &mut Laboratory<'_>, run: &Run, what: &str) -> Result<Picture> {
    // The auto-encoder trained on squared error has one answer alone.
    let count = match run.name.starts_with("mse") {
        true => 1,
        false => laboratory.preset().count(1, 6),
    };
    let images = laboratory.preset().count(2, 8);
    let mut command = laboratory.on_data("reconstruct", run, Split::Test);
    command.args(["--index", &list(images, 13), "--count", &count.to_string()]);
    let drawn = match run.name.starts_with("mse") {
        true => "the answer".to_owned(),
        false => counted(count, "sample"),
    };
    let caption = format!("Each row: a test image, then {drawn} of {what}");
    laboratory.picture(&[run], "reconstructions", command, caption)
}

fn squared_errors(errors: &[(usize, SquaredError)]) -> Table {
    let mut table = Table::new(
        "Mean squared error of values from 0 to 1, of the auto-encoders trained on it",
        ["m", "Error", "Images"],
    );
    for (length, error) in errors {
        table.rows.push(vec![
            length.to_string(),
            match error.std_err {
                Some(std_err) => format!("{:.5} ± {std_err:.5}", error.mean_squared_error),
                None => format!("{:.5}", error.mean_squared_error),
            },
            grouped(error.images),
        ]);
    }
    table
}
