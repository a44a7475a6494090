//! The records of an archive: pictures, tiles, and the end.
//!
//! A record begins with a kind, the length of its head, the head, and a checksum of these.
//! So a record can be found anywhere among other bytes. The checksums of a picture and of the
//! end have the seed of the archive, those of a tile that of its picture: a tile of another
//! picture or archive does not fit.

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::bytes::{Bytes, put_number};
use crate::picture::is_size;
use crate::tiling::{MOST_SIDE, Tiling};
use crate::{Metadata, Method, TileSide, check_name};

/// The largest number of bytes of a head.
const MOST_HEAD: usize = 8192;

/// A picture, before its tiles.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PictureHead {
    pub number: usize,
    pub name: String,
    pub tiling: Tiling,
    /// Checksum of all values.
    pub values: u64,
    /// Bytes of the metadata.
    pub length: usize,
    /// Checksum of the metadata.
    pub checksum: u64,
}

/// A tile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TileHead {
    pub picture: usize,
    pub tile: usize,
    pub method: Method,
    /// Bytes of the compressed values.
    pub length: usize,
    /// Checksum of the values.
    pub checksum: u64,
}

/// The beginning of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Record {
    Picture(PictureHead),
    Tile(TileHead),
    /// Numbers of pictures and of tiles.
    End(usize, usize),
}

impl Record {
    /// Bytes after the checksum of the head.
    pub(crate) fn payload(&self) -> usize {
        match self {
            Self::Picture(picture) => picture.length,
            Self::Tile(tile) => tile.length,
            Self::End(..) => 0,
        }
    }

    /// The kind, the length of the head, the head and the checksum; and all 64 bits of the
    /// checksum, which for a picture are the seed of its tiles.
    pub(crate) fn to_bytes(&self, seed: u64) -> (Vec<u8>, u64) {
        let mut head = Vec::new();
        let kind = match self {
            Self::Picture(picture) => {
                let Tiling {
                    height,
                    width,
                    side,
                } = picture.tiling;
                let side = match side {
                    TileSide::Pixels(side) => side,
                    TileSide::Whole => 0,
                };
                for number in [picture.number, height, width, side, picture.name.len()] {
                    put_number(&mut head, number as u64);
                }
                head.extend(picture.name.as_bytes());
                head.extend(picture.values.to_le_bytes());
                put_number(&mut head, picture.length as u64);
                head.extend(picture.checksum.to_le_bytes());
                b'P'
            }
            Self::Tile(tile) => {
                for number in [tile.picture, tile.tile, tile.method.code(), tile.length] {
                    put_number(&mut head, number as u64);
                }
                head.extend(tile.checksum.to_le_bytes());
                b'T'
            }
            Self::End(pictures, tiles) => {
                put_number(&mut head, *pictures as u64);
                put_number(&mut head, *tiles as u64);
                b'E'
            }
        };
        let mut bytes = vec![kind];
        put_number(&mut bytes, head.len() as u64);
        bytes.extend(head);
        let checksum = xxh3_64_with_seed(&bytes, seed);
        bytes.extend((checksum as u32).to_le_bytes());
        (bytes, checksum)
    }

    /// The record at the beginning of some bytes, its length without the payload, and all 64
    /// bits of its checksum; `None` if there is no valid one. `picture_seed` gives the seed
    /// for the tiles of a picture by its number.
    pub(crate) fn parse(
        bytes: &[u8],
        channels: usize,
        seed: u64,
        picture_seed: impl Fn(usize) -> Option<u64>,
    ) -> Option<(Self, usize, u64)> {
        let mut rest = Bytes(bytes);
        let [kind] = rest.array()?;
        if !b"PTE".contains(&kind) {
            return None;
        }
        let length = rest.size().filter(|length| *length <= MOST_HEAD)?;
        let head = Bytes(rest.take(length)?);
        let checked = bytes.len() - rest.0.len();
        let stored = u32::from_le_bytes(rest.array()?);
        let (record, seed) = match kind {
            b'P' => (Self::Picture(picture(head, channels)?), seed),
            b'T' => {
                let tile = tile(head)?;
                (Self::Tile(tile), picture_seed(tile.picture)?)
            }
            _ => (end(head)?, seed),
        };
        let checksum = xxh3_64_with_seed(&bytes[..checked], seed);
        (checksum as u32 == stored).then_some((record, checked + 4, checksum))
    }
}

fn picture(mut head: Bytes<'_>, channels: usize) -> Option<PictureHead> {
    let number = head.size()?;
    let (height, width, side) = (head.size()?, head.size()?, head.size()?);
    let name = head.text()?;
    let values = u64::from_le_bytes(head.array()?);
    let (length, checksum) = (head.size()?, u64::from_le_bytes(head.array()?));
    let sound = is_size(height, width, channels)
        && side <= MOST_SIDE
        && check_name(&name).is_ok()
        && head.is_empty();
    let side = match side {
        0 => TileSide::Whole,
        side => TileSide::Pixels(side),
    };
    let tiling = Tiling {
        height,
        width,
        side,
    };
    sound.then_some(PictureHead {
        number,
        name,
        tiling,
        values,
        length,
        checksum,
    })
}

