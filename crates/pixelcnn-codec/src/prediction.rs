//! Tiles without the model: each value is predicted from its neighbours, and the differences
//! are compressed by zlib.

use std::io::{Read, Write};

use flate2::Compression;
use flate2::read::ZlibDecoder;
use flate2::write::ZlibEncoder;

/// The sizes of a tile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TileShape {
    pub height: usize,
    pub width: usize,
    pub channels: usize,
    pub levels: usize,
}

impl TileShape {
    pub(crate) fn values(&self) -> usize {
        self.height * self.width * self.channels
    }
}

/// The prediction of a value from its left, upper and upper left neighbours of the same
/// channel, which are 0 outside the tile: the median of left, upper, and left + upper - upper
/// left.
fn predicted(values: &[u16], shape: TileShape, index: usize) -> u32 {
    let TileShape {
        width, channels, ..
    } = shape;
    let (row, column) = (index / channels / width, index / channels % width);
    let at = |back: usize, outside: bool| match outside {
        true => 0,
        false => i32::from(values[index - back]),
    };
    let left = at(channels, column == 0);
    let upper = at(width * channels, row == 0);
    let corner = at((width + 1) * channels, row == 0 || column == 0);
    let (least, most) = (left.min(upper), left.max(upper));
    (left + upper - corner).clamp(least, most) as u32
}

/// Compresses the values `[row, column, channel]` of a tile. With more than 256 levels, the
/// lower bytes of all differences come first, then the upper bytes.
pub(crate) fn compress(values: &[u16], shape: TileShape) -> std::io::Result<Vec<u8>> {
    let levels = shape.levels as u32;
    let differences: Vec<u32> = (0..values.len())
        .map(|index| {
            let predicted = predicted(values, shape, index);
            (u32::from(values[index]) + levels - predicted) % levels
        })
        .collect();
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    let lower: Vec<u8> = differences.iter().map(|number| *number as u8).collect();
    encoder.write_all(&lower)?;
    if shape.levels > 256 {
        let upper: Vec<u8> = differences
            .iter()
            .map(|number| (number >> 8) as u8)
            .collect();
        encoder.write_all(&upper)?;
    }
    encoder.finish()
}

/// The values of [`compress`]; `None` if the bytes are damaged.
pub(crate) fn decompress(bytes: &[u8], shape: TileShape) -> Option<Vec<u16>> {
    let count = shape.values();
    let parts = if shape.levels > 256 { 2 } else { 1 };
    let mut planes = Vec::new();
    let decoder = ZlibDecoder::new(bytes);
    // One byte more than there should be, to see that there is no more.
    let read = decoder
        .take((parts * count) as u64 + 1)
        .read_to_end(&mut planes);
    if read.ok()? != parts * count {
        return None;
    }
    let levels = shape.levels as u32;
    let mut values = Vec::with_capacity(count);
    for index in 0..count {
        let upper = planes.get(count + index).copied().unwrap_or(0);
        let difference = u32::from(planes[index]) | u32::from(upper) << 8;
        if difference >= levels {
            return None;
        }
        let predicted = predicted(&values, shape, index);
        values.push(((predicted + difference) % levels) as u16);
    }
    Some(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_back() {
        for levels in [2, 5, 256, 257, 65_536] {
            for (height, width, channels) in [(1, 1, 1), (1, 9, 3), (7, 1, 1), (5, 6, 3)] {
                let shape = TileShape {
                    height,
                    width,
                    channels,
                    levels,
                };
                let value = |index: usize| (index * 7919 % levels) as u16;
                let values: Vec<u16> = (0..shape.values()).map(value).collect();
                let bytes = compress(&values, shape).unwrap();
                assert_eq!(decompress(&bytes, shape), Some(values));
                assert_eq!(decompress(&bytes[..bytes.len() - 5], shape), None);
                let wider = TileShape {
                    width: width + 1,
                    ..shape
                };
                assert_eq!(decompress(&bytes, wider), None);
            }
        }
    }

    #[test]
    fn bytes_of_another_shape_are_refused() {
        let shape = |width, levels| TileShape {
            height: 1,
            width,
            channels: 1,
            levels,
        };
        let bytes = compress(&[200, 7], shape(2, 256)).unwrap();
        assert_eq!(decompress(&bytes, shape(2, 256)), Some(vec![200, 7]));
        // One value more than there should be, and differences that are no levels.
        assert_eq!(decompress(&bytes, shape(1, 256)), None);
        assert_eq!(decompress(&bytes, shape(2, 100)), None);
    }

    #[test]
    fn a_smooth_tile_is_small() {
        let shape = TileShape {
            height: 64,
            width: 64,
            channels: 1,
            levels: 256,
        };
        let values: Vec<u16> = (0..4096)
            .map(|index| (index / 64 + index % 64) as u16)
            .collect();
        assert!(compress(&values, shape).unwrap().len() < 100);
    }
}
