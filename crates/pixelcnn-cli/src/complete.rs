//! `pixelcnn complete`.

mod region;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use candle_core::{DType, Tensor};
use clap::ArgGroup;
use pixelcnn_models::{ImageShape, Model};
use pixelcnn_sample::{Completions, KnownPixels, SampleConfig, complete};
use pixelcnn_system::counted;
use serde_json::json;

use crate::arguments::{DeviceFlag, JsonFlag, ModelFlag, ZoomFlag};
use crate::condition::{self, ConditionFlags};
use crate::model;
use crate::output::{Channel, Format, Outputs, Target};
use crate::picture::{self, Grid};
use crate::sample::draw::DrawFlags;
use crate::sample::files::{Files, Plan};
use crate::sample::with_bar;
use crate::values::from_one;
use region::Region;

/// Draws the unknown pixels of an image
///
/// Known pixels stay as they are. The others are drawn from the top, from the left and by
/// channel, each given everything before it. So what comes after a hole cannot inform it:
/// pixels below a hole do not change what is drawn in it. With --best K, K images are drawn
/// for each completion, and the one is kept under which the known pixels after the first hole
/// are likeliest; their bits are printed.
///
/// The picture has the original, the image with unknown pixels in grey, and the completions.
/// The image may have any size.
#[derive(clap::Args)]
#[command(group = ArgGroup::new("outputs").args(["out", "out_dir", "npy"])
    .required(true).multiple(true))]
#[command(override_usage = USAGE, mut_arg("image", rename_image_condition))]
pub(crate) struct Arguments {
    #[command(flatten)]
    model: ModelFlag,
    /// The image: a picture, or values [1, c, h, w] as .npy
    #[arg(long = "image", id = "picture", value_name = "FILE")]
    picture: PathBuf,
    #[command(flatten)]
    region: Region,
    /// Number of completions
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = from_one)]
    count: usize,
    /// Draw this many images for each completion, and keep the best
    #[arg(long, value_name = "K", default_value_t = 1, value_parser = from_one)]
    best: usize,
    #[command(flatten)]
    given: ConditionFlags,
    #[command(flatten)]
    draw: DrawFlags,
    /// Write the original, the masked image and the completions as a PNG; - for standard
    /// output
    #[arg(long, value_name = "FILE")]
    out: Option<Target>,
    #[command(flatten)]
    zoom: ZoomFlag,
    #[command(flatten)]
    device: DeviceFlag,
    #[command(flatten)]
    json: JsonFlag,
}

/// Fits 80 columns.
const USAGE: &str = "pixelcnn complete [OPTIONS] --model <MODEL> --image <FILE>
         <--rows <N>|--box <X,Y,W,H>|--mask <FILE>>
         <--out <FILE>|--out-dir <DIR>|--npy <FILE>>";

/// The flag for images as the condition, because `--image` is the image to complete.
const GIVEN_IMAGE: &str = "--given-image";

fn rename_image_condition(flag: clap::Arg) -> clap::Arg {
    flag.long(GIVEN_IMAGE.trim_start_matches('-'))
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let (model, _) = arguments.model.load(&arguments.device)?;
    let folder = arguments.model.folder()?;
    let given = arguments.given.read_as(&model, &folder, GIVEN_IMAGE)?;
    if given.count != 1 {
        let found = counted(given.count, "condition");
        bail!("one condition for one image expected, found {found}");
    }
    let (original, image) = read(arguments, &model)?;
    let size = (image.height, image.width);
    let known = arguments.region.known(size)?;
    if arguments.best > 1 && !Region::has_rest(&known) {
        tracing::warn!(
            "--best {}: no known pixel follows an unknown one, so all completions are equally \
             good, and the first is kept",
            arguments.best
        );
    }
    let config = arguments.draw.config(arguments.count, size);
    config.check(image.channels)?;
    let plan = plan(
        arguments,
        image,
        [original.clone(), masked(&original, &known, image)?],
    );
    let channel = check(arguments, &plan)?;
    let density = model::in_order(&model)?;
    let encoder = density.condition_encoder();
    let condition = encoder.encode_each(&given.given, size)?;
    let engine = arguments.draw.engine(density)?;
    let mut files = Files::create(plan)?;
    let start = Instant::now();
    let all = SampleConfig {
        count: arguments.count.saturating_mul(arguments.best),
        ..config
    };
    let completions = with_bar(&all, |watch| {
        let drawn = (&config, arguments.best);
        Ok(complete(
            &engine, &original, &known, drawn, &condition, watch,
        )?)
    })?;
    for index in 0..arguments.count {
        files.image(&picture::values_of(&completions.images.get(index)?)?)?;
    }
    let written = files.finish();
    report(
        arguments,
        &completions,
        &known,
        (start.elapsed().as_secs_f64(), channel),
    )?;
    written.map(|()| ExitCode::SUCCESS)
}

