//! What a run reports while it goes on and when it ends.

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
    /// Updates made.
    pub steps: usize,
    /// Training images seen, repetitions counted.
    pub images_seen: usize,
    /// Seconds of training, validation included, over all parts of the run.
    pub seconds: f64,
    /// Weights that are used; masked ones do not count.
    pub parameters: usize,
    /// Score of the best model on the validation images.
    pub valid_score: f64,
    /// What that score is in; lower is better.
    pub unit: String,
    /// The directory of the best model.
    pub model: PathBuf,
    /// A checksum of the run's settings and data, which its state has too;
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
    /// It was complete before: nothing was done.
    FinishedBefore(Summary),
    /// It was asked to stop; it goes on from `step` when called again.
    Stopped {
        /// Updates made so far.
        step: usize,
    },
}

/// What a run reports while it goes on.
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
        /// Updates made.
        step: usize,
        /// Updates of the whole run.
        steps: usize,
        /// Images of an update.
        batch: usize,
        /// Loss of the last batch whose loss has been read: bits/dim of a
        /// likelihood, else what the network is trained to lower.
        loss: Option<f64>,
    },
    /// The averaged weights are being evaluated on the validation images.
    Validating {
        /// Images done.
        done: usize,
        /// Images of the split.
        images: usize,
    },
    /// The averaged weights were evaluated on the validation images.
    Validated {
        /// Updates made.
        step: usize,
        /// Their score.
        score: f64,
    },
}
