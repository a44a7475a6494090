//! The condition of a model, from the command line.

use std::path::{Path, PathBuf};

use anyhow::{Context, Error, Result, bail};
use candle_core::{DType, Device, Tensor};
use pixelcnn_data::{Colours, Images, PictureFormat, read_picture_as};
use pixelcnn_models::{Classes, Conditioning, Given, ImageShape, Model, ModelError, Reduction};
use pixelcnn_train::read_condition_file;

use crate::arguments::DataFlags;
use crate::data::Data;
use crate::values::whole;
use crate::{model, picture};
use pixelcnn_system::counted;

/// Flags that give the condition directly.
#[derive(clap::Args)]
pub(crate) struct DirectFlags {
    /// Classes for a class-conditional model, by name or number from 0; can be
    /// repeated, for example for a name with a comma
    #[arg(long, value_name = "CLASS,CLASS", group = "condition")]
    label: Vec<String>,
    /// A caption, for a model that reads captions; can be repeated
    #[arg(long, value_name = "TEXT", group = "condition")]
    caption: Vec<String>,
    #[command(flatten)]
    files: ConditionFileFlags,
    /// A picture, or values [n, c, h, w] as .npy; the model encodes or reduces it, or takes it
    /// as the reduced image; can be repeated
    #[arg(long, value_name = "FILE", group = "condition")]
    image: Vec<PathBuf>,
}

/// Flags for files of vectors or maps.
#[derive(clap::Args)]
pub(crate) struct ConditionFileFlags {
    /// Vectors [n, d] as the condition, for example codes; .npy or .safetensors
    #[arg(long, value_name = "FILE", group = "condition")]
    vector: Option<PathBuf>,
    /// Maps [n, s, h, w] as the condition; .npy or .safetensors
    #[arg(long, value_name = "FILE", group = "condition")]
    map: Option<PathBuf>,
}

impl ConditionFileFlags {
    /// The flag that is set, and its file.
    pub(crate) fn file(&self) -> Option<(&'static str, &Path)> {
        let vector = self.vector.iter().map(|path| ("--vector", path.as_path()));
        let map = self.map.iter().map(|path| ("--map", path.as_path()));
        vector.chain(map).next()
    }

    /// A result of the file; an error names it.
    pub(crate) fn named<T>(&self, result: Result<T>) -> Result<T> {
        match self.file() {
            Some((flag, path)) => result.with_context(|| format!("{flag} {}", path.display())),
            None => result,
        }
    }

    /// The vectors `[n, d]` or the maps `[n, s, h, w]`; None if no flag is set.
    pub(crate) fn read(&self) -> Result<Option<Tensor>> {
        let Some((flag, path)) = self.file() else {
            return Ok(None);
        };
        let rows = read_condition_file(path)?;
        let (rank, shape) = match self.vector {
            Some(_) => (2, "vectors [n, d]"),
            None => (4, "maps [n, s, h, w]"),
        };
        if rows.rank() != rank {
            let path = path.display();
            bail!("{flag} {path}: {shape} expected, found {:?}", rows.dims());
        }
        Ok(Some(rows))
    }
}

/// Flags for the condition of a model.
#[derive(clap::Args)]
pub(crate) struct ConditionFlags {
    #[command(flatten)]
    direct: DirectFlags,
    /// Use images of a data set, by number from 0: their labels, captions, codes or
    /// reduced images are the condition
    #[arg(long, value_name = "N,N", value_delimiter = ',', group = "condition", value_parser = whole)]
    index: Vec<usize>,
    #[command(flatten)]
    data: DataFlags,
}

/// The conditions, and the images that they come from.
pub(crate) struct Conditions {
    pub given: Given,
    /// Number of conditions; 1 for an unconditional model.
    pub count: usize,
    /// The images before reduction, `[n, c, h, w]`.
    pub originals: Option<Tensor>,
    /// The names of the classes, if labels are given.
    pub classes: Vec<String>,
}

impl Conditions {
    fn new(
        model: &Model,
        (given, originals): (Given, Option<Tensor>),
        image_flag: &str,
    ) -> Result<Self> {
        match (&given, model.config().conditioning()) {
            (Given::Nothing, Some(conditioning)) => bail!(
                "the model is conditional: give {}",
                expected_flags(conditioning, image_flag)
            ),
            (Given::Nothing, None) | (_, Some(_)) => {}
            (found, None) => bail!("the model is unconditional, found {found}"),
        }
        let classes = match (&given, model.config().classes()) {
            (Given::Labels(labels), Some(classes)) => {
                labels.iter().map(|label| classes.name(*label)).collect()
            }
            _ => Vec::new(),
        };
        Ok(Self {
            count: given.images().unwrap_or(1),
            given,
            originals,
            classes,
        })
    }
}

