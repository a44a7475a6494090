//! `pixelcnn sample`.

pub(crate) mod draw;
pub(crate) mod files;

use std::io::{IsTerminal, stderr};
use std::ops::Range;
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::Instant;

use anyhow::{Context, Error, Result, bail};
use candle_core::Tensor;
use clap::ArgGroup;
use pixelcnn_models::{Condition, ImageShape, Model};
use pixelcnn_sample::{Engine, SampleConfig, Watch, sample_each};
use serde_json::json;

use crate::animation::Animation;
use crate::arguments::{DeviceFlag, JsonFlag, ModelFlag, ZoomFlag};
use crate::condition::{ConditionFlags, Conditions};
use crate::output::{Channel, Format, Outputs, Target};
use crate::picture::{self, Grid};
use crate::preview::Preview;
use crate::values::from_one;
use crate::{condition, model, progress};
use draw::DrawFlags;
use files::{Files, Plan};
use pixelcnn_system::counted;

/// Draws images from a model, value by value
#[derive(clap::Args)]
#[command(group = ArgGroup::new("outputs").args(["out", "out_dir", "npy", "animate", "preview"])
    .required(true).multiple(true))]
#[command(override_usage = USAGE)]
pub(crate) struct Arguments {
    #[command(flatten)]
    model: ModelFlag,
    /// Number of images for each condition
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = from_one)]
    count: usize,
    #[command(flatten)]
    given: ConditionFlags,
    /// Before the images of each condition, show the original image and its condition
    #[arg(long, requires = "out", conflicts_with_all = ["columns", "animate", "size"])]
    show_condition: bool,
    #[command(flatten)]
    draw: DrawFlags,
    /// Height and width of the images [default: those of the training images]
    #[arg(long, value_name = "HxW", value_parser = size)]
    size: Option<(usize, usize)>,
    /// Write all images side by side as a PNG; - for standard output
    #[arg(long, value_name = "FILE")]
    out: Option<Target>,
    /// Images per row of the picture
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = from_one)]
    columns: usize,
    #[command(flatten)]
    zoom: ZoomFlag,
    /// Write an animated PNG in which the images grow row by row
    #[arg(long, value_name = "FILE")]
    animate: Option<Target>,
    /// Show the images in the terminal while they grow
    #[arg(long)]
    preview: bool,
    #[command(flatten)]
    device: DeviceFlag,
    #[command(flatten)]
    json: JsonFlag,
}

/// Fits 80 columns.
const USAGE: &str = "pixelcnn sample [OPTIONS] --model <MODEL>
         <--out <FILE>|--out-dir <DIR>|--npy <FILE>|--animate <FILE>|--preview>";

fn size(text: &str) -> Result<(usize, usize)> {
    let sides = text.split_once('x').and_then(|(height, width)| {
        let side = |text: &str| text.parse::<usize>().ok();
        Some((side(height)?, side(width)?))
    });
    sides.with_context(|| format!("HxW expected, as in 32x32, found {text}"))
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let (model, _) = arguments.model.load(&arguments.device)?;
    let image = model.config().image();
    let given = arguments.given.read(&model, &arguments.model.folder()?)?;
    let (height, width) = arguments.size.unwrap_or((image.height, image.width));
    let images = arguments.count.saturating_mul(given.count);
    let config = arguments.draw.config(images, (height, width));
    config.check(image.channels)?;
    let image = ImageShape {
        height,
        width,
        ..image
    };
    let plan = plan(arguments, &given, &model, image)?;
    let channel = check(arguments, &plan)?;
    let density = model::in_order(&model)?;
    let condition = density
        .condition_encoder()
        .encode_each(&given.given, (height, width))?;
    let engine = arguments.draw.engine(density)?;
    if plan.has_shades() {
        picture::note_shades(image.levels, "; --npy writes the values");
    }
    let mut files = Files::create(plan)?;
    let start = Instant::now();
    draw_each(arguments, (&engine, &config), &condition, &mut files)?;
    let written = files.finish();
    report(arguments, &given, start.elapsed().as_secs_f64(), channel)?;
    written.map(|()| ExitCode::SUCCESS)
}

/// The requested outputs.
fn plan(
    arguments: &Arguments,
    given: &Conditions,
    model: &Model,
    image: ImageShape,
) -> Result<Plan> {
    let mut before = Vec::new();
    if arguments.show_condition {
        before.extend(given.originals.clone());
        before.extend(condition::shown(&given.given, model)?);
        if before.is_empty() {
            bail!("--show-condition: {} is not an image", given.given);
        }
    }
    let images = arguments.count.saturating_mul(given.count);
    let (shown, columns) = match before.len() {
        0 => (images, arguments.columns),
        parts => {
            let columns = arguments.count.saturating_add(parts);
            (columns.saturating_mul(given.count), columns)
        }
    };
    let size = (image.height, image.width);
    Ok(Plan {
        out: arguments.out.clone(),
        folder: arguments.draw.out_dir.clone(),
        npy: arguments.draw.npy.clone(),
        animate: arguments.animate.clone(),
        images,
        image,
        grid: Grid::new(shown, size, columns, arguments.zoom),
        before,
        of_each: arguments.count,
    })
}

