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
    let (n, _, height, width) = values.dims4()?;
    let whole = picture::grid(values, levels, columns, GAP)?;
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, whole.width(), whole.height());
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_animated(height as u32 + 1, 0)?;
    let mut writer = encoder.write_header()?;
    for rows in 0..=height {
        let rest = rows == height;
        writer.set_frame_delay(if rest { REST } else { 1 }, RATE)?;
        let mut frame = whole.clone();
        for image in 0..n {
            let (row, column) = (image / columns.min(n), image % columns.min(n));
            let top = GAP + row as u32 * (height as u32 + GAP);
            let left = GAP + column as u32 * (width as u32 + GAP);
            for (y, x) in (rows..height).flat_map(|y| (0..width).map(move |x| (y, x))) {
                frame.put_pixel(left + x as u32, top + y as u32, BLANK);
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
