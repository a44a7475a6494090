//! Images growing row by row, as an animated PNG.

use std::io::Write;

use anyhow::{Context, Result};
use image::{Rgb, RgbImage};
use pixelcnn_models::ImageShape;
use pixelcnn_system::check_memory;

use crate::output::{Sink, Target};
use crate::picture::{Grid, picture, rgb_encoder};

const WHITE: Rgb<u8> = Rgb([255, 255, 255]);
/// Colour of pixels that are not drawn yet.
const BLANK: Rgb<u8> = Rgb([40, 40, 40]);
/// Frames per second.
const RATE: u16 = 16;
/// The last frame stays this many times longer.
const REST: u16 = 32;

/// The images of an animation, kept until all are drawn.
pub(crate) struct Animation {
    grid: Grid,
    image: ImageShape,
    pictures: Vec<RgbImage>,
}

impl Animation {
    /// Refuses an animation that does not fit into memory, before the long work.
    pub(crate) fn check(grid: &Grid, images: usize, image: ImageShape) -> Result<()> {
        let (width, height) = grid.check()?;
        let images = (images as u64).saturating_mul(3 * (image.height * image.width) as u64);
        // A frame and its compressed form.
        let frame = 2 * 3 * u64::from(width) * u64::from(height);
        check_memory("an animation of all images", images.saturating_add(frame))
            .context("--animate")
    }

    /// An animation of images of this shape, arranged in a grid.
    pub(crate) fn new(grid: Grid, image: ImageShape) -> Self {
        Self {
            grid,
            image,
            pictures: Vec::new(),
        }
    }

    /// The next image, `[c, h, w]`.
    pub(crate) fn image(&mut self, values: &[u32]) -> Result<()> {
        self.pictures.push(picture(values, self.image)?);
        Ok(())
    }

    /// Writes one frame per row of pixels; the animation repeats for ever.
    pub(crate) fn finish(self, target: &Target) -> Result<()> {
        let mut sink = target.create()?;
        let written = self.write(&mut sink);
        written.with_context(|| format!("cannot write {target}"))?;
        sink.finish()
    }

    fn write(&self, sink: &mut Sink) -> Result<()> {
        let (width, height) = self.grid.check()?;
        let rows = self.image.height as u32;
        let mut encoder = rgb_encoder(sink.by_ref(), (width, height));
        encoder.set_animated(rows + 1, 0)?;
        let mut writer = encoder.write_header()?;
        let mut frame = RgbImage::from_pixel(width, height, WHITE);
        for (index, picture) in self.pictures.iter().enumerate() {
            for y in 0..rows {
                (0..picture.width()).for_each(|x| self.set(&mut frame, index, (x, y), BLANK));
            }
        }
        for done in 0..=rows {
            if let Some(y) = done.checked_sub(1) {
                for (index, picture) in self.pictures.iter().enumerate() {
                    for x in 0..picture.width() {
                        self.set(&mut frame, index, (x, y), *picture.get_pixel(x, y));
                    }
                }
            }
            writer.set_frame_delay(if done == rows { REST } else { 1 }, RATE)?;
            writer.write_image_data(&frame)?;
        }
        Ok(writer.finish()?)
    }

    /// Sets the colour of a pixel of an image in a frame.
    fn set(&self, frame: &mut RgbImage, image: usize, (x, y): (u32, u32), colour: Rgb<u8>) {
        let (left, top) = self.grid.corner(image);
        let zoom = self.grid.zoom();
        // This is within the frame, whose size was checked.
        let (left, top) = ((left as u32 + x) * zoom, (top as u32 + y) * zoom);
        for (column, row) in (0..zoom).flat_map(|row| (0..zoom).map(move |x| (x, row))) {
            frame.put_pixel(left + column, top + row, colour);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arguments::ZoomFlag;

    #[test]
    fn there_is_a_frame_for_each_row_and_one_before() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("growing.png");
        let image = ImageShape {
            channels: 1,
            height: 4,
            width: 2,
            levels: 2,
        };
        let grid = Grid::new(3, (4, 2), 2, ZoomFlag { zoom: Some(1) });
        let mut animation = Animation::new(grid, image);
        for _ in 0..3 {
            animation.image(&[1; 8]).unwrap();
        }
        animation.finish(&Target::File(path.clone())).unwrap();
        let file = std::io::BufReader::new(std::fs::File::open(&path).unwrap());
        let mut reader = png::Decoder::new(file).read_info().unwrap();
        let frames = reader.info().animation_control().unwrap().num_frames;
        assert_eq!(frames, 5);
        let mut buffer = vec![0; reader.output_buffer_size().unwrap()];
        let gap = 2;
        let width = 2 * (2 + gap) + gap;
        // In each frame, one more of the first image's pixels is white, from the top.
        for rows in 0..frames {
            reader.next_frame(&mut buffer).unwrap();
            let pixel = |y: u32| buffer[(3 * ((gap + y) * width + gap)) as usize];
            let white = (0..4).filter(|y| pixel(*y) == 255).count();
            assert_eq!(white, rows as usize);
        }
    }
}
