//! `pixelcnn bench codec`.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Result, bail};
use candle_core::{DType, Device, Tensor};
use pixelcnn_codec::{Archive, ArchiveWriter, Area, Codec, CodecError, Picture, TileSide, Wanted};
use pixelcnn_models::ImageShape;
use pixelcnn_system::counted;
use serde_json::json;

use crate::archive::CodecFlags;
use crate::archive::output::Pixels;
use crate::arguments::{DataFlags, JsonFlag};
use crate::data::Data;
use crate::output;
use crate::values::from_one;

/// Measures lossless compression: images as single archives, as one archive, and side by side
/// as one picture
#[derive(clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    codec: CodecFlags,
    #[command(flatten)]
    data: DataFlags,
    /// Only the first N images
    #[arg(long, value_name = "N", value_parser = from_one)]
    count: Option<usize>,
    /// Side of the tiles, or `whole`
    #[arg(long, value_name = "SIDE", default_value_t = TileSide::default())]
    tile: TileSide,
    /// Also write the images into this new folder as PNG files, and all side by side as
    /// sheet.png, for other programs
    #[arg(long, value_name = "DIR")]
    pictures: Option<PathBuf>,
    #[command(flatten)]
    json: JsonFlag,
}

/// A way to write the images.
struct Measured {
    name: &'static str,
    bytes: u64,
    encode: f64,
    decode: f64,
}

pub(super) fn run(arguments: &Arguments) -> Result<()> {
    let codec = arguments.codec.codec()?;
    let (pictures, image) = pictures(arguments, &codec)?;
    let sheet = sheet(&pictures, image.channels);
    if let Some(folder) = &arguments.pictures {
        if folder.exists() {
            bail!(
                "--pictures {}: it exists; a new folder expected",
                folder.display()
            );
        }
        for picture in pictures.iter().chain([&sheet]) {
            write(folder, picture, image)?;
        }
    }
    let values: usize = pictures.iter().map(|picture| picture.values.len()).sum();
    let one = std::slice::from_ref(&sheet);
    let all = [
        single(&codec, &pictures)?,
        together("archive", &codec, &pictures, arguments.tile)?,
        together("sheet", &codec, one, arguments.tile)?,
        together("sheet, whole", &codec, one, TileSide::Whole)?,
    ];
    report(arguments, &all, (pictures.len(), values))
}

/// The images of the data set.
fn pictures(arguments: &Arguments, codec: &Codec) -> Result<(Vec<Picture>, ImageShape)> {
    let data = Data::load(arguments.data.data.as_ref(), &arguments.codec.folder()?)?;
    let images = data.split(arguments.data.split())?;
    let count = arguments.count.unwrap_or(images.len()).min(images.len());
    let indices: Vec<usize> = (0..count).collect();
    let values = images.gather(&indices, &Device::Cpu)?;
    let (_, channels, height, width) = values.dims4()?;
    let levels = codec.identity().levels;
    let image = ImageShape {
        channels,
        height,
        width,
        levels,
    };
    let picture = |index: usize| {
        let values = values.get(index)?.permute((1, 2, 0))?;
        Ok(Picture {
            name: format!("{index:06}.png"),
            height,
            width,
            values: list(&values)?,
            metadata: Vec::new(),
        })
    };
    Ok((
        indices.into_iter().map(picture).collect::<Result<_>>()?,
        image,
    ))
}

fn list(values: &Tensor) -> Result<Vec<u16>> {
    let values = values
        .flatten_all()?
        .to_dtype(DType::U32)?
        .to_vec1::<u32>()?;
    Ok(values.into_iter().map(|value| value as u16).collect())
}

