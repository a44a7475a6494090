use image::{ImageBuffer, ImageFormat, Luma, RgbImage, Rgba, RgbaImage};
use tempfile::tempdir;

use super::*;
use crate::testing::{assert_says, write};

fn square(picture: impl Into<DynamicImage>, side: usize) -> Result<Vec<u8>, DataError> {
    let folder = tempdir().unwrap();
    let path = folder.path().join("some.png");
    picture.into().save(&path).unwrap();
    let format = PictureFormat::default();
    let planes = central_square(&path, side, SmallPictures::Refused, &format)?;
    Ok(planes.as_bytes().unwrap().to_vec())
}

#[test]
fn the_planes_are_those_of_the_pixels() {
    let picture = RgbImage::from_fn(2, 2, |x, y| {
        Rgb([1, 2, 3].map(|c| c + 10 * x as u8 + 20 * y as u8))
    });
    let expected = [1, 11, 21, 31, 2, 12, 22, 32, 3, 13, 23, 33];
    assert_eq!(square(picture, 2).unwrap(), expected);
}

#[test]
fn the_middle_is_kept() {
    let column =
        |x: u32| RgbImage::from_fn(6, 2, move |at, _| Rgb([if at == x { 255 } else { 0 }; 3]));
    for (x, kept) in [(1, false), (2, true), (3, true), (4, false)] {
        let planes = square(column(x), 2).unwrap();
        assert_eq!(planes.contains(&255), kept, "column {x}");
    }
    let rows = RgbImage::from_fn(1, 3, |_, y| Rgb([y as u8; 3]));
    assert_eq!(square(rows, 1).unwrap(), [1; 3]);
}

/// Stripes of one pixel must become their mean: a filter that selects single pixels would
/// give black or white.
#[test]
fn scaling_down_averages() {
    let stripes = RgbImage::from_fn(64, 64, |x, _| Rgb([255 * (x % 2) as u8; 3]));
    let planes = square(stripes, 8).unwrap();
    assert_eq!(planes.len(), 3 * 64);
    assert!(
        planes.iter().all(|value| (120..=135).contains(value)),
        "{planes:?}"
    );
}

#[test]
fn transparent_is_white() {
    let picture = RgbaImage::from_fn(2, 2, |x, y| {
        Rgba([0, 100, 200, [0, 51, 255, 255][(x + 2 * y) as usize]])
    });
    let planes = square(picture, 2).unwrap();
    assert_eq!(
        planes,
        [255, 204, 0, 0, 255, 224, 100, 100, 255, 244, 200, 200]
    );
}

#[test]
fn jpeg_is_read_whatever_the_name() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("some.picture");
    let picture = RgbImage::from_pixel(8, 8, Rgb([200, 100, 50]));
    picture.save_with_format(&path, ImageFormat::Jpeg).unwrap();
    for (plane, expected) in
        central_square(&path, 8, SmallPictures::Refused, &PictureFormat::default())
            .unwrap()
            .as_bytes()
            .unwrap()
            .chunks(64)
            .zip([200, 100, 50])
    {
        assert!(
            plane.iter().all(|value| value.abs_diff(expected) <= 3),
            "{plane:?}"
        );
    }
}

/// A short file that announces 2^20 x 2^20 pixels is refused, and no memory of that size is
/// allocated.
#[test]
fn announced_sizes_are_checked() {
    let folder = tempdir().unwrap();
    let header =
        b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR\0\x10\0\0\0\x10\0\0\x08\x02\0\0\0\xc4\x4a\x37\x92";
    let data = b"\x00\x00\x00\x0c\x49\x44\x41\x54\x78\x9c\x63\x60\xa0\x0c\x00\x00\x00\x40\x00\x01\xb7\x34\x7c\xef";
    let path = write(folder.path(), "huge.png", [&header[..], &data[..]].concat());
    let error =
        central_square(&path, 8, SmallPictures::Refused, &PictureFormat::default()).unwrap_err();
    assert_says(
        &error,
        &["huge.png", "1048576x1048576", "more than a file of"],
    );
}

/// A camera held upright stores a picture on its side, and writes this in the Exif data.
#[test]
fn pictures_are_turned_upright() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("lying.jpg");
    let lying = RgbImage::from_fn(8, 8, |x, _| Rgb([if x < 4 { 0 } else { 255 }; 3]));
    lying.save(&path).unwrap();
    let mut bytes = std::fs::read(&path).unwrap();
    // One entry, the orientation: 6 is a quarter turn to the right.
    let exif = b"\xff\xe1\x00\x22Exif\0\0MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";
    bytes.splice(2..2, *exif);
    let path = write(folder.path(), "turned.jpg", bytes);
    let turned =
        central_square(&path, 8, SmallPictures::Refused, &PictureFormat::default()).unwrap();
    let turned = turned.as_bytes().unwrap();
    assert!(turned[..16].iter().all(|&value| value < 50), "{turned:?}");
    assert!(
        turned[48..64].iter().all(|&value| value > 200),
        "{turned:?}"
    );
}

