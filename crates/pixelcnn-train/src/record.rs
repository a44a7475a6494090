//! `data.json`: a description of a run's data, to detect changes.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use pixelcnn_data::{DataIdentity, Dataset, Split};
use pixelcnn_models::read_note;
use pixelcnn_system::{open_file, read_file, write_file};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3;

use crate::{Result, RunConfig, TrainError};

/// Limit on the bytes of a `data.json`; a class has at most a few
/// hundred.
const LONGEST: u64 = 1 << 26;

/// The inputs of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DataRecord {
    /// The data spec.
    pub data: String,
    /// The content of the data set as the model sees it, after reduction.
    pub holds: DataIdentity,
    /// The other files: `condition_files.train` and so on, the weights of `pretrained_encoder` or
    /// `init_from`, the `tokenizer` that the run keeps.
    pub files: BTreeMap<String, FileRecord>,
}

/// An input file of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FileRecord {
    pub path: String,
    /// XXH3 with 128 bits of all bytes, in hexadecimal.
    pub checksum: String,
}

impl DataRecord {
    /// The record of a run of `config` on `dataset`: the data set and the files of `[condition_files]`.
    pub(crate) fn new(config: &RunConfig, dataset: &Dataset) -> Result<Self> {
        let mut record = Self {
            data: config.data.clone(),
            holds: dataset.identity()?,
            files: BTreeMap::new(),
        };
        if let Some(given) = &config.condition_files {
            record.add("condition_files.train", Path::new(&given.train))?;
            record.add("condition_files.valid", Path::new(&given.valid))?;
            if let Some(test) = &given.test {
                record.add("condition_files.test", Path::new(test))?;
            }
        }
        Ok(record)
    }

    pub(crate) fn add(&mut self, name: &str, path: &Path) -> Result<()> {
        let file = FileRecord {
            path: path.display().to_string(),
            checksum: checksum(path)?,
        };
        self.files.insert(name.to_string(), file);
        Ok(())
    }

    /// Adds the files of one input; the second and later ones with their numbers.
    pub(crate) fn add_all(&mut self, name: &str, paths: &[PathBuf]) -> Result<()> {
        for (index, path) in paths.iter().enumerate() {
            match index {
                0 => self.add(name, path)?,
                _ => self.add(&format!("{name}.{index}"), path)?,
            }
        }
        Ok(())
    }

    /// Reads the file of [`DataRecord::write`]; `None` if there is no file.
    pub(crate) fn read(path: &Path) -> Result<Option<Self>> {
        if !path.exists() {
            return Ok(None);
        }
        let bytes = read_file(path, LONGEST).map_err(TrainError::read(path))?;
        let record = serde_json::from_slice(&bytes);
        record
            .map(Some)
            .map_err(|error| TrainError::damaged(path, "the record of a run's data", &error))
    }

    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        let text = self.text(path)?;
        write_file(path, (text + "\n").as_bytes()).map_err(TrainError::write(path))
    }

    pub(crate) fn text(&self, path: &Path) -> Result<String> {
        serde_json::to_string_pretty(self).map_err(|error| TrainError::run(path, error))
    }

    /// The first difference to `now`, in words. A file in only one of the
    /// records is not a difference, because an encoder is needed only at the start of a run.
    pub(crate) fn difference(&self, now: &Self) -> Option<String> {
        self.holds.difference(&now.holds).or_else(|| {
            self.files.iter().find_map(|(name, then)| {
                let now = now.files.get(name)?;
                (then.checksum != now.checksum).then(|| {
                    format!(
                        "{name}: the content of {} has changed: checksum {} then, {} now",
                        now.path, then.checksum, now.checksum
                    )
                })
            })
        })
    }
}

