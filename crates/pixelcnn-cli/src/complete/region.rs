//! Which pixels are known, from the command line.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use pixelcnn_codec::Area;
use pixelcnn_data::{Colours, PictureFormat, read_picture_as};
use pixelcnn_sample::KnownPixels;

use crate::picture;
use crate::values::whole;

/// Flags for the pixels to draw.
#[derive(clap::Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Region {
    /// Keep the first N rows, and draw all others
    #[arg(long, value_name = "N", value_parser = whole)]
    rows: Option<usize>,
    /// Draw the pixels of this box: left column and upper row, from 0, width and height
    #[arg(long = "box", value_name = "X,Y,W,H")]
    area: Option<Area>,
    /// Draw the pixels that are not black in this picture, which has the size of the image
    #[arg(long, value_name = "FILE")]
    mask: Option<PathBuf>,
}

impl Region {
    /// The picture of the mask.
    pub(crate) fn file(&self) -> Option<&Path> {
        self.mask.as_deref()
    }

    /// The known pixels of an image of this size.
    pub(crate) fn known(&self, (height, width): (usize, usize)) -> Result<KnownPixels> {
        let size = (height, width);
        let sides = format!("{width} x {height} pixels (width x height)");
        if let Some(rows) = self.rows {
            if rows > height {
                bail!("--rows {rows}: the image has {sides}");
            }
            return Ok(KnownPixels::new(size, |row, _| row < rows)?);
        }
        if let Some(area) = &self.area {
            if !area.is_within(height, width) {
                bail!("--box {area}: not within the image of {sides}");
            }
            let inside = |row: usize, column: usize| {
                (area.row..area.row + area.height).contains(&row)
                    && (area.column..area.column + area.width).contains(&column)
            };
            return Ok(KnownPixels::new(size, |row, column| !inside(row, column))?);
        }
        let Some(path) = &self.mask else {
            bail!("--rows, --box or --mask expected");
        };
        let format = PictureFormat {
            colours: Colours::Grey,
            ..PictureFormat::default()
        };
        let mask = read_picture_as(path, &format).context("--mask")?;
        let (_, _, found_height, found_width) = mask.dims4()?;
        if (found_height, found_width) != size {
            bail!(
                "--mask {}: {sides} expected, found {found_width} x {found_height}",
                path.display()
            );
        }
        let mask = picture::values_of(&mask)?;
        Ok(KnownPixels::new(size, |row, column| {
            mask.get(row * width + column) == Some(&0)
        })?)
    }
}
