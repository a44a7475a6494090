//! Scores of networks without a likelihood.

use std::collections::BTreeSet;

use anyhow::{Result, bail};
use pixelcnn_data::{Images, Split};
use pixelcnn_models::{Kind, Model};
use pixelcnn_train::{
    ConditionedDataset, Pairs, balanced_mean, mean_and_error, mistakes, squared_errors,
};
use serde_json::{Value, json};

use crate::data::Data;
use crate::numbers::estimate;
use crate::output;

/// The scores of a model by name, and the number of images.
pub(crate) fn measure(model: &Model, data: &Data, images: &Images, batch: usize) -> Result<Value> {
    Ok(match model.kind() {
        Kind::AutoEncoder(network) => {
            let (mean, std_err) = mean_and_error(&squared_errors(network, images, batch)?);
            json!({"mean_squared_error": mean, "std_err": std_err, "images": images.len()})
        }
        Kind::Classifier(network) => {
            let conditioned = ConditionedDataset::new(model.config(), images, None)?;
            let wrong = mistakes(network, &conditioned, batch)?;
            let right: Vec<f64> = wrong.iter().map(|wrong| 1.0 - wrong).collect();
            accuracies(&right, images.labels())
        }
        Kind::Embedding(network, _) => {
            let valid = data.split(Split::Valid)?;
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
            bail!("{} is scored by its likelihood", model.config().name())
        }
    })
}

/// Prints the scores, as JSON or one per line.
pub(crate) fn print(result: Value, data: &Data, split: Split, as_json: bool) -> Result<()> {
    let mut result = result;
    if as_json {
        result["data"] = json!(data.spec.to_string());
        result["split"] = json!(split.to_string());
        return output::line(result);
    }
    output::line(format_args!("{split} images of {}", data.spec))?;
    for (name, value) in result.as_object().into_iter().flatten() {
        // The standard error is printed after its value.
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

/// Digits after the decimal point.
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

/// Number of labels that also occur in the training images.
fn trained_on(data: &Data, images: &Images) -> Result<usize> {
    let set = |images: &Images| images.labels().iter().copied().collect::<BTreeSet<_>>();
    let training = set(data.split(Split::Train)?);
    Ok(set(images).intersection(&training).count())
}

/// From a one or a zero per image: the share of ones, and its mean over
/// the labels, by name.
pub(crate) fn accuracies(right: &[f64], labels: &[u32]) -> Value {
    let (accuracy, std_err) = mean_and_error(right);
    let (balanced, balanced_std_err) = balanced_mean(right, labels);
    json!({
        "accuracy": accuracy,
        "std_err": std_err,
        "balanced_accuracy": balanced,
        "balanced_std_err": balanced_std_err,
        "images": right.len(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_image_of_each_label_is_found() {
        assert_eq!(first_of_each(&[4, 4, 4, 7]), [0, 3]);
    }
}
