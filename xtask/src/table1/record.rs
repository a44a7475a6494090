//! What a run gave and what it was run with, kept in `result.json`.

use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};
use atomic_write_file::AtomicWriteFile;
use serde::{Deserialize, Serialize};

/// Everything that the results of a run depend on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Inputs {
    /// The text of the run's config.
    pub config: String,
    pub data: String,
    pub device: Option<String>,
    /// How many test images are evaluated; `None` for all.
    pub test_limit: Option<u64>,
    /// How many training images are evaluated; `None` for all.
    pub train_limit: Option<u64>,
}

/// What `pixelcnn train --json` says in its last line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Training {
    pub steps: u64,
    pub images_seen: u64,
    pub seconds: f64,
    pub parameters: u64,
    /// `None` where nothing was validated.
    pub valid_score: Option<f64>,
    /// The directory of the model to evaluate.
    pub model: String,
}

/// What `pixelcnn eval --json` says in its last line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    pub bits_per_dim: f64,
    /// The standard error of `bits_per_dim` over images.
    pub std_err: f64,
    pub images: u64,
}

/// What a run gave.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Results {
    pub training: Training,
    pub test: Evaluation,
    pub train: Evaluation,
}

/// The content of `result.json`.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    pub inputs: Inputs,
    pub results: Results,
}

impl Record {
    /// Reads the record of a run, `None` where there is none yet.
    ///
    /// # Errors
    /// When the file is there but cannot be read as a record.
    pub fn read(path: &Path) -> Result<Option<Self>> {
        if !path.exists() {
            return Ok(None);
        }
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read {}", path.display()))?;
        let record = serde_json::from_str(&text).with_context(|| {
            let path = path.display();
            format!("{path} is not a result of this command; remove it to run again")
        })?;
        Ok(Some(record))
    }
}

/// Writes a value as JSON, for people to read as well.
///
/// # Errors
/// When the file cannot be written.
pub fn write_json<T: Serialize>(path: &Path, value: &T) -> Result<()> {
    let mut text = serde_json::to_vec_pretty(value)?;
    text.push(b'\n');
    write(path, &text)
}

/// Writes a file whole or not at all, with the folders above it.
///
/// # Errors
/// When the file cannot be written.
pub fn write(path: &Path, content: &[u8]) -> Result<()> {
    write_atomically(path, content).with_context(|| format!("cannot write {}", path.display()))
}

fn write_atomically(path: &Path, content: &[u8]) -> std::io::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let mut file = AtomicWriteFile::open(path)?;
    file.write_all(content)?;
    file.commit()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_programs_answers_are_read() {
        let training: Training = serde_json::from_str(
            r#"{"steps":2977,"images_seen":23816,"seconds":300.5,"parameters":180732,
                "valid_score":4.5,"model":"/o/best","more":[]}"#,
        )
        .unwrap();
        assert_eq!(training.images_seen, 23_816);
        assert_eq!(training.model, "/o/best");
        let evaluation: Evaluation = serde_json::from_str(
            r#"{"bits_per_dim":4.5,"std_err":0.023,"per_channel":[4.6,4.5,4.4],
                "nats_per_image":9581.9,"images":512}"#,
        )
        .unwrap();
        let expected = Evaluation {
            bits_per_dim: 4.5,
            std_err: 0.023,
            images: 512,
        };
        assert_eq!(evaluation, expected);
        assert!(serde_json::from_str::<Evaluation>(r#"{"images":512}"#).is_err());
    }

    #[test]
    fn a_missing_record_is_none_and_a_broken_one_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("result.json");
        assert_eq!(Record::read(&path).unwrap(), None);
        write(&path, b"{}").unwrap();
        let message = format!("{:#}", Record::read(&path).unwrap_err());
        assert!(message.contains("result.json"), "{message}");
        assert!(message.contains("inputs"), "{message}");
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_an_error_with_the_path() {
        let folder = tempfile::tempdir().unwrap();
        write(&folder.path().join("file"), b"").unwrap();
        let error = write(&folder.path().join("file/below"), b"").unwrap_err();
        assert!(format!("{error:#}").contains("file/below: "));
    }
}
