//! Checks, measurements and experiments of the workspace: `cargo xtask help`.

mod ablations;
mod all;
mod bench;
mod conditions;
mod cost;
mod crash_test;
mod cuda;
mod experiment;
mod figure3;
mod figure4;
mod figure6;
mod figure7;
mod forward;
mod golden;
mod package;
mod process;
mod table1;
mod table2;
mod tidy;
mod workspace;

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::Result;
use clap::{CommandFactory, FromArgMatches, Parser};

use experiment::{Arguments, Preset};

/// Checks, measurements and experiments of the workspace
#[derive(Debug, Parser)]
#[command(name = "xtask", bin_name = "cargo xtask")]
enum Task {
    /// Run `cargo test --release --workspace ARGS`
    Test {
        /// Arguments for `cargo test`, passed on unchanged
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },
    /// Run everything that a change must pass: `bash .ci/run`
    Ci,
    /// Check rules that clippy does not know: dependencies, features, file lengths, links
    ///
    /// Prints one line for each breach, `file[:line]: message`, and fails if there is
    /// any. docs/architecture.md lists the rules.
    Tidy,
    /// Check that each crate can be published and used alone
    ///
    /// Checks the manifests, and the number of packages in each README; compiles what
    /// cargo would publish; compiles each crate without its default features; builds the
    /// documentation of each crate alone.
    Package,
    #[command(subcommand)]
    Cuda(cuda::Task),
    /// Damage input files at random; reading them must not crash (`cargo xtask fuzz --help`)
    ///
    /// Starts the program `fuzz` of pixelcnn-testkit. For example
    /// `cargo xtask fuzz all --runs 1000 --seed 1`.
    #[command(disable_help_flag = true)]
    Fuzz {
        /// Arguments for the program, passed on unchanged
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },
    CrashTest(crash_test::Arguments),
    /// Measure the speed of this machine with a release build of the program
    Bench(bench::Arguments),
    /// Check that short training runs still give the same weights, to the bit
    ///
    /// Trains each config of preset quick for 60 updates, and compares checksums of the
    /// weights with those in fixtures/golden. Takes half an hour on two cores. A change
    /// that is not meant to change numbers must pass; one that is meant to writes the
    /// checksums anew with --write.
    Golden(golden::Arguments),
    /// Compare settings: validation bits/dim of variants of one network in the same time
    ///
    /// The variants are in xtask/experiments/ablations. Each is timed first, and then trained
    /// for as many updates as fit into the time. A run that was stopped goes on, and a finished
    /// one does not run again.
    Ablations(ablations::Arguments),
    /// Table 1: train and evaluate seven models, print their bits/dim beside the paper's
    ///
    /// Runs `pixelcnn train` for each of uniform, gaussian, pixelcnn, pixelrnn-row-lstm,
    /// pixelrnn-diagonal-bilstm, gated-pixelcnn and gated-pixelcnn-ours, `pixelcnn eval` on the test split and on 512 training images
    /// (on 8 of each with preset smoke), and draws samples.
    #[command(name = "reproduce-table1", after_long_help = EXPERIMENT_HELP)]
    ReproduceTable1(Arguments),
    #[command(name = "reproduce-table2", after_long_help = EXPERIMENT_HELP)]
    ReproduceTable2(table2::Arguments),
    /// Figure 3: class-conditional samples, and how much the label improves bits/dim
    #[command(name = "reproduce-figure3", after_long_help = EXPERIMENT_HELP)]
    ReproduceFigure3(Arguments),
    /// Figure 4: new portraits from the embedding of one image of an unseen person
    ///
    /// Preset faces is for grey images of 28x23, for example
    /// --data mnist:DIR,split=class.
    #[command(name = "reproduce-figure4", after_long_help = EXPERIMENT_HELP)]
    ReproduceFigure4(Arguments),
    /// Figure 5: interpolations between the embeddings of two persons
    ///
    /// Uses the configs, the folder and the models of figure 4.
    #[command(name = "reproduce-figure5", after_long_help = EXPERIMENT_HELP)]
    ReproduceFigure5(Arguments),
    /// Figure 6: auto-encoders with a PixelCNN, beside those trained on squared error
    #[command(name = "reproduce-figure6", after_long_help = EXPERIMENT_HELP)]
    ReproduceFigure6(Arguments),
    /// Figure 7: class-conditional samples, a small image first and then a large one
    #[command(name = "reproduce-figure7", after_long_help = EXPERIMENT_HELP)]
    ReproduceFigure7(Arguments),
    /// Grey images, shrunk images and captions as conditions, as the paper proposes
    ///
    /// --data replaces the photographs alone; captions always come from the data that
    /// the configs name.
    #[command(name = "reproduce-conditions", after_long_help = EXPERIMENT_HELP)]
    ReproduceConditions(Arguments),
    /// The recurrent and the convolutional networks: bits/dim against the time of training
    ///
    /// Trains networks of about as many parameters, and draws one plot.
    #[command(name = "reproduce-cost", after_long_help = EXPERIMENT_HELP)]
    ReproduceCost(Arguments),
    #[command(name = "reproduce-all")]
    ReproduceAll(all::Arguments),
}

