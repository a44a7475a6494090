//! `cargo xtask tidy`: the rules of the workspace that a program can check.

mod arrows;
mod code;
mod features;
mod finding;
mod functions;
mod links;
mod manifest;
mod sources;
mod unsafe_code;

use std::path::Path;

use anyhow::{Result, bail};

use finding::Finding;
use manifest::Workspace;
use sources::Source;

/// The one crate that may contain `unsafe`.
const UNSAFE_CRATE: &str = "pixelcnn-kernels";

/// Checks the workspace and prints one line a finding.
///
/// # Errors
/// When there is a finding, or a file cannot be read.
pub fn run(root: &Path) -> Result<()> {
    let findings = findings(root)?;
    for finding in &findings {
        println!("{finding}");
    }
    match findings.len() {
        0 => println!("tidy: no findings"),
        count => bail!("tidy: {count} finding(s)"),
    }
    Ok(())
}

fn findings(root: &Path) -> Result<Vec<Finding>> {
    let workspace = Workspace::read(root)?;
    let sources = sources::read(root)?;
    let mut findings = arrows::check(&workspace);
    findings.extend(features::check(&workspace));
    findings.extend(unsafe_code::check_manifests(&workspace));
    findings.extend(sources.iter().flat_map(check_source));
    findings.extend(links::check(root)?);
    Ok(findings)
}

fn check_source(source: &Source) -> Vec<Finding> {
    let mut findings = functions::check(source);
    findings.extend(unsafe_code::check_source(source));
    findings
}

#[cfg(test)]
mod tests;
