//! Parquet files of a data set of the hub. Its pictures are PNG files, whose checksums must
//! protect their values; labels have none.

use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use image::{ImageFormat, Rgb, RgbImage};
use parquet::basic::{Compression, ZstdLevel};
use parquet::data_type::{ByteArray, ByteArrayType, Int64Type};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use pixelcnn_data::Images;
use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::expected::{load, noise, write};
use super::{HUB, Target, Verdict};
use crate::mutation::mutate;

const COMMIT: &str = "0123456789012345678901234567890123456789";
const FILE: &str = "train-00000-of-00001.parquet";
const SCHEMA: &str = "message schema {
    optional group img { optional binary bytes; optional binary path (STRING); }
    optional int64 label;
}";
/// Rows of the training file, and height and width of the pictures.
const ROWS: usize = 12;
const SIDES: (u32, u32) = (3, 2);

pub(super) struct Parquet {
    seeds: [Vec<u8>; 3],
    /// The values of every picture, `[n, c, h, w]`.
    pictures: Vec<u8>,
}

impl Parquet {
    /// # Errors
    /// When a file cannot be written, or the seeds are refused.
    pub(super) fn new(folder: &Path) -> Result<Self> {
        let snapshot = snapshot(folder);
        std::fs::create_dir_all(&snapshot)?;
        let refs = folder.join(HUB).join("datasets--owner--set/refs");
        std::fs::create_dir_all(&refs)?;
        write(&refs, "main", COMMIT)?;
        let test = file(2, 2, Compression::UNCOMPRESSED)?;
        write(&snapshot, "test-00000-of-00001.parquet", test)?;
        let zstd = Compression::ZSTD(ZstdLevel::default());
        let seeds = [
            file(1, ROWS, Compression::UNCOMPRESSED)?,
            file(1, ROWS, Compression::SNAPPY)?,
            file(1, ROWS, zstd)?,
        ];
        let mut pictures = Vec::new();
        for seed in &seeds {
            write(&snapshot, FILE, seed)?;
            let read = load("hf:owner/set").context("the seeds are refused")?;
            pictures = values(&read)?;
        }
        Ok(Self { seeds, pictures })
    }
}

fn snapshot(folder: &Path) -> PathBuf {
    let repository = folder.join(HUB).join("datasets--owner--set");
    repository.join("snapshots").join(COMMIT)
}

/// The values of all images of all splits.
fn values(splits: &[Images; 3]) -> Result<Vec<u8>> {
    let mut all = Vec::new();
    for images in splits {
        for batch in images.in_order(1)? {
            all.extend(batch?.values.flatten_all()?.to_vec1::<u8>()?);
        }
    }
    Ok(all)
}

/// A Parquet file as the library `datasets` writes it, with a group of rows after another.
fn file(seed: u64, rows: usize, compression: Compression) -> Result<Vec<u8>> {
    let properties = WriterProperties::builder()
        .set_compression(compression)
        .build();
    let mut bytes = Vec::new();
    let schema = Arc::new(parse_message_type(SCHEMA)?);
    let mut writer = SerializedFileWriter::new(&mut bytes, schema, Arc::new(properties))?;
    let pictures: Vec<_> = (0..rows as u64)
        .map(|row| png(100 * seed + row))
        .collect::<Result<_>>()?;
    for pictures in pictures.chunks(5) {
        let mut group = writer.next_row_group()?;
        let (in_group, alone) = (vec![2; pictures.len()], vec![1; pictures.len()]);
        let paths = vec![ByteArray::from("name.png"); pictures.len()];
        for values in [pictures, &paths] {
            let mut column = group.next_column()?.context("a column is missing")?;
            let typed = column.typed::<ByteArrayType>();
            typed.write_batch(values, Some(&in_group), None)?;
            column.close()?;
        }
        let labels: Vec<i64> = (0..pictures.len() as i64).collect();
        let mut column = group.next_column()?.context("a column is missing")?;
        let typed = column.typed::<Int64Type>();
        typed.write_batch(&labels, Some(&alone), None)?;
        column.close()?;
        group.close()?;
    }
    writer.close()?;
    Ok(bytes)
}

fn png(seed: u64) -> Result<ByteArray> {
    let (height, width) = SIDES;
    let noise = noise((3 * height * width) as usize, seed);
    let pixel = |x: u32, y: u32| {
        let at = 3 * (y * width + x) as usize;
        Rgb([noise[at], noise[at + 1], noise[at + 2]])
    };
    let mut bytes = Cursor::new(Vec::new());
    RgbImage::from_fn(width, height, pixel).write_to(&mut bytes, ImageFormat::Png)?;
    Ok(ByteArray::from(bytes.into_inner()))
}

impl Target for Parquet {
    fn run(&mut self, random: &mut ChaCha8Rng, folder: &Path) -> Result<Verdict> {
        let [which, other] = [(); 2].map(|()| random.random_range(0..self.seeds.len()));
        let bytes = mutate(random, &self.seeds[which], &self.seeds[other]);
        write(&snapshot(folder), FILE, bytes)?;
        let read = match load("hf:owner/set") {
            Ok(read) => read,
            Err(error) => return Ok(Verdict::Refused(error.to_string())),
        };
        let size = (3 * SIDES.0 * SIDES.1) as usize;
        let known = |picture: &[u8]| self.pictures.chunks(size).any(|it| it == picture);
        Ok(match values(&read)?.chunks(size).all(known) {
            true => Verdict::Accepted,
            false => Verdict::Changed("a picture that the file does not have".to_string()),
        })
    }
}
