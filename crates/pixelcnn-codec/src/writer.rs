//! Writes an archive, picture by picture.

use std::collections::BTreeSet;
use std::io::Write;

use pixelcnn_system::check_memory;
use xxhash_rust::xxh3::xxh3_64;

use crate::codec::checksum;
use crate::record::{PictureHead, Record, TileHead, metadata_bytes};
use crate::tiling::Tiling;
use crate::{Area, Codec, CodecError, Header, Method, Picture, TileSide};

/// This many tiles, or values of tiles, are compressed together, so that all processors
/// have work. The bytes of the archive do not depend on these numbers.
const TILES_TOGETHER: usize = 256;
const VALUES_TOGETHER: usize = 1 << 24;

/// Bytes of what a tile has beside its values and frequencies, from the queue to the archive.
const NOTES: u64 = 768;

/// What was written.
///
/// # Example
///
/// See [`ArchiveWriter`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Pictures.
    pub pictures: usize,
    /// Their values.
    pub values: u64,
    /// Tiles.
    pub tiles: usize,
    /// Tiles that are compressed by [`Method::Prediction`].
    pub predicted: usize,
    /// Bytes of compressed values.
    pub tile_bytes: u64,
    /// All bytes of the archive.
    pub bytes: u64,
}

/// Writes an archive to any stream.
///
/// Tiles are compressed many at a time, on all threads of the codec. The bytes do not depend
/// on the number of threads or on the processor.
///
/// # Example
///
/// ```
/// # use candle_core::Device;
/// # use pixelcnn_models::{ImageShape, Model, ModelConfig, PixelCnnConfig};
/// use pixelcnn_codec::{Archive, ArchiveWriter, Area, Codec, Picture, TileSide, Wanted};
///
/// # let image = ImageShape { channels: 1, height: 4, width: 4, levels: 8 };
/// # let config = PixelCnnConfig { image, blocks: 1, maps: 3, head: 3, ..PixelCnnConfig::cifar10() };
/// # let (model, _) = Model::initialise(&ModelConfig::from(config), 1, &Device::Cpu)?;
/// let codec = Codec::new(&model)?;
/// let picture = Picture {
///     name: "a.png".to_string(),
///     height: 5,
///     width: 3,
///     values: (0..15).map(|value| value % 8).collect(),
///     metadata: Vec::new(),
/// };
/// let mut archive = ArchiveWriter::new(&codec, Vec::new(), TileSide::Pixels(4))?;
/// archive.add(&picture)?;
/// let (bytes, written) = archive.finish()?;
/// assert_eq!((written.pictures, written.tiles), (1, 2));
///
/// let archive = Archive::read(bytes)?;
/// let wanted = Wanted { picture: 0, area: Area::whole(5, 3) };
/// archive.decode(&codec, &[wanted], &mut |_, decoded| {
///     assert_eq!(decoded.values, picture.values);
///     Ok::<(), pixelcnn_codec::CodecError>(())
/// })?;
/// # Ok::<(), pixelcnn_codec::CodecError>(())
/// ```
pub struct ArchiveWriter<'a, W> {
    codec: &'a Codec,
    writer: W,
    side: TileSide,
    seed: u64,
    names: BTreeSet<String>,
    queue: Vec<Queued>,
    /// Tiles of the queue, and their values.
    tiles: usize,
    values: usize,
    written: Written,
}

/// A part of the archive that is not written yet.
enum Queued {
    /// A picture's record and metadata.
    Picture(Vec<u8>),
    /// A tile of a picture.
    Tile(Place, (Area, Vec<u16>)),
}

/// Where a tile belongs.
struct Place {
    picture: usize,
    /// The seed of the picture's tiles.
    seed: u64,
    tile: usize,
}

impl<'a, W: Write> ArchiveWriter<'a, W> {
    /// Begins an archive.
    ///
    /// # Errors
    ///
    /// If the side is 0 or above 2^24, or the first bytes cannot be written.
    pub fn new(codec: &'a Codec, writer: W, side: TileSide) -> Result<Self, CodecError> {
        side.check()?;
        let (bytes, seed) = Header::new(codec.identity().clone()).to_bytes();
        let mut archive = Self {
            codec,
            writer,
            side,
            seed,
            names: BTreeSet::new(),
            queue: Vec::new(),
            tiles: 0,
            values: 0,
            written: Written::default(),
        };
        archive.put(&bytes)?;
        Ok(archive)
    }

