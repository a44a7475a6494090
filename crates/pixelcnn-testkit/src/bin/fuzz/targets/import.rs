//! Checkpoints of other programs. Each entry of an archive has a CRC-32; safetensors has none.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};
use candle_core::Tensor;
use pixelcnn_import::{Format, Import, Settings, import};
use pixelcnn_testkit::foreign::{Sizes, Wrapping, archive, entries, settings, tensors, zipped};
use rand::Rng;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;
use safetensors::serialize;

use super::expected::write;
use super::{Target, Verdict};
use crate::mutation::mutate;

const FILE: &str = "theirs.ckpt";

/// Words of a pickle that change what it says.
const WORDS: [&[u8]; 14] = [
    b"HalfStorage\n",
    b"LongStorage\n",
    b"cposix\nsystem\n",
    b"ctorch._utils\n_rebuild_parameter\n",
    b"ccollections\nOrderedDict\n)R",
    b"h\x00",
    b"q\x00",
    b"\x94",
    b"K\x00",
    b"J\xff\xff\xff\xff",
    b"\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f",
    b"(",
    b"t",
    b"u",
];

/// A right file, in both forms.
struct Seed {
    format: Format,
    entries: Vec<(String, Vec<u8>)>,
    archive: Vec<u8>,
    safetensors: Vec<u8>,
    /// The weights of its model.
    weights: BTreeMap<String, Tensor>,
}

pub(super) struct Imports {
    seeds: Vec<Seed>,
}

impl Imports {
    /// # Errors
    /// When a seed cannot be made.
    pub(super) fn new(folder: &Path) -> Result<Self> {
        let mut seeds = Vec::new();
        for format in Format::ALL {
            for wrapping in [Wrapping::Bare, Wrapping::Lightning] {
                seeds.push(seed(folder, format, wrapping)?);
            }
        }
        Ok(Self { seeds })
    }
}

/// # Errors
/// When the seed is refused.
fn seed(folder: &Path, format: Format, wrapping: Wrapping) -> Result<Seed> {
    let sizes = Sizes {
        maps: 3,
        head: 3,
        first_kernel: 3,
        levels: 2,
        ..Sizes::small()
    };
    let tensors = tensors(format, sizes)?;
    let bytes = archive(&tensors, wrapping)?;
    let import = read(folder, format, &bytes).context("the seeds are refused")?;
    Ok(Seed {
        format,
        entries: entries(&tensors, wrapping)?,
        archive: bytes,
        safetensors: serialize(&tensors, None)?,
        weights: import.model.tensors().clone(),
    })
}

fn read(folder: &Path, format: Format, bytes: &[u8]) -> Result<Import> {
    write(folder, FILE, bytes)?;
    let settings = Settings::parse(settings(format))?;
    Ok(import(format, folder.join(FILE), &settings)?)
}

impl Target for Imports {
    fn run(&mut self, random: &mut ChaCha8Rng, folder: &Path) -> Result<Verdict> {
        let seed = self.seeds.choose(random).context("there are no seeds")?;
        let other = self.seeds.choose(random).context("there are no seeds")?;
        let (bytes, is_covered) = match random.random_range(0..4) {
            0 => (mutate(random, &seed.archive, &other.archive), true),
            1 => (mutate(random, &seed.safetensors, &other.safetensors), false),
            _ => match zipped(&changed(random, seed, other)) {
                Ok(bytes) => (bytes, false),
                // Two entries of one name cannot be written.
                Err(error) => return Ok(Verdict::Refused(error.to_string())),
            },
        };
        let model = match read(folder, seed.format, &bytes) {
            Ok(import) => import.model,
            Err(error) => return Ok(Verdict::Refused(error.to_string())),
        };
        // A checksum covers the numbers and the pickle, but another whole file may have
        // taken the place of this one.
        if is_covered
            && [seed, other]
                .iter()
                .all(|it| !same(&it.weights, model.tensors()))
        {
            return Ok(Verdict::Changed("other weights than the file has".into()));
        }
        super::models::use_once(&model);
        let finite = |tensor: &Tensor| {
            let zero = (tensor * 0.0)?.sum_all()?.to_scalar::<f32>()?;
            Ok::<_, candle_core::Error>(zero == 0.0)
        };
        for (name, tensor) in model.tensors() {
            if !finite(tensor)? {
                return Ok(Verdict::Changed(format!("{name}: not finite")));
            }
        }
        Ok(Verdict::Accepted)
    }
}

/// Entries of a faulty or hostile writer, with right checksums.
fn changed(random: &mut ChaCha8Rng, seed: &Seed, other: &Seed) -> Vec<(String, Vec<u8>)> {
    let mut entries = seed.entries.clone();
    let at = match random.random_bool(0.8) {
        true => 0,
        false => random.random_range(0..entries.len()),
    };
    let (name, bytes) = &mut entries[at];
    match random.random_range(0..8) {
        0 => *name = String::from_utf8_lossy(&mutate(random, name.as_bytes(), b"/data.pkl")).into(),
        1..=3 => {
            let word = WORDS.choose(random).copied().unwrap_or_default();
            let place = random.random_range(0..=bytes.len());
            let end = place + random.random_range(0..=word.len()).min(bytes.len() - place);
            bytes.splice(place..end, word.iter().copied());
        }
        _ => *bytes = mutate(random, bytes, &other.entries[0].1),
    }
    entries
}

fn same(one: &BTreeMap<String, Tensor>, other: &BTreeMap<String, Tensor>) -> bool {
    let numbers = |tensor: &Tensor| tensor.flatten_all().and_then(|it| it.to_vec1::<f32>());
    one.len() == other.len()
        && one
            .iter()
            .zip(other)
            .all(|((name, one), (other_name, other))| {
                let equal = matches!((numbers(one), numbers(other)), (Ok(a), Ok(b)) if a == b);
                name == other_name && one.dims() == other.dims() && equal
            })
}