/// Refuses outputs that cannot be written, before the long work. Returns the
/// channel for messages.
fn check(arguments: &Arguments, plan: &Plan) -> Result<Channel> {
    let pictures = [&arguments.out, &arguments.animate];
    if arguments.draw.out_dir.is_some() || pictures.iter().any(|target| target.is_some()) {
        picture::check_channels(plan.image.channels)?;
    }
    if arguments.out.is_some() {
        plan.grid.check().context("--out")?;
    }
    if arguments.animate.is_some() {
        Animation::check(&plan.grid, plan.images, plan.image)?;
    }
    let mut outputs = Outputs::default()
        .file("--out", &arguments.out, Format::Png)
        .file("--npy", &arguments.draw.npy, Format::Npy)
        .file("--animate", &arguments.animate, Format::AnimatedPng)
        .folder("--out-dir", arguments.draw.out_dir.as_deref());
    for (flag, path) in arguments.given.files() {
        outputs = outputs.input(flag, Some(path));
    }
    outputs.check(arguments.json.json)
}

/// Draws with a bar that counts rows.
pub(crate) fn with_bar<T>(
    config: &SampleConfig,
    draw: impl FnOnce(&Watch<'_>) -> Result<T>,
) -> Result<T> {
    let rows = config.count.saturating_mul(config.height);
    if !stderr().is_terminal() {
        // The first row of large images takes a long time.
        let images = counted(config.count, "image");
        let (height, width) = (config.height, config.width);
        tracing::info!(
            "sampling {images} of {height} x {width}: {}",
            counted(rows, "row")
        );
    }
    let bar = Mutex::new((progress::Progress::with_unit("sampling", rows, "rows"), 0));
    draw(&|_: usize, _: usize, _: &[u32]| {
        if let Ok(mut bar) = bar.lock() {
            let (bar, done) = &mut *bar;
            *done += 1;
            bar.at(*done);
        }
    })
}

/// Draws image by image into files, with a bar that counts rows or a preview.
fn draw_each(
    arguments: &Arguments,
    (engine, config): (&Engine, &SampleConfig),
    condition: &Condition,
    files: &mut Files,
) -> Result<()> {
    let condition = |images: Range<usize>| {
        let of = images.map(|image| image / arguments.count);
        Ok(condition.select(&of.collect::<Vec<_>>())?)
    };
    let mut each = |_, values: Tensor| files.image(&picture::values_of(&values)?);
    if arguments.preview {
        let size = (config.height, config.width);
        let preview = Mutex::new(Preview::start(engine.image(), config.count, size)?);
        let watch = |image: usize, row: usize, values: &[u32]| {
            if let Ok(mut preview) = preview.lock() {
                preview.row(image, row, values);
            }
        };
        return sample_each::<Error>(engine, config, &condition, &watch, &mut each);
    }
    with_bar(config, |watch| {
        sample_each::<Error>(engine, config, &condition, watch, &mut each)
    })
}

/// Prints the number of drawn images and their classes.
fn report(arguments: &Arguments, given: &Conditions, seconds: f64, channel: Channel) -> Result<()> {
    let images = arguments.count.saturating_mul(given.count);
    let target = |target: &Option<Target>| target.as_ref().map(Target::to_string);
    let folder = arguments
        .draw
        .out_dir
        .as_ref()
        .map(|folder| folder.display().to_string());
    let (out, npy) = (target(&arguments.out), target(&arguments.draw.npy));
    let animate = target(&arguments.animate);
    if arguments.json.json {
        return channel.line(json!({
            "out": out,
            "out_dir": folder,
            "npy": npy,
            "animate": animate,
            "images": images,
            "classes": given.classes,
            "seconds": seconds,
        }));
    }
    let files: Vec<_> = [out, folder, npy, animate].into_iter().flatten().collect();
    let of = match given.classes.as_slice() {
        [] => String::new(),
        [class] => format!(" of the class {class}"),
        classes => format!(" of the classes {}", classes.join(", ")),
    };
    let files = match files.is_empty() {
        true => String::new(),
        false => format!("{}: ", files.join(", ")),
    };
    channel.line(format_args!(
        "{files}{}{of}, {seconds:.2} s",
        counted(images, "image")
    ))
}