impl DirectFlags {
    /// The conditions for `model`; None if no flag is set.
    pub(crate) fn read(&self, model: &Model) -> Result<Option<Conditions>> {
        self.read_as(model, IMAGE)
    }

    /// The same with another name of the flag `--image` in messages.
    fn read_as(&self, model: &Model, image_flag: &str) -> Result<Option<Conditions>> {
        if !self.is_given() {
            return Ok(None);
        }
        let read = match self.image.is_empty() {
            true => (self.plain(model, image_flag)?, None),
            false => self.read_images(model, image_flag)?,
        };
        Conditions::new(model, read, image_flag).map(Some)
    }

    fn is_given(&self) -> bool {
        let many = [self.label.is_empty(), self.caption.is_empty()];
        many.contains(&false) || self.files.file().is_some() || !self.image.is_empty()
    }

    /// The input files, with their flags.
    pub(crate) fn files(&self) -> impl Iterator<Item = (&'static str, &Path)> {
        let images = self.image.iter().map(|path| (IMAGE, path.as_path()));
        self.files.file().into_iter().chain(images)
    }

    fn plain(&self, model: &Model, image_flag: &str) -> Result<Given> {
        Ok(match self.files.read()? {
            _ if !self.label.is_empty() => Given::Labels(self.labels(model, image_flag)?),
            None => Given::Text(self.caption.clone()),
            Some(rows) if rows.rank() == 2 => Given::Vector(rows),
            Some(rows) => Given::Map(rows),
        })
    }

    fn labels(&self, model: &Model, image_flag: &str) -> Result<Vec<u32>> {
        match (model.config().classes(), model.config().conditioning()) {
            (Some(classes), _) => labels(classes, &self.label).context("--label"),
            (None, Some(conditioning)) => bail!(
                "--label: the model is not conditioned on classes: give {}",
                expected_flags(conditioning, image_flag)
            ),
            (None, None) => bail!(
                "--label: the model is unconditional, found {}",
                counted(self.label.len(), "label")
            ),
        }
    }

    fn read_images(&self, model: &Model, image_flag: &str) -> Result<(Given, Option<Tensor>)> {
        let mut all = Vec::new();
        for path in &self.image {
            all.push(read_image(path, model.config().image())?);
        }
        let values = Tensor::cat(&all, 0)
            .with_context(|| format!("{image_flag}: images of the same size and type expected"))?;
        let image = model.config().image();
        match model.config().conditioning() {
            Some(Conditioning::Image { reduction, .. }) => {
                let size = (image.height, image.width);
                let reduced = reduction.shape(image.channels, size);
                let (_, c, h, w) = values.dims4()?;
                if [c, h, w] == [image.channels, image.height, image.width] {
                    return Ok((Given::Image(reduction.apply(&values)?), Some(values)));
                }
                if c != reduced[0] && [h, w] == reduced[1..] {
                    bail!("{image_flag}: {} channels expected, found {c}", reduced[0]);
                }
                Ok((Given::Image(values), None))
            }
            _ => Ok((Given::Image(values.clone()), Some(values))),
        }
    }
}

impl ConditionFlags {
    /// The conditions for `model`, which is in the folder `path`.
    pub(crate) fn read(&self, model: &Model, path: &Path) -> Result<Conditions> {
        self.read_as(model, path, IMAGE)
    }

    /// The same for a command whose flag `--image` means something else: this flag has the
    /// name `image_flag` there.
    pub(crate) fn read_as(
        &self,
        model: &Model,
        path: &Path,
        image_flag: &str,
    ) -> Result<Conditions> {
        if self.index.is_empty() {
            if let Some(flag) = self.data.given() {
                bail!("{flag}: needs --index, which chooses images of a data set");
            }
            let nothing = || Conditions::new(model, (Given::Nothing, None), image_flag);
            let direct = self.direct.read_as(model, image_flag)?;
            return direct.map_or_else(nothing, Ok);
        }
        if model.config().conditioning().is_none() {
            bail!("--index: the model is unconditional");
        }
        Conditions::new(model, self.read_data(model, path)?, image_flag)
    }

    /// The input files, with their flags.
    pub(crate) fn files(&self) -> impl Iterator<Item = (&'static str, &Path)> {
        self.direct.files()
    }

