//! Classes of images: by the likelihood given each class, or by a classifier.

use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor};
use pixelcnn_data::Images;
use pixelcnn_models::{Condition, Given, Kind, Model};

use crate::evaluate::finite;
use crate::{Result, TrainError};

/// For each image and class a logarithm: of p(x|class) for a density model, of p(class|x) for
/// a classifier. For equally likely classes a priori, both rank the classes in the same way
/// (Bayes' rule).
///
/// # Example
///
/// ```
/// use pixelcnn_train::ClassLogs;
///
/// let logs = ClassLogs::new(vec![vec![-100.0, -104.0], vec![-50.0, -49.0]]);
/// assert_eq!(logs.predicted(), [0, 1]);
/// assert_eq!(logs.ranked(0), [0, 1]);
/// assert!((logs.probabilities(0)[0] - 1.0 / (1.0 + (-4f64).exp())).abs() < 1e-12);
/// // Mean nats of the images given their labels, and given no label.
/// let (conditional, marginal) = logs.nats(&[0, 0]);
/// assert_eq!(conditional, 75.0);
/// assert!(marginal > 74.5 && marginal < 75.6);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct ClassLogs(Vec<Vec<f64>>);

impl ClassLogs {
    /// From the logarithms of each image and class.
    pub fn new(logs: Vec<Vec<f64>>) -> Self {
        Self(logs)
    }

    /// The number of images.
    pub fn images(&self) -> usize {
        self.0.len()
    }

    /// The logarithms, for each image and class.
    pub fn rows(&self) -> &[Vec<f64>] {
        &self.0
    }

    /// The likeliest class of each image.
    pub fn predicted(&self) -> Vec<usize> {
        (0..self.images())
            .filter_map(|image| self.ranked(image).first().copied())
            .collect()
    }

    /// All classes of an image, likeliest first; empty if the image does not exist.
    pub fn ranked(&self, image: usize) -> Vec<usize> {
        let logs = self.of_image(image);
        let mut classes: Vec<_> = (0..logs.len()).collect();
        classes.sort_by(|a, b| logs[*b].total_cmp(&logs[*a]));
        classes
    }

    /// The probability of each class of an image, for equally likely classes a priori; empty
    /// if the image does not exist.
    pub fn probabilities(&self, image: usize) -> Vec<f64> {
        let logs = self.of_image(image);
        let total = log_sum_exp(logs);
        logs.iter().map(|log| (log - total).exp()).collect()
    }

    /// The mean nats of an image given its label, and without a label: under the mixture of all
    /// classes with equal weights. Only for a density model; NaN if a label is out of
    /// range.
    pub fn nats(&self, labels: &[u32]) -> (f64, f64) {
        let count = self.images() as f64;
        let conditional = self
            .0
            .iter()
            .zip(labels)
            .map(|(logs, label)| -logs.get(*label as usize).copied().unwrap_or(f64::NAN));
        let marginal = self
            .0
            .iter()
            .map(|logs| (logs.len() as f64).ln() - log_sum_exp(logs));
        (
            conditional.sum::<f64>() / count,
            marginal.sum::<f64>() / count,
        )
    }

    fn of_image(&self, image: usize) -> &[f64] {
        self.0.get(image).map_or(&[], Vec::as_slice)
    }
}

fn log_sum_exp(logs: &[f64]) -> f64 {
    let most = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    most + logs.iter().map(|log| (log - most).exp()).sum::<f64>().ln()
}

