//! Damaged, foreign and old archives: what is decoded is right, or reported as missing.

use std::path::{Path, PathBuf};

use candle_core::Device;
use pixelcnn_codec::{Archive, Codec, CodecError, Metadata, Method, Picture, TileSide};
use pixelcnn_kernels::Level;
use pixelcnn_models::{
    Distribution, GatedPixelCnnConfig, ImageShape, Model, ModelConfig, PixelCnnConfig,
};

use crate::codec::{archive, codec, decoded, picture};

fn image(channels: usize, levels: usize) -> ImageShape {
    ImageShape {
        channels,
        height: 4,
        width: 4,
        levels,
    }
}

pub(crate) fn tiny() -> ModelConfig {
    ModelConfig::from(PixelCnnConfig {
        image: image(1, 8),
        first_kernel: 3,
        kernel: 3,
        blocks: 1,
        maps: 3,
        head: 3,
        distribution: Distribution::default(),
    })
}

pub(crate) fn pictures() -> Vec<Picture> {
    let mut pictures = vec![
        picture("a", (7, 5), image(1, 8)),
        picture("b/smooth", (6, 9), image(1, 8)),
    ];
    pictures[0].metadata.push(Metadata {
        tag: *b"gAMA",
        bytes: vec![1, 2, 3, 4],
    });
    pictures
}

/// Every decoded value is that of a picture with this name. Returns the number of missing tiles.
pub(crate) fn check(archive: &Archive, codec: &Codec, pictures: &[Picture]) -> usize {
    let mut missing = 0;
    for decoded in decoded(archive, codec).unwrap() {
        let entry = &archive.pictures()[decoded.wanted.picture];
        let is_right = |picture: &&Picture| {
            let is_missing = |place: usize| {
                decoded.missing.iter().any(|tile| {
                    let (row, column) = (place / picture.width, place % picture.width);
                    (tile.area.row..tile.area.row + tile.area.height).contains(&row)
                        && (tile.area.column..tile.area.column + tile.area.width).contains(&column)
                })
            };
            let values = decoded.values.iter().zip(&picture.values).enumerate();
            let mut values = values.filter(|(place, _)| !is_missing(*place));
            picture.name == entry.name()
                && (picture.height, picture.width) == entry.size()
                && values.all(|(_, (found, expected))| found == expected)
        };
        assert!(
            pictures.iter().any(|picture| is_right(&picture)),
            "{}",
            entry.name()
        );
        missing += decoded.missing.len();
    }
    missing
}

#[test]
fn a_truncated_archive_gives_its_whole_tiles() {
    let (codec, pictures) = (codec(&tiny()), pictures());
    let bytes = archive(&codec, &pictures, TileSide::Pixels(4));
    let whole = Archive::read(bytes.clone()).unwrap();
    assert_eq!(
        whole.metadata(&whole.pictures()[0]).unwrap(),
        pictures[0].metadata
    );
    let header = whole.pictures()[0].offset();
    for length in 0..bytes.len() {
        let cut = Archive::read(bytes[..length].to_vec());
        if length < header {
            let error = cut.unwrap_err().to_string();
            assert!(
                error.contains("empty") || error.contains("incomplete"),
                "{error}"
            );
            continue;
        }
        let cut = cut.unwrap();
        assert!(!cut.is_whole());
        check(&cut, &codec, &pictures);
        // A tile is there as soon as its last byte is.
        let there = |archive: &Archive| {
            let tiles = archive
                .pictures()
                .iter()
                .flat_map(|picture| picture.tiles());
            tiles
                .filter(|tile| tile.offset + tile.length <= length)
                .count()
        };
        assert_eq!(there(&cut), there(&whole), "{length}");
    }
}

#[test]
fn a_changed_byte_costs_at_most_its_tile() {
    let (codec, pictures) = (codec(&tiny()), pictures());
    let bytes = archive(&codec, &pictures, TileSide::Pixels(4));
    let whole = Archive::read(bytes.clone()).unwrap();
    let records: Vec<_> = whole
        .pictures()
        .iter()
        .map(|picture| picture.offset())
        .collect();
    let tiles = |archive: &Archive| -> usize {
        archive
            .pictures()
            .iter()
            .map(|picture| picture.tile_count())
            .sum()
    };
    for at in 0..bytes.len() {
        for change in [1, 0x80, 0xff] {
            let mut changed = bytes.clone();
            changed[at] ^= change;
            let Ok(archive) = Archive::read(changed) else {
                assert!(at < records[0], "{at}");
                continue;
            };
            let missing = check(&archive, &codec, &pictures);
            match archive.pictures().len() {
                2 => assert!(missing <= 1, "{at}: {missing}"),
                // The record of a picture is lost, and its tiles with it.
                _ => {
                    assert!(missing == 0 && !archive.is_whole() && tiles(&archive) < tiles(&whole))
                }
            }
        }
    }
}

#[test]
fn lost_and_added_bytes_cost_at_most_the_tiles_beside_them() {
    let (codec, pictures) = (codec(&tiny()), pictures());
    let bytes = archive(&codec, &pictures, TileSide::Pixels(4));
    let whole = Archive::read(bytes.clone()).unwrap();
    let tile = whole.pictures()[0].tiles().nth(1).unwrap();
    for (cut, add) in [(1, 0), (3, 0), (0, 1), (0, 200), (2, 7)] {
        let mut changed = bytes.clone();
        let at = tile.offset + 1;
        changed.splice(at..at + cut, vec![0x54; add]);
        let archive = Archive::read(changed).unwrap();
        assert_eq!(check(&archive, &codec, &pictures), 1, "{cut} {add}");
        assert!(!archive.gaps().is_empty());
    }
}

