//! `cargo xtask bench`.

mod codec;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};
use serde::Deserialize;
use serde_json::json;

use crate::experiment::program::{self, Program};
use crate::process;

/// What to measure, and what to compare with.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// `train` for a training step, `conv` for single convolutions, `sample` for
    /// sampling, `codec` for lossless compression
    what: String,
    /// Also time a training step of the same network in PyTorch
    #[arg(long)]
    against_torch: bool,
    /// A Python that has torch installed
    #[arg(long, default_value = "python3", value_name = "PATH")]
    python: PathBuf,
    /// How many times each of the two programs runs; medians are compared
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// With `codec`: also run oxipng, cwebp and cjxl, as far as they are installed
    #[arg(long)]
    against_codecs: bool,
    /// Arguments for `pixelcnn bench`: sizes, --json
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<OsString>,
}

/// The part of a result that both programs print.
#[derive(Debug, Deserialize)]
struct Step {
    seconds_per_step: f64,
    peak_memory_mib: Option<f64>,
}

/// Builds the program and measures. With PyTorch, both run alternately, and the
/// last line of output compares them.
///
/// # Errors
/// When the program does not build or run, PyTorch is missing, or it is requested for other
/// work than training.
pub(crate) fn run(root: &Path, arguments: &Arguments) -> Result<()> {
    let program = Program::build(&mut program::build_command(root, None), "pixelcnn")?;
    let mut command = program.command();
    command
        .arg("bench")
        .arg(&arguments.what)
        .args(&arguments.args);
    match (arguments.against_codecs, arguments.what.as_str()) {
        (false, _) => {}
        (true, "codec") => return codec::run(&mut command),
        (true, what) => bail!("--against-codecs compares compression: `codec`, not `{what}`"),
    }
    match (arguments.against_torch, arguments.what.as_str()) {
        (false, _) => process::run(&mut command),
        (true, "train") => against_torch(root, &mut command, arguments),
        (true, what) => bail!("--against-torch compares training steps: `train`, not `{what}`"),
    }
}

fn against_torch(root: &Path, ours: &mut Command, arguments: &Arguments) -> Result<()> {
    let python = &arguments.python;
    let probe = Command::new(python).args(["-c", "import torch"]).output();
    if !probe.is_ok_and(|output| output.status.success()) {
        bail!(
            "`{}` has no torch; use --python PATH for an interpreter that has it",
            python.display()
        );
    }
    let passed = arguments
        .args
        .iter()
        .filter(|argument| *argument != "--json");
    let mut theirs = Command::new(python);
    theirs
        .arg(root.join("benches").join("train.py"))
        .args(passed);
    if !arguments.args.iter().any(|argument| argument == "--json") {
        ours.arg("--json");
    }
    let (mut pixelcnn, mut torch) = (Vec::new(), Vec::new());
    for _ in 0..arguments.rounds.max(1) {
        pixelcnn.push(process::last_line_json::<Step>(ours)?);
        torch.push(process::last_line_json::<Step>(&mut theirs)?);
    }
    let both = [&pixelcnn, &torch];
    let seconds = both.map(|steps| median(steps, |step| Some(step.seconds_per_step)));
    let memory = both.map(|steps| median(steps, |step| step.peak_memory_mib));
    let ratio = |pair: [Option<f64>; 2]| Some(pair[0]? / pair[1]?);
    let result = json!({
        "seconds_per_step": seconds[0],
        "torch_seconds_per_step": seconds[1],
        "ratio": ratio(seconds),
        "peak_memory_mib": memory[0],
        "torch_peak_memory_mib": memory[1],
        "memory_ratio": ratio(memory),
    });
    println!("{result}");
    Ok(())
}

/// The median of a number over the steps.
fn median(steps: &[Step], number: impl Fn(&Step) -> Option<f64>) -> Option<f64> {
    let mut numbers = steps.iter().map(number).collect::<Option<Vec<f64>>>()?;
    numbers.sort_by(f64::total_cmp);
    numbers.get(numbers.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_needs_every_number() {
        let step = |seconds_per_step, peak_memory_mib| Step {
            seconds_per_step,
            peak_memory_mib,
        };
        let steps = [step(3.0, Some(1.0)), step(1.0, None), step(2.0, Some(4.0))];
        assert_eq!(
            median(&steps, |step| Some(step.seconds_per_step)),
            Some(2.0)
        );
        assert_eq!(median(&steps, |step| step.peak_memory_mib), None);
    }
}
