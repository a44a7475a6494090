//! What is said of images that have been classified.

use std::collections::BTreeMap;

use anyhow::Result;
use pixelcnn_models::Classes;
use serde_json::json;

use crate::numbers::{estimate, mean};
use crate::{measures, output};
use pixelcnn_system::counted;

/// Classes of each image that are printed.
const SHOWN: usize = 3;

/// What is known of each image.
pub struct Report<'a> {
    classes: &'a Classes,
    labels: &'a [u32],
    /// Of each image and class, `log p(x|class)` or `log p(class|x)`.
    logs: Vec<Vec<f64>>,
    predicted: Vec<usize>,
    right: Vec<f64>,
}

impl<'a> Report<'a> {
    pub fn new(classes: &'a Classes, labels: &'a [u32], logs: Vec<Vec<f64>>) -> Self {
        let predicted: Vec<usize> = logs.iter().map(|logs| likeliest(logs)[0]).collect();
        let right = predicted.iter().zip(labels);
        let right = right.map(|(found, label)| f64::from(*found == *label as usize));
        Self {
            right: right.collect(),
            classes,
            labels,
            logs,
            predicted,
        }
    }

    fn name(&self, label: usize) -> String {
        self.classes.name(u32::try_from(label).unwrap_or(u32::MAX))
    }

    /// Of each class that has images, how many were given each name.
    fn confusion(&self) -> BTreeMap<u32, BTreeMap<usize, usize>> {
        let mut all = BTreeMap::<u32, BTreeMap<usize, usize>>::new();
        for (label, found) in self.labels.iter().zip(&self.predicted) {
            *all.entry(*label).or_default().entry(*found).or_default() += 1;
        }
        all
    }

    /// All as one line of JSON; of a class-conditional model, which has
    /// likelihoods, the nats too.
    pub fn print_json(&self, likelihoods: bool) -> Result<()> {
        let mut result = measures::accuracies(&self.right, self.labels);
        let names: Vec<_> = (0..self.classes.count()).map(|it| self.name(it)).collect();
        let confusion = self.confusion();
        let counts = |label: usize| -> Vec<usize> {
            let found = u32::try_from(label).ok().and_then(|it| confusion.get(&it));
            let count = |class| found.and_then(|found| found.get(&class)).copied();
            (0..names.len())
                .map(|class| count(class).unwrap_or(0))
                .collect()
        };
        result["classes"] = json!(self.classes.count());
        result["names"] = json!(names);
        result["labels"] = json!(self.labels);
        result["predicted"] = json!(self.predicted);
        result["log_probabilities"] = json!(self.logs);
        let probabilities: Vec<_> = self.logs.iter().map(|logs| probabilities(logs)).collect();
        result["probabilities"] = json!(probabilities);
        let matrix: Vec<_> = (0..names.len()).map(counts).collect();
        result["confusion"] = json!(matrix);
        if likelihoods {
            let (given, marginal) = nats(&self.logs, self.labels);
            result["nats_per_image"] = json!(given);
            result["marginal_nats_per_image"] = json!(marginal);
        }
        output::line(result)
    }

    /// A line an image, a line a class, and the accuracy.
    pub fn print(&self) -> Result<()> {
        for (image, logs) in self.logs.iter().enumerate() {
            let shares = probabilities(logs);
            let likely: Vec<_> = likeliest(logs)
                .into_iter()
                .take(SHOWN)
                .map(|class| format!("{} {:.4}", self.name(class), shares[class]))
                .collect();
            let label = self.name(self.labels[image] as usize);
            output::line(format_args!(
                "{image}: is {label}; found {}",
                likely.join(", ")
            ))?;
        }
        for (label, found) in self.confusion() {
            let total: usize = found.values().sum();
            let right = found.get(&(label as usize)).copied().unwrap_or(0);
            let mut wrong: Vec<_> = found
                .iter()
                .filter(|(class, _)| **class != label as usize)
                .collect();
            wrong.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
            let wrong: Vec<_> = wrong
                .into_iter()
                .map(|(class, count)| format!("{count} as {}", self.name(*class)))
                .collect();
            let rest = match wrong.is_empty() {
                true => String::new(),
                false => format!("; {}", wrong.join(", ")),
            };
            let name = self.name(label as usize);
            output::line(format_args!("{name}: {right} of {total} right{rest}"))?;
        }
        let (accuracy, std_err) = mean(&self.right);
        let (balanced, balanced_std_err) = measures::balanced(&self.right, self.labels);
        output::line(format_args!(
            "accuracy {}, balanced accuracy {}, on {} of {}",
            estimate(accuracy, std_err, 4),
            estimate(balanced, balanced_std_err, 4),
            counted(self.labels.len(), "image"),
            counted(self.classes.count(), "class")
        ))
    }
}

/// All classes, the likeliest first.
fn likeliest(logs: &[f64]) -> Vec<usize> {
    let mut classes: Vec<_> = (0..logs.len()).collect();
    classes.sort_by(|a, b| logs[*b].total_cmp(&logs[*a]));
    classes
}

/// Probabilities of the classes, where all are as likely beforehand.
fn probabilities(logs: &[f64]) -> Vec<f64> {
    let most = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let shares: Vec<_> = logs.iter().map(|nats| (nats - most).exp()).collect();
    let sum: f64 = shares.iter().sum();
    shares.into_iter().map(|share| share / sum).collect()
}

/// Mean nats of an image given its label, and given none: the classes' mixture,
/// all as likely.
fn nats(logs: &[Vec<f64>], labels: &[u32]) -> (f64, f64) {
    let mixture = |logs: &Vec<f64>| {
        let most = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = logs.iter().map(|nats| (nats - most).exp()).sum();
        -(most + (sum / logs.len() as f64).ln())
    };
    let count = logs.len() as f64;
    let given = logs.iter().zip(labels).map(|(logs, label)| {
        // Labels have been checked: there is none beyond.
        -logs.get(*label as usize).copied().unwrap_or(f64::NAN)
    });
    let marginal: f64 = logs.iter().map(mixture).sum();
    (given.sum::<f64>() / count, marginal / count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mixture_lies_between_the_best_class_and_the_mean() {
        let logs = vec![vec![-100.0, -104.0], vec![-50.0, -50.0]];
        let (given, marginal) = nats(&logs, &[0, 1]);
        assert_eq!(given, 75.0);
        let first = 100.0 - ((1.0 + (-4f64).exp()) / 2.0).ln();
        assert!((marginal - (first + 50.0) / 2.0).abs() < 1e-12);
        assert_eq!(likeliest(&logs[0]), [0, 1]);
        assert!((probabilities(&logs[1])[0] - 0.5).abs() < 1e-12);
    }
}
