//! Records of binary values, gzipped or not. They have no checksum: the result must
//! have the exact bytes of the file.

use std::path::Path;

use anyhow::Result;
use pixelcnn_data::Images;
use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::expected::{equal, gunzip, gzip, load, noise, write};
use super::{Target, Verdict};
use crate::mutation::mutate;

const SIDE: usize = 4;
const SIZE: usize = 3 * SIDE * SIDE;
const CLASSES: usize = 5;

pub(super) struct Records {
    content: Vec<u8>,
    gzipped: Vec<u8>,
    rest: Images,
}

impl Records {
    /// # Errors
    /// When a file cannot be written.
    pub(super) fn new(folder: &Path) -> Result<Self> {
        let content = records(7, 1);
        let rest = records(3, 2);
        write(folder, "rest.bin", &rest)?;
        write(folder, "classes.txt", "a\nb\nc\nd\ne\n")?;
        Ok(Self {
            gzipped: gzip(&content)?,
            content,
            rest: images(&rest).ok_or_else(|| anyhow::anyhow!("the seeds are no records"))?,
        })
    }
}

/// Records with labels below the number of classes.
pub(super) fn records(count: usize, seed: u64) -> Vec<u8> {
    let mut bytes = noise(count * (SIZE + 1), seed);
    for record in bytes.chunks_exact_mut(SIZE + 1) {
        record[0] %= CLASSES as u8;
    }
    bytes
}

/// The images of records, exactly as the format defines them; None if a record is
/// incomplete.
fn images(bytes: &[u8]) -> Option<Images> {
    let records: Vec<&[u8]> = bytes.chunks(SIZE + 1).collect();
    let whole = records.iter().all(|record| record.len() == SIZE + 1);
    let labels: Vec<u32> = records.iter().map(|record| record[0].into()).collect();
    if !whole || records.is_empty() || labels.iter().any(|&label| label >= CLASSES as u32) {
        return None;
    }
    let values = records
        .iter()
        .flat_map(|record| &record[1..])
        .copied()
        .collect();
    Images::new((3, SIDE, SIDE), values, labels).ok()
}

impl Target for Records {
    fn run(&mut self, random: &mut ChaCha8Rng, folder: &Path) -> Result<Verdict> {
        let (name, bytes) = match random.random_bool(0.5) {
            true => ("train.bin", mutate(random, &self.content, &self.gzipped)),
            false => ("train.bin.gz", mutate(random, &self.gzipped, &self.content)),
        };
        write(folder, name, &bytes)?;
        // The content or the name decides whether a file is gzipped.
        let content = match (name, bytes.starts_with(&[0x1f, 0x8b])) {
            ("train.bin", false) => Some(bytes),
            _ => gunzip(&bytes, 1 << 20),
        };
        let train = content.as_deref().and_then(images);
        let expected = train.map(|train| [train, self.rest.clone(), self.rest.clone()]);
        let at = |name: &str| folder.join(name).display().to_string();
        let spec = format!(
            "records:{},valid={rest},test={rest},classes={},side={SIDE}",
            at(name),
            at("classes.txt"),
            rest = at("rest.bin")
        );
        Ok(equal(load(&spec), expected.as_ref(), "images"))
    }
}
