//! PNG and JPEG files as red, green and blue planes.

mod jpeg;
mod kind;
mod png;

use std::path::Path;

use candle_core::{Device, Tensor};
use image::imageops::{FilterType, crop_imm, resize};
use image::metadata::Orientation;
use image::{DynamicImage, Rgb, RgbImage};
use pixelcnn_system::guarded;

use crate::memory::Need;
use crate::spec::SmallPictures;
use crate::{DataError, file};

pub(crate) use kind::{BEGINNING, Kind, is_named_picture};

/// The values `[1, 3, h, w]` of a PNG or JPEG file of 8 bits a channel or less,
/// as a viewer shows it: turned as it says, and on white where it is
/// transparent. Colour profiles and gamma are not applied. JPEG files with a
/// component that is sampled three times across, and frames of films that lack
/// the tables of codes, are not read.
///
/// # Errors
///
/// If it is no such file, is damaged or not whole, has more than 8 bits a
/// channel, or is too large for the memory.
///
/// # Example
///
/// ```
/// use image::RgbImage;
///
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("black.png");
/// RgbImage::new(5, 3).save(&path)?;
/// assert_eq!(pixelcnn_data::read_picture(&path)?.dims(), [1, 3, 3, 5]);
///
/// let bytes = std::fs::read(&path)?;
/// std::fs::write(&path, &bytes[..bytes.len() - 1])?;
/// assert!(pixelcnn_data::read_picture(&path).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn read_picture(path: &Path) -> Result<Tensor, DataError> {
    let picture = decode(path)?;
    let size = (1, 3, picture.height() as usize, picture.width() as usize);
    Ok(Tensor::from_vec(planes(&picture), size, &Device::Cpu)?)
}

/// The planes of an image's central square, scaled to `side`.
///
/// The filter is a triangle whose width grows with the reduction: a low-pass
/// filter, so that fine patterns do not turn into coarse ones, and without
/// negative weights, so that edges get no rims. It works on the values as they
/// are stored, as is usual.
pub(crate) fn central_square(
    path: &Path,
    side: usize,
    small: SmallPictures,
) -> Result<Vec<u8>, DataError> {
    let picture = decode(path)?;
    let (width, height) = picture.dimensions();
    let square = width.min(height);
    let target = u32::try_from(side).unwrap_or(u32::MAX);
    if square < target && small == SmallPictures::Refused {
        return Err(DataError::PictureSize {
            path: path.into(),
            width,
            height,
            wanted: format!("at least {side} in both"),
        });
    }
    let (left, top) = ((width - square) / 2, (height - square) / 2);
    let view = crop_imm(&picture, left, top, square, square);
    if square == target {
        return Ok(planes(&view.to_image()));
    }
    Ok(planes(&resize(
        &*view,
        target,
        target,
        FilterType::Triangle,
    )))
}

/// The planes of an image that must be a square of `side`.
pub(crate) fn exact_square(path: &Path, side: usize) -> Result<Vec<u8>, DataError> {
    let picture = decode(path)?;
    let (width, height) = picture.dimensions();
    if [width, height].map(|length| length as usize) == [side, side] {
        return Ok(planes(&picture));
    }
    Err(DataError::PictureSize {
        path: path.into(),
        width,
        height,
        wanted: format!("{side}x{side}"),
    })
}

/// What a decoder gives.
struct Decoded {
    picture: DynamicImage,
    /// How it must be turned to stand upright.
    orientation: Orientation,
}

/// The picture as a viewer shows it, on white where it is transparent. What
/// kind of file it is, its content says, not its name.
fn decode(path: &Path) -> Result<RgbImage, DataError> {
    let bytes = file::bytes(path)?;
    let picture = |reason| DataError::Picture {
        path: path.into(),
        reason,
    };
    let upright = || {
        let Decoded {
            mut picture,
            orientation,
        } = match Kind::of(&bytes) {
            Kind::Jpeg => jpeg::decode(&bytes)?,
            Kind::Png => png::decode(&bytes)?,
            other => return Err(Need::Reason(other.remedy())),
        };
        picture.apply_orientation(orientation);
        Ok(on_white(picture))
    };
    match guarded(upright) {
        Ok(Ok(upright)) => Ok(upright),
        Ok(Err(Need::Reason(reason))) => Err(picture(reason)),
        Ok(Err(Need::Memory(source))) => Err(DataError::Memory {
            path: path.into(),
            source,
        }),
        Err(panic) => Err(picture(format!("the decoder gave up: {panic}"))),
    }
}

fn on_white(picture: DynamicImage) -> RgbImage {
    if !picture.color().has_alpha() {
        return picture.into_rgb8();
    }
    let picture = picture.into_rgba8();
    RgbImage::from_fn(picture.width(), picture.height(), |column, row| {
        let [red, green, blue, alpha] = picture.get_pixel(column, row).0;
        let alpha = u32::from(alpha);
        let blend = |value| (u32::from(value) * alpha + 255 * (255 - alpha) + 127) / 255;
        Rgb([red, green, blue].map(|value| blend(value) as u8))
    })
}

fn planes(picture: &RgbImage) -> Vec<u8> {
    (0..3)
        .flat_map(|channel| picture.pixels().map(move |pixel| pixel.0[channel]))
        .collect()
}

#[cfg(test)]
mod tests;
