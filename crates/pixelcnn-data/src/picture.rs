//! PNG and JPEG files as red, green and blue planes.

mod format;
mod jpeg;
mod kind;
mod png;

use std::path::Path;

use candle_core::{Device, Tensor};
use image::imageops::{FilterType, crop_imm, resize};
use image::metadata::Orientation;
use image::{DynamicImage, Pixel, Rgb};
use pixelcnn_system::guarded;

use crate::memory::Need;
use crate::spec::SmallPictures;
use crate::{DataError, Values, file};

pub use format::{Alpha, Colours, Depth, PictureFormat};
use format::{Picture, Sample, in_colour, opaque, planes, with_alpha};
pub(crate) use kind::{BEGINNING, Kind, is_named_picture};

/// Reads the values `[1, 3, h, w]` of a PNG or JPEG file with at most 8 bits per channel,
/// as a viewer shows it: rotated as its Exif says, and on white where it is
/// transparent. Colour profiles and gamma are not applied. JPEG files with a
/// component that is sampled three times horizontally, and frames of films without
/// the tables of codes, are not supported.
///
/// # Errors
///
/// If it is not such a file, is damaged or incomplete, has more than 8 bits per
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
    read_picture_as(path, &PictureFormat::default())
}

/// The same with another depth, in grey, or with another rule for transparent parts: values
/// `[1, c, h, w]`, u8, or u32 for 16 bits.
///
/// # Errors
///
/// As [`read_picture`], and if the file has another depth.
///
/// # Example
///
/// ```
/// use image::{ImageBuffer, Luma};
/// use pixelcnn_data::{Colours, Depth, PictureFormat, read_picture_as};
///
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("scan.png");
/// ImageBuffer::from_pixel(2, 1, Luma([40_000u16])).save(&path)?;
/// let format = PictureFormat {
///     depth: Depth::Sixteen,
///     colours: Colours::Grey,
///     ..PictureFormat::default()
/// };
/// let values = read_picture_as(&path, &format)?;
/// assert_eq!(values.flatten_all()?.to_vec1::<u32>()?, [40_000, 40_000]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn read_picture_as(path: &Path, format: &PictureFormat) -> Result<Tensor, DataError> {
    let (values, [height, width]) = match decode(path, format)? {
        Upright::Eight(picture) => (planes(&picture, format.colours).into(), sides(&picture)),
        Upright::Sixteen(picture) => (planes(&picture, format.colours).into(), sides(&picture)),
    };
    let values: Values = values;
    values.into_tensor((1, format.colours.channels(), height, width), &Device::Cpu)
}

fn sides<T: Sample>(picture: &Picture<T>) -> [usize; 2]
where
    Rgb<T>: Pixel<Subpixel = T>,
{
    [picture.height(), picture.width()].map(|side| side as usize)
}

/// The planes of an image's central square, scaled to `side`.
///
/// The filter is a triangle whose width grows with the reduction: a low-pass
/// filter, which avoids aliasing, without
/// negative weights, which avoids ringing at edges. It works on the stored values, as is
/// usual.
pub(crate) fn central_square(
    path: &Path,
    side: usize,
    small: SmallPictures,
    format: &PictureFormat,
) -> Result<Values, DataError> {
    let size = |[height, width]: [usize; 2]| match height.min(width) < side {
        true if small == SmallPictures::Refused => Err(DataError::PictureSize {
            path: path.into(),
            width: width as u32,
            height: height as u32,
            wanted: format!("at least {side} in both"),
        }),
        _ => Ok(()),
    };
    Ok(match decode(path, format)? {
        Upright::Eight(picture) => {
            size(sides(&picture))?;
            square(&picture, side, format.colours).into()
        }
        Upright::Sixteen(picture) => {
            size(sides(&picture))?;
            square(&picture, side, format.colours).into()
        }
    })
}

fn square<T: Sample + 'static>(picture: &Picture<T>, side: usize, colours: Colours) -> Vec<T>
where
    Rgb<T>: Pixel<Subpixel = T> + 'static,
{
    let (width, height) = picture.dimensions();
    let square = width.min(height);
    let target = u32::try_from(side).unwrap_or(u32::MAX);
    let (left, top) = ((width - square) / 2, (height - square) / 2);
    let view = crop_imm(picture, left, top, square, square);
    if square == target {
        return planes(&view.to_image(), colours);
    }
    let scaled = resize(&*view, target, target, FilterType::Triangle);
    planes(&scaled, colours)
}

