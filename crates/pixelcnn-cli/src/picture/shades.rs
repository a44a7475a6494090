//! Values as shades of a picture.

use anyhow::{Result, bail};
use image::{Rgb, RgbImage};
use pixelcnn_models::ImageShape;

/// From 0, black, to 255 for the last of `levels` values.
pub(crate) fn shade(value: u32, levels: usize) -> u8 {
    (u64::from(value) * 255 / (levels as u64 - 1)) as u8
}

/// Says that a picture does not show the values themselves, and what else does.
pub(crate) fn note_shades(levels: usize, way_out: &str) {
    if levels != 256 {
        tracing::info!("the {levels} levels are shown as 256 shades{way_out}");
    }
}

/// The picture of the values `[c, h, w]` of an image, without zoom.
pub(crate) fn picture(values: &[u32], image: ImageShape) -> Result<RgbImage> {
    let plane = image.height * image.width;
    let (Ok(width), Ok(height)) = (u32::try_from(image.width), u32::try_from(image.height)) else {
        bail!(
            "{} x {}: too large for a picture",
            image.height,
            image.width
        );
    };
    Ok(RgbImage::from_fn(width, height, |x, y| {
        let place = y as usize * image.width + x as usize;
        colour(values, place, plane, image.levels)
    }))
}

/// The values `[c, h, w]` of an image of more than 256 levels as the bytes of a PNG with 16 bits
/// per channel, and its colours. With 65,536 levels, these are the values themselves.
pub(super) fn sixteen_bits(values: &[u32], image: ImageShape) -> (Vec<u8>, png::ColorType) {
    let plane = image.height * image.width;
    let last = image.levels as u64 - 1;
    let mut bytes = Vec::with_capacity(2 * values.len());
    for place in 0..plane {
        for value in values.iter().skip(place).step_by(plane) {
            let shade = (u64::from(*value) * 65_535 / last) as u16;
            bytes.extend(shade.to_be_bytes());
        }
    }
    let colours = match image.channels {
        1 => png::ColorType::Grayscale,
        _ => png::ColorType::Rgb,
    };
    (bytes, colours)
}

/// The colour of a pixel of `[c, h, w]` values.
pub(super) fn colour(values: &[u32], place: usize, plane: usize, levels: usize) -> Rgb<u8> {
    let of = |channel: usize| {
        let value = values.get(channel * plane + place);
        shade(value.copied().unwrap_or_default(), levels)
    };
    match values.len() == plane {
        true => Rgb([of(0); 3]),
        false => Rgb([of(0), of(1), of(2)]),
    }
}
