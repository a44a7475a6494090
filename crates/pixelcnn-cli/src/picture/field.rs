//! Receptive fields as pictures.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use image::{Rgb, RgbImage};
use pixelcnn_models::audit::{Field, Report};

use super::write_png;
use crate::arguments::ZoomFlag;
use crate::output::Target;

const WHITE: Rgb<u8> = Rgb([255, 255, 255]);

/// Writes the receptive field of all channels together, as in figure 1. Blue pixels
/// are reached, red ones are reached but must not be, yellow ones must be reached
/// but are not, grey ones are later or not seen by the architecture. The predicted
/// pixel is black. Lines separate the pixels.
pub(crate) fn write_field(target: &Target, report: &Report, zoom: ZoomFlag) -> Result<()> {
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
    let side = |count: isize, cell: u32| count as u64 * u64::from(cell) + 1;
    let size = |cell: u32| (side(2 * columns + 1, cell), side(rows + 2, cell));
    let cell = zoom.fit(size);
    let (width, height) = size(cell);
    let fits = "the receptive field is too large for a picture";
    let (width, height) = (
        u32::try_from(width).context(fits)?,
        u32::try_from(height).context(fits)?,
    );
    let mut drawing = RgbImage::from_pixel(width, height, WHITE);
    for (x, y, pixel) in drawing.enumerate_pixels_mut() {
        // Lines would hide the smallest cells completely.
        let line = cell > 2 && (x % cell == 0 || y % cell == 0);
        if !line {
            let row = (y / cell) as isize - rows;
            let column = (x / cell) as isize - columns;
            *pixel = colour((row, column));
        }
    }
    write_png(target, &drawing)?;
    target.wrote("the receptive field");
    Ok(())
}