/// The image, and its shape.
fn read(arguments: &Arguments, model: &Model) -> Result<(Tensor, ImageShape)> {
    let shape = model.config().image();
    let values = condition::read_image(&arguments.picture, shape)?;
    let (images, _, height, width) = values.dims4()?;
    if images != 1 {
        bail!("--image: one image expected, found {images}");
    }
    shape.check(&values).context("--image")?;
    let image = ImageShape {
        height,
        width,
        ..shape
    };
    Ok((values.to_dtype(DType::U32)?, image))
}

/// The image with unknown pixels in grey.
fn masked(original: &Tensor, known: &KnownPixels, image: ImageShape) -> Result<Tensor> {
    let grey = (image.levels / 2) as u32;
    let mut values = picture::values_of(original)?;
    for (index, value) in values.iter_mut().enumerate() {
        let place = index % (image.height * image.width);
        if !known.is_known(place / image.width, place % image.width) {
            *value = grey;
        }
    }
    Ok(Tensor::from_vec(
        values,
        original.dims(),
        original.device(),
    )?)
}

fn plan(arguments: &Arguments, image: ImageShape, before: [Tensor; 2]) -> Plan {
    let size = (image.height, image.width);
    let shown = arguments.count.saturating_add(before.len());
    Plan {
        out: arguments.out.clone(),
        folder: arguments.draw.out_dir.clone(),
        npy: arguments.draw.npy.clone(),
        animate: None,
        images: arguments.count,
        image,
        grid: Grid::new(shown, size, shown, arguments.zoom),
        before: before.to_vec(),
        of_each: arguments.count,
    }
}

/// Refuses outputs that cannot be written, before the long work. Returns the channel for
/// messages.
fn check(arguments: &Arguments, plan: &Plan) -> Result<Channel> {
    if arguments.draw.out_dir.is_some() || arguments.out.is_some() {
        picture::check_channels(plan.image.channels)?;
    }
    if arguments.out.is_some() {
        plan.grid.check().context("--out")?;
    }
    let mut outputs = Outputs::default()
        .file("--out", &arguments.out, Format::Png)
        .file("--npy", &arguments.draw.npy, Format::Npy)
        .folder("--out-dir", arguments.draw.out_dir.as_deref())
        .input("--image", Some(&arguments.picture))
        .input("--mask", arguments.region.file());
    for (flag, path) in arguments.given.files() {
        let flag = match flag {
            condition::IMAGE => GIVEN_IMAGE,
            flag => flag,
        };
        outputs = outputs.input(flag, Some(path));
    }
    outputs.check(arguments.json.json)
}

/// Prints how many pixels were drawn, and how likely the rest is.
fn report(
    arguments: &Arguments,
    completions: &Completions,
    known: &KnownPixels,
    (seconds, channel): (f64, Channel),
) -> Result<()> {
    let target = |target: &Option<Target>| target.as_ref().map(Target::to_string);
    let folder = arguments.draw.out_dir.as_ref();
    let folder = folder.map(|folder| folder.display().to_string());
    let (out, npy) = (target(&arguments.out), target(&arguments.draw.npy));
    if arguments.json.json {
        return channel.line(json!({
            "out": out,
            "out_dir": folder,
            "npy": npy,
            "images": arguments.count,
            "drawn_pixels": known.unknown(),
            "bits": completions.bits,
            "seconds": seconds,
        }));
    }
    let files: Vec<_> = [out, folder, npy].into_iter().flatten().collect();
    let bits = match &completions.bits {
        None => String::new(),
        Some(bits) => {
            let bits: Vec<_> = bits.iter().map(|bits| format!("{bits:.1}")).collect();
            format!(
                "; known pixels after the first hole: {} bits",
                bits.join(", ")
            )
        }
    };
    channel.line(format_args!(
        "{}: {} of {}{bits}, {seconds:.2} s",
        files.join(", "),
        counted(arguments.count, "completion"),
        counted(known.unknown(), "pixel"),
    ))
}
