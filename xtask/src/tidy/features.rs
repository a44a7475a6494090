//! The back-end features, forwarded crate by crate down to candle.

use std::collections::BTreeSet;

use super::Finding;
use super::manifest::{Dependency, Manifest, Workspace};

const FEATURES: [&str; 6] = ["cuda", "cudnn", "nccl", "metal", "accelerate", "mkl"];

/// Findings for every crate that lacks a feature or does not pass it on.
pub(super) fn check(workspace: &Workspace) -> Vec<Finding> {
    let mut findings = Vec::new();
    for manifest in &workspace.crates {
        if manifest.package != "pixelcnn-testkit" {
            findings.extend(check_crate(workspace, manifest));
        }
    }
    findings
}

fn check_crate(workspace: &Workspace, manifest: &Manifest) -> Vec<Finding> {
    let mut with_back_ends = workspace.normal_dependencies(manifest);
    with_back_ends.retain(|dependency| has_back_ends(workspace, dependency));
    if with_back_ends.is_empty() {
        return Vec::new();
    }
    let mut findings = Vec::new();
    for feature in FEATURES {
        match manifest.feature(feature) {
            None => {
                let message = format!("`{}` has no feature `{feature}`", manifest.package);
                findings.push(manifest.finding("package", "name", message));
            }
            Some(switched_on) => {
                let offered = |dependency: &&Dependency| offers(workspace, dependency, feature);
                let dependencies = with_back_ends.iter().filter(offered);
                findings.extend(check_feature(manifest, feature, &switched_on, dependencies));
            }
        }
    }
    findings
}

fn check_feature<'a>(
    manifest: &Manifest,
    feature: &str,
    switched_on: &[&str],
    dependencies: impl Iterator<Item = &'a Dependency>,
) -> Vec<Finding> {
    let forwarded = |key: &str| {
        let optional = format!("{key}?/{feature}");
        switched_on.contains(&format!("{key}/{feature}").as_str())
            || switched_on.contains(&optional.as_str())
    };
    let missing: BTreeSet<&str> = dependencies
        .map(|dependency| dependency.key.as_str())
        .filter(|key| !forwarded(key))
        .collect();
    missing
        .into_iter()
        .map(|key| {
            let message = format!("feature `{feature}` does not enable `{key}/{feature}`");
            manifest.finding("features", feature, message)
        })
        .collect()
}

fn has_back_ends(workspace: &Workspace, dependency: &Dependency) -> bool {
    let mut features = FEATURES.iter();
    features.any(|feature| offers(workspace, dependency, feature))
}

fn offers(workspace: &Workspace, dependency: &Dependency, feature: &str) -> bool {
    match dependency.package.as_str() {
        "candle-core" => true,
        "candle-nn" => feature != "nccl",
        package => workspace
            .crates
            .iter()
            .any(|other| other.package == package && other.features().contains(feature)),
    }
}
