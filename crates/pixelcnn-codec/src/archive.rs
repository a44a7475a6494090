//! Finds the records of an archive, also of a damaged one.

use std::collections::BTreeMap;
use std::ops::Range;

use xxhash_rust::xxh3::xxh3_64;

use crate::record::{PictureHead, Record, TileHead, read_metadata};
use crate::{Area, CodecError, Header, Metadata, Method, TileSide};

/// An archive in memory.
///
/// Damage costs only the tiles that it hits, unless it hits the first bytes of the archive or
/// the record of a picture.
///
/// # Example
///
/// ```
/// # use candle_core::Device;
/// # use pixelcnn_models::{ImageShape, Model, ModelConfig, PixelCnnConfig};
/// use pixelcnn_codec::{Archive, ArchiveWriter, Codec, Picture, TileSide};
///
/// # let image = ImageShape { channels: 1, height: 4, width: 4, levels: 8 };
/// # let config = PixelCnnConfig { image, blocks: 1, maps: 3, head: 3, ..PixelCnnConfig::cifar10() };
/// # let (model, _) = Model::initialise(&ModelConfig::from(config), 1, &Device::Cpu)?;
/// let codec = Codec::new(&model)?;
/// let mut archive = ArchiveWriter::new(&codec, Vec::new(), TileSide::default())?;
/// let (name, values) = ("a.png".to_string(), vec![5; 6]);
/// archive.add(&Picture { name, height: 2, width: 3, values, metadata: Vec::new() })?;
/// let (bytes, _) = archive.finish()?;
///
/// let archive = Archive::read(bytes.clone())?;
/// assert_eq!(archive.pictures()[0].name(), "a.png");
/// assert!(archive.is_whole());
///
/// // Cut off within the end: all tiles are still there.
/// let archive = Archive::read(bytes[..bytes.len() - 1].to_vec())?;
/// assert!(!archive.is_whole());
/// assert_eq!(archive.pictures()[0].tiles().count(), 1);
/// # Ok::<(), pixelcnn_codec::CodecError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Archive {
    bytes: Vec<u8>,
    header: Header,
    pictures: Vec<Entry>,
    gaps: Vec<Gap>,
    /// Numbers of pictures and tiles, from the end of the archive.
    end: Option<(usize, usize)>,
}

/// A picture of an archive.
///
/// # Example
///
/// See [`Archive`].
#[derive(Clone, Debug)]
pub struct Entry {
    pub(crate) head: PictureHead,
    /// The seed of the checksums of its tiles.
    seed: u64,
    /// The place of the record.
    offset: usize,
    metadata: Range<usize>,
    pub(crate) tiles: BTreeMap<usize, (TileHead, Range<usize>)>,
}

/// A tile of a picture, as it is stored.
///
/// # Example
///
/// See [`Archive`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredTile {
    /// Its pixels.
    pub area: Area,
    /// How it is compressed.
    pub method: Method,
    /// The place of its compressed values in the archive.
    pub offset: usize,
    /// Bytes of its compressed values.
    pub length: usize,
    /// The 64-bit XXH3 of its values.
    pub checksum: u64,
}

/// Bytes that belong to no record: damaged ones, or ones that follow the end.
///
/// # Example
///
/// ```
/// let gap = pixelcnn_codec::Gap { offset: 100, length: 3 };
/// assert_eq!(gap.to_string(), "bytes 100 to 103");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The first byte.
    pub offset: usize,
    /// Number of bytes.
    pub length: usize,
}

impl std::fmt::Display for Gap {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let end = self.offset + self.length;
        write!(formatter, "bytes {} to {end}", self.offset)
    }
}

impl Archive {
    /// Finds the records in the bytes of an archive.
    ///
    /// # Errors
    ///
    /// If the first bytes are not those of an archive, are damaged, or of another version.
    pub fn read(bytes: Vec<u8>) -> Result<Self, CodecError> {
        let (header, first, seed) = Header::read(&bytes)?;
        let mut archive = Self {
            bytes: Vec::new(),
            header,
            pictures: Vec::new(),
            gaps: Vec::new(),
            end: None,
        };
        archive.scan(&bytes, first, seed);
        archive.bytes = bytes;
        Ok(archive)
    }

