//! Mutates bytes.

use rand::Rng;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;

/// `seed` with one to four changes, as from broken disks, broken transfers and faulty
/// writers. Some changes insert parts of `other`.
pub(crate) fn mutate(random: &mut ChaCha8Rng, seed: &[u8], other: &[u8]) -> Vec<u8> {
    loop {
        let mut bytes = seed.to_vec();
        let changes = [1, 1, 1, 2, 3, 4].choose(random).copied().unwrap_or(1);
        for _ in 0..changes {
            change(random, &mut bytes, other);
        }
        if bytes != seed {
            return bytes;
        }
    }
}

fn change(random: &mut ChaCha8Rng, bytes: &mut Vec<u8>, other: &[u8]) {
    match random.random_range(0..16) {
        0..=3 => flip(random, bytes),
        4 | 5 => set(random, bytes),
        6..=8 => field(random, bytes),
        9 => bytes.truncate(place(random, bytes.len())),
        10 => {
            let range = range(random, bytes.len());
            bytes.drain(range);
        }
        11 => {
            let part = bytes[range(random, bytes.len())].to_vec();
            insert(random, bytes, &part);
        }
        12 => {
            let part = other[range(random, other.len())].to_vec();
            insert(random, bytes, &part);
        }
        13 => {
            // The beginning of one file and the end of the other.
            bytes.truncate(place(random, bytes.len()));
            bytes.extend_from_slice(&other[place(random, other.len())..]);
        }
        14 => {
            let range = range(random, bytes.len());
            let value = random.random();
            bytes[range].fill(value);
        }
        _ => {
            let part: Vec<u8> = (0..random.random_range(1..20))
                .map(|_| random.random())
                .collect();
            let at = [place(random, bytes.len()), bytes.len()];
            let at = *at.choose(random).unwrap_or(&0);
            bytes.splice(at..at, part);
        }
    }
}

/// A random position up to and including `length`.
fn place(random: &mut ChaCha8Rng, length: usize) -> usize {
    // The beginning has the headers, where more errors are possible.
    match random.random_bool(0.3) {
        true => random.random_range(0..=length.min(64)),
        false => random.random_range(0..=length),
    }
}

fn range(random: &mut ChaCha8Rng, length: usize) -> std::ops::Range<usize> {
    let start = place(random, length);
    let most = (length - start).min(match random.random_bool(0.5) {
        true => 8,
        false => length,
    });
    start..start + random.random_range(0..=most)
}

fn insert(random: &mut ChaCha8Rng, bytes: &mut Vec<u8>, part: &[u8]) {
    let at = place(random, bytes.len());
    bytes.splice(at..at, part.iter().copied());
}

fn flip(random: &mut ChaCha8Rng, bytes: &mut [u8]) {
    let at = place(random, bytes.len());
    if let Some(byte) = bytes.get_mut(at) {
        *byte ^= 1 << random.random_range(0..8);
    }
}

fn set(random: &mut ChaCha8Rng, bytes: &mut [u8]) {
    let at = place(random, bytes.len());
    let value = [0, 1, 127, 128, 255, random.random()];
    if let (Some(byte), Some(&value)) = (bytes.get_mut(at), value.choose(random)) {
        *byte = value;
    }
}

/// An integer of 2, 4 or 8 bytes becomes an extreme one.
fn field(random: &mut ChaCha8Rng, bytes: &mut [u8]) {
    let width = [2, 4, 8].choose(random).copied().unwrap_or(4);
    let start = place(random, bytes.len());
    let Some(field) = bytes.get_mut(start..start + width) else {
        return;
    };
    let most = u64::MAX >> (64 - 8 * width);
    let mut old = [0; 8];
    old[..width].copy_from_slice(field);
    let old = u64::from_le_bytes(old);
    let power = 1 << random.random_range(0..8 * width);
    let values = [
        0,
        1,
        most,
        most / 2,
        most / 2 + 1,
        power,
        old.wrapping_add(1),
        old.wrapping_sub(1),
    ];
    let value = values.choose(random).copied().unwrap_or_default();
    match random.random_bool(0.5) {
        true => field.copy_from_slice(&value.to_le_bytes()[..width]),
        false => field.copy_from_slice(&value.to_be_bytes()[8 - width..]),
    }
}
