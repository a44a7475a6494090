//! `cargo xtask cuda check`: the host's side of the program, on the driver that stands in for
//! CUDA's.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::build::{self, Built, Kernels};
use super::counts::Counts;
use super::{Folders, toolkit::Toolkit};
use crate::process;

/// What a training step of the network of `bench train` may ask for at most, in bf16 with batch
/// 16.
const LIMITS: [(&str, f64); 5] = [
    ("launches", 250.0),
    ("allocations", 20.0),
    ("copies from the device", 0.0),
    ("events", 0.0),
    ("GB of memory", 0.9),
];

/// The device tests that need no kernels of candle have this in their names.
const COMPUTED: &str = "by_own_kernels";

/// Steps that are counted.
const STEPS: u32 = 4;

/// Installs, builds, lints and runs.
///
/// # Errors
/// When the build fails or the check finds an error.
pub(crate) fn run(folders: &Folders) -> Result<()> {
    let toolkit = match Toolkit::install(folders) {
        Ok(toolkit) => toolkit,
        Err(error) => {
            println!("skipped: nvcc cannot be installed: {error:#}");
            return Ok(());
        }
    };
    let built = build::build(folders, &toolkit, Kernels::Declared)?;
    build::lint(folders, &toolkit)?;
    check(folders, &built)
}

/// Runs what was built.
///
/// # Errors
/// When a program fails, or asks for more than it may.
pub(crate) fn check(folders: &Folders, built: &Built) -> Result<()> {
    without_a_device(built)?;
    let scratch = tempfile::tempdir()?;
    let counts = |steps: u32| -> Result<Counts> {
        let file = scratch.path().join(format!("{steps}.tsv"));
        let mut bench = on_stand_in(built);
        bench
            .args([
                "bench",
                "train",
                "--device",
                "cuda:0",
                "--precision",
                "bf16",
            ])
            .args(["--json", "--steps"])
            .arg(steps.to_string())
            .env("STAND_IN_COUNTS", &file);
        process::output(&mut bench)?;
        Counts::read(&file)
    };
    let (short, long) = (counts(1)?, counts(1 + STEPS)?);
    report(&long.per_step(&short, f64::from(STEPS)), &long)?;
    whole_run(folders, built, scratch.path())?;
    computed_steps(built)
}

/// Training steps whose kernels and products run on the CPU, against candle there.
fn computed_steps(built: &Built) -> Result<()> {
    let mut tests = Command::new(&built.tests);
    tests
        .arg(COMPUTED)
        .env("LD_LIBRARY_PATH", &built.libraries)
        .env("STAND_IN_EXECUTES", "1")
        .env("PIXELCNN_DEVICE", "cuda:0");
    let said = process::output(&mut tests)?;
    match said.contains(" 0 passed") {
        true => bail!("no test has {COMPUTED} in its name:\n{said}"),
        false => Ok(()),
    }
}

/// A run with validation, a checkpoint, and a model whose likelihood is measured.
fn whole_run(folders: &Folders, built: &Built, scratch: &Path) -> Result<()> {
    let config = "xtask/experiments/table1/smoke/gated-pixelcnn.toml";
    let (run, counts) = (scratch.join("run"), scratch.join("run.tsv"));
    let mut train = on_stand_in(built);
    train
        .args(["train", "--device", "cuda:0", "--json", "--config"])
        .arg(folders.root.join(config))
        .arg("--out")
        .arg(&run)
        .env("STAND_IN_COUNTS", &counts);
    process::output(&mut train)?;
    let mut eval = on_stand_in(built);
    eval.args([
        "eval", "--device", "cuda:0", "--json", "--limit", "8", "--model",
    ]);
    process::output(eval.arg(&run))?;
    match Counts::read(&counts)?.calls("errors") {
        0.0 => Ok(()),
        errors => bail!("{errors} calls of the driver were wrong: see above"),
    }
}

/// Without a device, the program says so in one line.
fn without_a_device(built: &Built) -> Result<()> {
    let mut command = on_stand_in(built);
    command.args(["bench", "train", "--device", "cuda:0"]);
    let output = command.env("STAND_IN_DEVICES", "0").output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    let expected = "device cuda:0: CUDA finds no driver or no such device";
    if output.status.success() || !said.contains(expected) || said.lines().count() != 1 {
        bail!("without a device, one line with `{expected}` was expected, found:\n{said}");
    }
    Ok(())
}

fn on_stand_in(built: &Built) -> Command {
    let mut command = Command::new(&built.program);
    command
        .env("LD_LIBRARY_PATH", &built.libraries)
        .env("RUST_LOG", "warn");
    command
}

/// Prints what a step asked for, and compares it with the limits.
fn report(step: &Counts, whole: &Counts) -> Result<()> {
    let found = [
        step.launches(),
        step.calls("allocation"),
        step.calls("copy from the device"),
        step.calls("event"),
        whole.peak() / 1e9,
    ];
    print!("A training step asks for:\n{}", step.table());
    let mut wrong = Vec::new();
    for ((what, limit), found) in LIMITS.into_iter().zip(found) {
        // Memory has decimals; the others are counts.
        let found = (found * 100.0).round() / 100.0;
        println!("{what}: {found} (at most {limit})");
        if found > limit {
            wrong.push(format!("{found} {what} instead of at most {limit}"));
        }
    }
    match wrong.is_empty() {
        true => Ok(()),
        false => Err(anyhow::anyhow!(wrong.join(", "))).context("a training step"),
    }
}
