//! Images growing row by row, as an animated PNG.

use std::path::Path;

use anyhow::Result;
use candle_core::Tensor;
use image::Rgb;
use pixelcnn_models::write_file;

use crate::picture;

/// What is not there yet.
const BLANK: Rgb<u8> = Rgb([40, 40, 40]);
/// Frames a second.
const RATE: u16 = 16;
/// The last frame stays so many times longer.
const REST: u16 = 32;
/// Pixels between images.
const GAP: u32 = 2;

/// A frame for each row that is done, of images `[n, c, h, w]` in rows of
/// `columns`; played again and again.
pub fn write(path: &Path, values: &Tensor, levels: usize, columns: usize) -> Result<()> {
    let (n, c, height, _) = values.dims4()?;
    picture::check(path, c)?;
    let whole = picture::grid(values, levels, columns.min(n), GAP)?;
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, whole.width(), whole.height());
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_animated(height as u32 + 1, 0)?;
    let mut writer = encoder.write_header()?;
    let step = height as u32 + GAP;
    for rows in 0..=height as u32 {
        let rest = rows as usize == height;
        writer.set_frame_delay(if rest { REST } else { 1 }, RATE)?;
        let mut frame = whole.clone();
        for (_, y, pixel) in frame.enumerate_pixels_mut() {
            // Rows of the grid that lie within an image and are still to come.
            let within = y.checked_sub(GAP).map(|y| y % step);
            if within.is_some_and(|within| within >= rows && within < height as u32) {
                *pixel = BLANK;
            }
        }
        writer.write_image_data(&frame)?;
    }
    writer.finish()?;
    Ok(write_file(path, &bytes)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    #[test]
    fn there_is_a_frame_for_each_row_and_one_before() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("growing.png");
        let values = Tensor::ones((3, 1, 4, 2), candle_core::DType::U32, &Device::Cpu).unwrap();
        write(&path, &values, 2, 2).unwrap();
        let file = std::io::BufReader::new(std::fs::File::open(&path).unwrap());
        let mut reader = png::Decoder::new(file).read_info().unwrap();
        let frames = reader.info().animation_control().unwrap().num_frames;
        assert_eq!(frames, 5);
        let mut buffer = vec![0; reader.output_buffer_size().unwrap()];
        let width = 2 * (2 + GAP) + GAP;
        // Of the first image's pixels, from the top: one more is white in each
        // frame.
        for rows in 0..frames {
            reader.next_frame(&mut buffer).unwrap();
            let pixel = |y: u32| buffer[(3 * ((GAP + y) * width + GAP)) as usize];
            let white = (0..4).filter(|y| pixel(*y) == 255).count();
            assert_eq!(white, rows as usize);
        }
    }
}
