//! The measured scores of a model, in its card and in its file of weights.

use serde::{Deserialize, Serialize};

use crate::Summary;

/// A score of a model on a split of a data set.
///
/// # Example
///
/// ```
/// use pixelcnn_train::Measure;
///
/// let measure = Measure {
///     value: 3.0456,
///     std_err: Some(0.0123),
///     unit: "bits/dim".into(),
///     data: "photos32".into(),
///     split: "test".into(),
///     images: Some(512),
/// };
/// assert_eq!(measure.to_string(), "3.0456 \u{b1} 0.0123 bits/dim");
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Measure {
    /// The score.
    pub value: f64,
    /// Its standard error over images, if it is known.
    pub std_err: Option<f64>,
    /// Its unit.
    pub unit: String,
    /// The data set.
    pub data: String,
    /// The split.
    pub split: String,
    /// Number of images, if it is known.
    pub images: Option<usize>,
}

impl Measure {
    /// The score of a run's best model on the validation images.
    pub fn of_run(data: &str, summary: &Summary) -> Self {
        Self {
            value: summary.valid_score,
            std_err: None,
            unit: summary.unit.clone(),
            data: data.into(),
            split: "valid".into(),
            images: None,
        }
    }
}

/// The value with four digits after the point, its standard error and its unit.
impl std::fmt::Display for Measure {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{:.4}", self.value)?;
        if let Some(error) = self.std_err {
            write!(formatter, " \u{b1} {error:.4}")?;
        }
        write!(formatter, " {}", self.unit)
    }
}

/// What an exported file of weights says about its model, in its metadata.
///
/// # Example
///
/// ```
/// use pixelcnn_train::Provenance;
///
/// let provenance = Provenance { program: "pixelcnn 1.0".into(), parameters: 7, measures: vec![] };
/// let note = serde_json::to_string(&provenance)?;
/// assert_eq!(Provenance::read(&note), Some(provenance));
/// // The file of a run has a checksum there.
/// assert_eq!(Provenance::read("0123abcd"), None);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Provenance {
    /// The program and its version.
    pub program: String,
    /// Number of weights, without masked ones.
    pub parameters: usize,
    /// The measured scores.
    pub measures: Vec<Measure>,
}

impl Provenance {
    /// Reads the note of a file of weights; None if it is another note.
    pub fn read(note: &str) -> Option<Self> {
        serde_json::from_str(note).ok()
    }
}
