//! CIFAR-10's archive: the checksum of gzip covers all of it.

use std::path::Path;

use anyhow::Result;
use pixelcnn_data::Images;
use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::expected::{either, equal, gzip, load, noise, write};
use super::{Target, Verdict};
use crate::mutation::mutate;

pub(super) struct Cifar {
    archive: Vec<u8>,
    gzipped: Vec<u8>,
    expected: Option<[Images; 3]>,
}

impl Cifar {
    /// # Errors
    /// When the archive cannot be made.
    pub(super) fn new() -> Result<Self> {
        let archive = archive()?;
        Ok(Self {
            gzipped: gzip(&archive)?,
            archive,
            expected: None,
        })
    }
}

fn archive() -> Result<Vec<u8>> {
    let mut builder = tar::Builder::new(Vec::new());
    let mut add = |name: &str, content: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        let path = format!("cifar-10-batches-bin/{name}");
        builder.append_data(&mut header, path, content)
    };
    let batches = (1..=5).map(|batch| format!("data_batch_{batch}.bin"));
    for (name, seed) in batches.chain(["test_batch.bin".to_owned()]).zip(1..) {
        let mut record = noise(2 * 3073, seed);
        for at in [0, 3073] {
            record[at] %= 3;
        }
        // Flat pictures keep the archive short.
        record
            .iter_mut()
            .enumerate()
            .filter(|(at, _)| at % 3073 > 40)
            .for_each(|(_, it)| *it = 9);
        add(&name, &record)?;
    }
    add("batches.meta.txt", b"a\nb\nc\n\n")?;
    add("readme.html", b"read me")?;
    Ok(builder.into_inner()?)
}

impl Target for Cifar {
    fn run(&mut self, random: &mut ChaCha8Rng, folder: &Path) -> Result<Verdict> {
        let name = "cifar-10-binary.tar.gz";
        let spec = format!("cifar10:{}", folder.join(name).display());
        if self.expected.is_none() {
            write(folder, name, &self.gzipped)?;
            self.expected = Some(load(&spec)?);
        }
        // Inside gzip, tar has checksums only for its headers.
        let inside = random.random_bool(0.4);
        let bytes = match inside {
            true => gzip(&mutate(random, &self.archive, &self.gzipped))?,
            false => mutate(random, &self.gzipped, &self.archive[..3000]),
        };
        write(folder, name, bytes)?;
        let read = load(&spec);
        Ok(match inside {
            true => either(read),
            false => equal(read, self.expected.as_ref(), "images"),
        })
    }
}
