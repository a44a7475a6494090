//! Chores and experiments of the workspace: `cargo xtask help`.

mod bench;
mod check_cuda;
mod ci;
mod process;
mod table1;
mod test;
mod tidy;
mod workspace;

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;

/// Chores and experiments of the workspace
#[derive(Debug, Parser)]
#[command(name = "xtask", bin_name = "cargo xtask")]
enum Task {
    /// Run `cargo test --release --workspace ARGS`
    Test {
        /// Passed on to `cargo test` as they stand
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },
    /// Run everything that a change must pass: `bash .ci/run`
    Ci,
    /// Check arrows between crates, feature forwarding, unsafe code, sizes and links
    ///
    /// Prints one line a finding, `file[:line]: message`, and fails when there
    /// is any.
    Tidy,
    /// Type-check the program with feature `cuda`; needs nvcc but no GPU
    ///
    /// nvcc is taken from PATH, else from CUDA_HOME/bin. CUDA_COMPUTE_CAP is 80
    /// unless set.
    CheckCuda,
    /// Measure the speed of this machine with a release build of the program
    Bench(bench::Arguments),
    #[command(name = "reproduce-table1")]
    ReproduceTable1(table1::Arguments),
}

fn main() -> ExitCode {
    match run(&Task::parse_from(keep_separator(std::env::args_os()))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(task: &Task) -> Result<()> {
    let root = workspace::root()?;
    match task {
        Task::Test { args } => test::run(&root, args),
        Task::Ci => ci::run(&root),
        Task::Tidy => tidy::run(&root),
        Task::CheckCuda => check_cuda::run(&root),
        Task::Bench(arguments) => bench::run(&root, arguments),
        Task::ReproduceTable1(arguments) => table1::run(&root, arguments),
    }
}

/// Doubles the `--` of `xtask test -- ARGS`: the parser takes a leading one for
/// itself, and cargo needs it.
fn keep_separator(arguments: impl Iterator<Item = OsString>) -> Vec<OsString> {
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
        match Task::parse_from(keep_separator(words)) {
            Task::Test { args } => args,
            other => panic!("parsed as {other:?}"),
        }
    }

    #[test]
    fn the_command_line_is_consistent() {
        <Task as clap::CommandFactory>::command().debug_assert();
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
