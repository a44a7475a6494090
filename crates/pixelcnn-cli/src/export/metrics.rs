//! Results of `pixelcnn eval --json` in files.

use std::path::Path;

use anyhow::{Context, Result, bail};
use pixelcnn_system::read_file;
use pixelcnn_train::Measure;
use serde_json::Value;

/// Limit on the bytes of a result.
const LONGEST: u64 = 1 << 20;

/// The numbers that a result may have, with their units; of several, the first is its score.
const NUMBERS: [(&str, &str); 4] = [
    ("bits_per_dim", "bits/dim"),
    ("mean_squared_error", "mean squared error"),
    ("area_under_curve", "area under the ROC curve"),
    ("accuracy", "accuracy"),
];

/// The score of a result.
pub(super) fn read(path: &Path) -> Result<Measure> {
    let shown = path.display();
    let text = read_file(path, LONGEST).with_context(|| shown.to_string())?;
    let result: Value = serde_json::from_slice(&text).with_context(|| {
        format!("{shown}: the line that `pixelcnn eval --json` prints expected")
    })?;
    let number = |name: &str| result.get(name).and_then(Value::as_f64);
    let text = |name: &str| result.get(name).and_then(Value::as_str).map(String::from);
    let mut found = NUMBERS
        .iter()
        .filter_map(|(name, unit)| Some((number(name)?, *unit)));
    let (Some((value, unit)), Some(data), Some(split)) =
        (found.next(), text("data"), text("split"))
    else {
        let names = NUMBERS.map(|(name, _)| name).join(", ");
        bail!(
            "{shown}: `data`, `split` and one of {names} expected: use the output of `pixelcnn eval --json`"
        );
    };
    Ok(Measure {
        value,
        std_err: number("std_err"),
        unit: text("score").unwrap_or_else(|| unit.to_string()),
        data,
        split,
        images: result
            .get("images")
            .and_then(Value::as_u64)
            .map(|images| images as usize),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_files_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("result.json");
        let read = |text: &str| {
            std::fs::write(&path, text).unwrap();
            read(&path)
        };
        let line = r#"{"bits_per_dim": 3.5, "std_err": null, "score": "bits/dim, a bound",
            "images": 4, "data": "photos32", "split": "test"}"#;
        let measure = read(line).unwrap();
        assert_eq!(
            (measure.value, measure.std_err, measure.images),
            (3.5, None, Some(4))
        );
        assert_eq!(measure.unit, "bits/dim, a bound");
        let line = r#"{"area_under_curve": 0.9, "accuracy": 0.8, "data": "a", "split": "test"}"#;
        assert_eq!(read(line).unwrap().value, 0.9);
        for text in [
            "{}",
            "3",
            r#"{"bits_per_dim": 3.5, "data": "photos32"}"#,
            "no",
        ] {
            let error = format!("{:#}", read(text).unwrap_err());
            assert!(
                error.contains("result.json") && error.contains("pixelcnn eval --json"),
                "{error}"
            );
        }
    }
}
