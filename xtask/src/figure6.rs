//! `cargo xtask reproduce-figure6`: auto-encoders with a PixelCNN as decoder.

use anyhow::Result;
use pixelcnn_system::counted;

use crate::experiment::format::{index_list, with_commas};
use crate::experiment::{
    Experiment, ExperimentRunner, Likelihood, Page, Picture, Preset, Run, Split, SquaredError,
    Table, likelihood_table,
};

pub(crate) const FIGURE_6: Experiment<'static> = Experiment {
    name: "figure6",
    folder: "figure6",
    presets: Preset::COMMON,
    report: &report,
};

fn report(runner: &mut ExperimentRunner<'_>) -> Result<Page> {
    let runs = train(runner)?;
    let [
        unconditional,
        code_10,
        code_100,
        variational,
        mse_10,
        mse_100,
    ] = &runs;
    let without = runner.likelihood(unconditional, Split::Test)?;
    let ten = runner.shuffled_likelihood(code_10)?;
    let hundred = runner.shuffled_likelihood(code_100)?;
    let bound = runner.shuffled_likelihood(variational)?;
    let errors = [
        (10, runner.evaluate(mse_10)?),
        (100, runner.evaluate(mse_100)?),
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
        pictures.push(draw(runner, run, what)?);
    }
    Ok(Page {
        title: "Figure 6, auto-encoders".to_owned(),
        notes: notes(unconditional, &bound),
        tables: vec![
            likelihood_table(&[
                ("Unconditional", &without),
                ("Code, m = 10", &ten),
                ("Code, m = 100", &hundred),
                ("Variational bound, m = 10", &bound),
            ]),
            squared_errors(&errors),
        ],
        headline: hundred.headline("Given a code of 100 numbers of the image, not a likelihood"),
        pictures,
        ..Page::default()
    })
}

/// Trains the models. Encoders of codes start from the auto-encoders of means,
/// because with random weights codes take longer to become useful.
fn train(runner: &mut ExperimentRunner<'_>) -> Result<[Run; 6]> {
    let runs = runner.read_runs([
        "unconditional",
        "code-10",
        "code-100",
        "variational-10",
        "mse-10",
        "mse-100",
    ])?;
    let [unconditional, ten, hundred, variational, mse_10, mse_100] = &runs;
    for run in [unconditional, mse_10, mse_100] {
        runner.train(run)?;
    }
    for (run, means) in [(ten, mse_10), (hundred, mse_100), (variational, mse_10)] {
        runner.train_with(run, Some(means))?;
    }
    Ok(runs)
}

fn notes(run: &Run, bound: &Likelihood) -> Vec<String> {
    let divergence = bound.divergence_bits_per_dim;
    let divergence = divergence.map_or_else(String::new, |divergence| {
        format!(" Of the variational bound, {divergence:.4} bits/dim are the divergence.")
    });
    vec![
        format!(
            "The paper shows reconstructions of 32x32 patches of ImageNet but no numbers. \
             Here: {}. **A run on other images shows the method, not the paper's result.**",
            run.images()
        ),
        format!(
            "**Bits/dim given a code are not a likelihood of the image**, because the code is \
             computed from it. The unconditional number is a likelihood, and the variational number \
             is a bound on one.{divergence}"
        ),
    ]
}

fn draw(runner: &mut ExperimentRunner<'_>, run: &Run, what: &str) -> Result<Picture> {
    // The auto-encoder trained on squared error gives only one image.
    let count = match run.name.starts_with("mse") {
        true => 1,
        false => runner.preset().smoke_or(1, 6),
    };
    let images = runner.preset().smoke_or(2, 8);
    let mut command = runner.command_on_data("reconstruct", run, Split::Test);
    command.args([
        "--index",
        &index_list(images, 13),
        "--count",
        &count.to_string(),
    ]);
    let drawn = match run.name.starts_with("mse") {
        true => "the output".to_owned(),
        false => counted(count, "sample"),
    };
    let caption = format!("Each row: a test image, then {drawn} of {what}");
    runner.draw(&[run], "reconstructions", command, caption)
}

fn squared_errors(errors: &[(usize, SquaredError)]) -> Table {
    let mut table = Table::new(
        "Mean squared error (values from 0 to 1) of the auto-encoders trained on it",
        ["m", "Error", "Images"],
    );
    for (length, error) in errors {
        table.rows.push(vec![
            length.to_string(),
            match error.std_err {
                Some(std_err) => format!("{:.5} ± {std_err:.5}", error.mean_squared_error),
                None => format!("{:.5}", error.mean_squared_error),
            },
            with_commas(error.images),
        ]);
    }
    table
}
