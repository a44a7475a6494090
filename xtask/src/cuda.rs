//! `cargo xtask cuda`: the program with CUDA, built, packed and checked on a machine without a
//! GPU.

mod build;
mod check;
mod counts;
mod pack;
mod stand_ins;
mod toolkit;

use std::path::{Path, PathBuf};

use anyhow::Result;

use build::Kernels;
use toolkit::Toolkit;

/// Build, pack or check the program with CUDA; needs no GPU and no CUDA toolkit
///
/// nvcc 13.0 comes from PyPI into target/cuda; drivers from version 580 on read the PTX that it
/// writes. docs/gpu.md has the details.
// This is also the text of `--help`.
#[derive(Debug, Clone, Copy, clap::Subcommand)]
pub(crate) enum Task {
    /// Build the program and the device tests, about half an hour for the first time
    Build,
    /// Build, and pack what a machine with a GPU needs into target/cuda/bundle
    Pack,
    /// Build and lint without candle's kernels, and run the program with a replacement of the driver
    ///
    /// Prints how many launches, copies and allocations a training step asks for, and fails if
    /// they are more than allowed, if a kernel does not exist, or if a launch is invalid. Prints
    /// that it was skipped where nvcc cannot be installed.
    Check,
}

/// Runs the task.
///
/// # Errors
/// When a program that it starts fails, or the check finds an error.
pub(crate) fn run(root: &Path, task: Task) -> Result<()> {
    let folders = Folders::new(root);
    match task {
        Task::Build => {
            let toolkit = Toolkit::install(&folders)?;
            build::build(&folders, &toolkit, Kernels::Compiled)?;
            Ok(())
        }
        Task::Pack => pack::run(&folders),
        Task::Check => check::run(&folders),
    }
}

/// The folders that the tasks write.
pub(crate) struct Folders {
    /// The root of the workspace.
    pub root: PathBuf,
    /// Where everything is kept.
    pub work: PathBuf,
}

impl Folders {
    fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            work: root.join("target/cuda"),
        }
    }

    /// The sources of what is compiled or copied here.
    pub(crate) fn sources(&self) -> PathBuf {
        self.root.join("xtask/src/cuda")
    }
}
