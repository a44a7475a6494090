//! PNG files.

use std::io::Cursor;

use image::metadata::Orientation;
use image::{DynamicImage, ImageBuffer};
use png::{BitDepth, ColorType, DecodeOptions, Decoder, DecodingError, Limits, Transformations};

use super::{Decoded, Depth, shallow};
use crate::file::{DEFLATE, damage};
use crate::memory::{self, Need};

/// Decodes a file that must be complete to its last chunk. The error is
/// only the reason, or too little memory.
///
/// Palettes and 1, 2 or 4 bits become 8 bits without loss. Files of 16 bits are
/// read only if requested, and then no others: the user must choose which range to
/// keep.
pub(super) fn decode(bytes: &[u8], depth: Depth) -> Result<Decoded, Need> {
    let mut options = DecodeOptions::default();
    options.set_ignore_checksums(false);
    // A damaged chunk must not be skipped: it may say which colour is transparent.
    options.set_skip_ancillary_crc_failures(false);
    options.set_ignore_text_chunk(true);
    options.set_ignore_iccp_chunk(true);
    let mut decoder = Decoder::new_with_options(Cursor::new(bytes), options.clone());
    decoder.set_transformations(Transformations::EXPAND);
    let header = decoder.read_header_info().map_err(failed)?;
    let (width, height) = header.size();
    match (header.bit_depth, depth) {
        (BitDepth::Sixteen, Depth::Eight) => return Err(SIXTEEN.to_string().into()),
        (BitDepth::Sixteen, Depth::Sixteen) | (_, Depth::Eight) => {}
        (bits, Depth::Sixteen) => return Err(shallow(bits as usize).into()),
    }
    check_size(header, bytes.len())?;
    // A row of the largest possible picture, with a margin.
    decoder.set_limits(Limits {
        bytes: (width as usize).saturating_mul(64).max(1 << 26),
    });
    let mut reader = decoder.read_info().map_err(failed)?;
    let size = reader.output_buffer_size();
    let mut values = vec![0; size.ok_or("it is too large".to_string())?];
    let found = reader.next_frame(&mut values).map_err(failed)?;
    reader.finish().map_err(failed)?;
    if reader.info().color_type == ColorType::Indexed {
        check_palette(Decoder::new_with_options(Cursor::new(bytes), options))?;
    }
    if (found.width, found.height) != (width, height) {
        return Err("its first frame is not the whole picture"
            .to_string()
            .into());
    }
    let picture = match depth {
        Depth::Eight => eight(found.color_type, (width, height), values),
        Depth::Sixteen => {
            let pairs = values.chunks_exact(2);
            let values = pairs.map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
            sixteen(found.color_type, (width, height), values.collect())
        }
    };
    let exif = reader.info().exif_metadata.as_deref();
    let orientation = exif.and_then(Orientation::from_exif_chunk);
    Ok(Decoded {
        picture: picture.ok_or("the decoder returned a wrong number of values".to_string())?,
        orientation: orientation.unwrap_or(Orientation::NoTransforms),
    })
}

fn eight(colour: ColorType, (w, h): (u32, u32), values: Vec<u8>) -> Option<DynamicImage> {
    Some(match colour {
        ColorType::Grayscale => DynamicImage::ImageLuma8(ImageBuffer::from_raw(w, h, values)?),
        ColorType::GrayscaleAlpha => {
            DynamicImage::ImageLumaA8(ImageBuffer::from_raw(w, h, values)?)
        }
        ColorType::Rgba => DynamicImage::ImageRgba8(ImageBuffer::from_raw(w, h, values)?),
        _ => DynamicImage::ImageRgb8(ImageBuffer::from_raw(w, h, values)?),
    })
}

fn sixteen(colour: ColorType, (w, h): (u32, u32), values: Vec<u16>) -> Option<DynamicImage> {
    Some(match colour {
        ColorType::Grayscale => DynamicImage::ImageLuma16(ImageBuffer::from_raw(w, h, values)?),
        ColorType::GrayscaleAlpha => {
            DynamicImage::ImageLumaA16(ImageBuffer::from_raw(w, h, values)?)
        }
        ColorType::Rgba => DynamicImage::ImageRgba16(ImageBuffer::from_raw(w, h, values)?),
        _ => DynamicImage::ImageRgb16(ImageBuffer::from_raw(w, h, values)?),
    })
}

/// A description of an error in a file.
fn failed(error: DecodingError) -> String {
    let text = error.to_string();
    let begins = |beginning: &str| text.starts_with(beginning);
    match error {
        DecodingError::IoError(error) => damage(&error),
        DecodingError::LimitsExceeded => "a part of it is too large".into(),
        _ if begins("CRC error") => "a checksum is wrong: it is damaged".into(),
        _ if begins("Corrupt deflate") => "its compressed pixels are damaged".into(),
        _ if begins("IDAT") => "pixels are missing: it is damaged or truncated".into(),
        _ => "it is damaged".into(),
    }
}

/// Checks that each pixel has a colour of the palette, because decoders make others black.
fn check_palette(mut decoder: Decoder<Cursor<&[u8]>>) -> Result<(), Need> {
    decoder.set_transformations(Transformations::IDENTITY);
    let mut reader = decoder.read_info().map_err(failed)?;
    let info = reader.info();
    let colours = info.palette.as_ref().map_or(0, |palette| palette.len() / 3);
    let (bits, width) = (info.bit_depth as usize, info.width as usize);
    let size = reader.output_buffer_size();
    let mut packed = vec![0; size.ok_or("it is too large".to_string())?];
    let found = reader.next_frame(&mut packed).map_err(failed)?;
    for (row, line) in packed.chunks_exact(found.line_size).enumerate() {
        for column in 0..width {
            let bit = column * bits;
            let index = line[bit / 8] >> (8 - bits - bit % 8) & (0xff >> (8 - bits));
            if usize::from(index) >= colours {
                return Err(format!(
                    "row {row}, column {column} (from 0) has colour {index} of a palette of \
                     {colours} colours"
                )
                .into());
            }
        }
    }
    Ok(())
}

const SIXTEEN: &str = "it has 16 bits per channel, at most 8 are supported: use depth=16 for a \
                       model of 65536 levels, or convert it to 8 bits and choose how to scale \
                       its values";

/// Checks that the file is long enough for its pixels, and that they fit into
/// memory.
fn check_size(header: &png::Info, length: usize) -> Result<(), Need> {
    let (width, height) = header.size();
    let pixels = u64::from(width) * u64::from(height);
    let stored = pixels.saturating_mul(header.bits_per_pixel() as u64) / 8;
    if stored > DEFLATE.saturating_mul(length as u64) {
        let reason = format!(
            "it claims {width}x{height} pixels (width, height), more than a file of {length} \
             bytes can contain"
        );
        return Err(reason.into());
    }
    // Colours, transparency, and the converted picture.
    let bytes = if header.bit_depth == BitDepth::Sixteen {
        2
    } else {
        1
    };
    let needed = pixels.saturating_mul(7 * bytes);
    memory::check(
        format!("a picture of {width}x{height} (width, height)"),
        needed,
    )
}

#[cfg(test)]
mod tests;
