//! PNG and JPEG files, alone and in a folder of others.
//!
//! The chunks of a PNG have checksums: a changed file must give the original
//! picture, unless its checksum was corrected. A JPEG has no checksum, but a
//! truncated one must not give another picture.

use std::path::Path;

use anyhow::{Context, Result};
use image::codecs::jpeg::JpegEncoder;
use image::{ExtendedColorType, ImageEncoder};
use pixelcnn_data::read_picture;
use rand::Rng;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;

use super::expected::{load, noise, write};
use super::png_seeds::{Chunk, chunks, files, join};
use super::{Target, Verdict};
use crate::mutation::mutate;

/// The size of a picture and its red, green and blue planes.
type Planes = (Vec<usize>, Vec<u8>);

/// The images of the folder have this side.
const SIDE: usize = 8;

pub(super) struct Pictures {
    name: &'static str,
    seeds: Vec<Seed>,
}

struct Seed {
    bytes: Vec<u8>,
    /// `None` if the unchanged file is refused.
    planes: Option<Planes>,
}

impl Pictures {
    /// # Errors
    /// When a file cannot be written.
    pub(super) fn png(folder: &Path) -> Result<Self> {
        Self::new(folder, "b.png", files()?)
    }

    /// # Errors
    /// When a file cannot be written.
    pub(super) fn jpeg(folder: &Path) -> Result<Self> {
        let mut files = vec![
            include_bytes!("../../../../seeds/progressive.jpg").to_vec(),
            include_bytes!("../../../../seeds/cmyk.jpg").to_vec(),
        ];
        for (colour, side, quality) in [
            (ExtendedColorType::L8, 8, 90),
            (ExtendedColorType::Rgb8, 8, 75),
            (ExtendedColorType::Rgb8, 24, 95),
        ] {
            let count = (side * side) as usize * usize::from(colour.bits_per_pixel() / 8);
            let mut bytes = Vec::new();
            let encoder = JpegEncoder::new_with_quality(&mut bytes, quality);
            encoder.write_image(&noise(count, 3), side, side, colour)?;
            files.push(bytes);
        }
        Self::new(folder, "b.jpg", files)
    }

    fn new(folder: &Path, name: &'static str, files: Vec<Vec<u8>>) -> Result<Self> {
        let mut seeds = Vec::new();
        for bytes in files {
            write(folder, name, &bytes)?;
            let planes = planes(&folder.join(name)).ok();
            seeds.push(Seed { bytes, planes });
        }
        let sound = seeds.iter().filter(|seed| seed.planes.is_some()).count();
        anyhow::ensure!(
            2 * sound > seeds.len(),
            "{sound} of {} seeds are read",
            seeds.len()
        );
        std::fs::create_dir_all(folder.join("folder"))?;
        let plain = valid_picture()?;
        for name in ["a.png", "c.png"] {
            write(&folder.join("folder"), name, &plain)?;
        }
        Ok(Self { name, seeds })
    }
}

/// A valid picture for the folder.
fn valid_picture() -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let encoder = image::codecs::png::PngEncoder::new(&mut bytes);
    encoder.write_image(&[99; 3 * SIDE * SIDE], 8, 8, ExtendedColorType::Rgb8)?;
    Ok(bytes)
}

fn planes(path: &Path) -> Result<Planes, String> {
    let picture = read_picture(path).map_err(|error| error.to_string())?;
    let values = picture.flatten_all().and_then(|flat| flat.to_vec1());
    Ok((
        picture.dims().to_vec(),
        values.map_err(|error| error.to_string())?,
    ))
}

/// The expected result of a change.
#[derive(PartialEq)]
enum Rule {
    /// The original picture.
    Same,
    /// Any picture.
    Any,
}

