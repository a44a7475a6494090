//! The JSON that the commands of the program print in their last line with `--json`.
//!
//! In a dry run, the defaults replace the answers.

use serde::{Deserialize, Serialize};

/// `pixelcnn train`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Training {
    pub steps: u64,
    pub images_seen: u64,
    pub seconds: f64,
    pub parameters: u64,
    /// `None` if nothing was validated.
    pub valid_score: Option<f64>,
    /// Unit of the score.
    pub unit: String,
    /// Bytes.
    #[serde(default)]
    pub peak_memory: Option<u64>,
}

/// `pixelcnn eval` of a model with a likelihood.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Likelihood {
    pub bits_per_dim: f64,
    /// The standard error of `bits_per_dim` over images.
    pub std_err: Option<f64>,
    pub images: u64,
    /// With `--shuffled`: each image has the condition of another image.
    pub shuffled: Option<Shuffled>,
    /// The part of a bound that is the divergence of the code.
    pub divergence_bits_per_dim: Option<f64>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Shuffled {
    pub bits_per_dim: f64,
    /// Shuffled minus right condition.
    pub difference: f64,
    /// The standard error of the difference.
    pub std_err: Option<f64>,
}

/// `pixelcnn eval` of the auto-encoder trained on squared error.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct SquaredError {
    /// For values from 0 to 1.
    pub mean_squared_error: f64,
    pub std_err: Option<f64>,
    pub images: u64,
}

/// `pixelcnn eval` of an embedding: whether two images show the same person.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Verification {
    pub area_under_curve: f64,
    pub accuracy: f64,
    pub pairs: u64,
    pub images: u64,
    pub first_of_each_label: Vec<usize>,
    /// Number of labels that also occur in the training images.
    pub labels_trained_on: u64,
}

/// `pixelcnn classify`, and `pixelcnn eval` of a classifier.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Accuracy {
    pub accuracy: f64,
    pub std_err: Option<f64>,
    /// The mean over labels.
    pub balanced_accuracy: f64,
    pub balanced_std_err: Option<f64>,
    pub images: u64,
}

/// Any command that draws a picture.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Drawn {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_programs_answers_are_read() {
        let training: Training = serde_json::from_str(
            r#"{"steps":2977,"images_seen":23816,"seconds":300.5,"parameters":180732,
                "valid_score":4.5,"unit":"bits/dim","model":"/o/best","more":[]}"#,
        )
        .unwrap();
        assert_eq!(training.images_seen, 23_816);
        assert_eq!(training.valid_score, Some(4.5));
        let likelihood: Likelihood = serde_json::from_str(
            r#"{"bits_per_dim":4.5,"std_err":0.023,"per_channel":[4.6,4.5,4.4],
                "nats_per_image":9581.9,"images":512}"#,
        )
        .unwrap();
        let expected = Likelihood {
            bits_per_dim: 4.5,
            std_err: Some(0.023),
            images: 512,
            ..Likelihood::default()
        };
        assert_eq!(likelihood, expected);
        assert!(serde_json::from_str::<Likelihood>(r#"{"images":512}"#).is_err());
    }
}
