//! nvcc and its headers, from PyPI.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::Folders;
use crate::process;

/// Of this version, because the driver must be at least as new as the PTX it reads.
const PACKAGES: [&str; 5] = [
    "nvidia-cuda-nvcc==13.0.*",
    "nvidia-cuda-crt==13.0.*",
    "nvidia-nvvm==13.0.*",
    "nvidia-cuda-runtime==13.0.*",
    "nvidia-cuda-cccl==13.0.*",
];

/// What PTX is written for. Every later device reads it too.
const COMPUTE_CAPABILITY: &str = "80";

/// An installed toolkit.
pub(crate) struct Toolkit {
    /// `CUDA_HOME`.
    home: PathBuf,
    /// The folder with the program that stands before nvcc.
    before: PathBuf,
}

impl Toolkit {
    /// Installs the toolkit into a virtual environment of Python, once.
    ///
    /// # Errors
    /// When there is no Python or the packages cannot be installed.
    pub(crate) fn install(folders: &Folders) -> Result<Self> {
        let python = folders.work.join("venv");
        let home = || -> Result<PathBuf> {
            let lib = python.join("lib");
            let version = std::fs::read_dir(&lib)?.next();
            let version = version.with_context(|| format!("{} is empty", lib.display()))??;
            Ok(version.path().join("site-packages/nvidia/cu13"))
        };
        if !home().is_ok_and(|home| home.join("bin/nvcc").is_file()) {
            process::run(Command::new("python3").args(["-m", "venv"]).arg(&python))?;
            let mut pip = Command::new(python.join("bin/pip"));
            pip.args(["install", "--quiet", "--no-compile"]);
            process::run(pip.args(PACKAGES))?;
        }
        let toolkit = Self {
            home: home()?,
            before: folders.work.join("bin"),
        };
        toolkit.put_before(&folders.sources().join("nvcc.sh"))?;
        link("libcudart.so.13", &toolkit.home.join("lib/libcudart.so"))?;
        Ok(toolkit)
    }

    /// Copies the script that stands before nvcc. An unchanged one is not written again,
    /// because a build may be running it.
    fn put_before(&self, script: &Path) -> Result<()> {
        let place = self.before.join("nvcc");
        let text = std::fs::read(script).with_context(|| script.display().to_string())?;
        if std::fs::read(&place).is_ok_and(|found| found == text) {
            return Ok(());
        }
        std::fs::create_dir_all(&self.before)?;
        // A copy has the permissions of the script.
        let new = self.before.join("nvcc.new");
        std::fs::copy(script, &new).with_context(|| new.display().to_string())?;
        std::fs::rename(&new, &place).with_context(|| place.display().to_string())?;
        Ok(())
    }

    /// Where the linker looks for the libraries of CUDA, besides `lib`.
    pub(crate) fn libraries(&self) -> PathBuf {
        self.home.join("lib/stubs")
    }

    /// Sets the variables that build scripts read.
    ///
    /// # Errors
    /// When PATH has a name that cannot be in it.
    pub(crate) fn set<'a>(&self, command: &'a mut Command) -> Result<&'a mut Command> {
        let path = std::env::var_os("PATH");
        Ok(command
            .env("CUDA_HOME", &self.home)
            .env("NVCC_REAL", self.home.join("bin/nvcc"))
            .env("CUDA_COMPUTE_CAP", COMPUTE_CAPABILITY)
            .env("PATH", first(&self.before, path.as_ref())?))
    }
}

/// Makes a link to a file of the same folder, unless there is one.
///
/// # Errors
/// When the system has none or it cannot be made.
pub(crate) fn link(file: &str, place: &Path) -> Result<()> {
    if place.is_symlink() {
        return Ok(());
    }
    #[cfg(unix)]
    let made = std::os::unix::fs::symlink(file, place);
    #[cfg(not(unix))]
    let made: std::io::Result<()> = Err(std::io::ErrorKind::Unsupported.into());
    made.with_context(|| format!("cannot link {} to {file}", place.display()))
}

/// The search path with `folder` first.
fn first(folder: &Path, path: Option<&OsString>) -> Result<OsString> {
    let rest = path.into_iter().flat_map(std::env::split_paths);
    let all = std::iter::once(folder.to_owned()).chain(rest);
    std::env::join_paths(all).with_context(|| format!("cannot put {} on PATH", folder.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn build_scripts_find_the_script_before_nvcc() {
        let toolkit = Toolkit {
            home: "/home/of/cuda".into(),
            before: "/before".into(),
        };
        let mut command = Command::new("cargo");
        toolkit.set(&mut command).unwrap();
        let variable = |name: &str| {
            let mut all = command.get_envs();
            let found = all.find(|(key, _)| *key == name);
            found.unwrap().1.unwrap().to_owned()
        };
        let path = variable("PATH");
        let mut folders = std::env::split_paths(&path);
        assert_eq!(folders.next().unwrap(), Path::new("/before"));
        assert_eq!(variable("NVCC_REAL"), "/home/of/cuda/bin/nvcc");
        assert_eq!(variable("CUDA_COMPUTE_CAP"), "80");
    }

    #[test]
    fn a_script_is_copied_once() {
        let folder = tempfile::tempdir().unwrap();
        let toolkit = Toolkit {
            home: folder.path().join("home"),
            before: folder.path().join("bin"),
        };
        let script = folder.path().join("nvcc.sh");
        std::fs::write(&script, "#!/bin/sh").unwrap();
        toolkit.put_before(&script).unwrap();
        let place = folder.path().join("bin/nvcc");
        let written = || std::fs::metadata(&place).unwrap().modified().unwrap();
        let before = written();
        toolkit.put_before(&script).unwrap();
        assert_eq!(written(), before);
        std::fs::write(&script, "#!/bin/bash").unwrap();
        toolkit.put_before(&script).unwrap();
        assert_eq!(std::fs::read_to_string(&place).unwrap(), "#!/bin/bash");
    }
}