    /// Adds a picture. It may be written later, together with others.
    ///
    /// # Errors
    ///
    /// If the picture does not fit the model, its name is already in the archive, there is
    /// too little memory, or the archive cannot be written.
    pub fn add(&mut self, picture: &Picture) -> Result<(), CodecError> {
        let identity = self.codec.identity();
        picture.check(identity.channels, identity.levels)?;
        if !self.names.insert(picture.name.clone()) {
            let name = pixelcnn_system::escaped(&picture.name);
            return Err(CodecError::invalid(name, "two pictures have this name"));
        }
        let tiling = Tiling {
            height: picture.height,
            width: picture.width,
            side: self.side,
        };
        self.check_memory(picture, &tiling)?;
        let number = self.written.pictures;
        let metadata = metadata_bytes(&picture.metadata);
        let head = Record::Picture(PictureHead {
            number,
            name: picture.name.clone(),
            tiling,
            values: checksum(&picture.values),
            length: metadata.len(),
            checksum: xxh3_64(&metadata),
        });
        let (record, seed) = head.to_bytes(self.seed);
        self.queue
            .push(Queued::Picture([record, metadata].concat()));
        for tile in 0..tiling.count() {
            let area = tiling.area(tile);
            let place = Place {
                picture: number,
                seed,
                tile,
            };
            let values = picture.part(&area);
            self.queue.push(Queued::Tile(place, (area, values)));
        }
        self.written.pictures += 1;
        self.written.values += picture.values.len() as u64;
        self.tiles += tiling.count();
        self.values += picture.values.len();
        match self.tiles >= TILES_TOGETHER || self.values >= VALUES_TOGETHER {
            true => self.flush(),
            false => Ok(()),
        }
    }

    /// Refuses a picture that does not fit into memory together with the queue.
    fn check_memory(&self, picture: &Picture, tiling: &Tiling) -> Result<(), CodecError> {
        let values = (self.values + picture.values.len()) as u64;
        let tiles = self.tiles.saturating_add(tiling.count());
        // For each value two bytes in the queue, and at most six while the model compresses
        // all tiles; then eight for the prediction of one tile.
        let predicted = tiling.area(0).pixels() * self.codec.identity().channels;
        let bytes = (8 * (values + predicted as u64))
            .saturating_add((tiles as u64).saturating_mul(NOTES))
            .saturating_add(self.codec.frequency_bytes(tiles));
        Ok(check_memory("the tiles of a picture", bytes)?)
    }

    /// Compresses and writes the queue.
    fn flush(&mut self) -> Result<(), CodecError> {
        let (mut parts, mut tiles) = (Vec::new(), Vec::new());
        for queued in std::mem::take(&mut self.queue) {
            match queued {
                Queued::Picture(record) => parts.push(Err(record)),
                Queued::Tile(place, tile) => {
                    parts.push(Ok(place));
                    tiles.push(tile);
                }
            }
        }
        (self.tiles, self.values) = (0, 0);
        let mut coded = self.codec.encode(&tiles)?.into_iter();
        for part in parts {
            let place = match part {
                Err(record) => {
                    self.put(&record)?;
                    continue;
                }
                Ok(place) => place,
            };
            let Some(coded) = coded.next() else {
                break;
            };
            let head = Record::Tile(TileHead {
                picture: place.picture,
                tile: place.tile,
                method: coded.method,
                length: coded.bytes.len(),
                checksum: coded.checksum,
            });
            self.put(&head.to_bytes(place.seed).0)?;
            self.put(&coded.bytes)?;
            self.written.tiles += 1;
            self.written.predicted += usize::from(coded.method == Method::Prediction);
            self.written.tile_bytes += coded.bytes.len() as u64;
        }
        Ok(())
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), CodecError> {
        self.writer.write_all(bytes)?;
        self.written.bytes += bytes.len() as u64;
        Ok(())
    }

    /// Writes what is left and the end. Returns the stream, and what was written.
    ///
    /// # Errors
    ///
    /// If the model or the stream fails.
    pub fn finish(mut self) -> Result<(W, Written), CodecError> {
        self.flush()?;
        let end = Record::End(self.written.pictures, self.written.tiles);
        self.put(&end.to_bytes(self.seed).0)?;
        self.writer.flush()?;
        Ok((self.writer, self.written))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sides_that_no_reader_accepts_are_refused() {
        let model = crate::testing::grey(8);
        let codec = Codec::new(&model).unwrap();
        let new = |side| ArchiveWriter::new(&codec, Vec::new(), side).map(|_| ());
        for side in [0, (1 << 24) + 1, usize::MAX] {
            let error = new(TileSide::Pixels(side)).unwrap_err().to_string();
            let end = format!("expected, found {side}");
            assert!(
                error.starts_with("tile: ") && error.ends_with(&end),
                "{error}"
            );
        }
        for side in [
            TileSide::Pixels(1),
            TileSide::Pixels(1 << 24),
            TileSide::Whole,
        ] {
            assert!(new(side).is_ok(), "{side}");
        }
    }
}
