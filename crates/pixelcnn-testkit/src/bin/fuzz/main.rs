//! Mutated files for everything that the workspace reads: `cargo xtask fuzz`.
//!
//! Run `n` of a seed makes the same input on every machine. A child process
//! does the work, so that an abort, a hang or memory without end is seen from
//! outside; the parent goes on behind the input that did it.

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

/// Mutate the files that the program reads, and see that nothing goes wrong
///
/// Prints a line a target. Fails when an input makes it panic, abort or hang,
/// or gives another result than it should without a word; such inputs are kept.
#[derive(Debug, Parser)]
#[command(name = "fuzz", bin_name = "cargo xtask fuzz")]
struct Arguments {
    /// What to read: one of the targets, or all
    #[arg(value_enum)]
    target: Choice,
    /// Inputs of each target
    #[arg(long, default_value_t = 1000, value_name = "N")]
    runs: u64,
    /// Another seed makes other inputs
    #[arg(long, default_value_t = 1, value_name = "S")]
    seed: u64,
    /// The first input, to try one again
    #[arg(long, default_value_t = 0, value_name = "N")]
    first: u64,
    /// Folder for the inputs that something is wrong with
    #[arg(long, default_value = "target/fuzz", value_name = "DIR")]
    keep: PathBuf,
    /// Be the process that does the work, in this folder
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
