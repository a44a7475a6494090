//! The allowed dependencies between crates.

use super::Finding;
use super::manifest::{Manifest, Workspace};

/// The crates of the workspace that a crate may depend on.
enum Allowed {
    Only(&'static [&'static str]),
    AllBut(&'static [&'static str]),
}

const SYSTEM: &str = "pixelcnn-system";
const TESTKIT: &str = "pixelcnn-testkit";
const HUB: &str = "pixelcnn-hub";
const IMAGE: &str = "pixelcnn-image";

/// What each crate may depend on.
const ALLOWED: [(&str, Allowed); 15] = [
    (IMAGE, Allowed::Only(&[])),
    (SYSTEM, Allowed::Only(&[])),
    ("pixelcnn-cuda", Allowed::Only(&[])),
    ("pixelcnn-kernels", Allowed::Only(&["pixelcnn-cuda"])),
    ("pixelcnn-conv", Allowed::Only(&["pixelcnn-kernels"])),
    (
        "pixelcnn-layers",
        Allowed::Only(&["pixelcnn-conv", "pixelcnn-cuda", "pixelcnn-kernels"]),
    ),
    (
        "pixelcnn-models",
        Allowed::Only(&[
            "pixelcnn-layers",
            "pixelcnn-conv",
            "pixelcnn-cuda",
            "pixelcnn-kernels",
            HUB,
            IMAGE,
            SYSTEM,
        ]),
    ),
    (
        "pixelcnn-sample",
        Allowed::Only(&[
            "pixelcnn-models",
            "pixelcnn-layers",
            "pixelcnn-conv",
            "pixelcnn-kernels",
            SYSTEM,
        ]),
    ),
    (
        "pixelcnn-codec",
        Allowed::Only(&["pixelcnn-sample", "pixelcnn-models", SYSTEM]),
    ),
    ("pixelcnn-data", Allowed::Only(&[HUB, IMAGE, SYSTEM])),
    (HUB, Allowed::Only(&[SYSTEM])),
    (
        "pixelcnn-import",
        Allowed::Only(&[
            "pixelcnn-models",
            "pixelcnn-layers",
            "pixelcnn-conv",
            SYSTEM,
        ]),
    ),
    (
        "pixelcnn-train",
        Allowed::Only(&[
            "pixelcnn-models",
            "pixelcnn-data",
            "pixelcnn-cuda",
            "pixelcnn-kernels",
            SYSTEM,
        ]),
    ),
    (
        "pixelcnn-cli",
        Allowed::Only(&[
            "pixelcnn-train",
            "pixelcnn-codec",
            "pixelcnn-sample",
            "pixelcnn-import",
            "pixelcnn-models",
            "pixelcnn-data",
            "pixelcnn-kernels",
            HUB,
            SYSTEM,
        ]),
    ),
    (TESTKIT, Allowed::AllBut(&["pixelcnn-cli"])),
];

impl Allowed {
    fn permits(&self, package: &str) -> bool {
        match self {
            Self::Only(packages) => packages.contains(&package),
            Self::AllBut(packages) => !packages.contains(&package),
        }
    }
}

/// Findings for every dependency that the table does not allow.
pub(super) fn check(workspace: &Workspace) -> Vec<Finding> {
    let mut findings = Vec::new();
    for manifest in &workspace.crates {
        findings.extend(check_crate(workspace, manifest));
    }
    for manifest in workspace.members() {
        findings.extend(check_testkit(workspace, manifest));
    }
    findings.extend(check_xtask(workspace));
    findings
}

fn check_crate(workspace: &Workspace, manifest: &Manifest) -> Vec<Finding> {
    let package = &manifest.package;
    let Some((_, allowed)) = ALLOWED.iter().find(|(name, _)| name == package) else {
        let message =
            format!("xtask/src/tidy/dependencies.rs does not say what `{package}` may depend on");
        return vec![manifest.finding("package", "name", message)];
    };
    workspace
        .normal_dependencies(manifest)
        .iter()
        .filter(|dependency| dependency.package.starts_with("pixelcnn-"))
        .filter(|dependency| dependency.package != TESTKIT)
        .filter(|dependency| !allowed.permits(&dependency.package))
        .map(|dependency| {
            let message = format!("`{package}` must not depend on `{}`", dependency.package);
            manifest.finding(&dependency.section, &dependency.key, message)
        })
        .collect()
}

fn check_testkit(workspace: &Workspace, manifest: &Manifest) -> Vec<Finding> {
    workspace
        .all_dependencies(manifest)
        .iter()
        .filter(|dependency| dependency.package == TESTKIT)
        .map(|dependency| {
            let message = format!("no crate may depend on `{TESTKIT}`, not even for tests");
            manifest.finding(&dependency.section, &dependency.key, message)
        })
        .collect()
}

fn check_xtask(workspace: &Workspace) -> Vec<Finding> {
    let manifest = &workspace.xtask;
    let forbidden = |package: &str| {
        ![TESTKIT, SYSTEM].contains(&package)
            && (package.starts_with("pixelcnn") || package.starts_with("candle"))
    };
    workspace
        .normal_dependencies(manifest)
        .iter()
        .filter(|dependency| forbidden(&dependency.package))
        .map(|dependency| {
            let message = format!(
                "xtask must not depend on `{}`: it starts the program instead",
                dependency.package
            );
            manifest.finding(&dependency.section, &dependency.key, message)
        })
        .collect()
}
