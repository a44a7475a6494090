//! `cargo xtask package`: checks that each crate can be published and used alone.

mod packed;
mod readme;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};
use serde::Deserialize;

use crate::process;

/// The output of `cargo metadata` for the workspace.
#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    target_directory: PathBuf,
}

/// A crate of the workspace.
#[derive(Deserialize)]
struct Package {
    name: String,
    version: String,
    manifest_path: PathBuf,
    /// `None` if it can be published anywhere.
    publish: Option<Vec<String>>,
    description: Option<String>,
    license: Option<String>,
    documentation: Option<String>,
    readme: Option<String>,
    keywords: Vec<String>,
    categories: Vec<String>,
    features: BTreeMap<String, Vec<String>>,
}

/// Checks manifests and READMEs, packages the crates and compiles the packages, and builds
/// each crate alone: its documentation, and its code without default features.
///
/// # Errors
/// When a key is missing in a manifest, the number of packages in a README is wrong, or
/// cargo fails.
pub(crate) fn run(root: &Path) -> Result<()> {
    let mut metadata = metadata(root)?;
    metadata
        .packages
        .retain(|package| package.publish.is_none());
    let mut wrong = Vec::new();
    for package in &metadata.packages {
        check_manifest(package)?;
        wrong.extend(readme::check(root, package)?);
    }
    if !wrong.is_empty() {
        bail!("{}", wrong.join("\n"));
    }
    packed::check(root, &metadata)?;
    for package in &metadata.packages {
        alone(root, package)?;
    }
    println!("{} crates can be published", metadata.packages.len());
    Ok(())
}

fn metadata(root: &Path) -> Result<Metadata> {
    let mut command = cargo(root);
    command.args(["metadata", "--no-deps", "--format-version", "1"]);
    process::last_line_json(&mut command)
}

fn cargo(root: &Path) -> Command {
    let mut command = Command::new("cargo");
    command.current_dir(root);
    command
}

/// Checks the keys that crates.io shows.
fn check_manifest(package: &Package) -> Result<()> {
    let present = [
        ("description", package.description.is_some()),
        ("license", package.license.is_some()),
        ("documentation", package.documentation.is_some()),
        ("readme", package.readme.is_some()),
        ("keywords", !package.keywords.is_empty()),
        ("categories", !package.categories.is_empty()),
    ];
    for (key, present) in present {
        if !present {
            bail!("{}: no `{key}`", package.manifest_path.display());
        }
    }
    Ok(())
}

/// Builds a crate alone. Together with others, it would also get the features that they
/// need.
fn alone(root: &Path, package: &Package) -> Result<()> {
    if package.features.contains_key("default") {
        let mut command = cargo(root);
        command.args(["clippy", "--release", "--locked", "--no-default-features"]);
        command.args(["-p", &package.name, "--no-deps", "--", "-D", "warnings"]);
        process::run(&mut command)?;
    }
    let mut command = cargo(root);
    command.args(["doc", "--release", "--locked", "--no-deps", "-p"]);
    command
        .arg(&package.name)
        .env("RUSTDOCFLAGS", "-D warnings");
    process::run(&mut command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_without_keywords_is_refused() {
        let text = r#"{"name": "a", "version": "1.0.0", "manifest_path": "/a/Cargo.toml",
            "publish": null, "description": "A", "license": "MIT", "documentation": "https://a",
            "readme": "README.md", "keywords": ["a"], "categories": ["science"], "features": {}}"#;
        let mut package: Package = serde_json::from_str(text).unwrap();
        check_manifest(&package).unwrap();
        package.keywords.clear();
        let error = check_manifest(&package).unwrap_err().to_string();
        assert_eq!(error, "/a/Cargo.toml: no `keywords`");
    }
}
