//! Images side by side, written as they come.

use std::io::Write;

use anyhow::{Context, Result, bail};
use image::Rgb;
use pixelcnn_system::check_memory;
use png::StreamWriter;

use super::rgb_encoder;
use super::shades::colour;
use crate::arguments::ZoomFlag;
use crate::output::{SharedSink, Target};

const WHITE: Rgb<u8> = Rgb([255, 255, 255]);
/// Pixels between the images of a grid and around them, or one of an image's
/// pixels where these are larger.
const GAP: u64 = 2;

/// Where the images of a picture are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grid {
    images: usize,
    columns: usize,
    height: usize,
    width: usize,
    zoom: u32,
}

impl Grid {
    /// So many images of a height and a width, in rows of `columns`.
    pub fn new(
        images: usize,
        (height, width): (usize, usize),
        columns: usize,
        zoom: ZoomFlag,
    ) -> Self {
        let columns = columns.clamp(1, images.max(1));
        let of = |zoom| Self {
            images,
            columns,
            height,
            width,
            zoom,
        };
        of(zoom.fit(|zoom| of(zoom).size()))
    }

    fn gap(&self) -> u64 {
        GAP.div_ceil(self.zoom.into())
    }

    /// Width and height of the picture; the largest number where they are
    /// larger.
    pub fn size(&self) -> (u64, u64) {
        let side = |length: usize, count: usize| {
            let step = (length as u64).saturating_add(self.gap());
            let pixels = step.saturating_mul(count as u64).saturating_add(self.gap());
            pixels.saturating_mul(self.zoom.into())
        };
        let rows = self.images.div_ceil(self.columns);
        (side(self.width, self.columns), side(self.height, rows))
    }

    /// The same in the numbers of a PNG file.
    ///
    /// # Errors
    ///
    /// If the picture is larger than the format allows, or a row of its images
    /// larger than memory.
    pub fn check(&self) -> Result<(u32, u32)> {
        let (width, height) = self.size();
        let most = i32::MAX as u64;
        if width.max(height) > most {
            bail!(
                "a picture of {} images of {} x {} would have {height} x {width} pixels, PNG \
                 allows {most} a side: ask for fewer, or write --out-dir or --npy",
                self.images,
                self.height,
                self.width
            );
        }
        // A row of images, and what the encoder keeps of a line.
        let images = [4, 3, self.columns, self.height, self.width];
        let images = images
            .iter()
            .fold(1, |bytes: u64, sides| bytes.saturating_mul(*sides as u64));
        check_memory(
            "a row of images of the picture",
            images.saturating_add(15 * width),
        )?;
        Ok((width as u32, height as u32))
    }

    /// The upper left corner of an image in pixels before they are enlarged.
    pub fn corner(&self, image: usize) -> (u64, u64) {
        let (row, column) = (image / self.columns, image % self.columns);
        let place =
            |count: usize, length: usize| self.gap() + count as u64 * (length as u64 + self.gap());
        (place(column, self.width), place(row, self.height))
    }

    pub fn zoom(&self) -> u32 {
        self.zoom
    }
}

/// A picture that takes its images one after the other and holds one row of
/// them.
pub struct GridWriter {
    grid: Grid,
    levels: usize,
    /// Images of the row that is not complete.
    row: Vec<Vec<u32>>,
    seen: usize,
    writer: StreamWriter<'static, SharedSink>,
    sink: SharedSink,
    name: String,
}

impl GridWriter {
    /// Begins a picture of images of so many channels and levels.
    pub fn create(target: &Target, grid: Grid, (channels, levels): (usize, usize)) -> Result<Self> {
        super::check_channels(channels)?;
        let size = grid.check()?;
        let sink = SharedSink::new(target.create()?);
        let encoder = rgb_encoder(sink.clone(), size);
        let writer = encoder
            .write_header()
            .and_then(png::Writer::into_stream_writer);
        let name = target.to_string();
        let writer = writer.with_context(|| format!("cannot write {name}"))?;
        let mut picture = Self {
            grid,
            levels,
            row: Vec::new(),
            seen: 0,
            writer,
            sink,
            name,
        };
        for _ in 0..grid.gap() {
            picture.line(|_| WHITE)?;
        }
        Ok(picture)
    }

    /// The next image, `[c, h, w]`.
    pub fn image(&mut self, values: &[u32]) -> Result<()> {
        self.row.push(values.to_vec());
        self.seen += 1;
        match self.row.len() == self.grid.columns || self.seen == self.grid.images {
            true => self.row(),
            false => Ok(()),
        }
    }

    /// Writes the row of images that there are, and the gap below.
    fn row(&mut self) -> Result<()> {
        let row = std::mem::take(&mut self.row);
        let Grid { height, width, .. } = self.grid;
        let (gap, plane, levels) = (self.grid.gap(), height * width, self.levels);
        let step = width as u64 + gap;
        for y in 0..height {
            self.line(|x| {
                let (image, x) = match x.checked_sub(gap) {
                    Some(x) if x % step < width as u64 => (x / step, x % step),
                    _ => return WHITE,
                };
                match row.get(image as usize) {
                    Some(values) => colour(values, y * width + x as usize, plane, levels),
                    None => WHITE,
                }
            })?;
        }
        for _ in 0..gap {
            self.line(|_| WHITE)?;
        }
        Ok(())
    }

    /// Writes a line of pixels, enlarged.
    fn line(&mut self, pixel: impl Fn(u64) -> Rgb<u8>) -> Result<()> {
        let zoom = self.grid.zoom as usize;
        let pixels = self.grid.size().0 / zoom as u64;
        let mut line = Vec::with_capacity(3 * pixels as usize * zoom);
        for x in 0..pixels {
            let Rgb(colour) = pixel(x);
            (0..zoom).for_each(|_| line.extend_from_slice(&colour));
        }
        for _ in 0..zoom {
            let written = self.writer.write_all(&line);
            written.with_context(|| format!("cannot write {}", self.name))?;
        }
        Ok(())
    }

    /// Puts the file in its place, once all images have come.
    pub fn finish(self) -> Result<()> {
        let name = self.name;
        let finished = self.writer.finish();
        finished.with_context(|| format!("cannot write {name}"))?;
        self.sink.finish()
    }
}
