//! One training run of an experiment.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Deserialize;

/// A run, trained or not.
#[derive(Debug)]
pub(crate) struct Run {
    pub name: &'static str,
    /// The config file.
    pub config: PathBuf,
    pub text: String,
    pub seed: u64,
    /// The data of the config, or the requested data.
    pub data: String,
    /// The requested data, if they replace those of the config.
    pub data_override: Option<String>,
    pub folder: PathBuf,
    /// Side of the squares of pixels that are averaged.
    pub shrink: Option<usize>,
    classes: Option<usize>,
    /// The smaller of height and width of its images.
    side: Option<usize>,
    cost: f64,
}

/// The part of a config that an experiment needs.
#[derive(Deserialize)]
struct Config {
    seed: u64,
    data: String,
    shrink: Option<usize>,
    #[serde(default)]
    model: Model,
    training: Option<TrainingLength>,
}

#[derive(Default, Deserialize)]
struct Model {
    image: Option<Image>,
    classes: Option<Classes>,
    maps: Option<usize>,
    blocks: Option<usize>,
}

#[derive(Deserialize)]
struct Image {
    height: usize,
    width: usize,
}

#[derive(Deserialize)]
struct TrainingLength {
    steps: usize,
    batch: usize,
}

/// The number of classes, or their names.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Classes {
    Count(usize),
    Names(Vec<String>),
}

/// The classes in the config.json of a trained model.
#[derive(Deserialize)]
struct SavedModel {
    classes: Option<Classes>,
    conditioning: Option<Conditioning>,
}

#[derive(Deserialize)]
struct Conditioning {
    classes: Option<Classes>,
}

impl Config {
    /// Estimated cost of training: values times multiplications.
    fn cost(&self) -> f64 {
        let number = |value: Option<usize>| value.unwrap_or(8) as f64;
        let (image, steps) = (self.model.image.as_ref(), self.training.as_ref());
        let pixels = image.map_or(0, |image| image.height * image.width) as f64;
        let images = steps.map_or(0, |it| it.steps * it.batch) as f64;
        images * pixels * number(self.model.maps).powi(2) * number(self.model.blocks)
    }
}

/// The name of a data set on a page, shrunk or not.
pub(super) fn describe_data(data: &str, shrink: Option<usize>) -> String {
    match shrink {
        Some(factor) => format!("`{data}`, shrunk by {factor}"),
        None => format!("`{data}`"),
    }
}

impl Run {
    /// Reads `CONFIGS/NAME.toml`, for a run in `OUT/NAME`.
    ///
    /// # Errors
    /// When the config cannot be read, or has no seed or data.
    pub(crate) fn read(
        configs: &Path,
        out: &Path,
        name: &'static str,
        data: Option<&str>,
    ) -> Result<Self> {
        let path = configs.join(format!("{name}.toml"));
        let text = std::fs::read_to_string(&path)
            .with_context(|| format!("cannot read the config {}", path.display()))?;
        let config: Config = toml::from_str(&text)
            .with_context(|| format!("cannot read seed and data from {}", path.display()))?;
        let cost = config.cost();
        let classes = config.model.classes.map(|classes| match classes {
            Classes::Count(count) => count,
            Classes::Names(names) => names.len(),
        });
        Ok(Self {
            name,
            config: path,
            text,
            seed: config.seed,
            data: data.map_or(config.data, str::to_owned),
            data_override: data.map(str::to_owned),
            folder: out.join(name),
            shrink: config.shrink,
            classes,
            cost,
            side: config
                .model
                .image
                .map(|image| image.height.min(image.width)),
        })
    }

    /// The name of its images on a page.
    pub(crate) fn images(&self) -> String {
        describe_data(&self.data, self.shrink)
    }

    /// The directory of its model after training.
    pub(crate) fn model(&self) -> PathBuf {
        self.folder.join("best")
    }

    /// The zoom of its images in pictures: each side has 64 pixels or more.
    pub(crate) fn zoom(&self) -> usize {
        let side = self.side.filter(|side| *side > 0);
        side.map_or(1, |side| 64_usize.div_ceil(side))
    }

    /// Estimated cost of its training, relative to other runs.
    pub(crate) fn cost(&self) -> f64 {
        self.cost
    }

    /// The names of its first classes, from the trained model, or
    /// their numbers.
    pub(crate) fn class_names(&self, count: usize) -> Vec<String> {
        let text = std::fs::read_to_string(self.model().join("config.json"));
        let saved = text
            .ok()
            .and_then(|text| serde_json::from_str::<SavedModel>(&text).ok());
        let classes = saved.and_then(|saved| match saved.conditioning {
            Some(conditioning) => conditioning.classes,
            None => saved.classes,
        });
        let names = match classes {
            Some(Classes::Names(names)) => names,
            _ => Vec::new(),
        };
        let name = |label: usize| {
            let number = || format!("class {label}");
            names.get(label).cloned().unwrap_or_else(number)
        };
        (0..count).map(name).collect()
    }

    /// The number of classes of its model.
    ///
    /// # Errors
    /// When its config has no classes.
    pub(crate) fn classes(&self) -> Result<usize> {
        let config = self.config.display();
        self.classes
            .with_context(|| format!("{config}: expected `classes` in [model]"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smaller_side_of_enlarged_images_has_64_pixels_or_more() {
        let folder = tempfile::tempdir().unwrap();
        for (height, width, zoom) in [
            (28, 23, 3),
            (16, 16, 4),
            (32, 64, 2),
            (64, 64, 1),
            (5, 99, 13),
        ] {
            let text = format!(
                "seed = 1\ndata = 'd'\n[model]\nimage = {{ height = {height}, width = {width} }}"
            );
            std::fs::write(folder.path().join("run.toml"), text).unwrap();
            let run = Run::read(folder.path(), folder.path(), "run", None).unwrap();
            assert_eq!(run.zoom(), zoom, "{height} x {width}");
        }
    }
}
