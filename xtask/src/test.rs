//! `cargo xtask test`.

use std::ffi::OsString;
use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::process;

/// Runs the tests of the whole workspace in the release profile.
///
/// # Errors
/// When cargo cannot be started or a test fails.
pub fn run(root: &Path, arguments: &[OsString]) -> Result<()> {
    process::run(&mut command(root, arguments))
}

fn command(root: &Path, arguments: &[OsString]) -> Command {
    let mut command = Command::new("cargo");
    command
        .args(["test", "--release", "--workspace"])
        .args(arguments)
        .current_dir(root);
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_follow_the_fixed_ones() {
        let command = command(Path::new("/w"), &["-p".into(), "xtask".into()]);
        let arguments: Vec<_> = command.get_args().collect();
        assert_eq!(
            arguments,
            ["test", "--release", "--workspace", "-p", "xtask"]
        );
        assert_eq!(command.get_current_dir(), Some(Path::new("/w")));
    }
}
