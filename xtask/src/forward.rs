//! Commands that pass their arguments to another program.

use std::ffi::OsString;
use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::experiment::program::Program;
use crate::process;

/// `cargo xtask ci`: runs `.ci/run`, the list of everything that a change must pass.
///
/// # Errors
/// When a step of it fails.
pub(crate) fn ci(root: &Path) -> Result<()> {
    process::run(Command::new("bash").arg(".ci/run").current_dir(root))
}

/// `cargo xtask test`: runs the tests of the whole workspace in the release profile.
///
/// # Errors
/// When cargo cannot be started or a test fails.
pub(crate) fn test(root: &Path, arguments: &[OsString]) -> Result<()> {
    let mut command = Command::new("cargo");
    command.args(["test", "--release", "--workspace"]);
    process::run(command.args(arguments).current_dir(root))
}

/// `cargo xtask fuzz`: builds and starts the program of pixelcnn-testkit that mutates
/// files. As for the tests, the whole workspace is selected, so that the dependencies
/// are compiled once.
///
/// # Errors
/// When it does not build, or finds an error.
pub(crate) fn fuzz(root: &Path, arguments: &[OsString]) -> Result<()> {
    let mut build = Command::new("cargo");
    build
        .args(["build", "--release", "--workspace", "--bin", "fuzz"])
        .args(["--message-format", "json-render-diagnostics"])
        .current_dir(root);
    let mut command = Program::build(&mut build, "fuzz")?.command();
    process::run(command.args(arguments).current_dir(root))
}
