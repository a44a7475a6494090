//! Archives of compressed pictures.
//!
//! Records have checksums: what is decoded of a changed archive must be the pixels of a
//! picture of the seeds. If a head and its checksum were both changed, any result is allowed
//! but a panic, an abort or a hang.

use std::path::Path;

use anyhow::{Context, Result};
use candle_core::Device;
use pixelcnn_codec::{
    Archive, ArchiveWriter, Area, Codec, CodecError, Decoded, Metadata, Picture, TileSide, Wanted,
};
use pixelcnn_models::{ImageShape, Model, ModelConfig, PixelCnnConfig};
use rand::Rng;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use super::expected::{noise, write};
use super::{Target, Verdict};
use crate::mutation::mutate;

pub(super) struct Archives {
    codec: Codec,
    seeds: Vec<Vec<u8>>,
    pictures: Vec<Picture>,
}

impl Archives {
    /// # Errors
    /// When a seed cannot be made.
    pub(super) fn new() -> Result<Self> {
        let image = ImageShape {
            channels: 1,
            height: 4,
            width: 4,
            levels: 8,
        };
        let config = ModelConfig::from(PixelCnnConfig {
            image,
            first_kernel: 3,
            kernel: 3,
            blocks: 1,
            maps: 2,
            head: 2,
            ..PixelCnnConfig::cifar10()
        });
        let (model, _) = Model::initialise(&config, 1, &Device::Cpu)?;
        let codec = Codec::new(&model)?.with_threads(1);
        let (mut seeds, mut pictures) = (Vec::new(), Vec::new());
        for (seed, side) in [
            (1, TileSide::Pixels(4)),
            (2, TileSide::Whole),
            (3, TileSide::Pixels(4)),
        ] {
            let mut archive = ArchiveWriter::new(&codec, Vec::new(), side)?;
            for (name, height, width) in [("a.png", 6, 5), ("b/smooth.png", 7, 9)] {
                let values = match name.contains("smooth") {
                    true => vec![seed as u16; height * width],
                    false => noise(height * width, seed)
                        .iter()
                        .map(|byte| u16::from(byte % 8))
                        .collect(),
                };
                let metadata = vec![Metadata {
                    tag: *b"gAMA",
                    bytes: noise(4, seed),
                }];
                let picture = Picture {
                    name: name.into(),
                    height,
                    width,
                    values,
                    metadata,
                };
                archive.add(&picture)?;
                pictures.push(picture);
            }
            seeds.push(archive.finish()?.0);
        }
        Ok(Self {
            codec,
            seeds,
            pictures,
        })
    }

    /// Whether every decoded value is that of a picture of the seeds.
    fn is_right(&self, archive: &Archive, decoded: &Decoded) -> bool {
        let entry = &archive.pictures()[decoded.wanted.picture];
        self.pictures.iter().any(|picture| {
            let is_missing = |place: usize| {
                let pixel = Area {
                    row: place / picture.width,
                    column: place % picture.width,
                    height: 1,
                    width: 1,
                };
                decoded
                    .missing
                    .iter()
                    .any(|tile| tile.area.intersection(&pixel).is_some())
            };
            let values = decoded.values.iter().zip(&picture.values).enumerate();
            let mut values = values.filter(|(place, _)| !is_missing(*place));
            picture.name == entry.name()
                && (picture.height, picture.width) == entry.size()
                && archive
                    .metadata(entry)
                    .is_ok_and(|found| found == picture.metadata)
                && values.all(|(_, (found, expected))| found == expected)
        })
    }

    fn read(&self, bytes: Vec<u8>, any: bool) -> Result<Verdict, CodecError> {
        let archive = Archive::read(bytes)?;
        let wanted = archive
            .pictures()
            .iter()
            .enumerate()
            .map(|(picture, entry)| {
                let (height, width) = entry.size();
                let area = Area::whole(height, width);
                Wanted { picture, area }
            });
        let (mut wrong, mut pixels) = (false, false);
        let wanted: Vec<_> = wanted.collect();
        archive.decode::<CodecError>(&self.codec, &wanted, &mut |archive, decoded| {
            wrong |= !any
                && archive
                    .metadata(&archive.pictures()[decoded.wanted.picture])
                    .is_ok()
                && !self.is_right(archive, &decoded);
            pixels |= decoded.missing.is_empty();
            Ok(())
        })?;
        Ok(match (wrong, pixels) {
            (true, _) => Verdict::Changed("other pixels than a picture has".into()),
            (false, true) => Verdict::Accepted,
            (false, false) => Verdict::Refused("no whole picture is left".into()),
        })
    }
}

