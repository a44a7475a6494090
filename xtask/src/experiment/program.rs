//! The program `pixelcnn`.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use serde::Deserialize;

use super::device::Device;
use crate::process;

/// The program, built.
pub(crate) struct Program {
    path: PathBuf,
}

/// A message of cargo about an artifact.
#[derive(Deserialize)]
struct Message {
    target: Option<Target>,
    executable: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
}

/// The command that builds the program. It selects the whole workspace, as the
/// tests do, so that the dependencies have the same features and are compiled only
/// once.
pub(crate) fn build_command(root: &Path, device: Option<Device>) -> Command {
    let mut command = Command::new("cargo");
    command.args(["build", "--release", "--workspace", "--bin", "pixelcnn"]);
    if let Some(feature) = device.and_then(Device::feature) {
        command.args(["--features", feature]);
    }
    command
        .args(["--message-format", "json-render-diagnostics"])
        .current_dir(root);
    command
}

impl Program {
    /// Builds a program of this name.
    ///
    /// # Errors
    /// When it does not compile, or cargo does not report its path.
    pub(crate) fn build(build: &mut Command, name: &str) -> Result<Self> {
        let [path] = executables(build, [name])?;
        Ok(Self { path })
    }

    /// The path of the program after a build, unless a cargo config changes it.
    pub(crate) fn expected_in(root: &Path) -> Self {
        let target = std::env::var_os("CARGO_TARGET_DIR");
        let target = target.map_or_else(|| root.join("target"), |folder| root.join(folder));
        let name = format!("pixelcnn{}", std::env::consts::EXE_SUFFIX);
        Self {
            path: target.join("release").join(name),
        }
    }

    /// A command of the program.
    pub(crate) fn command(&self) -> Command {
        Command::new(&self.path)
    }

    #[cfg(test)]
    pub(crate) fn at(path: PathBuf) -> Self {
        Self { path }
    }
}

/// Builds programs or tests, and finds them by name.
///
/// # Errors
/// When they do not compile, or cargo does not report the path of one.
pub(crate) fn executables<const N: usize>(
    build: &mut Command,
    names: [&str; N],
) -> Result<[PathBuf; N]> {
    let messages = process::output(build)?;
    let mut paths = [const { PathBuf::new() }; N];
    for (path, name) in paths.iter_mut().zip(names) {
        *path = executable(&messages, name).with_context(|| {
            let line = process::shell_line(build);
            format!("the output of `{line}` does not name the executable {name}")
        })?;
    }
    Ok(paths)
}

fn executable(messages: &str, name: &str) -> Option<PathBuf> {
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Message>(line).ok())
        .filter(|message| matches!(&message.target, Some(target) if target.name == name))
        .find_map(|message| message.executable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_build_has_the_features_of_the_device() {
        let line = |device| {
            let here = std::env::current_dir().unwrap();
            process::shell_line(&build_command(&here, device))
        };
        let start = "cargo build --release --workspace --bin pixelcnn";
        let end = "--message-format json-render-diagnostics";
        assert_eq!(line(None), format!("{start} {end}"));
        assert_eq!(line(Some(Device::Cpu)), format!("{start} {end}"));
        assert_eq!(
            line(Some(Device::Cuda(1))),
            format!("{start} --features pixelcnn-cli/cuda {end}")
        );
        assert_eq!(
            line(Some(Device::Metal)),
            format!("{start} --features pixelcnn-cli/metal {end}")
        );
    }

    #[test]
    fn the_executable_is_the_one_cargo_names() {
        let messages = r#"{"reason":"compiler-artifact","target":{"name":"candle"},"executable":null}
a line that is no JSON
{"reason":"compiler-artifact","target":{"name":"xtask"},"executable":"/t/release/xtask"}
{"reason":"compiler-artifact","target":{"name":"pixelcnn"},"executable":"/t/release/pixelcnn"}
{"reason":"build-finished","success":true}
"#;
        let path = executable(messages, "pixelcnn");
        assert_eq!(path.as_deref(), Some(Path::new("/t/release/pixelcnn")));
        assert_eq!(
            executable(r#"{"reason":"build-finished"}"#, "pixelcnn"),
            None
        );
        assert_eq!(executable(messages, "fuzz"), None);
    }
}
