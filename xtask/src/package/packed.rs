//! Compiles the packages of `cargo package`.

use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use toml::Table;

use super::{Metadata, cargo};
use crate::process;

/// Packages the crates, unpacks them and compiles them, to find files that are missing in a
/// package. Cargo's own check needs the other crates on crates.io.
pub(super) fn check(root: &Path, metadata: &Metadata) -> Result<()> {
    let mut command = cargo(root);
    command.args(["package", "--locked", "--allow-dirty", "--no-verify"]);
    for package in &metadata.packages {
        command.args(["-p", &package.name]);
    }
    process::run(&mut command)?;

    let packages = metadata.target_directory.join("package");
    let unpacked = packages.join("unpacked");
    if unpacked.exists() {
        fs::remove_dir_all(&unpacked)?;
    }
    fs::create_dir_all(&unpacked)?;
    for name in names(metadata) {
        let archive = packages.join(format!("{name}.crate"));
        let mut command = Command::new("tar");
        command.arg("-xzf").arg(archive).current_dir(&unpacked);
        process::run(&mut command)?;
    }
    let root_manifest = fs::read_to_string(root.join("Cargo.toml"))?;
    fs::write(
        unpacked.join("Cargo.toml"),
        manifest(metadata, &root_manifest)?,
    )?;
    fs::copy(root.join("Cargo.lock"), unpacked.join("Cargo.lock"))?;
    let mut command = cargo(&unpacked);
    command.args([
        "check",
        "--release",
        "--workspace",
        "--offline",
        "--target-dir",
    ]);
    process::run(command.arg(&metadata.target_directory))
}

/// The name of the folder in each package.
fn names(metadata: &Metadata) -> impl Iterator<Item = String> {
    let packages = metadata.packages.iter();
    packages.map(|package| format!("{}-{}", package.name, package.version))
}

/// The manifest of a workspace of the unpacked crates, which replace those of crates.io.
/// Its profile is that of the root manifest, so that dependencies are not compiled again.
fn manifest(metadata: &Metadata, root_manifest: &str) -> Result<String> {
    let root_manifest: Table = root_manifest.parse().context("cannot parse Cargo.toml")?;
    let mut text = String::from("[workspace]\nresolver = \"3\"\nmembers = [\"*\"]\n");
    text.push_str("\n[patch.crates-io]\n");
    for (package, name) in metadata.packages.iter().zip(names(metadata)) {
        writeln!(text, "{} = {{ path = \"{name}\" }}", package.name)?;
    }
    if let Some(profile) = root_manifest.get("profile") {
        let profile = Table::from_iter([("profile".to_owned(), profile.clone())]);
        write!(text, "\n{}", toml::to_string(&profile)?)?;
    }
    Ok(text)
}