impl Target for Pictures {
    fn run(&mut self, random: &mut ChaCha8Rng, folder: &Path) -> Result<Verdict> {
        let at = random.random_range(0..self.seeds.len());
        let seed = &self.seeds[at];
        let other = self.seeds.choose(random).context("there are no seeds")?;
        let (bytes, rule) = match (self.name, random.random_range(0..4)) {
            ("b.png", 0) => (rebuilt(random, &seed.bytes), Rule::Any),
            ("b.png", 1) => (cut_inside(random, &seed.bytes), Rule::Same),
            ("b.png", _) => (mutate(random, &seed.bytes, &other.bytes), Rule::Same),
            (_, 0 | 1) => {
                let cut = random.random_range(0..seed.bytes.len());
                (seed.bytes[..cut].to_vec(), Rule::Same)
            }
            _ => {
                let bytes = mutate(random, &seed.bytes, &other.bytes);
                let rule = match seed.bytes.starts_with(&bytes) {
                    true => Rule::Same,
                    false => Rule::Any,
                };
                (bytes, rule)
            }
        };
        write(folder, self.name, &bytes)?;
        let read = planes(&folder.join(self.name));
        let of_seeds = |read: &Planes| {
            // The result of a splice may be another seed.
            let mut seeds = [seed, other].into_iter();
            seeds.any(|seed| seed.planes.as_ref() == Some(read))
        };
        if let (Ok(read), Rule::Same) = (&read, &rule)
            && !of_seeds(read)
        {
            return Ok(Verdict::Changed("another picture than the file was".into()));
        }
        in_folder(folder, self.name, &bytes, read)
    }
}

/// A picture in a folder must give the same result as alone.
fn in_folder(
    folder: &Path,
    name: &str,
    bytes: &[u8],
    alone: Result<Planes, String>,
) -> Result<Verdict> {
    let folder = folder.join("folder");
    write(&folder, name, bytes)?;
    let read = load(&format!("folder:{},side={SIDE}", folder.display()));
    let size = [1, 3, SIDE, SIDE];
    Ok(match (alone, read) {
        (Err(_), Ok(_)) => Verdict::Changed("refused alone, read in a folder".into()),
        (Err(alone), Err(_)) => Verdict::Refused(alone),
        (Ok((found, _)), Err(error)) if found[2] < SIDE || found[3] < SIDE => {
            Verdict::Refused(error.to_string())
        }
        (Ok(_), Err(error)) => Verdict::Changed(format!("read alone, in a folder: {error}")),
        (Ok((found, planes)), Ok(splits)) => {
            let count: usize = splits.iter().map(|split| split.len()).sum();
            let mut there = false;
            for values in splits.iter().flat_map(|split| split.blocks()) {
                let values = values?;
                let mut images = values
                    .as_bytes()
                    .unwrap_or_default()
                    .chunks(3 * SIDE * SIDE);
                there |= images.any(|image| image == planes);
            }
            match (count, there || found != size) {
                (3, true) => Verdict::Accepted,
                (3, false) => Verdict::Changed("another picture in a folder than alone".into()),
                _ => Verdict::Changed(format!("{count} of 3 pictures")),
            }
        }
    })
}

/// Chunks changed, removed, repeated or added, with correct checksums.
fn rebuilt(random: &mut ChaCha8Rng, file: &[u8]) -> Vec<u8> {
    const KINDS: [&[u8; 4]; 12] = [
        b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"gAMA", b"iCCP", b"eXIf", b"acTL", b"fcTL",
        b"fdAT", b"sBIT",
    ];
    let mut chunks = chunks(file);
    for _ in 0..random.random_range(1..=2) {
        let at = random.random_range(0..chunks.len());
        match random.random_range(0..8) {
            0..=3 => chunks[at].data = mutate(random, &chunks[at].data, file),
            4 if chunks.len() > 1 => _ = chunks.remove(at),
            5 => chunks.insert(at, chunks[at].clone()),
            6 => {
                let to = random.random_range(0..chunks.len());
                chunks.swap(at, to);
            }
            _ => {
                let kind = **KINDS.choose(random).unwrap_or(&b"IDAT");
                let length = random.random_range(0..30);
                let data = noise(length, random.random());
                chunks.insert(at, Chunk { kind, data });
            }
        }
    }
    join(&chunks)
}

/// The compressed values without their end, as from a writer that was stopped.
fn cut_inside(random: &mut ChaCha8Rng, file: &[u8]) -> Vec<u8> {
    let mut chunks = chunks(file);
    for chunk in chunks.iter_mut().filter(|chunk| chunk.kind == *b"IDAT") {
        let length = random.random_range(0..chunk.data.len());
        chunk.data.truncate(length);
    }
    join(&chunks)
}
