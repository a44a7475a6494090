//! Which of the Parquet files of a repository are the data set.

use std::collections::BTreeSet;

use crate::{DataError, HubSpec, Split};

/// A file to read, and its split.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Chosen {
    pub(super) path: String,
    pub(super) split: Split,
}

/// What the path of a file says.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Part<'a> {
    path: &'a str,
    config: &'a str,
    split: &'a str,
}

/// The configuration of files outside of folders, or in `data`.
const DEFAULT: &str = "default";
const ENDING: &str = ".parquet";

/// Whether a repository has Parquet files.
pub(super) fn has_any(files: &[String]) -> bool {
    files.iter().any(|path| path.ends_with(ENDING))
}

/// The files of the configuration and the splits that a spec asks for, in order of their
/// names.
pub(super) fn choose(
    place: &str,
    files: &[String],
    spec: &HubSpec,
) -> Result<Vec<Chosen>, DataError> {
    let wrong = |reason: String| DataError::Parquet {
        place: place.into(),
        reason,
    };
    let mut parts: Vec<_> = files.iter().filter_map(|path| part(path)).collect();
    parts.sort_by_key(|part| part.path);
    let configs: BTreeSet<_> = parts.iter().map(|part| part.config).collect();
    let config = match (&spec.config, configs.first()) {
        (_, None) => return Err(wrong("the data set has no Parquet files".into())),
        (Some(asked), _) if configs.contains(asked.as_str()) => asked.as_str(),
        (Some(asked), _) => {
            let reason = format!("no configuration {asked}: there are {}", listed(&configs));
            return Err(wrong(reason));
        }
        (None, Some(only)) if configs.len() == 1 => only,
        (None, _) => {
            let reason = format!(
                "choose a configuration with config=NAME: {}",
                listed(&configs)
            );
            return Err(wrong(reason));
        }
    };
    parts.retain(|part| part.config == config);
    let splits: BTreeSet<_> = parts.iter().map(|part| part.split).collect();
    let chosen = parts.iter().filter_map(|part| {
        let split = match &spec.split {
            Some(asked) => (part.split == asked).then_some(Split::Train)?,
            None => of_name(part.split)?,
        };
        let path = part.path.to_string();
        Some(Chosen { path, split })
    });
    let chosen: Vec<_> = chosen.collect();
    if !chosen.iter().any(|file| file.split == Split::Train) {
        let asked = spec.split.as_deref().unwrap_or("train");
        let reason = format!(
            "no split {asked}: there are {}; split=NAME chooses one",
            listed(&splits)
        );
        return Err(wrong(reason));
    }
    Ok(chosen)
}

fn listed(names: &BTreeSet<&str>) -> String {
    names.iter().copied().collect::<Vec<_>>().join(", ")
}

/// The usual names of splits.
fn of_name(name: &str) -> Option<Split> {
    match name {
        "train" => Some(Split::Train),
        "validation" | "valid" | "val" | "dev" => Some(Split::Valid),
        "test" => Some(Split::Test),
        _ => None,
    }
}

/// The configuration and the split of a file: `CONFIG/SPLIT-00000-of-00001.parquet`,
/// `CONFIG/SPLIT/0000.parquet`, or without a configuration or in `data/`.
fn part(path: &str) -> Option<Part<'_>> {
    let stem = path.strip_suffix(ENDING)?;
    let (folders, name) = stem.rsplit_once('/').unwrap_or(("", stem));
    let mut folders: Vec<_> = folders
        .split('/')
        .filter(|folder| !folder.is_empty())
        .collect();
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let split = match is_number(name) {
        true => folders.pop()?,
        false => name.split_once("-0").map_or(name, |(split, _)| split),
    };
    let config = folders.into_iter().find(|folder| *folder != "data");
    Some(Part {
        path,
        config: config.unwrap_or(DEFAULT),
        split,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DataSpec;
    use crate::testing::assert_says;

    fn choose(files: &[&str], options: &str) -> Result<Vec<(String, Split)>, DataError> {
        let spec = format!("hf:a/b{options}").parse().unwrap();
        let DataSpec::Hub(spec) = spec else {
            unreachable!()
        };
        let files: Vec<_> = files.iter().map(ToString::to_string).collect();
        let chosen = super::choose("hf:a/b", &files, &spec)?;
        Ok(chosen
            .into_iter()
            .map(|file| (file.path, file.split))
            .collect())
    }

    #[test]
    fn both_layouts_of_files_are_known() {
        for (path, config, split) in [
            (
                "plain_text/train-00000-of-00001.parquet",
                "plain_text",
                "train",
            ),
            (
                "data/test-00000-of-00001-0123456789abcdef.parquet",
                "default",
                "test",
            ),
            ("train.parquet", "default", "train"),
            ("mnist/validation/0000.parquet", "mnist", "validation"),
            (
                "default/partial-train/0001.parquet",
                "default",
                "partial-train",
            ),
        ] {
            assert_eq!(
                part(path),
                Some(Part {
                    path,
                    config,
                    split
                })
            );
        }
        assert_eq!(part("0000.parquet"), None);
        assert_eq!(part("train.csv"), None);
    }

    #[test]
    fn splits_and_configurations_are_chosen() {
        let files = [
            "README.md",
            "c/train-00001-of-00002.parquet",
            "c/train-00000-of-00002.parquet",
            "c/test-00000-of-00001.parquet",
            "c/extra-00000-of-00001.parquet",
        ];
        let named = |path: &str, split| (format!("c/{path}.parquet"), split);
        let expected = [
            named("test-00000-of-00001", Split::Test),
            named("train-00000-of-00002", Split::Train),
            named("train-00001-of-00002", Split::Train),
        ];
        assert_eq!(choose(&files, "").unwrap(), expected);
        assert_eq!(choose(&files, ",config=c").unwrap(), expected);
        let extra = [named("extra-00000-of-00001", Split::Train)];
        assert_eq!(choose(&files, ",split=extra").unwrap(), extra);
        let fails = |files: &[&str], options, parts: &[&str]| {
            assert_says(&choose(files, options).unwrap_err(), parts);
        };
        fails(&files, ",config=d", &["no configuration d: there are c"]);
        fails(
            &files,
            ",split=d",
            &["no split d: there are extra, test, train"],
        );
        fails(&files[4..], "", &["no split train: there are extra"]);
        fails(&files[..1], "", &["has no Parquet files"]);
        let two = ["a/train/0.parquet", "b/train/0.parquet"];
        fails(&two, "", &["config=NAME: a, b"]);
        assert_eq!(choose(&two, ",config=b").unwrap().len(), 1);
    }
}
