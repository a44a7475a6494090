//! The data set that a command works on.

use std::path::Path;

use anyhow::{Result, bail};
use candle_core::Tensor;
use pixelcnn_data::{DataSpec, Dataset, Images, Split};
use pixelcnn_models::Model;
use pixelcnn_train::{Examples, RunConfig, read_given};

/// A data set as a model sees it.
pub struct Data {
    pub spec: DataSpec,
    pub dataset: Dataset,
    run: Option<RunConfig>,
}

impl Data {
    /// The data set `spec`, or that of the run in the folder `model`; either
    /// shrunk as the run's was.
    pub fn load(spec: Option<&DataSpec>, model: &Path) -> Result<Self> {
        let run = run_of(model)?;
        let spec = match (spec, &run) {
            (Some(spec), _) => spec.clone(),
            (None, Some(run)) => run.data.parse()?,
            (None, None) => {
                let model = model.display();
                bail!("{model}: no folder of a run: --data must say what to work on");
            }
        };
        let dataset = pixelcnn_data::load(&spec)?;
        let dataset = match &run {
            Some(run) => run.shrunk(dataset)?,
            None => dataset,
        };
        Ok(Self { spec, dataset, run })
    }

    /// The first `limit` images of a split, or all.
    pub fn images(&self, split: Split, limit: Option<usize>) -> Result<Images> {
        let images = self.dataset.split(split)?;
        Ok(images.first(limit.unwrap_or(images.len())))
    }

    /// Images of a split with what the model is conditioned on; vectors or maps
    /// come from `given`, or from where the run has them.
    pub fn examples<'a>(
        &self,
        model: &Model,
        images: &'a Images,
        split: Split,
        given: Option<&Path>,
    ) -> Result<Examples<'a>> {
        let of_run = self.run.as_ref().and_then(|run| {
            // Vectors of a run are those of its own images.
            let own = self.spec.to_string() == run.data;
            let files = run.given.as_ref().filter(|_| own)?;
            match split {
                Split::Train => Some(files.train.as_str()),
                Split::Valid => Some(files.valid.as_str()),
                Split::Test => files.test.as_deref(),
            }
        });
        let given = match given.or(of_run.map(Path::new)) {
            Some(path) => {
                let all = self.dataset.split(split)?.len();
                Some(first(read_given(path)?, all, images.len())?)
            }
            None => None,
        };
        Ok(Examples::new(model.config(), images, given)?)
    }
}

/// The run whose folder this is, or whose `best/` or `last/`.
fn run_of(model: &Path) -> Result<Option<RunConfig>> {
    let inside = ["best", "last"].iter().any(|name| model.ends_with(name));
    let above = model.parent().filter(|_| inside);
    let mut files = [Some(model), above].into_iter().flatten();
    match files.find_map(|folder| Some(folder.join("run.toml")).filter(|file| file.exists())) {
        Some(file) => Ok(Some(RunConfig::read(&file)?)),
        None => Ok(None),
    }
}

/// The rows of the first `count` images, of a file for all images of a split or
/// for these alone.
fn first(rows: Tensor, all: usize, count: usize) -> Result<Tensor> {
    match rows.dim(0)? == all {
        true => Ok(rows.narrow(0, 0, count)?),
        // Another number is refused with the images that it should be for.
        false => Ok(rows),
    }
}
