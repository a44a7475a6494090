//! `cargo xtask check-cuda`: the program with CUDA, type-checked without a GPU.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::process;

const NVCC: &str = if cfg!(windows) { "nvcc.exe" } else { "nvcc" };

const NO_NVCC: &str = "nvcc not found on PATH or in CUDA_HOME/bin. \
Install it from PyPI; it needs no GPU:
  python3 -m venv VENV
  VENV/bin/pip install 'nvidia-cuda-nvcc==13.2.*' 'nvidia-cuda-crt==13.2.*' \
'nvidia-nvvm==13.2.*' 'nvidia-cuda-runtime==13.2.*' nvidia-cuda-cccl
  export CUDA_HOME=$(echo \"$PWD\"/VENV/lib/python3*/site-packages/nvidia/cu13)
  export PATH=\"$CUDA_HOME/bin:$PATH\" CUDA_COMPUTE_CAP=80";

/// The environment variables for CUDA.
struct Environment {
    path: Option<OsString>,
    cuda_home: Option<OsString>,
    compute_capability: Option<OsString>,
}

/// Runs `cargo check` of the program with feature `cuda`.
///
/// # Errors
/// When there is no nvcc or the check fails.
pub(crate) fn run(root: &Path) -> Result<()> {
    let environment = Environment {
        path: std::env::var_os("PATH"),
        cuda_home: std::env::var_os("CUDA_HOME"),
        compute_capability: std::env::var_os("CUDA_COMPUTE_CAP"),
    };
    process::run(&mut command(root, &environment)?)
}

fn command(root: &Path, environment: &Environment) -> Result<Command> {
    let mut command = Command::new("cargo");
    command
        .args(["check", "--release", "-p", "pixelcnn-cli"])
        .args(["--features", "cuda"])
        .current_dir(root);
    if environment.compute_capability.is_none() {
        command.env("CUDA_COMPUTE_CAP", "80");
    }
    if !on_path(environment.path.as_deref()) {
        let bin = bin_of(environment.cuda_home.as_deref()).context(NO_NVCC)?;
        // The build scripts that call nvcc look for it on PATH only.
        command.env("PATH", prepend(bin, environment.path.as_deref())?);
    }
    Ok(command)
}

fn on_path(path: Option<&OsStr>) -> bool {
    path.is_some_and(|path| std::env::split_paths(path).any(|dir| dir.join(NVCC).is_file()))
}

fn bin_of(cuda_home: Option<&OsStr>) -> Option<PathBuf> {
    let bin = Path::new(cuda_home?).join("bin");
    bin.join(NVCC).is_file().then_some(bin)
}

fn prepend(folder: PathBuf, path: Option<&OsStr>) -> Result<OsString> {
    let rest = path.into_iter().flat_map(std::env::split_paths);
    let all = std::iter::once(folder).chain(rest);
    std::env::join_paths(all).context("cannot put CUDA_HOME/bin on PATH")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn toolkit() -> tempfile::TempDir {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir(home.path().join("bin")).unwrap();
        std::fs::write(home.path().join("bin").join(NVCC), "").unwrap();
        home
    }

    fn variable(command: &Command, name: &str) -> Option<OsString> {
        let found = command.get_envs().find(|(key, _)| *key == name);
        found.and_then(|(_, value)| value.map(OsStr::to_owned))
    }

    #[test]
    fn without_nvcc_the_error_says_where_to_get_it() {
        let empty = tempfile::tempdir().unwrap();
        let environment = Environment {
            path: Some(empty.path().into()),
            cuda_home: Some(empty.path().into()),
            compute_capability: None,
        };
        let message = command(empty.path(), &environment).unwrap_err().to_string();
        for package in ["nvcc", "crt", "runtime", "cccl"] {
            assert!(message.contains(&format!("nvidia-cuda-{package}")));
        }
        assert!(message.contains("nvidia-nvvm==13.2.*"));
    }

    #[test]
    fn nvcc_on_the_path_needs_no_change_of_it() {
        let home = toolkit();
        let environment = Environment {
            path: Some(home.path().join("bin").into()),
            cuda_home: None,
            compute_capability: Some("90".into()),
        };
        let command = command(home.path(), &environment).unwrap();
        assert_eq!(command.get_envs().count(), 0);
        let arguments: Vec<_> = command.get_args().collect();
        assert_eq!(
            arguments.join(OsStr::new(" ")),
            "check --release -p pixelcnn-cli --features cuda"
        );
    }

    #[test]
    fn nvcc_of_cuda_home_is_put_on_the_path() {
        let home = toolkit();
        let elsewhere = tempfile::tempdir().unwrap();
        let environment = Environment {
            path: Some(elsewhere.path().into()),
            cuda_home: Some(home.path().into()),
            compute_capability: None,
        };
        let command = command(home.path(), &environment).unwrap();
        let path = variable(&command, "PATH").unwrap();
        let folders: Vec<_> = std::env::split_paths(&path).collect();
        assert_eq!(folders, [home.path().join("bin"), elsewhere.path().into()]);
        assert_eq!(variable(&command, "CUDA_COMPUTE_CAP"), Some("80".into()));
    }
}
