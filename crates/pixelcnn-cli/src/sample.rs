//! `pixelcnn sample`.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use candle_core::{DType, Tensor};
use pixelcnn_models::{Condition, ImageShape, Model};
use pixelcnn_sample::{Engine, SampleConfig, sample};

use crate::given::{Conditions, Given};
use crate::picture::Drawing;
use crate::preview::Preview;
use crate::{animation, device, given, model, output, picture, progress};

/// Draws images, value by value
#[derive(clap::Args)]
pub struct Arguments {
    /// A model directory, or the folder of a run
    #[arg(long)]
    model: PathBuf,
    /// How many images, of each condition
    #[arg(long, default_value_t = 16)]
    count: usize,
    #[command(flatten)]
    given: Given,
    /// Before each condition's images, the image that it is of and what was given of it
    #[arg(long, conflicts_with_all = ["columns", "animate", "size"])]
    show_given: bool,
    /// Seed of the random numbers
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// What logits are divided by: below 1 for likelier images
    #[arg(long, default_value_t = 1.0, value_name = "T")]
    temperature: f32,
    /// Draw only the likeliest values that together have this probability
    #[arg(long, default_value_t = 1.0, value_name = "P")]
    top_p: f64,
    /// Height and width, if not those trained on
    #[arg(long, value_name = "HxW", value_parser = size)]
    size: Option<(usize, usize)>,
    /// Images in a row of the picture
    #[arg(long, default_value = "4")]
    columns: NonZeroUsize,
    #[command(flatten)]
    drawing: Drawing,
    /// Also write each image as a PNG into this folder
    #[arg(long, value_name = "DIR")]
    each: Option<PathBuf>,
    /// Also write the values [n, c, h, w] as a NumPy file
    #[arg(long, value_name = "FILE")]
    npy: Option<PathBuf>,
    /// Also write the images growing row by row, as an animated PNG
    #[arg(long, value_name = "FILE")]
    animate: Option<PathBuf>,
    /// Show the images in the terminal while they grow
    #[arg(long)]
    preview: bool,
    /// Threads, which change no value; as many as there are processors
    #[arg(long, value_name = "N")]
    threads: Option<NonZeroUsize>,
    /// cpu, cuda:N or metal: where the model is loaded; drawing is on the CPU
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
    let mut engine = Engine::new(&model)?;
    if let Some(threads) = arguments.threads {
        engine = engine.with_threads(threads.get());
    }
    let image = engine.image();
    let given = arguments.given.read(&model, &arguments.model)?;
    if arguments.show_given
        && given.originals.is_none()
        && !matches!(given.condition, Condition::Image(_))
    {
        bail!("--show-given: {} is no image", given.condition);
    }
    let (height, width) = arguments.size.unwrap_or((image.height, image.width));
    let config = SampleConfig {
        count: arguments.count.saturating_mul(given.count),
        alike: 1,
        seed: arguments.seed,
        height,
        width,
        temperature: arguments.temperature,
        top_p: arguments.top_p,
    };
    check(arguments, image)?;
    let start = Instant::now();
    config.check(image.channels)?;
    let condition = given
        .condition
        .select(&given::each(given.count, arguments.count))?;
    let values = match arguments.preview {
        true => draw_in_terminal(&engine, &config, &condition)?,
        false => draw(&engine, &config, &condition)?,
    };
    let seconds = start.elapsed().as_secs_f64();
    write(arguments, &values, image)?;
    if arguments.show_given {
        write_beside(arguments, &values, &given, &model)?;
    }
    let drawing = &arguments.drawing;
    drawing.report(config.count, seconds, arguments.json)?;
    Ok(ExitCode::SUCCESS)
}

/// Refuses, before long work, what could not be written after it.
fn check(arguments: &Arguments, image: ImageShape) -> Result<()> {
    arguments.drawing.check(image.channels)?;
    let files = [&arguments.npy, &arguments.animate];
    for file in files.into_iter().flatten() {
        output::check_file(file)?;
    }
    match &arguments.each {
        Some(folder) => output::create_folder(folder),
        None => Ok(()),
    }
}

/// The images, with a bar that counts rows.
pub fn draw(engine: &Engine, config: &SampleConfig, condition: &Condition) -> Result<Tensor> {
    let rows = config.count.saturating_mul(config.height);
    let bar = Mutex::new((progress::Progress::start("sampling", rows), 0));
    let watch = |_: usize, _: usize, _: &[u32]| {
        if let Ok(mut bar) = bar.lock() {
            let (bar, done) = &mut *bar;
            *done += 1;
            bar.at(*done, 1.0 / config.height as f64, "");
        }
    };
    Ok(sample(engine, config, condition, &watch)?)
}

/// The images, shown as they grow.
fn draw_in_terminal(
    engine: &Engine,
    config: &SampleConfig,
    condition: &Condition,
) -> Result<Tensor> {
    let size = (config.height, config.width);
    let preview = Mutex::new(Preview::start(engine.image(), config.count, size)?);
    let watch = |image: usize, row: usize, values: &[u32]| {
        if let Ok(mut preview) = preview.lock() {
            preview.row(image, row, values);
        }
    };
    Ok(sample(engine, config, condition, &watch)?)
}

fn write(arguments: &Arguments, values: &Tensor, image: ImageShape) -> Result<()> {
    let columns = arguments.columns.get();
    arguments.drawing.write(values, image.levels, columns)?;
    if let Some(folder) = &arguments.each {
        let count = values.dim(0)?;
        let digits = (count - 1).to_string().len();
        for index in 0..count {
            let path = folder.join(format!("{index:0digits$}.png"));
            picture::write_image(&path, &values.narrow(0, index, 1)?, image.levels)?;
        }
    }
    if let Some(path) = &arguments.animate {
        animation::write(path, values, image.levels, columns)?;
    }
    match &arguments.npy {
        Some(path) => write_npy(path, values, image.levels),
        None => Ok(()),
    }
}

/// The picture anew: a row for each condition.
fn write_beside(
    arguments: &Arguments,
    values: &Tensor,
    given: &Conditions,
    model: &Model,
) -> Result<()> {
    let shown = given::shown(&given.condition, model)?;
    let before = [given.originals.as_ref(), shown.as_ref()];
    let mut parts: Vec<_> = before.into_iter().flatten().map(|part| (part, 1)).collect();
    let columns = parts.len() + arguments.count;
    parts.push((values, arguments.count));
    let rows = picture::rows(&parts)?;
    let levels = model.config().image().levels;
    arguments.drawing.write(&rows, levels, columns)
}

/// Values in the smallest type that holds them.
fn write_npy(path: &Path, values: &Tensor, levels: usize) -> Result<()> {
    let values = match levels <= 256 {
        true => values.to_dtype(DType::U8)?,
        false => values.clone(),
    };
    output::npy(path, &values)
}
