//! `cargo xtask cuda pack`.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::build::{self, Kernels};
use super::{Folders, check, toolkit::Toolkit};
use crate::process;

/// What can be carried to a machine with a GPU.
const LARGEST: u64 = 64 << 20;

/// Copied as they are: the sources are in the workspace.
const FILES: [(&str, &str); 4] = [
    ("xtask/src/cuda/device.sh", "device.sh"),
    ("xtask/src/cuda/pytorch.py", "pytorch.py"),
    ("benches/train.py", "train.py"),
    (
        "xtask/experiments/table1/quick/gated-pixelcnn.toml",
        "gated-pixelcnn.toml",
    ),
];

/// Builds, checks, and writes the bundle.
///
/// # Errors
/// When something does not build or fails the check, or the bundle is too large.
pub(crate) fn run(folders: &Folders) -> Result<()> {
    let toolkit = Toolkit::install(folders)?;
    let built = build::build(folders, &toolkit, Kernels::Compiled)?;
    check::check(folders, &built)?;
    let bundle = folders.work.join("bundle");
    if bundle.exists() {
        std::fs::remove_dir_all(&bundle)?;
    }
    std::fs::create_dir_all(&bundle)?;
    for (program, name) in [(&built.program, "pixelcnn"), (&built.tests, "device-tests")] {
        let place = bundle.join(name);
        process::run(Command::new("strip").arg("-o").arg(&place).arg(program))?;
        process::run(Command::new("gzip").arg(&place))?;
    }
    for (from, name) in FILES {
        let from = folders.root.join(from);
        std::fs::copy(&from, bundle.join(name)).with_context(|| from.display().to_string())?;
    }
    let mut tar = Command::new("tar");
    tar.args(["--create", "--gzip", "--file"])
        .arg(bundle.join("fixtures.tar.gz"))
        .arg("-C")
        .arg(&folders.root);
    process::run(tar.args(["fixtures/photos32"]))?;
    let bytes = size(&bundle)?;
    if bytes > LARGEST {
        bail!(
            "{} has {bytes} bytes, more than {LARGEST}",
            bundle.display()
        );
    }
    println!(
        "{}: {:.1} MB; on the machine with the GPU: bash device.sh",
        bundle.display(),
        bytes as f64 / 1e6
    );
    Ok(())
}

fn size(folder: &Path) -> Result<u64> {
    let files = std::fs::read_dir(folder)?;
    files.map(|file| Ok(file?.metadata()?.len())).sum()
}
