//! `cargo xtask cuda build`.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use super::{Folders, stand_ins, toolkit::Toolkit};
use crate::experiment::program::executables;
use crate::process;

/// What was built.
pub(crate) struct Built {
    pub program: PathBuf,
    /// The tests that compare a device with the CPU.
    pub tests: PathBuf,
    /// The folder with the libraries that stand in for CUDA's.
    pub libraries: PathBuf,
}

/// What becomes of candle's kernels.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kernels {
    /// PTX that a device runs.
    Compiled,
    /// PTX with the names of the kernels alone. It takes seconds instead of half an hour.
    Declared,
}

/// Builds the program and the tests with an installed toolkit.
///
/// # Errors
/// When the libraries cannot be made or something does not compile.
pub(crate) fn build(folders: &Folders, toolkit: &Toolkit, kernels: Kernels) -> Result<Built> {
    let libraries = toolkit.libraries();
    stand_ins::make(folders, &libraries)?;
    let mut command = cargo("build", folders, toolkit, kernels)?;
    command
        .args(["--bin", "pixelcnn", "--test", "device"])
        .args(["--message-format", "json-render-diagnostics"]);
    let [program, tests] = executables(&mut command, ["pixelcnn", "device"])?;
    Ok(Built {
        program,
        tests,
        libraries,
    })
}

/// Lints the code that only a build with CUDA contains, tests included.
///
/// # Errors
/// When clippy warns.
pub(crate) fn lint(folders: &Folders, toolkit: &Toolkit) -> Result<()> {
    let mut command = cargo("clippy", folders, toolkit, Kernels::Declared)?;
    process::run(command.args(["--all-targets", "--", "-D", "warnings"]))
}

/// `cargo TASK` for the whole workspace, as everywhere: so dependencies have the same features.
fn cargo(task: &str, folders: &Folders, toolkit: &Toolkit, kernels: Kernels) -> Result<Command> {
    let (folder, variable) = match kernels {
        Kernels::Compiled => ("build", ""),
        Kernels::Declared => ("check", "declared"),
    };
    let mut command = Command::new("cargo");
    command
        .args([task, "--release", "--workspace", "--features"])
        .arg("pixelcnn-cli/cuda,pixelcnn-testkit/cuda")
        .current_dir(&folders.root)
        .env("CARGO_TARGET_DIR", folders.work.join(folder))
        .env("CANDLE_KERNELS", variable);
    toolkit.set(&mut command)?;
    Ok(command)
}
