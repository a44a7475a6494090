//! Matches the classes of a model and of its data by name.

use std::borrow::Cow;

use pixelcnn_data::Dataset;
use pixelcnn_models::{Classes, Conditioning, ModelConfig};

use crate::{Result, RunConfig, TrainError};

/// The configuration of a run with the names of the classes of its data, and
/// the data with the labels that the configuration gives to the names. If
/// only one of the two has class names, or the model has no classes, labels stay
/// unchanged.
pub(crate) fn matched<'a>(
    config: &RunConfig,
    dataset: &'a Dataset,
) -> Result<(RunConfig, Cow<'a, Dataset>)> {
    let unchanged = || Ok((config.clone(), Cow::Borrowed(dataset)));
    let found = &dataset.classes;
    match config.model.classes() {
        Some(Classes::Names(names)) if names != found => {
            let dataset = dataset.clone().with_classes(names)?;
            Ok((config.clone(), Cow::Owned(dataset)))
        }
        Some(Classes::Count(count)) if !found.is_empty() => {
            if *count != found.len() {
                return Err(another_number(config, *count, dataset));
            }
            let model = config.model.clone().with_class_names(found)?;
            let named = RunConfig {
                model,
                ..config.clone()
            };
            named.model.validate()?;
            Ok((named, Cow::Borrowed(dataset)))
        }
        _ => unchanged(),
    }
}

fn another_number(config: &RunConfig, count: usize, dataset: &Dataset) -> TrainError {
    const MOST: usize = 12;
    let found = &dataset.classes;
    let listed = found[..found.len().min(MOST)].join(", ");
    let more = if found.len() > MOST { ", ..." } else { "" };
    let setting = setting(&config.model);
    TrainError::Invalid {
        what: setting.to_string(),
        why: format!(
            "{} names {} classes ({listed}{more}), but the model has {count}: use {setting} = {} \
             for all of them, or a list of names for some",
            dataset.name,
            found.len(),
            found.len()
        ),
    }
}

/// The key of the classes in the configuration.
pub(crate) fn setting(model: &ModelConfig) -> &'static str {
    match model.conditioning() {
        Some(Conditioning::Class { .. }) => "model.conditioning.classes",
        _ => "model.classes",
    }
}

#[cfg(test)]
mod tests {
    use pixelcnn_data::{Images, Split};

    use super::*;

    fn config(classes: &str) -> RunConfig {
        let text = format!(
            r#"
            seed = 1
            data = "made up"
            [model]
            kind = "classifier"
            image = {{ channels = 1, height = 1, width = 1, levels = 256 }}
            encoder_maps = [1]
            classes = {classes}
            "#
        );
        toml::from_str(&text).unwrap()
    }

    fn dataset(classes: &[&str]) -> Dataset {
        let images = Images::new((1, 1, 1), vec![1, 2], vec![0, 1]).unwrap();
        let classes = classes.iter().map(ToString::to_string).collect();
        let splits = [images.clone(), images.clone(), images];
        Dataset::new("made up", classes, splits)
    }

    fn names(config: &RunConfig) -> Vec<String> {
        config.model.classes().unwrap().names().to_vec()
    }

    #[test]
    fn a_number_takes_the_names_of_the_data() {
        let data = dataset(&["cat", "dog"]);
        let (named, same) = matched(&config("2"), &data).unwrap();
        assert_eq!(names(&named), ["cat", "dog"]);
        assert!(matches!(same, Cow::Borrowed(_)));
        let nameless = dataset(&[]);
        let (unnamed, _) = matched(&config("2"), &nameless).unwrap();
        assert_eq!(unnamed, config("2"));
    }

    #[test]
    fn names_give_the_labels() {
        let data = dataset(&["cat", "dog"]);
        let asked = config(r#"["dog", "bird", "cat"]"#);
        let (named, relabelled) = matched(&asked, &data).unwrap();
        assert_eq!(named, asked);
        assert_eq!(relabelled.split(Split::Train).unwrap().labels(), [2, 0]);
        let (_, unknown) = matched(&config(r#"["dog", "bird"]"#), &data).unwrap();
        let error = unknown.split(Split::Train).unwrap_err();
        assert!(error.to_string().contains("cat"), "{error}");
        assert!(matched(&asked, &dataset(&[])).is_err());
    }

    #[test]
    fn another_number_says_the_way_out() {
        for count in ["1", "3"] {
            let data = dataset(&["cat", "dog"]);
            let error = matched(&config(count), &data);
            let error = error.unwrap_err().to_string();
            assert!(error.contains("names 2 classes (cat, dog)"), "{error}");
            assert!(
                error.contains("model.classes = 2 for all of them"),
                "{error}"
            );
        }
    }
}
