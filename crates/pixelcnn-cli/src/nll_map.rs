//! Maps of the bits of each pixel, as pictures.

use std::path::Path;

use anyhow::Result;
use image::imageops::{FilterType, overlay, resize};
use image::{Rgb, RgbImage};
use pixelcnn_data::Batch;
use pixelcnn_models::{ConditionEncoder, ImageShape, Model};
use pixelcnn_sample::{Engine, nll_map};
use pixelcnn_train::ConditionedDataset;

use crate::arguments::ZoomFlag;
use crate::output::{Target, create_folder, wrote};
use crate::{model, picture, progress};
use pixelcnn_system::counted;

/// Pixels between the halves of a picture.
const GAP: u32 = 4;

/// The engine and the encoder of a model, if its images can be drawn as pictures.
pub(crate) fn engine(model: &Model) -> Result<(Engine, &ConditionEncoder)> {
    picture::check_channels(model.config().image().channels)?;
    let density = model::in_order(model)?;
    Ok((Engine::new(density)?, density.condition_encoder()))
}

/// Writes a PNG for each image into the folder, as soon as it is done: the
/// image, and beside it the bits of each pixel, from black for 0 bits to white for
/// the bits of a uniform distribution.
pub(crate) fn write(
    (engine, encoder): (&Engine, &ConditionEncoder),
    conditioned: &ConditionedDataset,
    batch: usize,
    (folder, zoom): (&Path, ZoomFlag),
) -> Result<()> {
    create_folder(folder)?;
    let images = conditioned.images();
    let levels = engine.image().levels;
    picture::note_shades(levels, "");
    let mut bar = progress::Progress::start("mapping", images.len());
    let mut done = 0;
    let digits = images.len().saturating_sub(1).to_string().len();
    for batch in images.in_order(batch)? {
        let Batch { values, images, .. } = batch?;
        let (_, channels, height, width) = values.dims4()?;
        let given = conditioned.given(&images, &values)?;
        let condition = encoder.encode_each(&given, (height, width))?;
        let bits = nll_map(engine, &values, &condition)?.sum(1)?;
        let most = channels as f64 * (levels as f64).log2();
        let shape = ImageShape {
            channels,
            height,
            width,
            levels,
        };
        for (place, index) in images.iter().enumerate() {
            let image = picture::picture(&picture::values_of(&values.get(place)?)?, shape)?;
            let heat = heat(&bits.get(place)?.to_vec2::<f64>()?, most);
            let path = folder.join(format!("{index:0digits$}.png"));
            picture::write_png(&Target::File(path), &beside(&image, &heat, zoom))?;
        }
        done += images.len();
        bar.at(done);
    }
    drop(bar);
    wrote(
        folder.display(),
        counted(images.len(), "image") + " with maps",
    );
    Ok(())
}

/// Two pictures of one size, enlarged.
fn beside(left: &RgbImage, right: &RgbImage, zoom: ZoomFlag) -> RgbImage {
    let size = |zoom: u32| {
        let side = |pixels: u32| u64::from(pixels) * u64::from(zoom);
        (2 * side(left.width()) + u64::from(GAP), side(left.height()))
    };
    let times = zoom.fit(size);
    let (width, height) = (left.width() * times, left.height() * times);
    let mut both = RgbImage::from_pixel(2 * width + GAP, height, Rgb([255; 3]));
    for (picture, x) in [(left, 0), (right, width + GAP)] {
        let larger = resize(picture, width, height, FilterType::Nearest);
        overlay(&mut both, &larger, i64::from(x), 0);
    }
    both
}

/// Black, violet, orange, white.
const COLOURS: [[f64; 3]; 4] = [
    [0.0, 0.0, 0.0],
    [110.0, 20.0, 110.0],
    [245.0, 130.0, 30.0],
    [255.0, 255.0, 255.0],
];

fn heat(bits: &[Vec<f64>], most: f64) -> RgbImage {
    let (width, height) = (bits.first().map_or(0, Vec::len), bits.len());
    RgbImage::from_fn(width as u32, height as u32, |x, y| {
        let share = (bits[y as usize][x as usize] / most).clamp(0.0, 1.0);
        let place = share * (COLOURS.len() - 1) as f64;
        let first = (place as usize).min(COLOURS.len() - 2);
        let rest = place - first as f64;
        let mix = |channel: usize| {
            let (from, to) = (COLOURS[first][channel], COLOURS[first + 1][channel]);
            (from + rest * (to - from)).round() as u8
        };
        Rgb([mix(0), mix(1), mix(2)])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_bits_are_brighter_and_stay_in_place() {
        let heat = heat(&[vec![0.0, 4.0, 8.0, 99.0]], 8.0);
        let sum = |x| {
            heat.get_pixel(x, 0)
                .0
                .iter()
                .map(|c| u32::from(*c))
                .sum::<u32>()
        };
        assert_eq!((sum(0), sum(2), sum(3)), (0, 765, 765));
        assert!(sum(0) < sum(1) && sum(1) < sum(2));
        let image = RgbImage::from_pixel(4, 1, Rgb([9; 3]));
        let both = beside(&image, &heat, ZoomFlag { zoom: Some(32) });
        assert_eq!(both.dimensions(), (2 * 128 + GAP, 32));
        assert_eq!(both.get_pixel(127, 31).0, [9; 3]);
        assert_eq!(both.get_pixel(128 + GAP, 0).0, [0; 3]);
        let both = beside(&image, &heat, ZoomFlag { zoom: None });
        assert_eq!(both.width(), 2 * 4 * 64 + GAP);
    }
}