impl Target for Archives {
    fn run(&mut self, random: &mut ChaCha8Rng, folder: &Path) -> Result<Verdict> {
        let seed = self.seeds.choose(random).context("there are no seeds")?;
        let other = self.seeds.choose(random).context("there are no seeds")?;
        let rebuilds = random.random_range(0..4) == 0;
        let bytes = match rebuilds {
            true => rebuilt(random, seed, other).context("a seed is no archive")?,
            false => mutate(random, seed, other),
        };
        write(folder, "some.pxc", &bytes)?;
        Ok(match self.read(bytes, rebuilds) {
            Ok(verdict) => verdict,
            Err(error) => Verdict::Refused(error.to_string()),
        })
    }
}

/// The length of the header without its checksum.
fn header(bytes: &[u8]) -> Option<usize> {
    Some(32 + usize::from(*bytes.get(31)?))
}

/// An archive with a changed head, header or payload and right checksums of all heads.
fn rebuilt(random: &mut ChaCha8Rng, seed: &[u8], other: &[u8]) -> Option<Vec<u8>> {
    let length = header(seed)?;
    let (mut start, mut rest) = (seed[..length].to_vec(), &seed[length + 8..]);
    let mut records = Vec::new();
    while !rest.is_empty() {
        // All heads of the seeds are shorter than 128 bytes.
        let (kind, head) = (rest[0], rest.get(2..2 + usize::from(rest[1]))?);
        let after = rest.get(6 + head.len()..)?;
        let payload = after.split_at_checked(payload(kind, head)?)?;
        records.push((kind, head.to_vec(), payload.0.to_vec()));
        rest = payload.1;
    }
    if random.random_range(0..8) == 0 {
        start = mutate(random, &start, other);
    }
    for _ in 0..random.random_range(1..=3) {
        let at = random.random_range(0..records.len());
        match random.random_range(0..8) {
            0..=4 => records[at].1 = mutate(random, &records[at].1, &[0xff, 0xff, 0x7f]),
            5 => records[at].2 = mutate(random, &records[at].2, other),
            6 => records.insert(at, records[at].clone()),
            _ => {
                let to = random.random_range(0..records.len());
                records.swap(at, to);
            }
        }
    }
    let archive = xxh3_64(&start);
    let mut bytes = start;
    bytes.extend(archive.to_le_bytes());
    let mut picture = archive;
    for (kind, mut head, payload) in records {
        head.truncate(127);
        let seed = if kind == b'T' { picture } else { archive };
        let record = [&[kind, head.len() as u8], &*head].concat();
        let checksum = xxh3_64_with_seed(&record, seed);
        if kind == b'P' {
            picture = checksum;
        }
        bytes.extend(record);
        bytes.extend((checksum as u32).to_le_bytes());
        bytes.extend(payload);
    }
    Some(bytes)
}

/// The length of the payload after a head.
fn payload(kind: u8, mut head: &[u8]) -> Option<usize> {
    let mut number = || {
        let mut number = 0;
        for place in 0.. {
            let (byte, rest) = head.split_first()?;
            head = rest;
            number |= usize::from(byte & 0x7f) << (7 * place);
            if byte & 0x80 == 0 {
                break;
            }
        }
        Some(number)
    };
    match kind {
        b'T' => {
            for _ in 0..3 {
                number()?;
            }
            number()
        }
        b'P' => {
            for _ in 0..4 {
                number()?;
            }
            let name = number()?;
            head = head.get(name + 8..)?;
            let (byte, _) = head.split_first()?;
            Some(usize::from(*byte))
        }
        _ => Some(0),
    }
}
