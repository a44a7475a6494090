//! Archives with repeated, lost or added records, and what the writer says of its own.

use std::io::Write;

use pixelcnn_codec::{Archive, ArchiveWriter, Gap, Method, TileSide, Written};
use pixelcnn_models::ImageShape;

use crate::archives::{check, pictures, tiny};
use crate::codec::{archive, codec, picture};

const SIDE: TileSide = TileSide::Pixels(4);

#[test]
fn damaged_metadata_are_said_and_cost_no_pixel() {
    let (codec, pictures) = (codec(&tiny()), pictures());
    let mut bytes = archive(&codec, &pictures, SIDE);
    let tag = bytes.windows(4).position(|it| it == b"gAMA").unwrap();
    // After the tag and the length.
    bytes[tag + 5] ^= 1;
    let archive = Archive::read(bytes).unwrap();
    let error = archive.metadata(&archive.pictures()[0]).unwrap_err();
    assert_eq!(error.to_string(), "the metadata of a are damaged");
    assert_eq!(check(&archive, &codec, &pictures), 0);
}

#[test]
fn bytes_after_the_end_are_a_gap() {
    let (codec, pictures) = (codec(&tiny()), pictures());
    let mut bytes = archive(&codec, &pictures, SIDE);
    let offset = bytes.len();
    bytes.extend([0; 5]);
    let archive = Archive::read(bytes).unwrap();
    assert_eq!(archive.gaps(), [Gap { offset, length: 5 }]);
    assert!(!archive.is_whole());
    assert_eq!(check(&archive, &codec, &pictures), 0);
}

/// All records that are there are sound: only the end tells that others are not.
#[test]
fn the_end_tells_that_a_picture_is_lost() {
    let (codec, pictures) = (codec(&tiny()), pictures());
    let bytes = archive(&codec, &pictures, SIDE);
    let whole = Archive::read(bytes.clone()).unwrap();
    let last = whole.pictures()[1].tiles().last().unwrap();
    let end = last.offset + last.length;
    let without = [&bytes[..whole.pictures()[1].offset()], &bytes[end..]].concat();
    let without = Archive::read(without).unwrap();
    assert_eq!((without.pictures().len(), without.gaps()), (1, &[][..]));
    assert_eq!(without.end(), whole.end());
    assert!(!without.is_whole());
}

#[test]
fn repeated_records_change_nothing() {
    let (codec, pictures) = (codec(&tiny()), pictures());
    let bytes = archive(&codec, &pictures, SIDE);
    let whole = Archive::read(bytes.clone()).unwrap();
    let first = whole.pictures()[0].offset();
    let twice = Archive::read([&bytes[..], &bytes[first..]].concat()).unwrap();
    assert_eq!(twice.pictures().len(), 2);
    assert_eq!(check(&twice, &codec, &pictures), 0);
    // The first copy of a tile counts, whatever follows.
    let mut damaged = bytes.clone();
    damaged[whole.pictures()[0].tiles().next().unwrap().offset] ^= 1;
    let twice = Archive::read([&bytes[..], &damaged[first..]].concat()).unwrap();
    assert_eq!(check(&twice, &codec, &pictures), 0);
}

/// Also if so many bytes are lost that the tile would end behind the archive.
#[test]
fn the_end_is_found_behind_a_last_tile_with_fewer_bytes() {
    let (codec, pictures) = (codec(&tiny()), pictures());
    for side in [SIDE, TileSide::Whole] {
        let bytes = archive(&codec, &pictures, side);
        let whole = Archive::read(bytes.clone()).unwrap();
        let tile = whole.pictures()[1].tiles().last().unwrap();
        for lost in [1, 3, tile.length - 1] {
            let mut shorter = bytes.clone();
            shorter.drain(tile.offset..tile.offset + lost);
            let shorter = Archive::read(shorter).unwrap();
            assert_eq!(shorter.end(), whole.end(), "{side}: {lost}");
            assert_eq!(check(&shorter, &codec, &pictures), 1);
        }
    }
}

#[test]
fn a_second_archive_of_the_model_brings_its_own_pictures() {
    let (codec, ones) = (codec(&tiny()), pictures());
    let mut others = pictures();
    for value in others.iter_mut().flat_map(|picture| &mut picture.values) {
        *value = (*value + 1) % 8;
    }
    let (one, other) = (archive(&codec, &ones, SIDE), archive(&codec, &others, SIDE));
    let first = Archive::read(other.clone()).unwrap().pictures()[0].offset();
    let joined = Archive::read([&one[..], &other[first..]].concat()).unwrap();
    assert_eq!(joined.pictures().len(), 4);
    assert_eq!(check(&joined, &codec, &[ones, others].concat()), 0);
}

#[test]
fn a_model_decodes_whatever_its_name() {
    let (plain, pictures) = (codec(&tiny()), pictures());
    let named = plain.clone().with_name("some/model").unwrap();
    let archive = Archive::read(archive(&named, &pictures, SIDE)).unwrap();
    let name = archive.header().model.name.as_deref();
    assert_eq!(name, Some("some/model"));
    assert_eq!(check(&archive, &plain, &pictures), 0);
}

/// Knows how many of its bytes were flushed.
#[derive(Default)]
struct Stream {
    bytes: Vec<u8>,
    flushed: usize,
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.bytes.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.flushed = self.bytes.len();
        Ok(())
    }
}

#[test]
fn what_is_written_is_counted_and_flushed() {
    let image = ImageShape {
        channels: 1,
        height: 4,
        width: 4,
        levels: 8,
    };
    let codec = codec(&tiny());
    let stream = Stream::default();
    let mut writer = ArchiveWriter::new(&codec, stream, TileSide::Whole).unwrap();
    writer.add(&picture("a", (7, 5), image)).unwrap();
    writer.add(&picture("smooth", (24, 24), image)).unwrap();
    let (stream, written) = writer.finish().unwrap();
    assert_eq!(stream.flushed, stream.bytes.len());
    let archive = Archive::read(stream.bytes).unwrap();
    let tiles = archive.pictures().iter().flat_map(|it| it.tiles());
    let tiles: Vec<_> = tiles.map(|tile| (tile.method, tile.length)).collect();
    let [(Method::Model, one), (Method::Prediction, other)] = tiles[..] else {
        panic!("{tiles:?}");
    };
    let expected = Written {
        pictures: 2,
        values: 35 + 576,
        tiles: 2,
        predicted: 1,
        tile_bytes: (one + other) as u64,
        bytes: archive.length() as u64,
    };
    assert_eq!(written, expected);
}
