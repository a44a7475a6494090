//! Mutated files for everything that the workspace reads: `cargo xtask fuzz`.
//!
//! Run `n` of a seed makes the same input on every machine. A child process
//! does the work, so that the parent can detect an abort, a hang or unlimited memory
//! use; the parent then continues after the input that caused it.

mod child;
mod findings;
mod json;
mod mutation;
mod parent;
mod targets;
mod text;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

use targets::Name;

/// Mutate the files that the program reads, and check that nothing goes wrong
///
/// Prints one line per target. Fails if an input causes a panic, an abort or a hang,
/// or silently gives a wrong result; such inputs are kept.
#[derive(Debug, Parser)]
#[command(name = "fuzz", bin_name = "cargo xtask fuzz")]
struct Arguments {
    /// The target: what to read, or all targets
    #[arg(value_enum)]
    target: Choice,
    /// Number of inputs per target
    #[arg(long, default_value_t = 1000, value_name = "N")]
    runs: u64,
    /// Seed of the inputs
    #[arg(long, default_value_t = 1, value_name = "S")]
    seed: u64,
    /// Number of the first input, to repeat one
    #[arg(long, default_value_t = 0, value_name = "N")]
    first: u64,
    /// Folder for inputs that cause an error
    #[arg(long, default_value = "target/fuzz", value_name = "DIR")]
    keep: PathBuf,
    /// Run as the process that does the work, in this folder
    #[arg(long, hide = true)]
    work: Option<PathBuf>,
}

/// A target or all of them.
#[derive(Clone, Copy, Debug)]
enum Choice {
    All,
    One(Name),
}

impl clap::ValueEnum for Choice {
    fn value_variants<'a>() -> &'a [Self] {
        const ALL: [Choice; Name::ALL.len() + 1] = {
            let mut choices = [Choice::All; Name::ALL.len() + 1];
            let mut index = 0;
            while index < Name::ALL.len() {
                choices[index] = Choice::One(Name::ALL[index]);
                index += 1;
            }
            choices
        };
        &ALL
    }

    fn to_possible_value(&self) -> Option<clap::builder::PossibleValue> {
        Some(clap::builder::PossibleValue::new(match self {
            Self::All => "all",
            Self::One(name) => name.text(),
        }))
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = match (&arguments.work, arguments.target) {
        (Some(folder), Choice::One(name)) => child::run(name, folder, &arguments),
        (_, Choice::One(name)) => parent::run(&[name], &arguments),
        (_, Choice::All) => parent::run(&Name::ALL, &arguments),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
