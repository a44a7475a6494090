//! The data set of a command.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use candle_core::{Device, Tensor};
use pixelcnn_data::{DataSpec, Dataset, Images, Split};
use pixelcnn_models::{Conditioning, ImageShape, Model};
use pixelcnn_train::{
    ConditionedDataset, RunConfig, condition_file_difference, data_difference, read_condition_file,
};

use crate::arguments::{DataFlags, DeviceFlag, ModelFlag};
use crate::loading;
use crate::values::from_one;
use pixelcnn_system::counted;

/// The model and the images of a command.
#[derive(clap::Args)]
pub(crate) struct Subject {
    #[command(flatten)]
    pub model: ModelFlag,
    #[command(flatten)]
    pub data: DataFlags,
    /// With --data: shrink the images by the factor N (means of squares)
    #[arg(long, value_name = "N", requires = "data", value_parser = from_one)]
    shrink: Option<usize>,
    /// With --data: keep the upper N bits of each value
    #[arg(long, value_name = "N", requires = "data", value_parser = bits)]
    bits: Option<u32>,
    #[command(flatten)]
    pub device: DeviceFlag,
}

fn bits(text: &str) -> Result<u32> {
    let bits = text.parse().ok().filter(|bits| (1..=16).contains(bits));
    bits.with_context(|| format!("a number of bits from 1 to 16 expected, found {text}"))
}

impl Subject {
    /// The model and its device.
    pub(crate) fn model(&self) -> Result<(Model, Device)> {
        self.model.load(&self.device)
    }

    pub(crate) fn split(&self) -> Split {
        self.data.split()
    }

    /// The data set, with the labels of the model.
    pub(crate) fn load(&self, model: &Model) -> Result<Data> {
        let data = Data::load(self.data.data.as_ref(), &self.model.folder()?)?;
        let run = data.run.as_ref().map(|(_, run)| run);
        let (own_shrink, own_bits) = (run.and_then(|run| run.shrink), run.and_then(|run| run.bits));
        let mut dataset = data.dataset;
        match (self.shrink, own_shrink) {
            (Some(factor), None) => dataset = dataset.map(move |images| images.shrunk(factor)),
            (Some(factor), Some(own)) if factor != own => {
                bail!("--shrink {factor}: the run shrinks its images by {own}")
            }
            _ => {}
        }
        match (self.bits, own_bits) {
            (Some(bits), None) => dataset = dataset.map(move |images| images.with_bits(bits)),
            (Some(bits), Some(own)) if bits != own => {
                bail!("--bits {bits}: the run keeps {own} bits of each value")
            }
            _ => {}
        }
        Data { dataset, ..data }.for_model(model)
    }
}

/// The number of images, and the batch size.
#[derive(clap::Args)]
pub(crate) struct Portion {
    /// Use only the first N images
    #[arg(long, value_name = "N", value_parser = from_one)]
    pub limit: Option<usize>,
    /// Images per batch
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = from_one)]
    pub batch: usize,
}

/// A data set as a model sees it; a split is opened when it is asked for.
pub(crate) struct Data {
    pub spec: DataSpec,
    dataset: Dataset,
    run: Option<(PathBuf, RunConfig)>,
    /// The folder of the run whose data these are, and the data as it has them.
    own: Option<(PathBuf, Dataset)>,
    /// The images that the model is for, where there is one.
    image: Option<ImageShape>,
}

impl Data {
    /// The data set `spec`, or that of the run in the folder `model`; both
    /// are reduced as in the run.
    pub(crate) fn load(spec: Option<&DataSpec>, model: &Path) -> Result<Self> {
        let run = run_of(model)?;
        let own = spec.is_none();
        let spec = match (spec, &run) {
            (Some(spec), _) => spec.clone(),
            (None, Some((_, run))) => run.data.parse()?,
            (None, None) => {
                let model = model.display();
                bail!("{model}: not the folder of a run: give a data set with --data");
            }
        };
        let dataset = pixelcnn_data::load_with(&spec, &loading::shown())?;
        let dataset = match &run {
            Some((_, run)) => run.reduced(dataset),
            None => dataset,
        };
        let own = run.as_ref().filter(|_| own);
        let own = own.map(|(folder, _)| (folder.clone(), dataset.clone()));
        Ok(Self {
            spec,
            dataset,
            run,
            own,
            image: None,
        })
    }

    /// The same images with the labels of the model's classes, matched by name if both
    /// have names.
    pub(crate) fn for_model(mut self, model: &Model) -> Result<Self> {
        self.image = Some(model.config().image());
        let Some(classes) = model.config().classes() else {
            return Ok(self);
        };
        let named = self.dataset.classes.len();
        if !classes.names().is_empty() {
            let dataset = self.dataset.with_classes(classes.names())?;
            return Ok(Self { dataset, ..self });
        }
        if named > 0 && named != classes.count() {
            bail!(
                "{}: {} ({}), but the model has {} without names: the labels cannot be \
                 matched",
                self.spec,
                counted(named, "class"),
                self.dataset.classes.join(", "),
                classes.count()
            );
        }
        if named > 0 {
            tracing::warn!(
                "the model's classes have no names: labels are matched by number, {} is 0 and so on",
                self.dataset.classes[0]
            );
        }
        Ok(self)
    }

