//! The checks on small workspaces on disk.

use std::path::Path;

use super::*;

const ROOT: &str = "\
[workspace]
members = [\"crates/*\", \"xtask\"]

[workspace.dependencies]
pixelcnn-conv = { path = \"crates/pixelcnn-conv\" }
tensors = { package = \"candle-core\", version = \"0.11\" }
";

const FEATURES_OF_CONV: &str = "\
cuda = [\"candle-core/cuda\", \"candle-nn/cuda\"]
cudnn = [\"candle-core/cudnn\", \"candle-nn/cudnn\"]
nccl = [\"candle-core/nccl\"]
metal = [\"candle-core/metal\", \"candle-nn/metal\"]
accelerate = [\"candle-core/accelerate\", \"candle-nn/accelerate\"]
mkl = [\"candle-core/mkl\", \"candle-nn/mkl\"]
";

fn write(root: &Path, file: &str, text: &str) {
    let path = root.join(file);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

fn write_manifest(root: &Path, package: &str, rest: &str) {
    let folder = match package {
        "xtask" => "xtask".to_owned(),
        _ => format!("crates/{package}"),
    };
    let head = format!("[package]\nname = \"{package}\"\n\n[lints]\nworkspace = true\n\n");
    write(root, &format!("{folder}/Cargo.toml"), &(head + rest));
}

/// A workspace without findings.
fn clean() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    write(root, "Cargo.toml", ROOT);
    write_manifest(root, "xtask", "[dependencies]\nclap = \"4\"\n");
    let conv = format!(
        "[features]\n{FEATURES_OF_CONV}\n\
         [dependencies]\ncandle-core = \"0.11\"\ncandle-nn = \"0.11\"\n"
    );
    write_manifest(root, "pixelcnn-conv", &conv);
    let kernels = "[package]\nname = \"pixelcnn-kernels\"\n";
    write(root, "crates/pixelcnn-kernels/Cargo.toml", kernels);
    write(root, "README.md", "[docs](docs/a.md)\n");
    write(root, "docs/a.md", "[up](../README.md#top) [root](/xtask)\n");
    folder
}

fn found(folder: &tempfile::TempDir) -> Vec<String> {
    let findings = findings(folder.path()).unwrap();
    findings.iter().map(ToString::to_string).collect()
}

#[test]
fn a_clean_workspace_has_no_findings() {
    let folder = clean();
    assert_eq!(found(&folder), Vec::<String>::new());
    run(folder.path()).unwrap();
}

#[test]
fn findings_make_the_command_fail() {
    let folder = clean();
    write(folder.path(), "README.md", "[a](b.md)");
    let error = run(folder.path()).unwrap_err();
    assert_eq!(error.to_string(), "tidy: 1 finding(s)");
}

#[test]
fn a_dependency_that_is_not_allowed_is_found() {
    let folder = clean();
    let rest = "[dependencies]\nserde = \"1\"\n\n[target.'cfg(unix)'.dependencies]\n\
                pixelcnn-conv.workspace = true\n\n[dev-dependencies]\npixelcnn-models = \"0.1\"\n";
    write_manifest(folder.path(), "pixelcnn-data", rest);
    let found = found(&folder);
    assert_eq!(
        found[0],
        "crates/pixelcnn-data/Cargo.toml:11: `pixelcnn-data` must not depend on `pixelcnn-conv`"
    );
    // The others are the six features that such a dependency must forward.
    assert_eq!(found.len(), 1 + 6);
}

#[test]
fn allowed_dependencies_are_accepted() {
    let folder = clean();
    let features = FEATURES_OF_CONV.replace("candle-nn/", "pixelcnn-conv?/");
    let features = features.replace("/nccl\"", "/nccl\", \"pixelcnn-conv/nccl\"");
    let rest = format!(
        "[features]\n{features}\n[dependencies]\npixelcnn-conv.workspace = true\n\
         candle-core = \"0.11\"\npixelcnn-kernels = \"0.1\"\n"
    );
    write_manifest(folder.path(), "pixelcnn-layers", &rest);
    assert_eq!(found(&folder), Vec::<String>::new());
}

#[test]
fn a_crate_without_candle_needs_no_features() {
    let folder = clean();
    write_manifest(folder.path(), "pixelcnn-system", "");
    let rest = "[dependencies]\npixelcnn-system = \"0.1\"\n";
    write_manifest(folder.path(), "pixelcnn-hub", rest);
    assert_eq!(found(&folder), Vec::<String>::new());
}

#[test]
fn a_crate_without_a_row_in_the_table_is_found() {
    let folder = clean();
    write_manifest(folder.path(), "pixelcnn-extra", "");
    assert_eq!(
        found(&folder),
        [
            "crates/pixelcnn-extra/Cargo.toml:2: xtask/src/tidy/dependencies.rs does not say what \
             `pixelcnn-extra` may depend on"
        ]
    );
}

#[test]
fn nobody_depends_on_the_testkit() {
    let folder = clean();
    let rest = "[dev-dependencies]\npixelcnn-testkit = \"0.1\"\n";
    write_manifest(folder.path(), "pixelcnn-data", rest);
    assert_eq!(
        found(&folder),
        [
            "crates/pixelcnn-data/Cargo.toml:8: no crate may depend on `pixelcnn-testkit`, not even \
          for tests"
        ]
    );
}

#[test]
fn xtask_links_no_candle_under_any_name() {
    let folder = clean();
    let rest = "[dependencies]\ntensors = { workspace = true }\n\n\
                [dependencies.pixelcnn-conv]\npath = \"../crates/pixelcnn-conv\"\n";
    write_manifest(folder.path(), "xtask", rest);
    assert_eq!(
        found(&folder),
        [
            "xtask/Cargo.toml:10: xtask must not depend on `pixelcnn-conv`: it starts the program \
             instead",
            "xtask/Cargo.toml:8: xtask must not depend on `candle-core`: it starts the program \
             instead",
        ]
    );
}

#[test]
fn features_that_are_missing_or_not_forwarded_are_found() {
    let folder = clean();
    let features = FEATURES_OF_CONV.replace(", \"candle-nn/metal\"", "");
    let features = features.replace("mkl = ", "blas = ");
    let rest =
        format!("[features]\n{features}\n[dependencies]\ncandle-core = \"1\"\ncandle-nn = \"1\"\n");
    write_manifest(folder.path(), "pixelcnn-conv", &rest);
    assert_eq!(
        found(&folder),
        [
            "crates/pixelcnn-conv/Cargo.toml:11: feature `metal` does not enable \
             `candle-nn/metal`",
            "crates/pixelcnn-conv/Cargo.toml:2: `pixelcnn-conv` has no feature `mkl`",
        ]
    );
}

#[test]
fn a_crate_without_the_lints_of_the_workspace_is_found() {
    let folder = clean();
    let manifest = "[package]\nname = \"pixelcnn-data\"\n";
    write(folder.path(), "crates/pixelcnn-data/Cargo.toml", manifest);
    assert_eq!(
        found(&folder),
        [
            "crates/pixelcnn-data/Cargo.toml: [lints] must set workspace = true, which forbids \
             unsafe code"
        ]
    );
}

#[test]
fn files_that_are_too_long_are_found_in_folders_within() {
    let folder = clean();
    let file = "crates/pixelcnn-conv/tests/a/b.rs";
    write(folder.path(), file, &"\n".repeat(600));
    assert_eq!(found(&folder), Vec::<String>::new());
    write(folder.path(), file, &"\n".repeat(601));
    let expected = format!("{file}: 601 lines, more than 600");
    assert_eq!(found(&folder), [expected]);
}

#[test]
fn a_link_that_leads_nowhere_is_found() {
    let folder = clean();
    write(
        folder.path(),
        "docs/b/c.md",
        "\n[x](../a.md) [y](missing.md#z)",
    );
    assert_eq!(
        found(&folder),
        ["docs/b/c.md:2: the link leads to no file: missing.md#z"]
    );
}

#[test]
fn a_manifest_that_cannot_be_parsed_is_named() {
    let folder = clean();
    write(folder.path(), "xtask/Cargo.toml", "[package\n");
    let error = findings(folder.path()).err().unwrap();
    assert!(format!("{error:#}").contains("xtask/Cargo.toml"));
}