/// The logarithms of all classes of a model for each image, `batch` images at a time;
/// `progress` is called with the number of finished images.
///
/// A class-conditional density model runs once for each class.
///
/// # Errors
///
/// If the model has no classes, there are no images, they do not fit the model, or its
/// numbers overflow.
///
/// # Example
///
/// ```
/// use candle_core::Device;
/// use pixelcnn_data::Images;
/// use pixelcnn_models::{Model, ModelConfig};
///
/// let config: ModelConfig = serde_json::from_str(
///     r#"{"kind": "classifier", "classes": 2, "encoder_maps": [2],
///         "image": {"channels": 1, "height": 4, "width": 4, "levels": 256}}"#,
/// )?;
/// let (model, _) = Model::initialise(&config, 1, &Device::Cpu)?;
/// let images = Images::new((1, 4, 4), vec![9; 48], vec![0, 1, 0])?;
/// let logs = pixelcnn_train::classify(&model, &images, 2, &mut |_| ())?;
/// assert!((logs.probabilities(2).iter().sum::<f64>() - 1.0).abs() < 1e-9);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn classify(
    model: &Model,
    images: &Images,
    batch: usize,
    progress: &mut dyn FnMut(usize),
) -> Result<ClassLogs> {
    let refused = || TrainError::Invalid {
        what: "classification".to_string(),
        why: format!("{} has no classes", model.config().name()),
    };
    let Some(classes) = model.config().classes() else {
        return Err(refused());
    };
    let (_, height, width) = images.shape();
    // The condition of the blocks for each class.
    let conditions = match model.kind() {
        Kind::Density(density) => (0..classes.count() as u32)
            .map(|class| {
                let given = Given::Labels(vec![class]);
                density.condition_encoder().encode(&given, (height, width))
            })
            .collect::<candle_core::Result<Vec<_>>>()?,
        _ => Vec::new(),
    };
    let mut all = Vec::with_capacity(images.len());
    for batch in images.in_order(batch)? {
        let values = batch?.values;
        let logs = match model.kind() {
            Kind::Density(density) => {
                let rows = vec![0; values.dim(0)?];
                let of_class = |condition: &Condition| -> Result<Tensor> {
                    let nats = density.nats(&values, &condition.select(&rows)?)?;
                    Ok(nats.sum(1)?.neg()?)
                };
                let logs: Vec<_> = conditions.iter().map(of_class).collect::<Result<_>>()?;
                Tensor::stack(&logs, 1)?
            }
            Kind::Classifier(network) => {
                let logits = network.forward(&values)?;
                logits.broadcast_sub(&logits.log_sum_exp(1)?.unsqueeze(1)?)?
            }
            Kind::AutoEncoder(_) | Kind::Embedding(..) => return Err(refused()),
        };
        finite(&logs)?;
        // Not every device has f64.
        let logs = logs.to_device(&Device::Cpu)?.to_dtype(DType::F64)?;
        all.extend(logs.to_vec2::<f64>()?);
        progress(all.len());
    }
    Ok(ClassLogs(all))
}

/// The mean over labels of the mean of each label's numbers, and its standard error; the
/// error is `None` if a label has only one number.
///
/// # Example
///
/// ```
/// // A frequent class counts as much as a rare one.
/// let (mean, _) = pixelcnn_train::balanced_mean(&[1.0, 1.0, 1.0, 0.0], &[4, 4, 4, 7]);
/// assert_eq!(mean, 0.5);
/// ```
pub fn balanced_mean(numbers: &[f64], labels: &[u32]) -> (f64, Option<f64>) {
    let mut by_label = BTreeMap::<u32, Vec<f64>>::new();
    for (number, label) in numbers.iter().zip(labels) {
        by_label.entry(*label).or_default().push(*number);
    }
    let means: Vec<_> = by_label
        .values()
        .map(|numbers| mean_and_error(numbers))
        .collect();
    let count = means.len() as f64;
    let sum: f64 = means.iter().map(|(mean, _)| mean).sum();
    let variances = means.iter().map(|(_, error)| error.map(|it| it.powi(2)));
    let variance: Option<f64> = variances.sum();
    (sum / count, variance.map(|sum| sum.sqrt() / count))
}

/// The mean and its standard error, which is `None` for a single number.
///
/// # Example
///
/// ```
/// assert_eq!(pixelcnn_train::mean_and_error(&[1.0, 3.0]), (2.0, Some(1.0)));
/// assert_eq!(pixelcnn_train::mean_and_error(&[3.0]), (3.0, None));
/// ```
pub fn mean_and_error(numbers: &[f64]) -> (f64, Option<f64>) {
    let count = numbers.len() as f64;
    let mean = numbers.iter().sum::<f64>() / count;
    let squares: f64 = numbers.iter().map(|number| (number - mean).powi(2)).sum();
    let error = (squares / (count - 1.0) / count).sqrt();
    (mean, (numbers.len() > 1).then_some(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mixture_lies_between_the_best_class_and_the_mean() {
        let logs = ClassLogs::new(vec![vec![-100.0, -104.0], vec![-50.0, -50.0]]);
        let (conditional, marginal) = logs.nats(&[0, 1]);
        assert_eq!(conditional, 75.0);
        let first = 100.0 - ((1.0 + (-4f64).exp()) / 2.0).ln();
        assert!((marginal - (first + 50.0) / 2.0).abs() < 1e-12);
        assert!((logs.probabilities(1)[0] - 0.5).abs() < 1e-12);
        assert!(logs.ranked(2).is_empty());
    }

    #[test]
    fn a_frequent_label_counts_as_much_as_others() {
        assert_eq!(mean_and_error(&[1.0, 1.0, 1.0, 0.0]).0, 0.75);
        let labels = [4, 4, 4, 7];
        assert_eq!(balanced_mean(&[1.0, 1.0, 1.0, 0.0], &labels), (0.5, None));
        let (mean, error) = balanced_mean(&[1.0, 0.0, 1.0, 0.0], &[4, 4, 7, 7]);
        assert_eq!(mean, 0.5);
        // Two means of two numbers, with a standard error of 1/2 each.
        assert!((error.unwrap() - 0.5f64.sqrt() / 2.0).abs() < 1e-12);
    }
}
