//! The fields that a published `config.json` has besides the settings of the model: whose
//! format it is, and which version.

use std::path::Path;

use serde_json::{Map, Value};

use super::ModelConfig;
use crate::ModelError;
use crate::checkpoint::file_error;

const TYPE: &str = "model_type";
const VERSION: &str = "format_version";
/// The type of the models of this program.
const OURS: &str = "pixelcnn";
/// The version that this program writes, and the highest that it reads.
const CURRENT: u64 = 1;

/// The text of a published configuration.
pub(super) fn text(config: &ModelConfig) -> serde_json::Result<String> {
    let mut all = Map::new();
    all.insert(TYPE.into(), OURS.into());
    all.insert(VERSION.into(), CURRENT.into());
    if let Value::Object(settings) = serde_json::to_value(config)? {
        all.extend(settings);
    }
    serde_json::to_string_pretty(&all)
}

/// The settings in the text of a published configuration; None for one without these
/// fields, whose errors then have their exact lines.
pub(super) fn settings(path: &Path, text: &str) -> Result<Option<Value>, ModelError> {
    let Ok(Value::Object(mut fields)) = serde_json::from_str(text) else {
        return Ok(None);
    };
    let (model_type, version) = (fields.remove(TYPE), fields.remove(VERSION));
    if model_type.is_none() && version.is_none() {
        return Ok(None);
    }
    if let Some(found) = model_type.filter(|found| found.as_str() != Some(OURS)) {
        let why =
            format!("{TYPE}: \"{OURS}\" expected, found {found}: it is a model of another program");
        return Err(file_error(path, why));
    }
    match version {
        None => {}
        Some(version)
            if version
                .as_u64()
                .is_some_and(|version| (1..=CURRENT).contains(&version)) => {}
        Some(found) => {
            let newer = match found.as_u64() {
                Some(number) if number > CURRENT => ": use a newer version of the program",
                _ => "",
            };
            let why =
                format!("{VERSION}: a number from 1 to {CURRENT} expected, found {found}{newer}");
            return Err(file_error(path, why));
        }
    }
    Ok(Some(Value::Object(fields)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::UniformConfig;
    use pixelcnn_image::ImageShape;

    #[test]
    fn only_a_newer_version_asks_for_a_newer_program() {
        let says = |version: &str| {
            let text = format!(r#"{{"format_version": {version}}}"#);
            settings(Path::new("config.json"), &text)
                .unwrap_err()
                .to_string()
        };
        assert!(says("2").contains("from 1 to 1 expected, found 2: use a newer"));
        for version in ["0", r#""1""#, "1.5"] {
            assert!(
                says(version).ends_with(&format!("found {version}")),
                "{version}"
            );
        }
    }

    #[test]
    fn a_published_configuration_is_read_back_and_checked() {
        let image = ImageShape {
            channels: 1,
            height: 2,
            width: 3,
            levels: 7,
        };
        let config = ModelConfig::from(UniformConfig { image });
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        let written = config.published().unwrap();
        assert!(
            written.contains("\"model_type\": \"pixelcnn\""),
            "{written}"
        );
        std::fs::write(&path, &written).unwrap();
        assert_eq!(ModelConfig::read(&path).unwrap(), config);
        for (from, to, part) in [
            (
                "\"pixelcnn\"",
                "\"bert\"",
                "found \"bert\": it is a model of another program",
            ),
            (
                "version\": 1",
                "version\": 2",
                "found 2: use a newer version",
            ),
            ("version\": 1", "version\": 0", "found 0"),
            ("\"levels\"", "\"level\"", "unknown field `level`"),
        ] {
            let changed = written.replace(from, to);
            assert_ne!(changed, written);
            std::fs::write(&path, changed).unwrap();
            let error = ModelConfig::read(&path).unwrap_err().to_string();
            assert!(
                error.contains(part) && error.contains("config.json"),
                "{error}"
            );
        }
    }
}
