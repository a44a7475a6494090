//! What networks without a likelihood are measured by.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, bail};
use pixelcnn_data::{Images, Split};
use pixelcnn_models::{Kind, Model};
use pixelcnn_train::{ConditionedDataset, Pairs, mistakes, squared_errors};
use serde_json::{Value, json};

use crate::data::Data;
use crate::numbers::{estimate, mean};
use crate::output;

/// The scores of a model by name, and how many images they are of.
pub fn measure(model: &Model, data: &Data, images: &Images, batch: usize) -> Result<Value> {
    Ok(match model.kind() {
        Kind::AutoEncoder(network) => {
            let (mean, std_err) = mean(&squared_errors(network, images, batch)?);
            json!({"mean_squared_error": mean, "std_err": std_err, "images": images.len()})
        }
        Kind::Classifier(network) => {
            let conditioned = ConditionedDataset::new(model.config(), images, None)?;
            let wrong = mistakes(network, &conditioned, batch)?;
            let right: Vec<f64> = wrong.iter().map(|wrong| 1.0 - wrong).collect();
            accuracies(&right, images.labels())
        }
        Kind::Embedding(network, _) => {
            let valid = data.dataset.split(Split::Valid)?;
            let threshold = Pairs::from_network(network, valid, batch)?.best_threshold();
            let pairs = Pairs::from_network(network, images, batch)?;
            json!({
                "area_under_curve": pairs.area_under_curve(),
                "accuracy": pairs.accuracy(threshold),
                "threshold": threshold,
                "pairs": pairs.count(),
                "images": images.len(),
                "first_of_each_label": first_of_each(images.labels()),
                "labels_trained_on": trained_on(data, images)?,
            })
        }
        Kind::Density(_) => {
            bail!("{} is measured by its likelihood", model.config().name())
        }
    })
}

/// Prints the scores, as JSON or one a line.
pub fn print(result: Value, data: &Data, split: Split, as_json: bool) -> Result<()> {
    let mut result = result;
    if as_json {
        result["data"] = json!(data.spec.to_string());
        result["split"] = json!(split.to_string());
        return output::line(result);
    }
    output::line(format_args!("{split} images of {}", data.spec))?;
    for (name, value) in result.as_object().into_iter().flatten() {
        // The standard error stands behind its value.
        let std_err = match name.as_str() {
            "std_err" | "balanced_std_err" => continue,
            "balanced_accuracy" => result["balanced_std_err"].as_f64(),
            "accuracy" | "mean_squared_error" => result["std_err"].as_f64(),
            _ => None,
        };
        let text = match value.as_f64().filter(|_| value.is_f64()) {
            Some(number) => estimate(number, std_err, DIGITS),
            None => value.to_string(),
        };
        output::line(format_args!("{}: {text}", name.replace('_', " ")))?;
    }
    Ok(())
}

/// After the point.
const DIGITS: usize = 5;

/// The index of the first image of each label, in their order.
fn first_of_each(labels: &[u32]) -> Vec<usize> {
    let mut seen = BTreeSet::new();
    let new = labels
        .iter()
        .enumerate()
        .filter(|(_, label)| seen.insert(**label));
    new.map(|(index, _)| index).collect()
}

/// How many labels of the images are labels of training images too.
fn trained_on(data: &Data, images: &Images) -> Result<usize> {
    let set = |images: &Images| images.labels().iter().copied().collect::<BTreeSet<_>>();
    let training = set(data.dataset.split(Split::Train)?);
    Ok(set(images).intersection(&training).count())
}

/// Of ones and zeros, an image each: the share of the ones, and its mean over
/// the labels, by name.
pub fn accuracies(right: &[f64], labels: &[u32]) -> Value {
    let (accuracy, std_err) = mean(right);
    let (balanced, balanced_std_err) = balanced(right, labels);
    json!({
        "accuracy": accuracy,
        "std_err": std_err,
        "balanced_accuracy": balanced,
        "balanced_std_err": balanced_std_err,
        "images": right.len(),
    })
}

/// The mean over labels of each one's mean, and its standard error: not known
/// where a label has but one image.
pub fn balanced(numbers: &[f64], labels: &[u32]) -> (f64, Option<f64>) {
    let mut by_label = BTreeMap::<u32, Vec<f64>>::new();
    for (number, label) in numbers.iter().zip(labels) {
        by_label.entry(*label).or_default().push(*number);
    }
    let each: Vec<_> = by_label.values().map(|numbers| mean(numbers)).collect();
    let count = each.len() as f64;
    let sum: f64 = each.iter().map(|(mean, _)| mean).sum();
    let variances = each.iter().map(|(_, std_err)| std_err.map(|it| it.powi(2)));
    let variance: Option<f64> = variances.sum();
    (sum / count, variance.map(|sum| sum.sqrt() / count))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frequent_label_counts_as_much_as_others() {
        // Always the frequent one.
        let (accuracy, _) = mean(&[1.0, 1.0, 1.0, 0.0]);
        assert_eq!(accuracy, 0.75);
        let labels = [4, 4, 4, 7];
        assert_eq!(balanced(&[1.0, 1.0, 1.0, 0.0], &labels), (0.5, None));
        let (balanced, std_err) = balanced(&[1.0, 0.0, 1.0, 0.0], &[4, 4, 7, 7]);
        assert_eq!(balanced, 0.5);
        // Two means of two, with a standard error of 1/2 each.
        let std_err = std_err.unwrap();
        assert!((std_err - 0.5f64.sqrt() / 2.0).abs() < 1e-12);
        assert_eq!(first_of_each(&labels), [0, 3]);
    }
}