    /// The conditions from images of a data set, including their labels and
    /// captions.
    fn read_data(&self, model: &Model, path: &Path) -> Result<(Given, Option<Tensor>)> {
        let data = Data::load(self.data.data.as_ref(), path)?.for_model(model)?;
        let split = self.data.split();
        let images: &Images = data.split(split)?;
        if let Some(beyond) = self.index.iter().find(|index| **index >= images.len()) {
            bail!(
                "--index: there is no image {beyond}: the data set has {} of {}, counted from 0",
                counted(images.len(), &format!("{split} image")),
                data.spec
            );
        }
        let conditioned = data.conditioned(model, images, split, None)?;
        let originals = images.gather(&self.index, &Device::Cpu)?;
        let given = conditioned.given(&self.index, &originals)?;
        Ok((given, Some(originals)))
    }
}

/// The labels for the texts of `--label`: each text is a class, or several classes
/// separated by commas.
pub(crate) fn labels(classes: &Classes, texts: &[String]) -> Result<Vec<u32>> {
    let mut labels = Vec::new();
    for text in texts {
        match classes.label(text) {
            Ok(label) => labels.push(label),
            Err(error) if !text.contains(',') => return Err(plain(error)),
            Err(_) => {
                for part in text.split(',') {
                    let label = classes.label(part).or_else(|_| classes.label(part.trim()));
                    labels.push(label.map_err(plain)?);
                }
            }
        }
    }
    Ok(labels)
}

/// The reason without the prefix, because the message starts with the flag.
fn plain(error: ModelError) -> Error {
    match error {
        ModelError::Invalid { why, .. } => Error::msg(why),
        error => error.into(),
    }
}

/// The flag for images in most commands.
pub(crate) const IMAGE: &str = "--image";

/// The flags for the condition of a model of this kind.
fn expected_flags(conditioning: &Conditioning, image_flag: &str) -> String {
    match conditioning {
        Conditioning::Class { .. } => "--label, --vector or --index".into(),
        Conditioning::Vector { .. } => "--vector or --index".into(),
        Conditioning::Map { .. } => "--map or --index".into(),
        Conditioning::Caption(_) => "--caption, --vector or --index".into(),
        Conditioning::Image { .. } => format!("{image_flag} or --index"),
        Conditioning::Code(_) | Conditioning::Embedding(_) => {
            format!("{image_flag}, --vector or --index")
        }
    }
}

/// A picture, or values of a NumPy file.
pub(crate) fn read_image(path: &Path, image: ImageShape) -> Result<Tensor> {
    match path.extension().is_some_and(|end| end == "npy") {
        true => model::read_values(path),
        false => picture(path, image),
    }
}

/// A picture as values `[1, channels, h, w]`.
fn picture(path: &Path, image: ImageShape) -> Result<Tensor> {
    let format = picture::format_of(image);
    match image.channels {
        1 => {
            let colours = Colours::Grey;
            Ok(read_picture_as(path, &PictureFormat { colours, ..format })?)
        }
        3 => Ok(read_picture_as(path, &format)?),
        channels => bail!(
            "{}: the model's images have {channels} channels",
            path.display()
        ),
    }
}

/// The conditions as pictures of the model's size: grey in all channels, small
/// images enlarged pixel by pixel.
pub(crate) fn shown(given: &Given, model: &Model) -> Result<Option<Tensor>> {
    let Given::Image(given) = given else {
        return Ok(None);
    };
    let image = model.config().image();
    let (_, c, h, w) = given.dims4()?;
    if [c, h, w] == [image.channels, image.height, image.width] {
        // The condition is the image itself, which is already shown.
        return Ok(None);
    }
    let times = match model.config().conditioning() {
        Some(Conditioning::Image {
            reduction: Reduction::Shrunk { factor },
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_one_class_or_several_with_commas() {
        let names = ["cat", "dog, wet", "bird"].map(String::from).to_vec();
        let classes = Classes::Names(names);
        let of = |texts: &[&str]| {
            let texts: Vec<_> = texts.iter().map(ToString::to_string).collect();
            labels(&classes, &texts)
        };
        assert_eq!(of(&["bird, cat"]).unwrap(), [2, 0]);
        assert_eq!(of(&["dog, wet", "cat"]).unwrap(), [1, 0]);
        assert_eq!(of(&["1,bird"]).unwrap(), [1, 2]);
        let error = of(&["cat,dog"]).unwrap_err().to_string();
        assert!(error.contains("found \"dog\""), "{error}");
        assert!(of(&["cat,"]).is_err());
    }
}
