//! `pixelcnn sample`.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result};
use pixelcnn_models::{Condition, SampleConfig, sample};
use serde_json::json;

use crate::{device, model, output, picture, progress};

/// Draws images, running the whole network for every value
#[derive(clap::Args)]
pub struct Arguments {
    /// A model directory, or the folder of a run
    #[arg(long)]
    model: PathBuf,
    /// How many images
    #[arg(long, default_value_t = 16)]
    count: usize,
    /// Seed of the random numbers
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Height and width, if not those trained on
    #[arg(long, value_name = "HxW", value_parser = size)]
    size: Option<(usize, usize)>,
    /// Images in a row of the picture
    #[arg(long, default_value = "4")]
    columns: NonZeroUsize,
    /// The picture, PNG
    #[arg(long)]
    out: PathBuf,
    /// cpu, cuda:N or metal
    #[arg(long, default_value = "cpu")]
    device: String,
    /// Print the result as one line of JSON
    #[arg(long)]
    json: bool,
}

fn size(text: &str) -> Result<(usize, usize)> {
    let (height, width) = text.split_once('x').context("HxW expected, as in 32x32")?;
    Ok((height.parse()?, width.parse()?))
}

pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let model = model::load(&arguments.model, &device::parse(&arguments.device)?)?;
    let image = model.config().image();
    let (height, width) = arguments.size.unwrap_or((image.height, image.width));
    let config = SampleConfig {
        count: arguments.count,
        seed: arguments.seed,
        height,
        width,
    };
    picture::check(&arguments.out, image.channels)?;
    let start = Instant::now();
    let mut bar = progress::Progress::start("sampling", height);
    let images = arguments.count as f64 / height.max(1) as f64;
    let mut report = |rows| bar.at(rows, images, "");
    let values = sample(&model, &config, &Condition::None, &mut report)?;
    drop(bar);
    picture::write_grid(
        &arguments.out,
        &values,
        image.levels,
        arguments.columns.get(),
    )?;
    let seconds = start.elapsed().as_secs_f64();
    match arguments.json {
        true => {
            let out = arguments.out.display().to_string();
            output::line(json!({ "out": out, "images": arguments.count, "seconds": seconds }))?;
        }
        false => output::line(format_args!(
            "{}: {} images, {seconds:.1} s",
            arguments.out.display(),
            arguments.count
        ))?,
    }
    Ok(ExitCode::SUCCESS)
}