    /// The names of the classes, in the order of the labels.
    pub(crate) fn classes(&self) -> &[String] {
        &self.dataset.classes
    }

    /// The images of a split. Checks that they are unchanged since the start of a run, and
    /// that they have the channels and levels of the model.
    pub(crate) fn split(&self, split: Split) -> Result<&Images> {
        let images = self.dataset.split(split)?;
        if let Some((folder, dataset)) = &self.own {
            check_own(folder, data_difference(folder, dataset, split)?, "--data")?;
        }
        if let Some(image) = self.image {
            check_images(&self.spec, images, image)?;
        }
        Ok(images)
    }

    /// The first `limit` images of a split, or all.
    pub(crate) fn images(&self, split: Split, limit: Option<usize>) -> Result<Images> {
        let images = self.split(split)?;
        Ok(images.first(limit.unwrap_or(usize::MAX)))
    }

    /// Images of a split with their conditions; vectors or maps are `rows`, or come
    /// from the run's files.
    pub(crate) fn conditioned<'a>(
        &self,
        model: &Model,
        images: &'a Images,
        split: Split,
        rows: Option<Tensor>,
    ) -> Result<ConditionedDataset<'a>> {
        let of_run = self.run.as_ref().and_then(|(folder, run)| {
            // The vectors of a run belong to its own images.
            let own = run
                .data
                .parse::<DataSpec>()
                .is_ok_and(|data| data == self.spec);
            let files = run.condition_files.as_ref().filter(|_| own)?;
            let file = match split {
                Split::Train => Some(files.train.as_str()),
                Split::Valid => Some(files.valid.as_str()),
                Split::Test => files.test.as_deref(),
            };
            Some((folder, Path::new(file?)))
        });
        let rows = match (rows, of_run) {
            (Some(rows), _) => Some(rows),
            (None, Some((folder, file))) => {
                let difference = condition_file_difference(folder, split, file)?;
                check_own(folder, difference, "--vector or --map")?;
                Some(read_condition_file(file)?)
            }
            (None, None) => None,
        };
        let rows = match rows {
            Some(rows) => Some(first(rows, self.dataset.split(split)?.len(), images.len())?),
            None => None,
        };
        let needed = matches!(
            model.config().conditioning(),
            Some(Conditioning::Vector { .. } | Conditioning::Map { .. })
        );
        if needed && rows.is_none() {
            bail!(
                "the model is conditioned on a vector or maps for each image, and the run has none for \
                 the {split} images of {}: give them to `pixelcnn eval` with --vector FILE or --map FILE",
                self.spec
            );
        }
        ConditionedDataset::new(model.config(), images, rows)
            .with_context(|| format!("the {split} images of {}", self.spec))
    }
}

/// That images have the channels and the levels that a model is for.
fn check_images(spec: &DataSpec, images: &Images, image: ImageShape) -> Result<()> {
    let (found, ..) = images.shape();
    if found != image.channels {
        let expected = image.channels;
        bail!("{spec}: images with {expected} channels expected, found {found}");
    }
    let (found, expected) = (images.levels(), image.levels);
    if found != expected {
        let way_out = match found > expected && expected.is_power_of_two() {
            true => format!(": use --bits {} to reduce them", expected.ilog2()),
            false => String::new(),
        };
        bail!("{spec}: images of {expected} levels expected, found {found}{way_out}");
    }
    Ok(())
}

/// Refuses data of a run that have changed since it started.
fn check_own(folder: &Path, difference: Option<String>, flag: &str) -> Result<()> {
    match difference {
        None => Ok(()),
        Some(difference) => bail!(
            "{}: the run started with other data: {difference}; restore them, or use \
             {flag} to confirm the new data",
            folder.join("data.json").display()
        ),
    }
}

/// The run of a folder, or of its `best/` or `last/`, and the folder of the run.
fn run_of(path: &Path) -> Result<Option<(PathBuf, RunConfig)>> {
    let model = path.canonicalize();
    let model = model.with_context(|| path.display().to_string())?;
    let inside = ["best", "last"].iter().any(|name| model.ends_with(name));
    let above = model.parent().filter(|_| inside);
    let mut folders = [Some(model.as_path()), above].into_iter().flatten();
    match folders.find(|folder| folder.join("run.toml").exists()) {
        Some(folder) => {
            let run = RunConfig::read(&folder.join("run.toml"))?;
            Ok(Some((folder.to_path_buf(), run)))
        }
        None => Ok(None),
    }
}

/// The rows of the first `count` images, from a file for all images of a split or
/// only for these.
fn first(rows: Tensor, all: usize, count: usize) -> Result<Tensor> {
    match rows.dim(0)? == all {
        true => Ok(rows.narrow(0, 0, count)?),
        // A wrong number of rows is refused later, with the images.
        false => Ok(rows),
    }
}
