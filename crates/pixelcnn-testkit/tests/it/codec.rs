//! Lossless compression: what is decoded is what was encoded, in hardly more bits than the
//! model says.

use candle_core::Device;
use pixelcnn_codec::{
    Archive, ArchiveWriter, Area, Codec, CodecError, Decoded, Method, Picture, TileSide, Wanted,
};
use pixelcnn_kernels::Level;
use pixelcnn_models::{ImageShape, Model, ModelConfig};
use pixelcnn_testkit::models::{ModelCase, networks};

/// The networks that need no condition.
fn cases() -> Vec<ModelCase> {
    let mut cases = networks();
    cases.retain(|case| case.config.conditioning().is_none());
    assert!(cases.len() > 20);
    cases
}

pub(crate) fn codec(config: &ModelConfig) -> Codec {
    let (model, _) = Model::initialise(config, 3, &Device::Cpu).unwrap();
    Codec::new(&model).unwrap()
}

/// The mixing function of SplitMix64.
fn noise(index: u64) -> u64 {
    let mut bits = (index + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// A picture without a pattern; `smooth` ones are a slope, which prediction compresses well.
pub(crate) fn picture(name: &str, (height, width): (usize, usize), image: ImageShape) -> Picture {
    let smooth = name.contains("smooth");
    let value = |index: usize| match smooth {
        true => (index / image.channels % width + index / image.channels / width) % image.levels,
        false => (noise((index + 1000 * name.len()) as u64) % image.levels as u64) as usize,
    };
    Picture {
        name: name.to_string(),
        height,
        width,
        values: (0..height * width * image.channels)
            .map(|index| value(index) as u16)
            .collect(),
        metadata: Vec::new(),
    }
}

pub(crate) fn archive(codec: &Codec, pictures: &[Picture], side: TileSide) -> Vec<u8> {
    let mut archive = ArchiveWriter::new(codec, Vec::new(), side).unwrap();
    pictures
        .iter()
        .for_each(|picture| archive.add(picture).unwrap());
    archive.finish().unwrap().0
}

/// All pictures of an archive.
pub(crate) fn decoded(archive: &Archive, codec: &Codec) -> Result<Vec<Decoded>, CodecError> {
    let whole = |(picture, entry): (usize, &pixelcnn_codec::Entry)| {
        let (height, width) = entry.size();
        let area = Area::whole(height, width);
        Wanted { picture, area }
    };
    let wanted: Vec<_> = archive.pictures().iter().enumerate().map(whole).collect();
    let mut all = Vec::new();
    archive.decode::<CodecError>(codec, &wanted, &mut |_, decoded| {
        all.push(decoded);
        Ok(())
    })?;
    Ok(all)
}

fn check(archive: &Archive, codec: &Codec, pictures: &[Picture], name: &str) {
    assert!(archive.is_whole(), "{name}");
    let all = decoded(archive, codec).unwrap();
    assert_eq!(all.len(), pictures.len(), "{name}");
    for ((entry, decoded), picture) in archive.pictures().iter().zip(all).zip(pictures) {
        assert_eq!(
            (entry.name(), entry.size()),
            (&*picture.name, (picture.height, picture.width))
        );
        assert!(decoded.missing.is_empty(), "{name}: {:?}", decoded.missing);
        assert_eq!(decoded.values, picture.values, "{name}");
    }
}

/// Every kind of network, odd sizes, and pictures of both methods.
#[test]
fn pictures_come_back() {
    let mut methods = Vec::new();
    for case in cases() {
        let (codec, image) = (codec(&case.config), case.config.image());
        let sizes = [(1, 1), (1, 11), (13, 1), (7, 5), (4, 8)];
        let mut pictures: Vec<_> = sizes
            .into_iter()
            .map(|size| picture(&format!("{}x{}", size.0, size.1), size, image))
            .collect();
        pictures.push(picture("smooth", (9, 10), image));
        for side in [TileSide::Pixels(4), TileSide::Whole] {
            let bytes = archive(&codec, &pictures, side);
            let archive = Archive::read(bytes).unwrap();
            check(&archive, &codec, &pictures, &case.name);
            let tiles = archive
                .pictures()
                .iter()
                .flat_map(|picture| picture.tiles());
            methods.extend(tiles.map(|tile| tile.method));
        }
    }
    assert!(methods.contains(&Method::Model) && methods.contains(&Method::Prediction));
}

#[test]
fn bytes_do_not_depend_on_threads_or_instructions() {
    for case in cases() {
        let (codec, image) = (codec(&case.config), case.config.image());
        if image.levels > 1_000 {
            continue;
        }
        let pictures = [
            picture("a", (7, 9), image),
            picture("smooth", (6, 4), image),
        ];
        let bytes = archive(&codec, &pictures, TileSide::Pixels(3));
        for level in Level::available() {
            for threads in [1, 2, 3] {
                let codec = codec.clone().with_threads(threads);
                level.scope(|| {
                    let same = archive(&codec, &pictures, TileSide::Pixels(3)) == bytes;
                    assert!(same, "{}: {level:?}, {threads}", case.name);
                    let archive = Archive::read(bytes.clone()).unwrap();
                    check(&archive, &codec, &pictures, &case.name);
                });
            }
        }
    }
}

#[test]
fn a_part_of_a_picture_is_decoded_alone() {
    let case = &cases()[0];
    let (codec, image) = (codec(&case.config), case.config.image());
    let picture = picture("a", (21, 34), image);
    let archive = Archive::read(archive(
        &codec,
        std::slice::from_ref(&picture),
        TileSide::Pixels(8),
    ))
    .unwrap();
    for area in ["0,0,34,21", "7,7,2,2", "8,8,8,8", "33,20,1,1", "0,15,9,2"] {
        let area: Area = area.parse().unwrap();
        let wanted = [Wanted { picture: 0, area }];
        archive
            .decode::<CodecError>(&codec, &wanted, &mut |_, decoded| {
                let mut expected: Vec<u16> = Vec::new();
                for row in area.row..area.row + area.height {
                    let first = (row * 34 + area.column) * image.channels;
                    expected.extend(&picture.values[first..first + area.width * image.channels]);
                }
                assert_eq!(decoded.values, expected, "{area}");
                Ok(())
            })
            .unwrap();
    }
    let wanted = [Wanted {
        picture: 0,
        area: "30,0,5,1".parse().unwrap(),
    }];
    let error = archive
        .decode::<CodecError>(&codec, &wanted, &mut |_, _| Ok(()))
        .unwrap_err();
    assert!(
        error.to_string().contains("not within its 34 x 21 pixels"),
        "{error}"
    );
}

#[test]
fn models_and_pictures_that_cannot_be_compressed_are_refused() {
    for case in networks() {
        if case.config.conditioning().is_some() {
            let (model, _) = Model::initialise(&case.config, 3, &Device::Cpu).unwrap();
            let error = Codec::new(&model).unwrap_err().to_string();
            assert!(error.contains("needs a condition"), "{error}");
        }
    }
    let case = &cases()[0];
    let (codec, image) = (codec(&case.config), case.config.image());
    let mut writer = ArchiveWriter::new(&codec, Vec::new(), TileSide::default()).unwrap();
    let sound = picture("a", (2, 2), image);
    writer.add(&sound).unwrap();
    for (wrong, part) in [
        (sound.clone(), "two pictures have this name"),
        (
            Picture {
                name: "../b".into(),
                ..sound.clone()
            },
            "without `..` expected",
        ),
        (
            Picture {
                name: "b".into(),
                values: vec![9; 4],
                ..sound.clone()
            },
            "found the value 9",
        ),
        (
            Picture {
                name: "levels".into(),
                values: vec![image.levels as u16; 4],
                ..sound.clone()
            },
            "levels, found the value",
        ),
        (
            Picture {
                name: "c".into(),
                height: 0,
                ..sound.clone()
            },
            "values expected",
        ),
        (
            Picture {
                name: "d".into(),
                height: 3,
                ..sound.clone()
            },
            "6 values expected, found 4",
        ),
    ] {
        let error = writer.add(&wrong).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
}