    /// Goes from record to record. Where none begins, the next one is looked for, from the
    /// beginning of the last payload on, because bytes of it may be lost.
    fn scan(&mut self, bytes: &[u8], first: usize, seed: u64) {
        let channels = self.header.model.channels;
        let mut numbers = BTreeMap::new();
        let (mut at, mut retry, mut gap) = (first, first, None);
        while at < bytes.len() {
            let picture_seed = |number: usize| {
                let picture = numbers.get(&number).copied();
                picture.map(|picture: usize| self.pictures[picture].seed)
            };
            let found = Record::parse(&bytes[at..], channels, seed, picture_seed);
            let Some((record, head, checksum)) = found else {
                match gap {
                    None => (gap, at) = (Some(at), retry),
                    Some(_) => at += 1,
                }
                continue;
            };
            let payload = at + head..(at + head).saturating_add(record.payload());
            retry = payload.start;
            if payload.end > bytes.len() {
                // Its end is missing, but another record may follow.
                gap = gap.or(Some(at));
                at = payload.start;
                continue;
            }
            self.close(gap.take(), at);
            let next = payload.end;
            self.keep(record, (at, checksum), payload, &mut numbers);
            at = next;
        }
        self.close(gap, bytes.len());
    }

    fn close(&mut self, gap: Option<usize>, end: usize) {
        if let Some(offset) = gap {
            // A record found within the last payload leaves no gap before it.
            let offset = offset.min(end);
            let length = end - offset;
            self.gaps.push(Gap { offset, length });
        }
    }

    fn keep(
        &mut self,
        record: Record,
        (offset, seed): (usize, u64),
        payload: Range<usize>,
        numbers: &mut BTreeMap<usize, usize>,
    ) {
        let channels = self.header.model.channels;
        match record {
            Record::Picture(head) => {
                let before = numbers.get(&head.number);
                if before.is_some_and(|before| self.pictures[*before].seed == seed) {
                    // A copy of the same record.
                    return;
                }
                numbers.insert(head.number, self.pictures.len());
                self.pictures.push(Entry {
                    head,
                    seed,
                    offset,
                    metadata: payload,
                    tiles: BTreeMap::new(),
                });
            }
            Record::Tile(tile) => {
                let picture = numbers.get(&tile.picture);
                let picture = picture.and_then(|index| self.pictures.get_mut(*index));
                if let Some(picture) = picture.filter(|picture| picture.can_have(&tile, channels)) {
                    picture.tiles.entry(tile.tile).or_insert((tile, payload));
                }
            }
            Record::End(pictures, tiles) => self.end = Some((pictures, tiles)),
        }
    }

    /// What is true for the whole archive.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The pictures, in the order in which they were added.
    pub fn pictures(&self) -> &[Entry] {
        &self.pictures
    }

    /// Bytes that belong to no record.
    pub fn gaps(&self) -> &[Gap] {
        &self.gaps
    }

    /// Number of pictures and of tiles that were written, if the end is there.
    pub fn end(&self) -> Option<(usize, usize)> {
        self.end
    }

    /// Bytes of the archive.
    pub fn length(&self) -> usize {
        self.bytes.len()
    }

    /// Whether all records are there. Their content is checked when it is decoded.
    pub fn is_whole(&self) -> bool {
        let tiles = self
            .pictures
            .iter()
            .map(|picture| picture.tiles.len())
            .sum();
        let is_complete = |picture: &Entry| picture.tiles.len() == picture.tile_count();
        self.gaps.is_empty()
            && self.end == Some((self.pictures.len(), tiles))
            && self.pictures.iter().all(is_complete)
    }