/// All images side by side, about twice as wide as high; the rest is black.
fn sheet(pictures: &[Picture], channels: usize) -> Picture {
    let (height, width) = pictures
        .first()
        .map_or((1, 1), |first| (first.height, first.width));
    let columns = ((2 * pictures.len()) as f64).sqrt().ceil().max(1.0) as usize;
    let rows = pictures.len().div_ceil(columns);
    let line = columns * width * channels;
    let mut values = vec![0; rows * height * line];
    for (index, picture) in pictures.iter().enumerate() {
        let (row, column) = (index / columns, index % columns);
        for (y, from) in picture.values.chunks(width * channels).enumerate() {
            let first = (row * height + y) * line + column * width * channels;
            values[first..first + from.len()].copy_from_slice(from);
        }
    }
    Picture {
        name: "sheet.png".into(),
        height: rows * height,
        width: columns * width,
        values,
        metadata: Vec::new(),
    }
}

fn write(folder: &std::path::Path, picture: &Picture, image: ImageShape) -> Result<()> {
    let area = Area::whole(picture.height, picture.width);
    let decoded = pixelcnn_codec::Decoded {
        wanted: Wanted { picture: 0, area },
        values: picture.values.clone(),
        missing: Vec::new(),
    };
    let pixels = Pixels {
        decoded: &decoded,
        channels: image.channels,
        levels: image.levels,
        metadata: &[],
    };
    pixels.write(&folder.join(&picture.name))
}

/// An archive for each image.
fn single(codec: &Codec, pictures: &[Picture]) -> Result<Measured> {
    let mut all = Measured {
        name: "single archives",
        bytes: 0,
        encode: 0.0,
        decode: 0.0,
    };
    for picture in pictures {
        let one = std::slice::from_ref(picture);
        let measured = together("", codec, one, TileSide::Whole)?;
        all.bytes += measured.bytes;
        all.encode += measured.encode;
        all.decode += measured.decode;
    }
    Ok(all)
}

/// One archive for all images. Checks that they come back.
fn together(
    name: &'static str,
    codec: &Codec,
    pictures: &[Picture],
    side: TileSide,
) -> Result<Measured> {
    let start = Instant::now();
    let mut archive = ArchiveWriter::new(codec, Vec::new(), side)?;
    pictures
        .iter()
        .try_for_each(|picture| archive.add(picture))?;
    let (bytes, written) = archive.finish()?;
    let encode = start.elapsed().as_secs_f64();
    let start = Instant::now();
    let archive = Archive::read(bytes)?;
    let whole = |(picture, entry): (usize, &Picture)| Wanted {
        picture,
        area: Area::whole(entry.height, entry.width),
    };
    let wanted: Vec<_> = pictures.iter().enumerate().map(whole).collect();
    let mut same = 0;
    archive.decode::<CodecError>(codec, &wanted, &mut |_, decoded| {
        same += usize::from(decoded.values == pictures[decoded.wanted.picture].values);
        Ok(())
    })?;
    if same != pictures.len() {
        bail!("{same} of {} came back", counted(pictures.len(), "image"));
    }
    Ok(Measured {
        name,
        bytes: written.bytes,
        encode,
        decode: start.elapsed().as_secs_f64(),
    })
}

fn report(arguments: &Arguments, all: &[Measured], (images, values): (usize, usize)) -> Result<()> {
    // A value of up to 256 levels is a byte of an uncompressed image.
    let megabytes = values as f64 / 1e6;
    if arguments.json.json {
        let way = |way: &Measured| {
            json!({
                "name": way.name,
                "bytes": way.bytes,
                "bits_per_dim": 8.0 * way.bytes as f64 / values as f64,
                "encode_seconds": way.encode,
                "decode_seconds": way.decode,
            })
        };
        return output::line(json!({
            "images": images,
            "values": values,
            "ways": all.iter().map(way).collect::<Vec<_>>(),
        }));
    }
    output::line(format_args!(
        "{}, {values} values",
        counted(images, "image")
    ))?;
    for way in all {
        output::line(format_args!(
            "{}: {} bytes, {:.4} bits/dim, {:.3} MB/s to compress, {:.3} to decompress",
            way.name,
            way.bytes,
            8.0 * way.bytes as f64 / values as f64,
            megabytes / way.encode,
            megabytes / way.decode,
        ))?;
    }
    Ok(())
}
