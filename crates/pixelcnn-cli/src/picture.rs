//! Images as PNG.

mod field;
mod grid;
mod shades;

use std::io::Write;

use anyhow::{Context, Result, bail};
use candle_core::{DType, Tensor};
use image::RgbImage;
use pixelcnn_data::{Depth, PictureFormat};
use pixelcnn_models::ImageShape;
use serde_json::json;

use crate::arguments::ZoomFlag;
use crate::output::{Channel, Format, Outputs, Sink, Target};
use pixelcnn_system::counted;

pub(crate) use field::write_field;
pub(crate) use grid::{Grid, GridWriter};
pub(crate) use shades::{note_shades, picture, shade};

/// The output picture of a command.
#[derive(clap::Args)]
pub(crate) struct Drawing {
    /// The output picture, PNG; - for standard output
    #[arg(long, value_name = "FILE")]
    pub out: Target,
    #[command(flatten)]
    pub zoom: ZoomFlag,
}

impl Drawing {
    /// Refuses a picture that cannot be written, before the long work. Returns the
    /// channel for messages.
    pub(crate) fn check(&self, channels: usize, grid: &Grid, json: bool) -> Result<Channel> {
        check_channels(channels)?;
        grid.check().context("--out")?;
        let outputs = Outputs::default().file("--out", &self.out, Format::Png);
        outputs.check(json)
    }

    /// Writes images `[n, c, h, w]` of `levels` levels side by side; one channel is
    /// grey, three are RGB.
    pub(crate) fn write(&self, values: &Tensor, levels: usize, columns: usize) -> Result<()> {
        let (n, c, h, w) = values.dims4()?;
        let grid = Grid::new(n, (h, w), columns, self.zoom);
        let mut writer = GridWriter::create(&self.out, grid, (c, levels))?;
        for image in 0..n {
            writer.image(&values_of(&values.get(image)?)?)?;
        }
        writer.finish()?;
        self.out.wrote(counted(n, "image"));
        Ok(())
    }
}

/// Prints how many images were drawn into the picture.
pub(crate) fn report(
    out: &Target,
    (images, seconds): (usize, f64),
    as_json: bool,
    channel: Channel,
) -> Result<()> {
    match as_json {
        true => channel.line(json!({
            "out": out.to_string(),
            "images": images,
            "seconds": seconds,
        })),
        false => channel.line(format_args!(
            "{out}: {}, {seconds:.2} s",
            counted(images, "image")
        )),
    }
}

/// The format for reading picture files for a model of these images.
pub(crate) fn format_of(image: ImageShape) -> PictureFormat {
    PictureFormat {
        depth: match image.levels == Depth::Sixteen.levels() {
            true => Depth::Sixteen,
            false => Depth::Eight,
        },
        ..PictureFormat::default()
    }
}

/// Refuses images that cannot be drawn as pictures.
pub(crate) fn check_channels(channels: usize) -> Result<()> {
    match channels {
        1 | 3 => Ok(()),
        _ => bail!("a picture has 1 or 3 channels, but these images have {channels}"),
    }
}

/// The values of a tensor in their order.
pub(crate) fn values_of(tensor: &Tensor) -> Result<Vec<u32>> {
    Ok(tensor.to_dtype(DType::U32)?.flatten_all()?.to_vec1()?)
}

/// Writes one image `[c, h, w]` without zoom and border, with 16 bits per channel if 8 bits
/// cannot hold its levels.
pub(crate) fn write_image(target: &Target, values: &[u32], image: ImageShape) -> Result<()> {
    match image.levels > 256 {
        false => write_png(target, &picture(values, image)?),
        true => {
            let (bytes, colour) = shades::sixteen_bits(values, image);
            let size = (u32::try_from(image.width)?, u32::try_from(image.height)?);
            write_encoded(target, &bytes, |sink| {
                let mut encoder = png::Encoder::new(sink, size.0, size.1);
                encoder.set_color(colour);
                encoder.set_depth(png::BitDepth::Sixteen);
                encoder
            })
        }
    }
}

/// Combines the images of several tensors `[n, c, h, w]` row by row. The number of
/// each part says how many of its images a row takes.
pub(crate) fn rows(parts: &[(&Tensor, usize)]) -> Result<Tensor> {
    let mut all = Vec::new();
    let rows = match parts.first() {
        Some((tensor, each)) => tensor.dim(0)? / each,
        None => 0,
    };
    for row in 0..rows {
        for (tensor, each) in parts {
            all.push(tensor.narrow(0, row * each, *each)?.to_dtype(DType::U32)?);
        }
    }
    Ok(Tensor::cat(&all, 0)?)
}

/// Writes a picture without change.
pub(crate) fn write_png(target: &Target, picture: &RgbImage) -> Result<()> {
    write_encoded(target, picture, |sink| {
        rgb_encoder(sink, picture.dimensions())
    })
}

fn write_encoded(
    target: &Target,
    bytes: &[u8],
    encoder: impl Fn(&mut Sink) -> png::Encoder<'static, &mut Sink>,
) -> Result<()> {
    let mut sink = target.create()?;
    let write = |sink: &mut Sink| -> Result<(), png::EncodingError> {
        let mut writer = encoder(sink).write_header()?;
        writer.write_image_data(bytes)?;
        writer.finish()
    };
    write(&mut sink).with_context(|| format!("cannot write {target}"))?;
    sink.finish()
}

/// An encoder for 8 bits and three colours.
pub(crate) fn rgb_encoder<W: Write>(sink: W, size: (u32, u32)) -> png::Encoder<'static, W> {
    let mut encoder = png::Encoder::new(sink, size.0, size.1);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    encoder
}