    /// The metadata of a picture.
    ///
    /// # Errors
    ///
    /// If they are damaged.
    pub fn metadata(&self, picture: &Entry) -> Result<Vec<Metadata>, CodecError> {
        let bytes = self.bytes.get(picture.metadata.clone());
        let sound = bytes.filter(|bytes| xxh3_64(bytes) == picture.head.checksum);
        sound.and_then(read_metadata).ok_or_else(|| {
            let name = pixelcnn_system::escaped(picture.name());
            CodecError::Archive(format!("the metadata of {name} are damaged"))
        })
    }

    pub(crate) fn part(&self, range: &Range<usize>) -> &[u8] {
        self.bytes.get(range.clone()).unwrap_or_default()
    }
}

impl Entry {
    /// Whether a tile is one of the picture, and not too large for its bytes.
    fn can_have(&self, tile: &TileHead, channels: usize) -> bool {
        let tiling = &self.head.tiling;
        let values = || tiling.area(tile.tile).pixels().saturating_mul(channels);
        tile.tile < tiling.count() && values() <= tile.method.most_values(tile.length)
    }

    /// Its name: a relative path, as [`check_name`](crate::check_name) allows.
    pub fn name(&self) -> &str {
        &self.head.name
    }

    /// Height and width.
    pub fn size(&self) -> (usize, usize) {
        (self.head.tiling.height, self.head.tiling.width)
    }

    /// The side of its tiles.
    pub fn tile_side(&self) -> TileSide {
        self.head.tiling.side
    }

    /// Number of tiles that it should have.
    pub fn tile_count(&self) -> usize {
        self.head.tiling.count()
    }

    /// The place of its record in the archive.
    pub fn offset(&self) -> usize {
        self.offset
    }

    /// Bytes of its metadata.
    pub fn metadata_length(&self) -> usize {
        self.metadata.len()
    }

    /// The tiles that are there, from the upper left.
    pub fn tiles(&self) -> impl Iterator<Item = StoredTile> {
        self.tiles.values().map(|(tile, range)| StoredTile {
            area: self.head.tiling.area(tile.tile),
            method: tile.method,
            offset: range.start,
            length: range.len(),
            checksum: tile.checksum,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ModelIdentity;
    use crate::tiling::Tiling;

    /// An archive of one picture of 64 x 64 pixels in tiles of 32 x 32, and of these tiles.
    fn archive(tiles: &[(usize, Method, usize)]) -> Archive {
        let header = Header::new(ModelIdentity {
            hash: [1; 16],
            channels: 3,
            levels: 256,
            name: None,
        });
        let (mut bytes, seed) = header.to_bytes();
        let picture = Record::Picture(PictureHead {
            number: 0,
            name: "a".to_string(),
            tiling: Tiling {
                height: 64,
                width: 64,
                side: TileSide::Pixels(32),
            },
            values: 0,
            length: 0,
            checksum: xxh3_64(&[]),
        });
        let (record, picture_seed) = picture.to_bytes(seed);
        bytes.extend(record);
        for (tile, method, length) in tiles {
            let head = Record::Tile(TileHead {
                picture: 0,
                tile: *tile,
                method: *method,
                length: *length,
                checksum: 0,
            });
            bytes.extend(head.to_bytes(picture_seed).0);
            bytes.extend(vec![0; *length]);
        }
        Archive::read(bytes).unwrap()
    }

    /// Tiles that the picture does not have, or with more values than so few bytes may have.
    #[test]
    fn impossible_tiles_are_no_tiles() {
        let prediction = Method::Prediction;
        let tiles = [
            (0, prediction, 2),
            (1, prediction, 3),
            (4, prediction, 3),
            (usize::MAX, prediction, 3),
            (3, Method::Model, 0),
        ];
        // 3,072 values: zlib makes at most 1,032 bytes of one.
        let archive = archive(&tiles);
        let kept: Vec<_> = archive.pictures()[0].tiles.keys().copied().collect();
        assert_eq!(kept, [1, 3]);
        assert!(archive.gaps().is_empty());
    }
}
