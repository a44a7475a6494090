//! A grid of images, written image by image.

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
/// Pixels between and around the images of a grid; at least one enlarged pixel of
/// an image.
const GAP: u64 = 2;

/// The layout of the images in a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Grid {
    images: usize,
    columns: usize,
    height: usize,
    width: usize,
    zoom: u32,
}

impl Grid {
    /// A layout for a number of images of a height and a width, in rows of `columns`.
    pub(crate) fn new(
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

    /// Width and height of the picture; `u64::MAX` if they are larger.
    pub(crate) fn size(&self) -> (u64, u64) {
        let side = |length: usize, count: usize| {
            let step = (length as u64).saturating_add(self.gap());
            let pixels = step.saturating_mul(count as u64).saturating_add(self.gap());
            pixels.saturating_mul(self.zoom.into())
        };
        let rows = self.images.div_ceil(self.columns);
        (side(self.width, self.columns), side(self.height, rows))
    }

    /// The same as numbers of a PNG file.
    ///
    /// # Errors
    ///
    /// If the picture is larger than the format allows, or a row of its images does
    /// not fit into memory.
    pub(crate) fn check(&self) -> Result<(u32, u32)> {
        let (width, height) = self.size();
        let most = i32::MAX as u64;
        if width.max(height) > most {
            bail!(
                "a picture of {} images of {} x {} would have {height} x {width} pixels, but PNG \
                 allows {most} per side: draw fewer images, or use --out-dir or --npy",
                self.images,
                self.height,
                self.width
            );
        }
        // A row of images, and the encoder's buffers for a line.
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

    /// The upper left corner of an image, in pixels before zoom.
    pub(crate) fn corner(&self, image: usize) -> (u64, u64) {
        let (row, column) = (image / self.columns, image % self.columns);
        let place =
            |count: usize, length: usize| self.gap() + count as u64 * (length as u64 + self.gap());
        (place(column, self.width), place(row, self.height))
    }

    pub(crate) fn zoom(&self) -> u32 {
        self.zoom
    }
}

/// Writes a picture image by image, and keeps only one row of images in memory.
pub(crate) struct GridWriter {
    grid: Grid,
    levels: usize,
    /// Images of the current, incomplete row.
    row: Vec<Vec<u32>>,
    seen: usize,
    writer: StreamWriter<'static, SharedSink>,
    sink: SharedSink,
    name: String,
}

impl GridWriter {
    /// Starts a picture of images with this number of channels and levels.
    pub(crate) fn create(
        target: &Target,
        grid: Grid,
        (channels, levels): (usize, usize),
    ) -> Result<Self> {
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
    pub(crate) fn image(&mut self, values: &[u32]) -> Result<()> {
        self.row.push(values.to_vec());
        self.seen += 1;
        match self.row.len() == self.grid.columns || self.seen == self.grid.images {
            true => self.row(),
            false => Ok(()),
        }
    }

    /// Writes the current row of images, and the gap below it.
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

    /// Moves the finished file to its final name, after all images were written.
    pub(crate) fn finish(self) -> Result<()> {
        let name = self.name;
        let finished = self.writer.finish();
        finished.with_context(|| format!("cannot write {name}"))?;
        self.sink.finish()
    }
}
