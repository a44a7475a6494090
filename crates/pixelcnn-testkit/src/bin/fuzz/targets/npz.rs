//! NumPy archives, as of ImageNet. Each array has a CRC-32.

use std::io::{Cursor, Write};
use std::path::Path;

use anyhow::{Context, Result};
use pixelcnn_data::Images;
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use super::expected::{either, equal, load, noise, write};
use super::{Target, Verdict};
use crate::mutation::mutate;

const IMAGES: usize = 2;
const MUTATED: &str = "train_data_batch_2.npz";

pub(super) struct Npz {
    seeds: [Vec<u8>; 2],
    members: [Vec<u8>; 2],
    expected: [Images; 3],
}

impl Npz {
    /// # Errors
    /// When a file cannot be written, or the seeds are refused.
    pub(super) fn new(folder: &Path) -> Result<Self> {
        let members = members(2);
        let archive = |method| archive(&members, method);
        let seeds = [
            archive(CompressionMethod::Stored)?,
            archive(CompressionMethod::Deflated)?,
        ];
        let names = (1..=10).map(|batch| format!("train_data_batch_{batch}.npz"));
        for (name, seed) in names.chain(["val_data.npz".into()]).zip(1..) {
            let bytes = self::archive(&self::members(seed), CompressionMethod::Stored)?;
            write(folder, &name, bytes)?;
        }
        let expected = read(folder).context("the seeds are refused")?;
        Ok(Self {
            seeds,
            members,
            expected,
        })
    }
}

fn read(folder: &Path) -> Result<[Images; 3], pixelcnn_data::DataError> {
    load(&format!("imagenet32:{}", folder.display()))
}

/// The arrays `data` and `labels`.
fn members(seed: u64) -> [Vec<u8>; 2] {
    let npy = |kind: &str, shape: &str, values: &[u8]| {
        let header = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': ({shape}), }}");
        let length = (header.len() as u16).to_le_bytes();
        [b"\x93NUMPY\x01\x00", &length[..], header.as_bytes(), values].concat()
    };
    let labels = [7_i64, 1000].map(i64::to_le_bytes).concat();
    // Half of an image is flat, so that there is something to compress.
    let mut values = noise(IMAGES * 3072, seed);
    values
        .chunks_exact_mut(2)
        .filter(|pair| pair[0] > 99)
        .for_each(|pair| pair.fill(9));
    [
        npy("|u1", &format!("{IMAGES}, 3072"), &values),
        npy("<i8", &format!("{IMAGES},"), &labels),
    ]
}

fn archive(members: &[Vec<u8>; 2], method: CompressionMethod) -> Result<Vec<u8>> {
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(method);
    for (name, member) in ["data.npy", "labels.npy"].into_iter().zip(members) {
        archive.start_file(name, options)?;
        archive.write_all(member)?;
    }
    Ok(archive.finish()?.into_inner())
}

impl Target for Npz {
    fn run(&mut self, random: &mut ChaCha8Rng, folder: &Path) -> Result<Verdict> {
        let which = random.random_range(0..2);
        let inside = random.random_bool(0.3);
        let bytes = match inside {
            // Other arrays with correct checksums, as from a faulty writer.
            true => {
                let mut members = self.members.clone();
                let at = random.random_range(0..2);
                members[at] = mutate(random, &members[at], &self.members[1]);
                let methods = [CompressionMethod::Stored, CompressionMethod::Deflated];
                archive(&members, methods[which])?
            }
            false => mutate(random, &self.seeds[which], &self.seeds[1 - which]),
        };
        write(folder, MUTATED, bytes)?;
        let read = read(folder);
        Ok(match inside {
            true => either(read),
            false => equal(read, Some(&self.expected), "images"),
        })
    }
}
