//! `pixelcnn compress`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use pixelcnn_codec::{ArchiveWriter, TileSide, Written};
use pixelcnn_models::ImageShape;
use pixelcnn_system::counted;
use serde_json::json;

use crate::archive::CodecFlags;
use crate::archive::input::{self, Kept};
use crate::arguments::JsonFlag;
use crate::output::{Channel, Format, Outputs, Target, is_read};
use crate::progress::Progress;

/// Compresses pictures without loss into an archive
///
/// The model gives each value of a picture a probability, and a range coder needs about as
/// many bits as -log2 of it. The archive decodes on every processor, but only with the same
/// model. PNG files of 8 bits need a model of 256 levels, those of 16 bits one of 65536.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// PNG files, or folders of them
    #[arg(value_name = "IN", required = true)]
    inputs: Vec<PathBuf>,
    #[command(flatten)]
    codec: CodecFlags,
    /// The archive, .pxc; - for standard output
    #[arg(long, short, value_name = "FILE")]
    out: Target,
    /// Side of the tiles, or `whole`: larger ones are smaller in total, but fewer are computed
    /// at a time
    #[arg(long, value_name = "SIDE", default_value_t = TileSide::default())]
    tile: TileSide,
    #[command(flatten)]
    kept: Kept,
    /// A name under which a reader of the archive finds the model
    #[arg(long, value_name = "NAME")]
    model_name: Option<String>,
    #[command(flatten)]
    json: JsonFlag,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let inputs = input::find(&arguments.inputs)?;
    let mut outputs = Outputs::default().file("--out", &arguments.out, Format::Archive);
    for input in &inputs {
        outputs = outputs.input("IN", Some(&input.path));
    }
    let channel = outputs.check(arguments.json.json)?;
    let mut codec = arguments.codec.codec()?;
    if let Some(name) = &arguments.model_name {
        codec = codec.with_name(name).context("--model-name")?;
    }
    let identity = codec.identity();
    let image = ImageShape {
        channels: identity.channels,
        height: 1,
        width: 1,
        levels: identity.levels,
    };
    input::check_model(image)?;
    let start = Instant::now();
    let sink = arguments.out.create()?;
    let mut archive = ArchiveWriter::new(&codec, sink, arguments.tile)?;
    let mut bar = Progress::with_unit("compressing", inputs.len(), "pictures");
    for (index, input) in inputs.iter().enumerate() {
        archive.add(&input.read(image, arguments.kept)?)?;
        check_reader(&arguments.out)?;
        bar.at(index + 1);
    }
    let (sink, written) = archive.finish()?;
    drop(bar);
    sink.finish()?;
    check_reader(&arguments.out)?;
    arguments.out.wrote(counted(written.pictures, "picture"));
    let seconds = start.elapsed().as_secs_f64();
    report(arguments, written, (seconds, channel))?;
    Ok(ExitCode::SUCCESS)
}

/// Refuses to go on if nobody reads the archive. Other results may be read in part, but a part of
/// an archive does not have all pictures.
fn check_reader(out: &Target) -> Result<()> {
    match *out == Target::StandardOutput && !is_read() {
        true => bail!("--out -: its reader ended before the archive was whole"),
        false => Ok(()),
    }
}

/// Prints the size of the archive.
fn report(
    arguments: &Arguments,
    written: Written,
    (seconds, channel): (f64, Channel),
) -> Result<()> {
    let out = arguments.out.to_string();
    let bits_per_dim = 8.0 * written.bytes as f64 / written.values as f64;
    if arguments.json.json {
        return channel.line(json!({
            "out": out,
            "pictures": written.pictures,
            "values": written.values,
            "tiles": written.tiles,
            "predicted_tiles": written.predicted,
            "tile_bytes": written.tile_bytes,
            "bytes": written.bytes,
            "bits_per_dim": bits_per_dim,
            "seconds": seconds,
        }));
    }
    channel.line(format_args!(
        "{out}: {} in {}, {} bytes, {bits_per_dim:.3} bits/dim, {seconds:.2} s",
        counted(written.pictures, "picture"),
        counted(written.tiles, "tile"),
        written.bytes,
    ))
}
