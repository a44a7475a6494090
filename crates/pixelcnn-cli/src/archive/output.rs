//! A decoded picture as a PNG file.

use std::io::{BufWriter, IntoInnerError, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use pixelcnn_codec::{Area, Decoded, Metadata};
use pixelcnn_system::{NewFile, shown};
use png::chunk::ChunkType;
use png::{BitDepth, ColorType};

/// The file of a picture with this name: PNG, whatever the original was.
pub(crate) fn path(folder: &Path, name: &str) -> PathBuf {
    match name.to_lowercase().ends_with(".png") {
        true => folder.join(name),
        false => folder.join(format!("{name}.png")),
    }
}

/// The pixels of a picture, as a PNG has them.
pub(crate) struct Pixels<'a> {
    pub decoded: &'a Decoded,
    pub channels: usize,
    pub levels: usize,
    pub metadata: &'a [Metadata],
}

impl Pixels<'_> {
    /// Writes the file, completely or not at all, and replaces none. If parts are missing, these
    /// are transparent.
    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        if let Some(folder) = path.parent().filter(|folder| *folder != Path::new("")) {
            crate::output::create_folder(folder)?;
        }
        let written = || -> Result<()> {
            let mut file = BufWriter::new(NewFile::create(path)?);
            self.encode(&mut file)?;
            let file = file.into_inner().map_err(IntoInnerError::into_error)?;
            Ok(file.commit_new()?)
        };
        written().with_context(|| format!("cannot write {}", shown(path)))
    }

    fn encode(&self, sink: impl Write) -> Result<()> {
        let Area { height, width, .. } = self.decoded.wanted.area;
        let mut encoder = png::Encoder::new(sink, width.try_into()?, height.try_into()?);
        let is_whole = self.decoded.missing.is_empty();
        encoder.set_color(match (self.channels, is_whole) {
            (1, true) => ColorType::Grayscale,
            (1, false) => ColorType::GrayscaleAlpha,
            (_, true) => ColorType::Rgb,
            (_, false) => ColorType::Rgba,
        });
        encoder.set_depth(match self.levels > 256 {
            true => BitDepth::Sixteen,
            false => BitDepth::Eight,
        });
        let mut writer = encoder.write_header()?;
        for piece in self.metadata {
            writer.write_chunk(ChunkType(piece.tag), &piece.bytes)?;
        }
        writer.write_image_data(&self.bytes(is_whole))?;
        Ok(writer.finish()?)
    }

    fn bytes(&self, is_whole: bool) -> Vec<u8> {
        let values = &self.decoded.values;
        let mut bytes = Vec::with_capacity(3 * values.len());
        let mut put = |value: u16| match self.levels > 256 {
            true => bytes.extend(value.to_be_bytes()),
            false => bytes.push(value as u8),
        };
        let pixels = values.chunks(self.channels);
        if is_whole {
            pixels.flatten().for_each(|value| put(*value));
            return bytes;
        }
        for (pixel, alpha) in pixels.zip(self.alpha()) {
            pixel.iter().for_each(|value| put(*value));
            put(alpha);
        }
        bytes
    }

    /// 0 for each pixel of a missing tile, and the largest value for the others.
    fn alpha(&self) -> Vec<u16> {
        let area = self.decoded.wanted.area;
        let mut alpha = vec![u16::MAX; area.pixels()];
        let missing = self.decoded.missing.iter();
        for common in missing.filter_map(|tile| tile.area.intersection(&area)) {
            for row in common.row - area.row..common.row - area.row + common.height {
                let first = row * area.width + common.column - area.column;
                alpha[first..first + common.width].fill(0);
            }
        }
        alpha
    }
}

#[cfg(test)]
mod tests {
    use pixelcnn_codec::{Missing, Wanted};

    use super::*;

    fn missing(area: Area) -> Missing {
        Missing {
            area,
            why: String::new(),
        }
    }

    fn alpha(area: Area, missing: Vec<Missing>) -> Vec<u16> {
        let decoded = Decoded {
            wanted: Wanted { picture: 0, area },
            values: vec![0; area.pixels()],
            missing,
        };
        let pixels = Pixels {
            decoded: &decoded,
            channels: 1,
            levels: 256,
            metadata: &[],
        };
        pixels.alpha()
    }

    /// A pixel is looked up once for each missing tile that has it, not for all of them: the
    /// second case would take minutes.
    #[test]
    fn the_pixels_of_missing_tiles_are_transparent() {
        let area = |text: &str| text.parse::<Area>().unwrap();
        let tiles = [area("0,0,4,4"), area("8,4,4,4")].map(missing);
        let found = alpha(area("3,2,6,4"), tiles.into());
        let expected = [[0, 9, 9, 9, 9, 9], [0, 9, 9, 9, 9, 9], [9, 9, 9, 9, 9, 0]];
        let expected = [expected[0], expected[1], expected[2], expected[2]].concat();
        let expected = expected
            .iter()
            .map(|of| if *of == 0 { 0 } else { u16::MAX });
        assert_eq!(found, expected.collect::<Vec<_>>());

        let pixel = |place: usize| Area {
            row: place / 1024,
            column: place % 1024,
            height: 1,
            width: 1,
        };
        let all = (0..1024 * 1024).map(|place| missing(pixel(place)));
        let found = alpha(Area::whole(1024, 1024), all.collect());
        assert!(found.iter().all(|alpha| *alpha == 0));
    }
}
