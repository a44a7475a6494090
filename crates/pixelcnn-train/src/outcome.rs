//! The reports of a run, during and after training.

use std::path::{Path, PathBuf};

use pixelcnn_system::read_file;
use serde::{Deserialize, Serialize};

use crate::{Result, TrainError};

/// The result of a finished run.
///
/// # Example
///
/// ```
/// use pixelcnn_train::Summary;
///
/// let line = r#"{"steps": 10, "images_seen": 80, "seconds": 1.5, "parameters": 1234,
///     "valid_score": 4.5, "unit": "bits/dim", "model": "run/best"}"#;
/// let summary: Summary = serde_json::from_str(line)?;
/// assert_eq!(summary.images_seen, 80);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Summary {
    /// Updates so far.
    pub steps: usize,
    /// Whether its `patience` has ended: the score did not improve any more.
    #[serde(default)]
    pub stopped_early: bool,
    /// Training images seen, including repetitions.
    pub images_seen: usize,
    /// Seconds of training, including validation, over all parts of the run.
    pub seconds: f64,
    /// Number of weights, without masked ones.
    pub parameters: usize,
    /// Score of the best model on the validation images.
    pub valid_score: f64,
    /// Unit of the score; lower is better.
    pub unit: String,
    /// The directory of the best model.
    pub model: PathBuf,
    /// The most bytes of memory that the process used which finished the run; `None` if the
    /// system does not report it.
    #[serde(default)]
    pub peak_memory: Option<u64>,
    /// The checksum of the run's settings and data, as in its state;
    /// results of earlier versions have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
}

/// Limit on the bytes of a `summary.json`.
const LONGEST: u64 = 1 << 24;

impl Summary {
    /// The result of the run in a folder; None if the run is not finished.
    ///
    /// # Errors
    ///
    /// If the file cannot be read or is damaged.
    ///
    /// # Example
    ///
    /// ```
    /// use pixelcnn_train::Summary;
    ///
    /// let run = tempfile::tempdir()?;
    /// assert_eq!(Summary::read(run.path())?, None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn read(run: &Path) -> Result<Option<Self>> {
        let path = Self::path(run);
        if !path.exists() {
            return Ok(None);
        }
        let bytes = read_file(&path, LONGEST).map_err(TrainError::read(&path))?;
        let summary: Self = serde_json::from_slice(&bytes)
            .map_err(|error| TrainError::damaged(&path, "the result of a run", &error))?;
        // The folder may have been moved.
        Ok(Some(Self {
            model: run.join("best"),
            ..summary
        }))
    }

    /// The file of the result.
    pub(crate) fn path(run: &Path) -> PathBuf {
        run.join("summary.json")
    }
}

/// How a call of [`train`](crate::train) ended.
///
/// # Example
///
/// ```
/// use pixelcnn_train::Outcome;
///
/// let outcome = Outcome::Stopped { step: 120 };
/// assert!(matches!(outcome, Outcome::Stopped { step: 120 }));
/// ```
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// The run is complete.
    Finished(Summary),
    /// The run was already complete: nothing was done.
    FinishedBefore(Summary),
    /// The run was stopped; it resumes from `step` when called again.
    Stopped {
        /// Updates so far.
        step: usize,
    },
}

/// The progress of a run.
///
/// # Example
///
/// ```
/// use pixelcnn_train::Progress;
///
/// let mut report = |progress: Progress| match progress {
///     Progress::Step { step, steps, .. } => println!("{step}/{steps}"),
///     Progress::Validating { done, images } => println!("{done}/{images} images"),
///     Progress::Validated { score, .. } => println!("{score:.3} bits/dim"),
/// };
/// report(Progress::Validated { step: 10, score: 4.2 });
/// ```
#[derive(Clone, Copy, Debug)]
pub enum Progress {
    /// An update was made.
    Step {
        /// Updates so far.
        step: usize,
        /// Updates in total.
        steps: usize,
        /// Images per update.
        batch: usize,
        /// The last loss that was read, in bits/dim for a
        /// likelihood.
        loss: Option<f64>,
    },
    /// The averaged weights are being evaluated on the validation images.
    Validating {
        /// Finished images.
        done: usize,
        /// Images of the split.
        images: usize,
    },
    /// The averaged weights were evaluated on the validation images.
    Validated {
        /// Updates so far.
        step: usize,
        /// Their score.
        score: f64,
    },
}
