//! `unsafe` is allowed in one crate only.

use super::manifest::{Manifest, Workspace};
use super::sources::Source;
use super::{Finding, UNSAFE_CRATE, code};

/// Findings for manifests that do not forbid `unsafe`.
pub fn check_manifests(workspace: &Workspace) -> Vec<Finding> {
    let mut findings = Vec::new();
    if !forbids(&workspace.root) {
        let message = "[workspace.lints.rust] must set unsafe_code = \"forbid\"".to_owned();
        let root = &workspace.root;
        findings.push(root.finding("workspace.lints.rust", "unsafe_code", message));
    }
    for manifest in workspace.members() {
        if manifest.package != UNSAFE_CRATE && !inherits(manifest) {
            let message = "[lints] must set workspace = true, which forbids unsafe code";
            findings.push(manifest.finding("lints", "workspace", message.to_owned()));
        }
    }
    findings
}

/// Findings for the word `unsafe` in code outside the one crate.
pub fn check_source(source: &Source) -> Vec<Finding> {
    if source.path.starts_with(format!("crates/{UNSAFE_CRATE}")) {
        return Vec::new();
    }
    let lines = source.code.lines().enumerate();
    lines
        .filter(|(_, line)| code::words(line).any(|(_, word)| word == "unsafe"))
        .map(|(index, _)| Finding {
            file: source.path.clone(),
            line: Some(index + 1),
            message: format!("`unsafe` outside {UNSAFE_CRATE}"),
        })
        .collect()
}

fn forbids(root: &Manifest) -> bool {
    let lints = root.table.get("workspace").and_then(|it| it.get("lints"));
    let lint = lints.and_then(|it| it.get("rust")?.get("unsafe_code"));
    let level = lint.map(|it| it.get("level").unwrap_or(it));
    level.and_then(toml::Value::as_str) == Some("forbid")
}

fn inherits(manifest: &Manifest) -> bool {
    let lints = manifest.table.get("lints");
    let inherited = lints.and_then(|it| it.get("workspace"));
    inherited.and_then(toml::Value::as_bool) == Some(true)
}
