//! Mutates texts word by word.

use rand::Rng;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;

/// Numbers, words and characters that have caused errors in some programs.
const COMMON: [&str; 34] = [
    "0",
    "1",
    "-1",
    "2",
    "3",
    "255",
    "256",
    "65535",
    "65536",
    "2147483648",
    "4294967295",
    "4294967296",
    "9223372036854775807",
    "18446744073709551615",
    "18446744073709551616",
    "1e308",
    "1e999",
    "-1e308",
    "0.0",
    "-0.0",
    "nan",
    "inf",
    "true",
    "null",
    "\"\"",
    "\"",
    "\t",
    "\n",
    "\r\n",
    "\u{feff}",
    "\0",
    "é",
    "[]",
    "{}",
];

/// `seed` with one to four changes: parts are replaced, inserted, removed, repeated or
/// exchanged. `words` are those that the format knows.
pub(crate) fn mutate(random: &mut ChaCha8Rng, seed: &str, words: &[&str]) -> String {
    loop {
        let mut parts = split(seed);
        let changes = [1, 1, 1, 2, 3, 4].choose(random).copied().unwrap_or(1);
        for _ in 0..changes {
            change(random, &mut parts, words);
        }
        let text = parts.concat();
        if text != seed {
            return text;
        }
    }
}

/// Splits a text into words, numbers and single other characters.
fn split(text: &str) -> Vec<String> {
    let mut parts: Vec<String> = Vec::new();
    let mut within = false;
    for sign in text.chars() {
        let word = sign.is_alphanumeric() || "_.-".contains(sign);
        match parts.last_mut() {
            Some(part) if word && within => part.push(sign),
            _ => parts.push(sign.to_string()),
        }
        within = word;
    }
    parts
}

fn change(random: &mut ChaCha8Rng, parts: &mut Vec<String>, words: &[&str]) {
    let word = match random.random_bool(0.5) {
        true => COMMON.choose(random),
        false => words.choose(random),
    };
    let word = word.copied().unwrap_or("0").to_owned();
    let at = random.random_range(0..=parts.len());
    let from = random.random_range(0..=parts.len());
    let most = (parts.len() - from).min(12);
    let range = from..from + random.random_range(0..=most);
    match random.random_range(0..8) {
        0..=2 => {
            // Numbers are the most important.
            let numbers: Vec<usize> = (0..parts.len())
                .filter(|&at| parts[at].starts_with(|sign: char| sign.is_ascii_digit()))
                .collect();
            let at = numbers.choose(random).copied().unwrap_or(at);
            if let Some(part) = parts.get_mut(at) {
                *part = word;
            }
        }
        3 => {
            if let Some(part) = parts.get_mut(at) {
                *part = word;
            }
        }
        4 => parts.insert(at, word),
        5 => {
            parts.drain(range);
        }
        6 => {
            let part = parts[range].to_vec();
            parts.splice(at..at, part);
        }
        _ => {
            if at < parts.len() && from < parts.len() {
                parts.swap(at, from);
            }
        }
    }
}
