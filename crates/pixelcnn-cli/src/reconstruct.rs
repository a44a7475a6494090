//! `pixelcnn reconstruct`.

use std::num::NonZeroUsize;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Result, bail};
use candle_core::{DType, Device, Tensor};
use pixelcnn_models::{AutoEncoder, Condition, Conditioning, Kind, Model};
use pixelcnn_sample::{Engine, SampleConfig};

use crate::data::Subject;
use crate::picture::Drawing;
use crate::{given, picture, sample};

/// Draws images beside what an auto-encoder makes of them, a row each
/// (figure 6)
#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    subject: Subject,
    /// Which images, by number from 0
    #[arg(long, value_name = "I,I,...", value_delimiter = ',', required = true)]
    images: Vec<usize>,
    /// Reconstructions of each; an auto-encoder of means has one
    #[arg(long, default_value = "4")]
    count: NonZeroUsize,
    /// Seed of the random numbers
    #[arg(long, default_value_t = 0)]
    seed: u64,
    #[command(flatten)]
    drawing: Drawing,
    /// Print the result as one line of JSON
    #[arg(long)]
    json: bool,
}

pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let (model, _) = arguments.subject.model()?;
    let shape = model.config().image();
    arguments.drawing.check(shape.channels)?;
    let data = arguments.subject.load()?;
    let images = data.dataset.split(arguments.subject.split)?;
    let originals = images.select(&arguments.images)?;
    let originals = originals.tensor(0..arguments.images.len(), &Device::Cpu)?;
    let start = Instant::now();
    let (count, made) = match (model.kind(), model.config().conditioning()) {
        (Kind::AutoEncoder(network), _) => (1, means(&model, network, &originals)?),
        (Kind::Network(..), Some(Conditioning::Code(_))) => {
            let count = arguments.count.get();
            (count, draw(&model, &originals, count, arguments.seed)?)
        }
        _ => bail!("{} is no auto-encoder", model.config().name()),
    };
    let rows = picture::rows(&[(&originals, 1), (&made, count)])?;
    arguments.drawing.write(&rows, shape.levels, count + 1)?;
    let made = count * arguments.images.len();
    let seconds = start.elapsed().as_secs_f64();
    arguments.drawing.report(made, seconds, arguments.json)?;
    Ok(ExitCode::SUCCESS)
}

/// The auto-encoder's means, rounded to values.
fn means(model: &Model, network: &AutoEncoder, originals: &Tensor) -> Result<Tensor> {
    let levels = model.config().image().levels;
    let means = network.forward(&model.scaled(originals)?)?;
    let half = (levels - 1) as f64 / 2.0;
    let values = means.clamp(-1.0, 1.0)?.affine(half, half)?.round()?;
    Ok(values.to_device(&Device::Cpu)?.to_dtype(DType::U32)?)
}

fn draw(model: &Model, originals: &Tensor, count: usize, seed: u64) -> Result<Tensor> {
    let images = originals.dim(0)?;
    let image = model.config().image();
    let config = SampleConfig {
        count: images.saturating_mul(count),
        seed,
        ..SampleConfig::of(image)
    };
    config.check(image.channels)?;
    let condition = Condition::Image(originals.clone());
    let condition = condition.select(&given::each(images, count))?;
    sample::draw(&Engine::new(model)?, &config, &condition)
}