/// What every command of one table or figure does.
const EXPERIMENT_HELP: &str = "\
Builds the program, trains a model in OUT/RUN for each config in \
xtask/experiments/EXPERIMENT/PRESET, and writes a page of results as OUT/EXPERIMENT.md, .html and \
.json. Results are saved as OUT/RUN/NAME.json, and what is saved does not run again. If a config \
or an option has changed, the old OUT/RUN is renamed to OUT/RUN.1 and its model is trained anew. \
An interrupted training goes on where it stopped.";

fn main() -> ExitCode {
    let matches = command().get_matches_from(keep_double_dash(std::env::args_os()));
    let task = Task::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    match run(&task) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The command line, in which each experiment accepts only its own presets.
fn command() -> clap::Command {
    let mut command = Task::command();
    for experiment in &all::EXPERIMENTS {
        let name = format!("reproduce-{}", experiment.name);
        command = with_presets(command, name, experiment.presets);
    }
    with_presets(command, "reproduce-all".to_owned(), Preset::COMMON)
}

fn with_presets(command: clap::Command, name: String, presets: &'static [Preset]) -> clap::Command {
    command.mut_subcommand(name, |task| {
        task.mut_arg("preset", |preset| {
            preset.value_parser(Preset::parser(presets))
        })
    })
}

fn run(task: &Task) -> Result<()> {
    let root = workspace::root()?;
    match task {
        Task::Test { args } => forward::test(&root, args),
        Task::Ci => forward::ci(&root),
        Task::Tidy => tidy::run(&root),
        Task::Package => package::run(&root),
        Task::Cuda(task) => cuda::run(&root, *task),
        Task::Fuzz { args } => forward::fuzz(&root, args),
        Task::CrashTest(arguments) => crash_test::run(&root, arguments),
        Task::Bench(arguments) => bench::run(&root, arguments),
        Task::Golden(arguments) => golden::run(&root, arguments),
        Task::Ablations(arguments) => ablations::run(&root, arguments),
        Task::ReproduceTable1(arguments) => experiment::run(&root, arguments, &table1::TABLE_1),
        Task::ReproduceTable2(arguments) => table2::run(&root, arguments),
        Task::ReproduceFigure3(arguments) => experiment::run(&root, arguments, &figure3::FIGURE_3),
        Task::ReproduceFigure4(arguments) => experiment::run(&root, arguments, &figure4::FIGURE_4),
        Task::ReproduceFigure5(arguments) => experiment::run(&root, arguments, &figure4::FIGURE_5),
        Task::ReproduceFigure6(arguments) => experiment::run(&root, arguments, &figure6::FIGURE_6),
        Task::ReproduceFigure7(arguments) => experiment::run(&root, arguments, &figure7::FIGURE_7),
        Task::ReproduceConditions(arguments) => {
            experiment::run(&root, arguments, &conditions::CONDITIONS)
        }
        Task::ReproduceCost(arguments) => experiment::run(&root, arguments, &cost::COST),
        Task::ReproduceAll(arguments) => all::run(&root, arguments),
    }
}

/// Doubles the `--` of `xtask test -- ARGS`, because the parser removes a leading
/// one, and cargo needs it.
fn keep_double_dash(arguments: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = arguments.collect();
    if arguments.len() > 2 && arguments[1] == "test" && arguments[2] == "--" {
        arguments.insert(2, OsString::from("--"));
    }
    arguments
}

#[cfg(test)]
mod tests {
    use super::*;

    fn test_arguments(line: &str) -> Vec<OsString> {
        let words = line.split(' ').map(OsString::from);
        match Task::parse_from(keep_double_dash(words)) {
            Task::Test { args } => args,
            other => panic!("parsed as {other:?}"),
        }
    }

    #[test]
    fn the_command_line_is_consistent() {
        command().debug_assert();
    }

    #[test]
    fn presets_that_an_experiment_lacks_are_refused_and_not_listed() {
        let parse = |line: &str| command().try_get_matches_from(line.split(' '));
        assert!(parse("xtask reproduce-figure3 --preset fashion").is_ok());
        for experiment in [
            "table1",
            "table2",
            "figure6",
            "figure7",
            "conditions",
            "all",
        ] {
            let line = format!("xtask reproduce-{experiment} --preset fashion");
            let error = parse(&line).unwrap_err().to_string();
            assert!(
                error.contains("quick") && !error.contains("faces"),
                "{error}"
            );
            let help = parse(&format!("xtask reproduce-{experiment} --help")).unwrap_err();
            assert!(!help.to_string().contains("Fashion-MNIST"), "{help}");
        }
    }

    #[test]
    fn test_passes_everything_on() {
        assert_eq!(test_arguments("xtask test"), Vec::<OsString>::new());
        assert_eq!(
            test_arguments("xtask test -p xtask --lib -- --nocapture"),
            ["-p", "xtask", "--lib", "--", "--nocapture"]
        );
        assert_eq!(
            test_arguments("xtask test -- --nocapture"),
            ["--", "--nocapture"]
        );
    }
}