/// Tiles of another archive with the same names and sizes are not put into a picture.
#[test]
fn spliced_archives_mix_no_pixels() {
    let codec = codec(&tiny());
    let ones = pictures();
    let mut others = pictures();
    for picture in &mut others {
        picture
            .values
            .iter_mut()
            .for_each(|value| *value = (*value + 1) % 8);
    }
    let side = TileSide::Pixels(4);
    let (one, other) = (archive(&codec, &ones, side), archive(&codec, &others, side));
    let all = [ones, others].concat();
    for at in (0..one.len()).step_by(17) {
        for from in (0..other.len()).step_by(19) {
            let spliced = [&one[..at], &other[from..]].concat();
            if let Ok(archive) = Archive::read(spliced) {
                check(&archive, &codec, &all);
            }
        }
    }
}

#[test]
fn foreign_files_and_other_models_are_refused() {
    let codec_ = codec(&tiny());
    let bytes = archive(&codec_, &pictures(), TileSide::default());
    let (other, _) = Model::initialise(&tiny(), 4, &Device::Cpu).unwrap();
    let other = Codec::new(&other)
        .unwrap()
        .with_name("people/other")
        .unwrap();
    let error = decoded(&Archive::read(bytes.clone()).unwrap(), &other).unwrap_err();
    assert!(matches!(error, CodecError::OtherModel { .. }));
    let text = error.to_string();
    assert!(text.contains(&codec_.identity().hexadecimal()), "{text}");
    assert!(text.contains("(1 x 8 levels, people/other)"), "{text}");
    for foreign in [&b"\x89PNG\r\n\x1a\n\0\0"[..], b"P", &[0; 100]] {
        let error = Archive::read(foreign.to_vec()).unwrap_err().to_string();
        assert!(error.contains("it begins differently"), "{error}");
    }
    // Later versions, with a right checksum.
    for (at, part) in [
        (8, "version 2 of the format"),
        (10, "version 2 of the engine"),
    ] {
        let mut later = bytes.clone();
        later[at] = 2;
        let end = 32 + usize::from(later[31]);
        let checksum = xxhash_rust::xxh3::xxh3_64(&later[..end]);
        later[end..end + 8].copy_from_slice(&checksum.to_le_bytes());
        let error = Archive::read(later).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
}

/// The names of the committed archives, and their models.
fn golden() -> [(&'static str, ModelConfig); 3] {
    let gated = |distribution| {
        ModelConfig::from(GatedPixelCnnConfig {
            image: image(3, 256),
            first_kernel: 5,
            kernel: 3,
            blocks: 2,
            maps: 7,
            head: 4,
            distribution,
            ..GatedPixelCnnConfig::imagenet32()
        })
    };
    let mixture = Distribution::LogisticMixture {
        components: 3,
        coupled: true,
    };
    let deep = PixelCnnConfig {
        image: image(1, 65_536),
        distribution: mixture,
        ..tiny().get::<PixelCnnConfig>().unwrap().clone()
    };
    [
        ("softmax", gated(Distribution::default())),
        ("mixture", gated(mixture)),
        ("deep", ModelConfig::from(deep)),
    ]
}

fn golden_pictures(config: &ModelConfig) -> Vec<Picture> {
    let image = config.image();
    let mut pictures = vec![
        picture("noise.png", (13, 11), image),
        picture("folder/smooth.png", (9, 17), image),
    ];
    pictures[0].metadata.push(Metadata {
        tag: *b"gAMA",
        bytes: vec![0, 0, 0xb1, 0x8f],
    });
    pictures
}

fn golden_folder(name: &str) -> PathBuf {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures");
    fixtures.join("archives").join(name)
}

/// Archives that were made with two threads and the fastest instructions of one machine decode
/// in portable code on one thread, in this and in every later version.
#[test]
fn old_archives_decode_in_portable_code() {
    for (name, config) in golden() {
        let folder = golden_folder(name);
        let model = Model::load(&folder, &Device::Cpu).unwrap();
        let bytes = std::fs::read(folder.join("archive.pxc")).unwrap();
        Level::Portable.scope(|| {
            let codec = Codec::new(&model).unwrap().with_threads(1);
            let archive = Archive::read(bytes.clone()).unwrap();
            assert!(archive.is_whole());
            let pictures = golden_pictures(&config);
            assert_eq!(archive.pictures().len(), pictures.len());
            assert_eq!(check(&archive, &codec, &pictures), 0, "{name}");
            let tiles = archive
                .pictures()
                .iter()
                .flat_map(|picture| picture.tiles());
            let methods: Vec<_> = tiles.map(|tile| tile.method).collect();
            for method in [Method::Model, Method::Prediction] {
                assert!(methods.contains(&method), "{name}: {methods:?}");
            }
            let metadata = archive.metadata(&archive.pictures()[0]).unwrap();
            assert_eq!(metadata, pictures[0].metadata);
        });
    }
}

/// Writes the missing folder of a model, with random weights.
#[test]
fn every_golden_archive_is_there() {
    for (name, config) in golden() {
        let folder = golden_folder(name);
        if !folder.join("archive.pxc").exists() {
            let (model, _) = Model::initialise(&config, 3, &Device::Cpu).unwrap();
            model.save(&folder).unwrap();
            let codec = Codec::new(&model).unwrap().with_threads(2);
            let bytes = archive(&codec, &golden_pictures(&config), TileSide::Pixels(8));
            std::fs::write(folder.join("archive.pxc"), bytes).unwrap();
            panic!("{}: written just now; commit it", folder.display());
        }
    }
}
