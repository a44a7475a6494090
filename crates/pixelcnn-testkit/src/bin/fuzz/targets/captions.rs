//! Tables of captions next to records: each image has the caption of its line.

use std::path::Path;

use anyhow::Result;
use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::expected::{load, write};
use super::records::records;
use super::{Target, Verdict};
use crate::{mutation, text};

const IMAGES: usize = 4;
const TABLES: [&str; 3] = [
    "name\tcaption\n1\ta red apple\n2\tgreen, and round\n3\tüber alles 🍎\n4\t\n",
    "caption\tname\r\na red apple\t1\r\ngreen\t2\r\nblue\t3\r\nlast\t4\r\n",
    "\u{feff}caption\tname\n\"a \"\"red\"\" apple\"\t1\n\"b\"\t2\nc\t3\n\"\"\t4\n",
];
const WORDS: [&str; 9] = ["\t", "\n", "\r", "caption", "\"", "\"\"", "'", "name", ","];

pub(super) struct Captions;

impl Captions {
    /// # Errors
    /// When a file cannot be written.
    pub(super) fn new(folder: &Path) -> Result<Self> {
        write(folder, "train.bin", records(IMAGES, 1))?;
        write(folder, "rest.bin", records(IMAGES, 2))?;
        write(folder, "rest.tsv", TABLES[0])?;
        Ok(Self)
    }
}

impl Target for Captions {
    fn run(&mut self, random: &mut ChaCha8Rng, folder: &Path) -> Result<Verdict> {
        let seed = TABLES[random.random_range(0..TABLES.len())];
        let bytes = match random.random_bool(0.6) {
            true => text::mutate(random, seed, &WORDS).into_bytes(),
            false => mutation::mutate(random, seed.as_bytes(), TABLES[0].as_bytes()),
        };
        write(folder, "train.tsv", &bytes)?;
        let rest = folder.join("rest.bin");
        let spec = format!(
            "records:{},valid={},captions=caption,side=4",
            folder.join("train.bin").display(),
            rest.display()
        );
        Ok(match load(&spec) {
            Err(error) => Verdict::Refused(error.to_string()),
            Ok([train, ..]) => compare(train.captions(), &bytes),
        })
    }
}

/// Each caption must be in the text, except for the quotes of CSV.
fn compare(captions: &[String], bytes: &[u8]) -> Verdict {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return Verdict::Changed("a table read that is no UTF-8".into());
    };
    // A carriage return ends a line, too, with or without a line feed after it.
    let text_lines = text.replace("\r\n", "\n").replace('\r', "\n");
    let lines: Vec<&str> = text_lines.lines().skip(1).collect();
    let foreign = captions.iter().find(|caption| {
        let quoted = caption.replace('"', "\"\"");
        !text.contains(caption.as_str()) && !text.contains(&quoted)
    });
    match (foreign, captions.len()) {
        (Some(caption), _) => Verdict::Changed(format!("the caption {caption:?} is not there")),
        (None, IMAGES) if lines.len() >= IMAGES => Verdict::Accepted,
        (None, found) => Verdict::Changed(format!("{found} captions of {} lines", lines.len())),
    }
}
