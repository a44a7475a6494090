//! `pixelcnn reconstruct`.

use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Result, bail};
use candle_core::{Device, Tensor};
use pixelcnn_models::{Conditioning, DensityModel, Kind};
use pixelcnn_sample::{Engine, SampleConfig, reconstruct};

use crate::arguments::{JsonFlag, SeedFlag};
use crate::data::Subject;
use crate::picture::{Drawing, Grid};
use crate::values::{from_one, whole};
use crate::{picture, sample};

/// Draws images and their reconstructions by an auto-encoder, one row per image
/// (figure 6)
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    subject: Subject,
    /// The images, by number from 0
    #[arg(long, value_name = "N,N", value_delimiter = ',', required = true, value_parser = whole)]
    index: Vec<usize>,
    /// Reconstructions of each image; an auto-encoder of means has one
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = from_one)]
    count: usize,
    #[command(flatten)]
    seed: SeedFlag,
    #[command(flatten)]
    drawing: Drawing,
    #[command(flatten)]
    json: JsonFlag,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let (model, _) = arguments.subject.model()?;
    let shape = model.config().image();
    let count = match (model.kind(), model.config().conditioning()) {
        (Kind::AutoEncoder(_), _) => 1,
        (Kind::Density(_), Some(Conditioning::Code(_))) => arguments.count,
        _ => bail!("{} is not an auto-encoder", model.config().name()),
    };
    let (drawing, json) = (&arguments.drawing, arguments.json.json);
    let columns = count.saturating_add(1);
    let shown = columns.saturating_mul(arguments.index.len());
    let size = (shape.height, shape.width);
    let grid = Grid::new(shown, size, columns, drawing.zoom);
    let channel = drawing.check(shape.channels, &grid, json)?;
    let data = arguments.subject.load(&model)?;
    let images = data.split(arguments.subject.split())?;
    let originals = images.select(&arguments.index)?;
    let originals = originals.tensor(0..arguments.index.len(), &Device::Cpu)?;
    let start = Instant::now();
    let made = match model.kind() {
        Kind::AutoEncoder(network) => network.reconstruct(&originals)?,
        _ => draw(model.density()?, &originals, count, arguments.seed.seed)?,
    };
    let rows = picture::rows(&[(&originals, 1), (&made, count)])?;
    let written = drawing.write(&rows, shape.levels, columns);
    let made = count * arguments.index.len();
    let seconds = start.elapsed().as_secs_f64();
    picture::report(&drawing.out, (made, seconds), json, channel)?;
    written.map(|()| ExitCode::SUCCESS)
}

fn draw(model: &DensityModel, originals: &Tensor, count: usize, seed: u64) -> Result<Tensor> {
    let image = model.image();
    let config = SampleConfig {
        count: originals.dim(0)?.saturating_mul(count),
        seed,
        ..SampleConfig::new(image)
    };
    config.check(image.channels)?;
    let engine = Engine::new(model)?;
    let encoder = model.condition_encoder();
    sample::with_bar(&config, |watch| {
        Ok(reconstruct(&engine, encoder, originals, &config, watch)?)
    })
}
