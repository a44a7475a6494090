//! What a model is to be conditioned on, from the command line.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use candle_core::{DType, Device, Tensor};
use pixelcnn_data::{DataSpec, Images, Split, read_picture};
use pixelcnn_models::{Condition, Conditioning, Model, Reduction};
use pixelcnn_train::read_given;

use crate::data::Data;
use crate::model;

/// Flags that say what a model is conditioned on.
#[derive(clap::Args)]
pub struct Given {
    /// Classes, of a class-conditional model
    #[arg(
        long,
        value_name = "L,L,...",
        value_delimiter = ',',
        group = "condition"
    )]
    label: Vec<u32>,
    /// A caption, of a model that reads captions; may be repeated
    #[arg(long, value_name = "TEXT", group = "condition")]
    caption: Vec<String>,
    /// Vectors [n, d] or maps [n, s, h, w], .npy or .safetensors: what the blocks take, a code
    #[arg(long, value_name = "FILE", group = "condition")]
    vector: Option<PathBuf>,
    /// A picture, or values [n, c, h, w] as .npy: to be encoded or reduced, or reduced already;
    /// may be repeated
    #[arg(long, value_name = "FILE", group = "condition")]
    given: Vec<PathBuf>,
    /// Images of a data set, by number from 0, to be encoded or reduced
    #[arg(
        long,
        value_name = "I,I,...",
        value_delimiter = ',',
        group = "condition"
    )]
    images: Vec<usize>,
    /// The data set of --images, if not that of the run
    #[arg(long, value_name = "SPEC", requires = "images")]
    data: Option<DataSpec>,
    /// The split of --images
    #[arg(long, default_value = "test", requires = "images")]
    split: Split,
}

/// Conditions, and the images that they are of.
pub struct Conditions {
    /// One for each.
    pub condition: Condition,
    /// How many; 1 where there is nothing to be conditioned on.
    pub count: usize,
    /// The images before they were reduced, `[n, c, h, w]`.
    pub originals: Option<Tensor>,
}

impl Given {
    /// The conditions for `model`, which lies in the folder `path`.
    pub fn read(&self, model: &Model, path: &Path) -> Result<Conditions> {
        let (condition, originals) = if !self.images.is_empty() {
            self.of_data(model, path)?
        } else if !self.given.is_empty() {
            self.of_files(model)?
        } else {
            (self.direct()?, None)
        };
        match (&condition, model.config().conditioning()) {
            (Condition::None, Some(conditioning)) => bail!(
                "the model is conditioned: give {}",
                expected_flags(conditioning)
            ),
            (Condition::None, None) if self.images.is_empty() => {}
            (Condition::None, None) => bail!("--images: the model takes no condition"),
            (found, None) => bail!("the model takes no condition, found {found}"),
            (_, Some(_)) => {}
        }
        Ok(Conditions {
            count: condition.images().unwrap_or(1),
            condition,
            originals,
        })
    }

    fn direct(&self) -> Result<Condition> {
        Ok(match &self.vector {
            _ if !self.label.is_empty() => Condition::Labels(self.label.clone()),
            _ if !self.caption.is_empty() => Condition::Text(self.caption.clone()),
            None => Condition::None,
            Some(path) => {
                let rows = read_given(path)?;
                match rows.rank() {
                    2 => Condition::Vector(rows),
                    _ => Condition::Map(rows),
                }
            }
        })
    }

    /// What the model is given of images of a data set: their labels and
    /// captions too.
    fn of_data(&self, model: &Model, path: &Path) -> Result<(Condition, Option<Tensor>)> {
        let data = Data::load(self.data.as_ref(), path)?;
        let images: &Images = data.dataset.split(self.split)?;
        if let Some(beyond) = self.images.iter().find(|index| **index >= images.len()) {
            bail!(
                "--images: image {beyond} of the {} {} images of {}",
                images.len(),
                self.split,
                data.spec
            );
        }
        let examples = data.examples(model, images, self.split, None)?;
        let originals = images.gather(&self.images, &Device::Cpu)?;
        let condition = examples.condition(&self.images, &originals)?;
        Ok((condition, Some(originals)))
    }

    fn of_files(&self, model: &Model) -> Result<(Condition, Option<Tensor>)> {
        let mut all = Vec::new();
        for path in &self.given {
            all.push(match path.extension().is_some_and(|end| end == "npy") {
                true => model::read_values(path)?,
                false => picture(path, model.config().image().channels)?,
            });
        }
        let values = Tensor::cat(&all, 0)
            .context("--given: all images of one size and kind of values expected")?;
        let image = model.config().image();
        match model.config().conditioning() {
            Some(Conditioning::Image { given, .. }) => {
                let size = (image.height, image.width);
                let reduced = given.shape(image.channels, size);
                let (_, c, h, w) = values.dims4()?;
                if [c, h, w] == [image.channels, image.height, image.width] {
                    return Ok((Condition::Image(given.of(&values)?), Some(values)));
                }
                if c != reduced[0] && [h, w] == reduced[1..] {
                    bail!("--given: {} channels expected, found {c}", reduced[0]);
                }
                Ok((Condition::Image(values), None))
            }
            _ => Ok((Condition::Image(values.clone()), Some(values))),
        }
    }
}

/// The flags that a model of this kind is given its condition by.
fn expected_flags(conditioning: &Conditioning) -> &'static str {
    match conditioning {
        Conditioning::Class { .. } => "--label, --vector or --images",
        Conditioning::Vector { .. } | Conditioning::Map { .. } => "--vector or --images",
        Conditioning::Caption(_) => "--caption, --vector or --images",
        Conditioning::Image { .. } => "--given or --images",
        Conditioning::Code(_) | Conditioning::Embedding(_) => "--given, --vector or --images",
    }
}

/// A picture as values `[1, channels, h, w]`.
fn picture(path: &Path, channels: usize) -> Result<Tensor> {
    match channels {
        1 => Ok(Reduction::Grey {}.of(&read_picture(path)?)?),
        3 => Ok(read_picture(path)?),
        _ => bail!(
            "{}: the model's images have {channels} channels",
            path.display()
        ),
    }
}

/// What was given of images, as pictures of the model's size: grey in all
/// channels, small ones enlarged pixel by pixel.
pub fn shown(condition: &Condition, model: &Model) -> Result<Option<Tensor>> {
    let Condition::Image(given) = condition else {
        return Ok(None);
    };
    let image = model.config().image();
    let (_, c, h, w) = given.dims4()?;
    if [c, h, w] == [image.channels, image.height, image.width] {
        // The image itself: shown already.
        return Ok(None);
    }
    let times = match model.config().conditioning() {
        Some(Conditioning::Image {
            given: Reduction::Shrunk { factor },
            ..
        }) => *factor,
        _ => 1,
    };
    let large = given.to_dtype(DType::F32)?;
    let large = large.upsample_nearest2d(h * times, w * times)?;
    let large = large
        .narrow(2, 0, image.height)?
        .narrow(3, 0, image.width)?;
    let large = match c == image.channels {
        true => large,
        false => large.repeat((1, image.channels, 1, 1))?,
    };
    Ok(Some(large.to_dtype(DType::U32)?))
}

/// Each of `0..count`, `times` in a row.
pub fn each(count: usize, times: usize) -> Vec<usize> {
    (0..count)
        .flat_map(|index| std::iter::repeat_n(index, times))
        .collect()
}
