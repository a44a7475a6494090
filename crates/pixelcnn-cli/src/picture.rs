//! Tensors and receptive fields as PNG.

use std::collections::BTreeSet;
use std::io::Cursor;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use candle_core::{DType, Tensor};
use clap::value_parser;
use image::imageops::FilterType;
use image::{ImageFormat, Rgb, RgbImage};
use pixelcnn_models::audit::{Field, Report};
use pixelcnn_models::write_file;
use serde_json::json;

use crate::output;

const WHITE: Rgb<u8> = Rgb([255, 255, 255]);
/// Pixels between the images of a grid.
const GAP: u32 = 2;

/// The picture of images that a command draws.
#[derive(clap::Args)]
pub struct Drawing {
    /// The picture, PNG
    #[arg(long)]
    pub out: PathBuf,
    /// Side of the square that each pixel of an image becomes in it
    #[arg(long, value_name = "N", default_value = "1", value_parser = value_parser!(u32).range(1..=64))]
    zoom: u32,
}

impl Drawing {
    /// Refuses, before long work, what could not be drawn after it.
    pub fn check(&self, channels: usize) -> Result<()> {
        check_channels(channels)?;
        output::check_file(&self.out)
    }

    /// Images `[n, c, h, w]` of `levels` levels side by side, in rows of
    /// `columns`; one channel is grey, three are RGB.
    pub fn write(&self, values: &Tensor, levels: usize, columns: usize) -> Result<()> {
        let grid = grid(values, levels, columns, GAP.div_ceil(self.zoom))?;
        let (width, height) = grid.dimensions();
        let (width, height) = (width * self.zoom, height * self.zoom);
        let grid = image::imageops::resize(&grid, width, height, FilterType::Nearest);
        write_png(&self.out, &grid)
    }

    /// Says of how many images that were drawn it is.
    pub fn report(&self, images: usize, seconds: f64, as_json: bool) -> Result<()> {
        let out = self.out.display();
        match as_json {
            true => output::line(json!({
                "out": out.to_string(),
                "images": images,
                "seconds": seconds,
            })),
            false => output::line(format_args!("{out}: {images} images, {seconds:.2} s")),
        }
    }
}

/// Refuses images that are no pictures.
pub fn check_channels(channels: usize) -> Result<()> {
    match channels {
        1 | 3 => Ok(()),
        _ => bail!("a picture has 1 or 3 channels, these images have {channels}"),
    }
}

/// One image `[1, c, h, w]`, without a border.
pub fn write_image(path: &Path, values: &Tensor, levels: usize) -> Result<()> {
    write_png(path, &grid(values, levels, 1, 0)?)
}

/// Images of several tensors `[n, c, h, w]` together, row by row: of each as
/// many at a time as it says.
pub fn rows(parts: &[(&Tensor, usize)]) -> Result<Tensor> {
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

/// Images in rows of `columns`, `gap` pixels between and around them.
pub fn grid(values: &Tensor, levels: usize, columns: usize, gap: u32) -> Result<RgbImage> {
    let (n, c, h, w) = values.dims4()?;
    check_channels(c)?;
    let columns = columns.clamp(1, n);
    let (height, width) = (h as u32 + gap, w as u32 + gap);
    let rows = n.div_ceil(columns) as u32;
    let mut grid = RgbImage::from_pixel(columns as u32 * width + gap, rows * height + gap, WHITE);
    let values = values
        .to_dtype(DType::U32)?
        .flatten_all()?
        .to_vec1::<u32>()?;
    for (index, value) in values.into_iter().enumerate() {
        let (x, y, channel, image) = (
            index % w,
            index / w % h,
            index / w / h % c,
            index / w / h / c,
        );
        let column = (image % columns) as u32 * width + gap + x as u32;
        let row = (image / columns) as u32 * height + gap + y as u32;
        let shade = (u64::from(value) * 255 / (levels as u64 - 1)) as u8;
        let pixel = grid.get_pixel_mut(column, row);
        match c {
            1 => *pixel = Rgb([shade; 3]),
            _ => pixel.0[channel] = shade,
        }
    }
    Ok(grid)
}

/// Pixels of the drawing for one pixel of the image.
const CELL: u32 = 12;

/// The receptive field of all channels together as in figure 1: blue what is
/// reached, red what is reached but must not be, yellow what must be reached
/// and is not, grey what the architecture leaves out or comes later, black
/// the pixel that is predicted.
pub fn write_field(path: &Path, report: &Report) -> Result<()> {
    let pixels = |fields: &[Field]| -> BTreeSet<(isize, isize)> {
        fields.iter().flatten().map(|o| (o.row, o.column)).collect()
    };
    let (expected, reached) = (pixels(&report.analytic), pixels(&report.reached));
    let extent = |coordinate: fn(&(isize, isize)) -> isize| {
        let all = expected.union(&reached).map(coordinate);
        all.map(isize::abs).max().unwrap_or(0) + 1
    };
    let (rows, columns) = (extent(|p| p.0), extent(|p| p.1));
    let colour = |pixel: (isize, isize)| match (expected.contains(&pixel), reached.contains(&pixel))
    {
        _ if pixel == (0, 0) => Rgb([20, 20, 20]),
        (true, true) => Rgb([70, 130, 200]),
        (true, false) => Rgb([240, 200, 40]),
        (false, true) => Rgb([210, 50, 50]),
        (false, false) => Rgb([225, 225, 225]),
    };
    let side = |count: isize| count as u32 * CELL + 1;
    let mut drawing = RgbImage::from_pixel(side(2 * columns + 1), side(rows + 2), WHITE);
    for (x, y, pixel) in drawing.enumerate_pixels_mut() {
        if x % CELL != 0 && y % CELL != 0 {
            let row = (y / CELL) as isize - rows;
            let column = (x / CELL) as isize - columns;
            *pixel = colour((row, column));
        }
    }
    write_png(path, &drawing)
}

/// Writes a picture as it is.
pub fn write_png(path: &Path, picture: &RgbImage) -> Result<()> {
    let mut bytes = Cursor::new(Vec::new());
    picture.write_to(&mut bytes, ImageFormat::Png)?;
    Ok(write_file(path, bytes.get_ref())?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    #[test]
    fn colours_and_places_are_those_of_the_values() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("grid.png");
        // Two images of 1 x 2 pixels: red and green, blue and white.
        let values: Vec<u32> = vec![3, 0, 0, 3, 0, 0, 0, 3, 0, 3, 3, 3];
        let values = Tensor::from_vec(values, (2, 3, 1, 2), &Device::Cpu).unwrap();
        let draw = |zoom| {
            let out = path.clone();
            Drawing { out, zoom }.write(&values, 4, 2).unwrap();
            image::open(&path).unwrap().to_rgb8()
        };
        let picture = draw(1);
        assert_eq!(picture.dimensions(), (2 * (2 + GAP) + GAP, 1 + 2 * GAP));
        let pixels = [(GAP, [255, 0, 0]), (GAP + 1, [0, 255, 0])];
        let second = [(2 * GAP + 2, [0, 0, 255]), (2 * GAP + 3, [255, 255, 255])];
        for (column, colour) in pixels.into_iter().chain(second) {
            assert_eq!(picture.get_pixel(column, GAP).0, colour, "{column}");
        }
        let picture = draw(3);
        assert_eq!(picture.dimensions(), (3 * 7, 3 * 3));
        for (column, row) in [(3, 3), (5, 5)] {
            assert_eq!(picture.get_pixel(column, row).0, [255, 0, 0]);
        }
        assert_eq!(picture.get_pixel(6, 3).0, [0, 255, 0]);
    }
}
