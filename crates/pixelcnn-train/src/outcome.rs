//! The reports of a run, during and after training.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

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
    /// Whether it ended before its last step, because the score did not improve any more.
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
    /// The checksum of the run's settings and data, as in its state;
    /// results of earlier versions have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
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