/// The planes of an image that must be a square of `side`.
pub(crate) fn exact_square(path: &Path, side: usize) -> Result<Values, DataError> {
    let format = PictureFormat::default();
    match decode(path, &format)? {
        Upright::Eight(picture) if sides(&picture) == [side, side] => {
            Ok(planes(&picture, format.colours).into())
        }
        Upright::Eight(picture) => Err(DataError::PictureSize {
            path: path.into(),
            width: picture.width(),
            height: picture.height(),
            wanted: format!("{side}x{side}"),
        }),
        Upright::Sixteen(_) => Err(DataError::Picture {
            path: path.into(),
            reason: "it has 16 bits per channel".into(),
        }),
    }
}

/// The planes of a picture in memory, its colours and its sides (height, width). A picture of
/// grey pixels without colours has one plane.
#[cfg(feature = "hub")]
pub(crate) fn embedded(
    place: &Path,
    bytes: &[u8],
) -> Result<(Values, Colours, [usize; 2]), DataError> {
    let colours = match has_colours(bytes) {
        true => Colours::Rgb,
        false => Colours::Grey,
    };
    match decode_bytes(place, bytes, &PictureFormat::default())? {
        Upright::Eight(picture) => {
            let values = planes(&picture, colours).into();
            Ok((values, colours, sides(&picture)))
        }
        Upright::Sixteen(_) => Err(DataError::Picture {
            path: place.into(),
            reason: "it has 16 bits per channel".into(),
        }),
    }
}

/// Whether the header of a picture says that it has colours; a broken header counts as yes,
/// because the decoder then refuses it.
#[cfg(feature = "hub")]
fn has_colours(bytes: &[u8]) -> bool {
    use image::{ImageDecoder, ImageReader};
    let colours = || {
        let reader = ImageReader::new(std::io::Cursor::new(bytes)).with_guessed_format();
        let decoder = reader.ok()?.into_decoder().ok()?;
        Some(decoder.color_type().has_color())
    };
    guarded(colours).ok().flatten().unwrap_or(true)
}

/// The result of a decoder.
struct Decoded {
    picture: DynamicImage,
    /// The rotation that makes it upright.
    orientation: Orientation,
}

/// A picture as a viewer shows it, without transparency.
enum Upright {
    Eight(Picture<u8>),
    Sixteen(Picture<u16>),
}

/// Decodes the picture of a file. The content decides the kind of file, not the name.
fn decode(path: &Path, format: &PictureFormat) -> Result<Upright, DataError> {
    decode_bytes(path, &file::bytes(path)?, format)
}

/// Decodes the content of a file, or of a part of it; `path` is its place for messages.
fn decode_bytes(path: &Path, bytes: &[u8], format: &PictureFormat) -> Result<Upright, DataError> {
    let picture = |reason| DataError::Picture {
        path: path.into(),
        reason,
    };
    let upright = || {
        let Decoded {
            mut picture,
            orientation,
        } = match (Kind::of(bytes), format.depth) {
            (Kind::Jpeg, Depth::Eight) => jpeg::decode(bytes)?,
            (Kind::Jpeg, Depth::Sixteen) => return Err(Need::Reason(shallow(8))),
            (Kind::Png, depth) => png::decode(bytes, depth)?,
            (other, _) => return Err(Need::Reason(other.remedy())),
        };
        picture.apply_orientation(orientation);
        Ok(without_alpha(picture, format.alpha)?)
    };
    match guarded(upright) {
        Ok(Ok(upright)) => Ok(upright),
        Ok(Err(Need::Reason(reason))) => Err(picture(reason)),
        Ok(Err(Need::Memory(source))) => Err(DataError::Memory {
            path: path.into(),
            source,
        }),
        Err(panic) => Err(picture(format!("the decoder failed: {panic}"))),
    }
}

/// The error for a picture with fewer bits than requested.
fn shallow(bits: usize) -> String {
    format!(
        "it has {bits} bits per channel, but 16 are needed: use a 16-bit PNG file \
         (or, for a data set, omit depth=16)"
    )
}

fn without_alpha(picture: DynamicImage, alpha: Alpha) -> Result<Upright, String> {
    Ok(match picture {
        DynamicImage::ImageLuma8(grey) => Upright::Eight(in_colour(&grey)),
        DynamicImage::ImageLumaA8(grey) => Upright::Eight(opaque(&with_alpha(&grey), alpha)?),
        DynamicImage::ImageRgb8(picture) => Upright::Eight(picture),
        DynamicImage::ImageRgba8(picture) => Upright::Eight(opaque(&picture, alpha)?),
        DynamicImage::ImageLuma16(grey) => Upright::Sixteen(in_colour(&grey)),
        DynamicImage::ImageLumaA16(grey) => Upright::Sixteen(opaque(&with_alpha(&grey), alpha)?),
        DynamicImage::ImageRgb16(picture) => Upright::Sixteen(picture),
        DynamicImage::ImageRgba16(picture) => Upright::Sixteen(opaque(&picture, alpha)?),
        _ => return Err("the decoder did not return values of 8 or 16 bits".into()),
    })
}

#[cfg(test)]
mod tests;
