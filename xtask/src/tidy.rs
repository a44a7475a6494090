//! `cargo xtask tidy`: the rules of the workspace that neither the compiler nor
//! clippy checks.

mod dependencies;
mod features;
mod files;
mod links;
mod manifest;

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use manifest::Workspace;

/// The only crates that may contain `unsafe`; so they have their own lints.
const UNSAFE_CRATES: [&str; 2] = ["pixelcnn-kernels", "pixelcnn-cuda"];

/// The breach of a rule and its place; shown as `file[:line]: message`.
#[derive(Debug)]
struct Finding {
    /// From the root of the workspace.
    file: PathBuf,
    /// Counted from 1.
    line: Option<usize>,
    message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.file.display())?;
        if let Some(line) = self.line {
            write!(formatter, ":{line}")?;
        }
        write!(formatter, ": {}", self.message)
    }
}

/// Checks the workspace and prints one line per finding.
///
/// # Errors
/// When there is a finding, or a file cannot be read.
pub(crate) fn run(root: &Path) -> Result<()> {
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
    let mut findings = dependencies::check(&workspace);
    findings.extend(features::check(&workspace));
    findings.extend(check_lints(&workspace));
    findings.extend(files::check(root)?);
    findings.extend(links::check(root)?);
    Ok(findings)
}

/// Findings for crates that do not use the lints of the workspace.
fn check_lints(workspace: &Workspace) -> Vec<Finding> {
    let mut findings = Vec::new();
    for manifest in workspace.members() {
        let lints = manifest.table.get("lints");
        let inherited = lints.and_then(|it| it.get("workspace")?.as_bool());
        if !UNSAFE_CRATES.contains(&manifest.package.as_str()) && inherited != Some(true) {
            let message = "[lints] must set workspace = true, which forbids unsafe code";
            findings.push(manifest.finding("lints", "workspace", message.to_owned()));
        }
    }
    findings
}

#[cfg(test)]
mod tests;
