//! The format in which pictures are read.

use image::{ImageBuffer, Luma, LumaA, Pixel, Rgb, Rgba};
use pixelcnn_image::luma;

/// The format in which pictures are read: bits per channel, colour or grey, and the
/// treatment of transparent parts.
///
/// ```
/// use pixelcnn_data::{Alpha, Colours, DataSpec, Depth};
///
/// let spec = "folder:scans,depth=16,channels=1,alpha=refuse".parse()?;
/// let DataSpec::Folder(folder) = spec else { unreachable!() };
/// assert_eq!(folder.format.depth, Depth::Sixteen);
/// assert_eq!(folder.format.colours, Colours::Grey);
/// assert_eq!(folder.format.alpha, Alpha::Refused);
/// # Ok::<(), pixelcnn_data::DataError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PictureFormat {
    /// Bits per channel.
    pub depth: Depth,
    /// In colour or grey.
    pub colours: Colours,
    /// Transparent parts.
    pub alpha: Alpha,
}

/// The bits per channel of a picture. No depth is converted to the other.
///
/// ```
/// use pixelcnn_data::Depth;
///
/// assert_eq!((Depth::Eight.levels(), Depth::Sixteen.levels()), (256, 65_536));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Depth {
    /// 8 bits or fewer, as 8 bits: 256 levels. Pictures of 16 bits are refused.
    #[default]
    Eight,
    /// 16 bits: 65,536 levels. Pictures of fewer bits are refused.
    Sixteen,
}

impl Depth {
    /// The number of levels.
    pub fn levels(self) -> usize {
        match self {
            Self::Eight => 1 << 8,
            Self::Sixteen => 1 << 16,
        }
    }
}

/// Whether pictures are read in colour.
///
/// ```
/// use pixelcnn_data::Colours;
///
/// assert_eq!((Colours::Rgb.channels(), Colours::Grey.channels()), (3, 1));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Colours {
    /// Red, green and blue; three equal channels for a grey picture.
    #[default]
    Rgb,
    /// The luma of red, green and blue, (299 R + 587 G + 114 B) / 1000, rounded; for a
    /// grey picture its own values.
    Grey,
}

impl Colours {
    /// The number of channels.
    pub fn channels(self) -> usize {
        match self {
            Self::Rgb => 3,
            Self::Grey => 1,
        }
    }
}

/// The treatment of transparent parts.
///
/// ```
/// use pixelcnn_data::Alpha;
///
/// assert_eq!(Alpha::default(), Alpha::OnWhite);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Alpha {
    /// They are drawn on white.
    #[default]
    OnWhite,
    /// A picture with a pixel that is not opaque is refused.
    Refused,
}

/// A value of a channel.
pub(super) trait Sample: image::Primitive {
    const MOST: u32;
    fn wide(self) -> u32;
    /// Converts a number up to [`Sample::MOST`].
    fn narrow(number: u32) -> Self;
}

impl Sample for u8 {
    const MOST: u32 = 0xff;
    fn wide(self) -> u32 {
        self.into()
    }
    fn narrow(number: u32) -> Self {
        number as u8
    }
}

impl Sample for u16 {
    const MOST: u32 = 0xffff;
    fn wide(self) -> u32 {
        self.into()
    }
    fn narrow(number: u32) -> Self {
        number as u16
    }
}

pub(super) type Picture<T> = ImageBuffer<Rgb<T>, Vec<T>>;

/// Grey pixels in colour.
pub(super) fn in_colour<T: Sample>(grey: &ImageBuffer<Luma<T>, Vec<T>>) -> Picture<T>
where
    Luma<T>: Pixel<Subpixel = T>,
    Rgb<T>: Pixel<Subpixel = T>,
{
    ImageBuffer::from_fn(grey.width(), grey.height(), |column, row| {
        Rgb([grey.get_pixel(column, row).0[0]; 3])
    })
}

/// Grey pixels with transparency, in colour.
pub(super) fn with_alpha<T: Sample>(
    grey: &ImageBuffer<LumaA<T>, Vec<T>>,
) -> ImageBuffer<Rgba<T>, Vec<T>>
where
    LumaA<T>: Pixel<Subpixel = T>,
    Rgba<T>: Pixel<Subpixel = T>,
{
    ImageBuffer::from_fn(grey.width(), grey.height(), |column, row| {
        let [value, alpha] = grey.get_pixel(column, row).0;
        Rgba([value, value, value, alpha])
    })
}

/// A picture without transparency, on white; an error if transparency is refused.
pub(super) fn opaque<T: Sample>(
    picture: &ImageBuffer<Rgba<T>, Vec<T>>,
    alpha: Alpha,
) -> Result<Picture<T>, String>
where
    Rgba<T>: Pixel<Subpixel = T>,
    Rgb<T>: Pixel<Subpixel = T>,
{
    let see_through = |pixel: &&Rgba<T>| pixel.0[3].wide() < T::MOST;
    if alpha == Alpha::Refused && picture.pixels().any(|pixel| see_through(&pixel)) {
        return Err(
            "parts of it are transparent, and only opaque pictures are accepted (alpha=refuse)"
                .into(),
        );
    }
    Ok(ImageBuffer::from_fn(
        picture.width(),
        picture.height(),
        |column, row| {
            let [red, green, blue, alpha] = picture.get_pixel(column, row).0;
            let (most, alpha) = (u64::from(T::MOST), u64::from(alpha.wide()));
            let blend = |value: T| {
                let value = u64::from(value.wide());
                let blended = (value * alpha + most * (most - alpha) + most / 2) / most;
                T::narrow(blended as u32)
            };
            Rgb([red, green, blue].map(blend))
        },
    ))
}

/// The planes of a picture.
pub(super) fn planes<T: Sample>(picture: &Picture<T>, colours: Colours) -> Vec<T>
where
    Rgb<T>: Pixel<Subpixel = T>,
{
    match colours {
        Colours::Rgb => (0..3)
            .flat_map(|channel| picture.pixels().map(move |pixel| pixel.0[channel]))
            .collect(),
        Colours::Grey => picture
            .pixels()
            .map(|pixel| T::narrow(luma(pixel.0.map(Sample::wide))))
            .collect(),
    }
}
