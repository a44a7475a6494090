//! `pixelcnn data`.

use std::process::ExitCode;

use anyhow::{Context, Result};
use pixelcnn_data::{DataSpec, Dataset, Images, Split};
use serde_json::{Value, json};

use crate::arguments::{JsonFlag, ZoomFlag, data_help, spec};
use crate::output::{Channel, Format, Outputs, Target};
use crate::picture::{self, Grid, GridWriter};
use crate::values::from_one;
use crate::{loading, progress};
use pixelcnn_system::counted;

/// Describes a data set: its splits, classes, levels and checksums
#[derive(clap::Args)]
#[command(mut_arg("zoom", |zoom| zoom.requires("picture")))]
pub(crate) struct Arguments {
    /// The data set
    #[arg(value_name = "SPEC", value_parser = spec, long_help = data_help("The data set"))]
    data: DataSpec,
    /// Also draw the first images of a split side by side, PNG; - for standard output
    #[arg(long, value_name = "FILE")]
    picture: Option<Target>,
    /// The split of the picture: train, valid or test
    #[arg(
        long,
        value_name = "SPLIT",
        default_value = "train",
        requires = "picture"
    )]
    split: Split,
    /// Images in the picture
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = from_one, requires = "picture")]
    count: usize,
    /// Images in a row of the picture
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = from_one, requires = "picture")]
    columns: usize,
    #[command(flatten)]
    zoom: ZoomFlag,
    #[command(flatten)]
    json: JsonFlag,
}

const SPLITS: [Split; 3] = [Split::Train, Split::Valid, Split::Test];

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let outputs = Outputs::default().file("--picture", &arguments.picture, Format::Png);
    let channel = outputs.check(arguments.json.json)?;
    let dataset = pixelcnn_data::load_with(&arguments.data, &loading::shown())?;
    if let Some(target) = &arguments.picture {
        draw(arguments, target, dataset.split(arguments.split)?)?;
    }
    let mut splits = Vec::new();
    for split in SPLITS {
        splits.push((split, Described::new(dataset.images(split)?)?));
    }
    match arguments.json.json {
        true => channel.line(as_json(&dataset, &splits))?,
        false => print(&dataset, &splits, channel)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The description of a split.
struct Described {
    images: usize,
    shape: (usize, usize, usize),
    levels: usize,
    /// The lowest and the highest value, and how many levels occur; none without images.
    used: Option<(u32, u32, usize)>,
    /// The number of images of each label.
    labels: Vec<usize>,
    captions: usize,
    checksum: String,
}

impl Described {
    fn new(images: &Images) -> Result<Self> {
        let identity = images.identity()?;
        Ok(Self {
            images: images.len(),
            shape: images.shape(),
            levels: images.levels(),
            used: match images.is_empty() {
                true => None,
                false => used(images)?,
            },
            labels: identity.labels,
            captions: images.captions().len(),
            checksum: identity.checksum,
        })
    }

    fn json(&self, split: Split) -> Value {
        let (channels, height, width) = self.shape;
        json!({
            "split": split.to_string(),
            "images": self.images,
            "channels": channels,
            "height": height,
            "width": width,
            "levels": self.levels,
            "lowest": self.used.map(|used| used.0),
            "highest": self.used.map(|used| used.1),
            "levels_used": self.used.map(|used| used.2),
            "labels": self.labels,
            "captions": self.captions,
            "checksum": self.checksum,
        })
    }
}

/// The lowest and the highest value, and the number of levels that occur.
fn used(images: &Images) -> Result<Option<(u32, u32, usize)>> {
    let mut seen = vec![false; images.levels()];
    let mut bar = progress::Progress::start("reading", images.len());
    for batch in images.in_order(256)? {
        let batch = batch?;
        for value in picture::values_of(&batch.values)? {
            if let Some(seen) = seen.get_mut(value as usize) {
                *seen = true;
            }
        }
        bar.at(batch.images.last().map_or(0, |last| last + 1));
    }
    let mut values = (0..).zip(&seen).filter(|(_, seen)| **seen);
    let count = seen.iter().filter(|seen| **seen).count();
    let lowest = values.next().map(|(value, _): (u32, _)| value);
    Ok(lowest.map(|lowest| (lowest, values.last().map_or(lowest, |it| it.0), count)))
}

fn as_json(dataset: &Dataset, splits: &[(Split, Described)]) -> Value {
    let splits: Vec<_> = splits.iter().map(|(split, it)| it.json(*split)).collect();
    json!({"data": dataset.name, "classes": dataset.classes, "splits": splits})
}

fn print(dataset: &Dataset, splits: &[(Split, Described)], channel: Channel) -> Result<()> {
    channel.line(&dataset.name)?;
    for (split, it) in splits {
        let Some((lowest, highest, count)) = it.used else {
            channel.line(format_args!("{split}: no images"))?;
            continue;
        };
        let (channels, height, width) = it.shape;
        let captions = match it.captions {
            0 => "",
            _ => ", captions",
        };
        channel.line(format_args!(
            "{split}: {} of {}, {height} x {width}, {} levels{captions}; values {lowest} to \
             {highest}, {count} different; checksum {}",
            counted(it.images, "image"),
            counted(channels, "channel"),
            it.levels,
            it.checksum
        ))?;
    }
    let labels = splits.iter().map(|(_, it)| it.labels.len()).max();
    for label in 0..labels.unwrap_or(0) {
        let name = dataset
            .classes
            .get(label)
            .map_or(String::new(), |name| format!(" {name}"));
        let counts: Vec<_> = splits
            .iter()
            .map(|(split, it)| format!("{} {split}", it.labels.get(label).unwrap_or(&0)))
            .collect();
        channel.line(format_args!("class {label}{name}: {}", counts.join(", ")))?;
    }
    Ok(())
}

/// The first images of a split, side by side.
fn draw(arguments: &Arguments, target: &Target, images: &Images) -> Result<()> {
    let (channels, height, width) = images.shape();
    picture::check_channels(channels).context("--picture: leave it out to describe the data")?;
    let images = images.first(arguments.count);
    let grid = Grid::new(
        images.len(),
        (height, width),
        arguments.columns,
        arguments.zoom,
    );
    grid.check()?;
    picture::note_shades(images.levels(), "");
    let mut writer = GridWriter::create(target, grid, (channels, images.levels()))?;
    for batch in images.in_order(16)? {
        let values = batch?.values;
        for image in 0..values.dim(0)? {
            writer.image(&picture::values_of(&values.get(image)?)?)?;
        }
    }
    writer.finish()
}
