//! The file with the answer of a command of the program and its inputs, so that the command
//! does not run again.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Everything that an answer depends on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Inputs {
    /// The command line, as shown on the page.
    pub command: String,
    /// The configs of the runs that it uses, by name.
    pub configs: BTreeMap<String, String>,
}

/// The content of the file `NAME.json`.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct SavedAnswer {
    pub inputs: Inputs,
    /// The last line that the program printed.
    pub answer: Value,
}

/// Reads a saved answer, or the inputs at the start of a training; `None` if there is no
/// file yet.
///
/// # Errors
/// When the file exists but cannot be read as this type.
pub(super) fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    if !path.exists() {
        return Ok(None);
    }
    let text =
        std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let content = serde_json::from_str(&text).with_context(|| {
        let path = path.display();
        format!("{path} was not written by this command; remove it and run again")
    })?;
    Ok(Some(content))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_file_is_none_and_a_broken_one_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("test.json");
        assert_eq!(read::<SavedAnswer>(&path).unwrap(), None);
        std::fs::write(&path, b"{}").unwrap();
        let message = format!("{:#}", read::<SavedAnswer>(&path).unwrap_err());
        assert!(message.contains("test.json"), "{message}");
        assert!(message.contains("inputs"), "{message}");
    }
}
