//! `cargo xtask fuzz`: starts the program of pixelcnn-testkit that mutates files.

use std::ffi::OsString;
use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::experiment::program::Program;
use crate::process;

/// Builds and starts it with these arguments. As for the tests, the build selects
/// the whole workspace, so that the dependencies are compiled only once.
///
/// # Errors
/// When it does not build, or finds a fault.
pub fn run(root: &Path, arguments: &[OsString]) -> Result<()> {
    let mut build = Command::new("cargo");
    build
        .args(["build", "--release", "--workspace", "--bin", "fuzz"])
        .args(["--message-format", "json-render-diagnostics"])
        .current_dir(root);
    let mut command = Program::built(&mut build, "fuzz")?.command();
    process::run(command.args(arguments).current_dir(root))
}
