//! Which pixels are known, from the command line.

use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use pixelcnn_codec::Area;
use pixelcnn_data::{Alpha, Colours, PictureFormat, read_picture_as};
use pixelcnn_sample::KnownPixels;
use pixelcnn_system::open_file;

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
    /// Draw the pixels that are not black in this PNG file, which has the size of the image
    #[arg(long, value_name = "FILE")]
    mask: Option<PathBuf>,
}

impl Region {
    /// Whether a pixel after an unknown one is known, so that completions can be compared.
    pub(crate) fn has_rest(known: &KnownPixels) -> bool {
        let (height, width) = known.size();
        let mut pixels = (0..height * width).map(|at| known.is_known(at / width, at % width));
        pixels.any(|known| !known) && pixels.any(|known| known)
    }

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
        check_lossless(path)?;
        let format = PictureFormat {
            colours: Colours::Rgb,
            alpha: Alpha::Refused,
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
            let place = row * width + column;
            let planes = mask.chunks(height * width);
            planes
                .map(|plane| plane.get(place))
                .all(|value| value == Some(&0))
        })?)
    }
}

/// Refuses a mask in a JPEG file, whose black pixels near others are not quite black.
fn check_lossless(path: &Path) -> Result<()> {
    let mut first = Vec::new();
    let read = open_file(path).and_then(|file| file.take(2).read_to_end(&mut first));
    read.with_context(|| format!("--mask: cannot read {}", path.display()))?;
    match first == [0xff, 0xd8] {
        true => bail!(
            "--mask {}: a JPEG file changes pixels beside an edge: save the mask as PNG",
            path.display()
        ),
        false => Ok(()),
    }
}
