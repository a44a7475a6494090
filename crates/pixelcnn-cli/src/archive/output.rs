//! A decoded picture as a PNG file.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use pixelcnn_codec::{Area, Decoded, Metadata};
use png::chunk::ChunkType;
use png::{BitDepth, ColorType};

use crate::output::Target;

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
    /// Writes the file, completely or not at all. If parts are missing, these are transparent.
    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        if let Some(folder) = path.parent().filter(|folder| *folder != Path::new("")) {
            crate::output::create_folder(folder)?;
        }
        let mut sink = Target::File(path.to_path_buf()).create()?;
        let failed = || format!("cannot write {}", path.display());
        self.encode(&mut sink).with_context(failed)?;
        sink.finish()
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
        for (place, pixel) in values.chunks(self.channels).enumerate() {
            pixel.iter().for_each(|value| put(*value));
            if !is_whole {
                put(match self.is_missing(place) {
                    true => 0,
                    false => u16::MAX,
                });
            }
        }
        bytes
    }

    fn is_missing(&self, place: usize) -> bool {
        let area = self.decoded.wanted.area;
        let pixel = Area {
            row: area.row + place / area.width,
            column: area.column + place % area.width,
            height: 1,
            width: 1,
        };
        let missing = &self.decoded.missing;
        missing
            .iter()
            .any(|tile| tile.area.intersection(&pixel).is_some())
    }
}
