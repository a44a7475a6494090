//! `cargo xtask ci`.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::process;

/// Runs `.ci/run`, the list of everything that a change must pass.
///
/// # Errors
/// When a step of it fails.
pub fn run(root: &Path) -> Result<()> {
    process::run(
        Command::new("bash")
            .arg(Path::new(".ci").join("run"))
            .current_dir(root),
    )
}
