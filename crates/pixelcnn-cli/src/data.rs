//! The data set that a command works on.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use candle_core::{Device, Tensor};
use pixelcnn_data::{DataSpec, Dataset, Images, Split};
use pixelcnn_models::{Conditioning, Model};
use pixelcnn_train::{
    ConditionedDataset, RunConfig, condition_file_difference, data_difference, read_condition_file,
};

use crate::arguments::{DataFlags, DeviceFlag, ModelFlag};
use crate::values::from_one;
use pixelcnn_system::counted;

/// The model and the images that a command works on.
#[derive(clap::Args)]
pub struct Subject {
    #[command(flatten)]
    pub model: ModelFlag,
    #[command(flatten)]
    pub data: DataFlags,
    /// Average the squares of N pixels a side of a data set that is not the run's
    #[arg(long, value_name = "N", requires = "data", value_parser = from_one)]
    shrink: Option<usize>,
    /// Keep the upper N bits of each value of a data set that is not the run's
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
    /// The model, and where it is.
    pub fn model(&self) -> Result<(Model, Device)> {
        self.model.load(&self.device)
    }

    pub fn split(&self) -> Split {
        self.data.split()
    }

    /// The data set, its labels those of the model.
    pub fn load(&self, model: &Model) -> Result<Data> {
        let data = Data::load(self.data.data.as_ref(), &self.model.model)?;
        let run = data.run.as_ref().map(|(_, run)| run);
        let (own_shrink, own_bits) = (run.and_then(|run| run.shrink), run.and_then(|run| run.bits));
        let mut dataset = data.dataset;
        match (self.shrink, own_shrink) {
            (Some(factor), None) => dataset = dataset.map(|images| images.shrunk(factor))?,
            (Some(factor), Some(own)) if factor != own => {
                bail!("--shrink {factor}: the run shrinks its images by {own}")
            }
            _ => {}
        }
        match (self.bits, own_bits) {
            (Some(bits), None) => dataset = dataset.map(|images| images.with_bits(bits))?,
            (Some(bits), Some(own)) if bits != own => {
                bail!("--bits {bits}: the run keeps {own} bits of each value")
            }
            _ => {}
        }
        Data { dataset, ..data }.for_model(model)
    }
}

/// How many images of a split, and how many at a time.
#[derive(clap::Args)]
pub struct Portion {
    /// Only the first N images
    #[arg(long, value_name = "N", value_parser = from_one)]
    pub limit: Option<usize>,
    /// Images at a time
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = from_one)]
    pub batch: usize,
}

/// A data set as a model sees it.
pub struct Data {
    pub spec: DataSpec,
    pub dataset: Dataset,
    run: Option<(PathBuf, RunConfig)>,
}

impl Data {
    /// The data set `spec`, or that of the run in the folder `model`; either
    /// shrunk as the run's was.
    pub fn load(spec: Option<&DataSpec>, model: &Path) -> Result<Self> {
        let run = run_of(model)?;
        let own = spec.is_none();
        let spec = match (spec, &run) {
            (Some(spec), _) => spec.clone(),
            (None, Some((_, run))) => run.data.parse()?,
            (None, None) => {
                let model = model.display();
                bail!("{model}: no folder of a run: --data must say what to work on");
            }
        };
        let dataset = pixelcnn_data::load(&spec)?;
        let dataset = match &run {
            Some((_, run)) => run.reduced(dataset)?,
            None => dataset,
        };
        if let (true, Some((folder, _))) = (own, &run) {
            check_own(folder, data_difference(folder, &dataset)?, "--data")?;
        }
        Ok(Self { spec, dataset, run })
    }

    /// The same images with labels that count as the model's classes do: matched
    /// by name, where both have names.
    pub fn for_model(self, model: &Model) -> Result<Self> {
        self.check_images(model)?;
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
                "{}: {} ({}), and the model has {} without names: its labels cannot be matched \
                 with these",
                self.spec,
                counted(named, "class"),
                self.dataset.classes.join(", "),
                classes.count()
            );
        }
        if named > 0 {
            tracing::warn!(
                "the model's classes have no names: labels are taken by number, {} as 0 and so on",
                self.dataset.classes[0]
            );
        }
        Ok(self)
    }

    /// That the images have the channels and the levels that the model is for.
    fn check_images(&self, model: &Model) -> Result<()> {
        let (spec, image) = (&self.spec, model.config().image());
        for images in [&self.dataset.train, &self.dataset.valid, &self.dataset.test] {
            let (found, ..) = images.shape();
            if found != image.channels {
                let expected = image.channels;
                bail!("{spec}: images with {expected} channels expected, found {found}");
            }
            let (found, expected) = (images.levels(), image.levels);
            if found != expected {
                let way_out = match found > expected && expected.is_power_of_two() {
                    true => format!(": --bits {} drops the lower ones", expected.ilog2()),
                    false => String::new(),
                };
                bail!("{spec}: images of {expected} levels expected, found {found}{way_out}");
            }
        }
        Ok(())
    }

    /// The first `limit` images of a split, or all.
    pub fn images(&self, split: Split, limit: Option<usize>) -> Result<Images> {
        let images = self.dataset.split(split)?;
        match limit {
            Some(limit) => Ok(images.first(limit)),
            None => Ok(images.clone()),
        }
    }

    /// Images of a split with what the model is conditioned on; vectors or maps
    /// are `rows`, or those of the run's files.
    pub fn conditioned<'a>(
        &self,
        model: &Model,
        images: &'a Images,
        split: Split,
        rows: Option<Tensor>,
    ) -> Result<ConditionedDataset<'a>> {
        let of_run = self.run.as_ref().and_then(|(folder, run)| {
            // Vectors of a run are those of its own images.
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
                "the model is conditioned on a vector or maps of each image, and the run has none of \
                 the {split} images of {}: `pixelcnn eval` takes them as --vector FILE or --map FILE",
                self.spec
            );
        }
        Ok(ConditionedDataset::new(model.config(), images, rows)?)
    }
}

/// Refuses data of a run that are no longer what it began with.
fn check_own(folder: &Path, difference: Option<String>, flag: &str) -> Result<()> {
    match difference {
        None => Ok(()),
        Some(difference) => bail!(
            "{}: the run began with other data: {difference}; give it those again, or say with \
             {flag} that these are meant",
            folder.join("data.json").display()
        ),
    }
}

/// The run whose folder this is, or whose `best/` or `last/`, and its folder.
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

/// The rows of the first `count` images, of a file for all images of a split or
/// for these alone.
fn first(rows: Tensor, all: usize, count: usize) -> Result<Tensor> {
    match rows.dim(0)? == all {
        true => Ok(rows.narrow(0, 0, count)?),
        // Another number is refused with the images that it should be for.
        false => Ok(rows),
    }
}
