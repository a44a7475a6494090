//! `pixelcnn models`.

mod entry;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;
use pixelcnn_models::included_models;
use pixelcnn_system::counted;
use serde_json::json;

use crate::arguments::JsonFlag;
use crate::output;
use entry::Entry;

/// Lists the models that --model finds: those that come with the source, those in the cache of
/// the Hugging Face hub, and those of runs
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The folder of runs, searched with its subfolders
    #[arg(long, value_name = "DIR", default_value = "runs")]
    runs: PathBuf,
    #[command(flatten)]
    json: JsonFlag,
}

/// Folders below the folder of runs that are searched.
const DEPTH: usize = 4;

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let included = included_models().into_iter();
    let mut entries: Vec<_> = included
        .map(|(name, folder)| Entry::of(name, "included", &folder))
        .collect();
    let others = hub(&mut entries)?;
    for folder in runs_in(&arguments.runs, DEPTH) {
        entries.push(Entry::of(folder.display().to_string(), "run", &folder));
    }
    if arguments.json.json {
        let models: Vec<_> = entries.iter().map(Entry::json).collect();
        output::line(json!({ "models": models, "other_models_in_cache": others }))?;
        return Ok(ExitCode::SUCCESS);
    }
    if entries.is_empty() {
        tracing::info!(
            "no models: none come with this copy of the source, and there are no runs in {}",
            arguments.runs.display()
        );
    }
    let widest = entries.iter().map(|entry| entry.name.chars().count()).max();
    for entry in &entries {
        output::line(entry.line(widest.unwrap_or(0)))?;
    }
    if others > 0 {
        tracing::info!(
            "the cache of the hub also has {} of other programs",
            counted(others, "model")
        );
    }
    Ok(ExitCode::SUCCESS)
}

/// Adds the models in the cache of the hub; returns the number of those of other programs.
#[cfg(feature = "hub")]
fn hub(entries: &mut Vec<Entry>) -> Result<usize> {
    use pixelcnn_hub::{Hub, Kind};
    use pixelcnn_models::ModelConfig;
    let mut others = 0;
    for cached in Hub::from_environment()?.cached()? {
        if cached.repository.kind() != Kind::Model {
            continue;
        }
        match ModelConfig::read(cached.folder.join("config.json")) {
            Ok(_) => {
                let name = cached.repository.to_string();
                entries.push(Entry::of(name, "hub", &cached.folder));
            }
            Err(_) => others += 1,
        }
    }
    Ok(others)
}

#[cfg(not(feature = "hub"))]
fn hub(_entries: &mut Vec<Entry>) -> Result<usize> {
    Ok(0)
}

/// The runs and model directories in a folder and its subfolders, sorted. A folder that
/// cannot be read has none.
fn runs_in(folder: &Path, depth: usize) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let folders = entries.filter(|entry| entry.file_type().is_ok_and(|found| found.is_dir()));
    let mut folders: Vec<_> = folders.map(|entry| entry.path()).collect();
    folders.sort();
    let mut found = Vec::new();
    for folder in folders {
        let is_model = ["run.toml", "config.json"]
            .iter()
            .any(|file| folder.join(file).exists());
        match (is_model, depth) {
            (true, _) => found.push(folder),
            (false, 0) => {}
            (false, _) => found.extend(runs_in(&folder, depth - 1)),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_found_in_subfolders_and_not_searched_themselves() {
        let root = tempfile::tempdir().unwrap();
        let make = |folder: &str, file: &str| {
            let folder = root.path().join(folder);
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(folder.join(file), "").unwrap();
        };
        make("b/c/run", "run.toml");
        make("b/c/run/best", "config.json");
        make("a", "config.json");
        make("notes", "notes.txt");
        make("1/2/3/4/5/6", "run.toml");
        let found = runs_in(root.path(), DEPTH);
        assert_eq!(found, ["a", "b/c/run"].map(|name| root.path().join(name)));
        assert!(runs_in(&root.path().join("none"), DEPTH).is_empty());
    }
}