fn tile(mut head: Bytes<'_>) -> Option<TileHead> {
    let tile = TileHead {
        picture: head.size()?,
        tile: head.size()?,
        method: Method::of_code(head.size()?)?,
        length: head.size()?,
        checksum: u64::from_le_bytes(head.array()?),
    };
    head.is_empty().then_some(tile)
}

fn end(mut head: Bytes<'_>) -> Option<Record> {
    let end = Record::End(head.size()?, head.size()?);
    head.is_empty().then_some(end)
}

/// The metadata of a picture as bytes.
pub(crate) fn metadata_bytes(metadata: &[Metadata]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for piece in metadata {
        bytes.extend(piece.tag);
        put_number(&mut bytes, piece.bytes.len() as u64);
        bytes.extend(&piece.bytes);
    }
    bytes
}

/// The metadata of [`metadata_bytes`].
pub(crate) fn read_metadata(bytes: &[u8]) -> Option<Vec<Metadata>> {
    let mut rest = Bytes(bytes);
    let mut all = Vec::new();
    while !rest.is_empty() {
        let tag = rest.array()?;
        let length = rest.size()?;
        let bytes = rest.take(length)?.to_vec();
        all.push(Metadata { tag, bytes });
    }
    Some(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records() -> [Record; 3] {
        let tiling = Tiling {
            height: 300,
            width: 7,
            side: TileSide::Pixels(64),
        };
        let picture = PictureHead {
            number: 3,
            name: "größe.png".into(),
            tiling,
            values: 1 << 50,
            length: 9,
            checksum: 11,
        };
        let tile = TileHead {
            picture: 3,
            tile: 4,
            method: Method::Prediction,
            length: 500,
            checksum: u64::MAX,
        };
        [
            Record::Picture(picture),
            Record::Tile(tile),
            Record::End(4, 20),
        ]
    }

    #[test]
    fn records_come_back_and_each_changed_bit_is_seen() {
        for record in records() {
            let seed = match record {
                Record::Tile(_) => 8,
                _ => 5,
            };
            let (bytes, checksum) = record.to_bytes(seed);
            let parse =
                |bytes: &[u8]| Record::parse(bytes, 3, 5, |picture| (picture == 3).then_some(8));
            assert_eq!(parse(&bytes), Some((record, bytes.len(), checksum)));
            assert_eq!(Record::parse(&bytes, 3, 6, |_| Some(7)), None);
            assert_eq!(parse(&bytes[..bytes.len() - 1]), None);
            for bit in 0..8 * bytes.len() {
                let mut changed = bytes.clone();
                changed[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(parse(&changed), None, "bit {bit}");
            }
        }
    }

    #[test]
    fn impossible_pictures_are_no_records() {
        let [Record::Picture(sound), ..] = records() else {
            unreachable!()
        };
        let is_record = |head: PictureHead| {
            let (bytes, _) = Record::Picture(head).to_bytes(5);
            Record::parse(&bytes, 3, 5, |_| None).is_some()
        };
        assert!(is_record(sound.clone()));
        let sizes = [(0, 1), (1 << 24, 1 << 24), (usize::MAX, 1)];
        for (height, width) in sizes {
            let tiling = Tiling {
                height,
                width,
                ..sound.tiling
            };
            assert!(!is_record(PictureHead {
                tiling,
                ..sound.clone()
            }));
        }
        let tiling = Tiling {
            side: TileSide::Pixels(MOST_SIDE + 1),
            ..sound.tiling
        };
        assert!(!is_record(PictureHead {
            tiling,
            ..sound.clone()
        }));
        let name = "../a".to_string();
        assert!(!is_record(PictureHead { name, ..sound }));
    }

    #[test]
    fn a_head_with_more_bytes_is_no_record() {
        for record in records() {
            let (bytes, _) = record.to_bytes(5);
            let longer = |more: usize| {
                let mut rest = Bytes(&bytes[1..]);
                let length = rest.size().unwrap();
                let mut longer = vec![bytes[0]];
                put_number(&mut longer, (length + more) as u64);
                longer.extend(rest.take(length).unwrap());
                longer.extend(vec![0; more]);
                let checksum = xxh3_64_with_seed(&longer, 5);
                longer.extend((checksum as u32).to_le_bytes());
                longer
            };
            let is_record = |bytes: &[u8]| Record::parse(bytes, 3, 5, |_| Some(5)).is_some();
            assert_eq!(longer(0), bytes);
            assert!(is_record(&longer(0)) && !is_record(&longer(1)));
        }
    }

    #[test]
    fn a_tile_without_its_picture_is_no_record() {
        let [_, tile, _] = records();
        let (bytes, _) = tile.to_bytes(5);
        assert_eq!(Record::parse(&bytes, 3, 5, |_| None), None);
    }

    #[test]
    fn metadata_come_back() {
        let piece = |tag: &[u8; 4], length| Metadata {
            tag: *tag,
            bytes: vec![7; length],
        };
        let metadata = vec![piece(b"iCCP", 300), piece(b"gAMA", 0)];
        let bytes = metadata_bytes(&metadata);
        assert_eq!(read_metadata(&bytes), Some(metadata));
        assert_eq!(read_metadata(&bytes[..9]), None);
    }
}
