//! `data.json`: what a run learns from, so that it can be known again.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use pixelcnn_data::{DataIdentity, Dataset};
use pixelcnn_system::{open_file, read_file, write_file};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3;

use crate::{Result, RunConfig, TrainError};

/// Bytes of the longest `data.json` that is read; a class has at most some
/// hundred.
const LONGEST: u64 = 1 << 26;

/// What a run has been given.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DataRecord {
    /// The data spec.
    pub data: String,
    /// What the data set holds, as the model sees it: shrunk if the run says so.
    pub holds: DataIdentity,
    /// The other files: `given.train` and so on, the weights of the `encoder`,
    /// the `tokenizer` that the run keeps.
    pub files: BTreeMap<String, FileRecord>,
}

/// A file that a run has been given.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FileRecord {
    pub path: String,
    /// XXH3 of 128 bits, in hexadecimal, of all bytes.
    pub checksum: String,
}

impl DataRecord {
    /// Of a run of `config` on `dataset`: the data set and the files of `[given]`.
    pub fn new(config: &RunConfig, dataset: &Dataset) -> Result<Self> {
        let mut record = Self {
            data: config.data.clone(),
            holds: dataset.identity(),
            files: BTreeMap::new(),
        };
        if let Some(given) = &config.given {
            record.add("given.train", Path::new(&given.train))?;
            record.add("given.valid", Path::new(&given.valid))?;
            if let Some(test) = &given.test {
                record.add("given.test", Path::new(test))?;
            }
        }
        Ok(record)
    }

    pub fn add(&mut self, name: &str, path: &Path) -> Result<()> {
        let file = FileRecord {
            path: path.display().to_string(),
            checksum: checksum(path)?,
        };
        self.files.insert(name.to_string(), file);
        Ok(())
    }

    /// Reads what [`DataRecord::write`] wrote; `None` where there is no file.
    pub fn read(path: &Path) -> Result<Option<Self>> {
        if !path.exists() {
            return Ok(None);
        }
        let bytes = read_file(path, LONGEST).map_err(TrainError::read(path))?;
        let record = serde_json::from_slice(&bytes);
        record.map(Some).map_err(|error| {
            TrainError::run(path, format!("not the record of a run's data: {error}"))
        })
    }

    pub fn write(&self, path: &Path) -> Result<()> {
        let text = self.text(path)?;
        write_file(path, (text + "\n").as_bytes()).map_err(TrainError::write(path))
    }

    pub fn text(&self, path: &Path) -> Result<String> {
        serde_json::to_string_pretty(self).map_err(|error| TrainError::run(path, error))
    }

    /// The first thing in which `now` differs, in words. A file that is known
    /// only on one side does not: an encoder is needed when a run begins.
    pub fn difference(&self, now: &Self) -> Option<String> {
        self.holds.difference(&now.holds).or_else(|| {
            self.files.iter().find_map(|(name, then)| {
                let now = now.files.get(name)?;
                (then.checksum != now.checksum).then(|| {
                    format!(
                        "{name}: {} has other content: checksum {} then, {} now",
                        now.path, then.checksum, now.checksum
                    )
                })
            })
        })
    }
}

fn checksum(path: &Path) -> Result<String> {
    let mut file = open_file(path).map_err(TrainError::read(path))?;
    let mut hash = Xxh3::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer).map_err(TrainError::read(path))? {
            0 => return Ok(format!("{:032x}", hash.digest128())),
            read => hash.update(&buffer[..read]),
        }
    }
}

/// The checksum of texts, one after the other.
pub(crate) fn checksum_of(texts: &[&str]) -> String {
    let mut hash = Xxh3::new();
    for text in texts {
        hash.update(text.as_bytes());
        hash.update(b"\n");
    }
    format!("{:032x}", hash.digest128())
}