#[test]
fn small_and_other_sizes_are_errors() {
    let error = square(RgbImage::new(9, 7), 8).unwrap_err();
    assert_says(&error, &["some.png", "9x7", "at least 8"]);
    assert!(square(RgbImage::new(9, 7), usize::MAX).is_err());
    let folder = tempdir().unwrap();
    let path = folder.path().join("some.png");
    RgbImage::new(9, 8).save(&path).unwrap();
    assert_says(
        &exact_square(&path, 8).unwrap_err(),
        &["some.png", "9x8", "8x8"],
    );
    assert!(exact_square(&path, 9).is_err());
}

#[test]
fn broken_pictures_are_named() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("good.png");
    RgbImage::from_fn(9, 9, |x, y| Rgb([x as u8, y as u8, 7]))
        .save(&path)
        .unwrap();
    let good = std::fs::read(&path).unwrap();
    for length in [0, 4, 20, good.len() / 2] {
        let path = write(folder.path(), "cut.png", &good[..length]);
        assert_says(
            &central_square(&path, 4, SmallPictures::Refused, &PictureFormat::default())
                .unwrap_err(),
            &["cut.png"],
        );
    }
    let path = write(folder.path(), "text.jpg", "no picture at all");
    assert_says(
        &central_square(&path, 4, SmallPictures::Refused, &PictureFormat::default()).unwrap_err(),
        &["text.jpg", "PNG or JPEG"],
    );
    assert_says(
        &central_square(
            &folder.path().join("none.png"),
            4,
            SmallPictures::Refused,
            &PictureFormat::default(),
        )
        .unwrap_err(),
        &["none.png"],
    );
}

fn read_as(picture: impl Into<DynamicImage>, format: &PictureFormat) -> Result<Vec<u32>, String> {
    let folder = tempdir().unwrap();
    let path = folder.path().join("some.png");
    picture.into().save(&path).unwrap();
    let values = read_picture_as(&path, format).map_err(|error| error.to_string())?;
    let values = values.to_dtype(candle_core::DType::U32).unwrap();
    Ok(values.flatten_all().unwrap().to_vec1().unwrap())
}

#[test]
fn sixteen_bits_are_read_whole_or_not_at_all() {
    let deep = PictureFormat {
        depth: Depth::Sixteen,
        ..PictureFormat::default()
    };
    let colours: Picture<u16> = ImageBuffer::from_fn(2, 1, |x, _| Rgb([1, 300, 65_535 - x as u16]));
    let expected = [1, 1, 300, 300, 65_535, 65_534];
    assert_eq!(read_as(colours.clone(), &deep).unwrap(), expected);
    let grey = ImageBuffer::from_pixel(1, 1, Luma([513u16]));
    assert_eq!(read_as(grey, &deep).unwrap(), [513; 3]);
    // Black at half opacity on white.
    let glass = ImageBuffer::from_pixel(1, 1, Rgba([0u16, 0, 0, 32_768]));
    assert_eq!(read_as(glass, &deep).unwrap(), [32_767; 3]);
    let error = read_as(RgbImage::new(1, 1), &deep).unwrap_err();
    assert!(
        error.contains("8 bits per channel, but 16 are needed"),
        "{error}"
    );
    let error = read_as(colours, &PictureFormat::default()).unwrap_err();
    assert!(error.contains("use depth=16"), "{error}");
}

#[test]
fn colours_become_grey_by_the_formula_and_grey_stays() {
    let grey = PictureFormat {
        colours: Colours::Grey,
        ..PictureFormat::default()
    };
    let colours = RgbImage::from_fn(2, 1, |x, _| Rgb([200, 100 * x as u8, 7]));
    // (299 200 + 114 7) / 1000 = 60.598, and 58.7 more for the second pixel.
    assert_eq!(read_as(colours, &grey).unwrap(), [61, 119]);
    let shades = image::GrayImage::from_fn(256, 1, |x, _| Luma([x as u8]));
    assert_eq!(
        read_as(shades, &grey).unwrap(),
        (0..256).collect::<Vec<_>>()
    );
}

#[test]
fn transparency_is_refused_where_that_is_asked_for() {
    let strict = PictureFormat {
        alpha: Alpha::Refused,
        ..PictureFormat::default()
    };
    let glass = RgbaImage::from_pixel(1, 1, Rgba([0, 0, 0, 254]));
    let error = read_as(glass.clone(), &strict).unwrap_err();
    assert!(error.contains("transparent"), "{error}");
    assert_eq!(read_as(glass, &PictureFormat::default()).unwrap(), [1; 3]);
    let opaque = RgbaImage::from_pixel(1, 1, Rgba([1, 2, 3, 255]));
    assert_eq!(read_as(opaque, &strict).unwrap(), [1, 2, 3]);
}
