//! IDX files, gzipped or not. Only gzip has a checksum.

use std::path::Path;

use anyhow::Result;
use pixelcnn_data::Images;
use rand::Rng;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;

use super::expected::{equal, gunzip, gzip, load, noise, write};
use super::{Target, Verdict};
use crate::mutation::mutate;

const IMAGES: &str = "train-images-idx3-ubyte";
const LABELS: &str = "train-labels-idx1-ubyte";

pub(super) struct Mnist {
    images: Vec<u8>,
    labels: Vec<u8>,
    /// The unchanged test images.
    test: Images,
}

impl Mnist {
    /// # Errors
    /// When a file cannot be written.
    pub(super) fn new(folder: &Path) -> Result<Self> {
        write(folder, "t10k-images-idx3-ubyte", idx_images(3, 2))?;
        write(folder, "t10k-labels-idx1-ubyte", idx_labels(3))?;
        let test = images(&idx_images(3, 2), &idx_labels(3));
        Ok(Self {
            images: idx_images(12, 1),
            labels: idx_labels(12),
            test: test.ok_or_else(|| anyhow::anyhow!("the seeds are no IDX files"))?,
        })
    }
}

fn idx_images(count: u8, seed: u64) -> Vec<u8> {
    let head = [0, 0, 8, 3, 0, 0, 0, count, 0, 0, 0, 5, 0, 0, 0, 4];
    [&head[..], &noise(usize::from(count) * 20, seed)].concat()
}

fn idx_labels(count: u8) -> Vec<u8> {
    let head = [0, 0, 8, 1, 0, 0, 0, count];
    head.into_iter()
        .chain((0..count).map(|it| it % 10))
        .collect()
}

/// The sides and the values of a file with this number of axes, exactly as the format
/// defines them.
fn parse(bytes: &[u8], axes: usize) -> Option<(Vec<usize>, &[u8])> {
    let rest = bytes.strip_prefix(&[0, 0, 8, axes as u8])?;
    let (sides, values) = rest.split_at_checked(4 * axes)?;
    let side = |bytes: &[u8]| {
        bytes
            .iter()
            .fold(0, |sum, &byte| sum << 8 | usize::from(byte))
    };
    let sides: Vec<usize> = sides.chunks(4).map(side).collect();
    let size = sides
        .iter()
        .try_fold(1_usize, |size, &side| size.checked_mul(side))?;
    (size == values.len()).then_some((sides, values))
}

fn images(images: &[u8], labels: &[u8]) -> Option<Images> {
    let (sides, values) = parse(images, 3)?;
    let (count, labels) = parse(labels, 1)?;
    let labels: Vec<u32> = labels.iter().map(|&label| label.into()).collect();
    let whole = sides[0] == count[0] && !labels.is_empty();
    let shape = (1, sides[1], sides[2]);
    whole.then(|| Images::new(shape, values.to_vec(), labels).ok())?
}

impl Target for Mnist {
    fn run(&mut self, random: &mut ChaCha8Rng, folder: &Path) -> Result<Verdict> {
        let (mut pair, at) = (
            [self.images.clone(), self.labels.clone()],
            random.random_range(0..2),
        );
        let mutated = [IMAGES, LABELS][at];
        for name in [IMAGES, LABELS] {
            for name in [name.to_owned(), format!("{name}.gz")] {
                _ = std::fs::remove_file(folder.join(name));
            }
        }
        let seed = pair[at].clone();
        let forms = ["plain", "inside", "gzip"];
        match forms.choose(random).copied().unwrap_or("plain") {
            "gzip" => {
                let bytes = mutate(random, &gzip(&seed)?, &self.labels);
                write(folder, &format!("{mutated}.gz"), &bytes)?;
                pair[at] = gunzip(&bytes, 1 << 20).unwrap_or_default();
            }
            "inside" => {
                pair[at] = mutate(random, &seed, &self.labels);
                write(folder, &format!("{mutated}.gz"), gzip(&pair[at])?)?;
            }
            _ => {
                pair[at] = mutate(random, &seed, &self.labels);
                write(folder, mutated, &pair[at])?;
            }
        }
        write(folder, [LABELS, IMAGES][at], &pair[1 - at])?;
        let train = images(&pair[0], &pair[1]).filter(|train| train.shape() == self.test.shape());
        let expected = train.map(|train| parted(&train, &self.test)).transpose()?;
        let read = load(&format!("mnist:{}", folder.display()));
        Ok(equal(read, expected.as_ref(), "images"))
    }
}

/// Every tenth training image is a validation image.
fn parted(train: &Images, test: &Images) -> Result<[Images; 3]> {
    let (held, kept): (Vec<usize>, Vec<usize>) = (0..train.len()).partition(|at| at % 10 == 9);
    Ok([train.select(&kept)?, train.select(&held)?, test.clone()])
}