/// The difference, in words, of one split from the data at the start of the run in the
/// folder `run`. `None` if there is no difference, or if the run has no record of its data
/// (with a warning). The other splits are not read.
///
/// # Errors
///
/// If the record or the split cannot be read.
///
/// # Example
///
/// ```
/// use pixelcnn_data::{Split, load};
/// use pixelcnn_train::data_difference;
///
/// let folder = tempfile::tempdir()?; // no run
/// let dataset = load(&"photos32".parse()?)?;
/// assert_eq!(data_difference(folder.path(), &dataset, Split::Test)?, None);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn data_difference(run: &Path, dataset: &Dataset, split: Split) -> Result<Option<String>> {
    let Some(then) = DataRecord::read(&run.join("data.json"))? else {
        warn_unrecorded(run);
        return Ok(None);
    };
    if let Some(difference) = then.holds.class_difference(&dataset.classes) {
        return Ok(Some(difference));
    }
    let now = dataset.images(split)?.identity()?;
    Ok(then.holds.split_difference(split, &now))
}

/// How the file of `[condition_files]` of a split differs from that at the start of the
/// run in the folder `run`, as [`data_difference`].
///
/// # Errors
///
/// If the record or the file cannot be read.
///
/// # Example
///
/// ```
/// use pixelcnn_data::Split;
/// use pixelcnn_train::condition_file_difference;
///
/// let folder = tempfile::tempdir()?; // no run
/// let file = folder.path().join("h.npy");
/// assert_eq!(condition_file_difference(folder.path(), Split::Test, &file)?, None);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn condition_file_difference(run: &Path, split: Split, file: &Path) -> Result<Option<String>> {
    let Some(then) = DataRecord::read(&run.join("data.json"))? else {
        return Ok(None);
    };
    let mut now = DataRecord {
        files: BTreeMap::new(),
        ..then.clone()
    };
    now.add(&format!("condition_files.{split}"), file)?;
    Ok(then.difference(&now))
}

/// Refuses the model in the folder `model` if it has the mark of another
/// run than that in the folder `run`. Models of earlier versions, and those
/// outside the folder of a run, have no mark.
///
/// # Errors
///
/// If the mark differs, or a file cannot be read.
///
/// # Example
///
/// ```
/// let folder = tempfile::tempdir()?;
/// pixelcnn_train::check_model(folder.path(), &folder.path().join("best"))?; // no run
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn check_model(run: &Path, model: &Path) -> Result<()> {
    let (config, weights) = (run.join("run.toml"), model.join("model.safetensors"));
    if !config.exists() || !weights.exists() {
        return Ok(());
    }
    let Some(mut record) = DataRecord::read(&run.join("data.json"))? else {
        return Ok(());
    };
    // Other inputs at the start of the run are not part of the mark.
    record
        .files
        .retain(|name, _| name.starts_with("condition_files."));
    let found = read_note(&weights)?.unwrap_or_default();
    match found.is_empty() || found == mark(&RunConfig::read(&config)?, &record)? {
        true => Ok(()),
        false => {
            let why = "the model belongs to a run with other settings or data than run.toml and \
                       data.json: the folder has parts of two runs";
            Err(TrainError::run(&weights, why))
        }
    }
}

/// A checksum of the settings and data of a run. A state, a model or a
/// result with another mark belongs to another run.
pub(crate) fn mark(config: &RunConfig, record: &DataRecord) -> Result<String> {
    let settings = config.without_length().to_toml()?;
    let data = record.text(Path::new("data.json"))?;
    Ok(checksum_of(&[&settings, &data]))
}

/// Warns that the data of a run of an earlier version cannot be checked.
pub(crate) fn warn_unrecorded(run: &Path) {
    tracing::warn!(
        "{}: the run has no data.json, so changes of its data cannot be detected",
        run.display()
    );
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
fn checksum_of(texts: &[&str]) -> String {
    let mut hash = Xxh3::new();
    for text in texts {
        hash.update(text.as_bytes());
        hash.update(b"\n");
    }
    format!("{:032x}", hash.digest128())
}
