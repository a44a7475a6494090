//! JPEG files.

mod bits;
mod frame;
mod scan;
mod whole;

use image::metadata::Orientation;
use image::{DynamicImage, GrayImage, RgbImage};
use zune_jpeg::JpegDecoder;
use zune_jpeg::errors::DecodeErrors;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use super::Decoded;
use crate::memory::{self, Need};
use frame::{Frame, Process};

/// Decodes a complete file. The error is only the reason, or too little memory.
///
/// The decoder is that of the `image` crate, but called directly, because only then is it
/// strict. Even so, it accepts an early end marker and invents the rest of the picture; so
/// the codes are checked before.
pub(super) fn decode(bytes: &[u8]) -> Result<Decoded, Need> {
    let Frame {
        width,
        height,
        process,
        ..
    } = whole::check(bytes)?;
    let needed = match process {
        // The picture and its converted copy.
        Process::Sequential => 6,
        // 16 bits of each value until the last scan.
        Process::Progressive => 9,
    };
    memory::check(
        format!("a picture of {width}x{height} (width, height)"),
        width as u64 * height as u64 * needed,
    )?;
    let options = DecoderOptions::default()
        .set_strict_mode(true)
        .set_max_width(width)
        .set_max_height(height);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    // The decoder's own messages are for experts of the format.
    let failed = |_: DecodeErrors| {
        "it is damaged or of an unsupported kind: save it as an ordinary JPEG or a PNG file"
            .to_string()
    };
    decoder.decode_headers().map_err(failed)?;
    let colours = match decoder.input_colorspace() {
        Some(ColorSpace::Luma) => ColorSpace::Luma,
        _ => ColorSpace::RGB,
    };
    decoder.set_options(decoder.options().jpeg_set_out_colorspace(colours));
    let values = decoder.decode().map_err(failed)?;
    let exif = decoder.exif();
    let orientation = exif.and_then(|exif| Orientation::from_exif_chunk(exif));
    let (width, height) = (width as u32, height as u32);
    let picture = match colours {
        ColorSpace::Luma => GrayImage::from_raw(width, height, values).map(DynamicImage::from),
        _ => RgbImage::from_raw(width, height, values).map(DynamicImage::from),
    };
    Ok(Decoded {
        picture: picture.ok_or("the decoder returned a wrong number of values".to_string())?,
        orientation: orientation.unwrap_or(Orientation::NoTransforms),
    })
}

#[cfg(test)]
mod tests;
