//! The report on classified images.

use std::collections::BTreeMap;

use anyhow::Result;
use pixelcnn_models::Classes;
use pixelcnn_train::{ClassLogs, balanced_mean, mean_and_error};
use serde_json::json;

use crate::numbers::estimate;
use crate::{measures, output};
use pixelcnn_system::counted;

/// Number of classes printed for each image.
const SHOWN: usize = 3;

/// The result for each image.
pub(super) struct Report<'a> {
    classes: &'a Classes,
    labels: &'a [u32],
    logs: ClassLogs,
    predicted: Vec<usize>,
    right: Vec<f64>,
}

impl<'a> Report<'a> {
    pub(super) fn new(classes: &'a Classes, labels: &'a [u32], logs: ClassLogs) -> Self {
        let predicted = logs.predicted();
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

    /// For each class with images, the number of images per predicted class.
    fn confusion(&self) -> BTreeMap<u32, BTreeMap<usize, usize>> {
        let mut all = BTreeMap::<u32, BTreeMap<usize, usize>>::new();
        for (label, found) in self.labels.iter().zip(&self.predicted) {
            *all.entry(*label).or_default().entry(*found).or_default() += 1;
        }
        all
    }

    /// Prints everything as one line of JSON; with likelihoods (of a class-conditional
    /// model), also the nats.
    pub(super) fn print_json(&self, likelihoods: bool) -> Result<()> {
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
        result["log_probabilities"] = json!(self.logs.rows());
        let probabilities: Vec<_> = (0..self.logs.images())
            .map(|image| self.logs.probabilities(image))
            .collect();
        result["probabilities"] = json!(probabilities);
        let matrix: Vec<_> = (0..names.len()).map(counts).collect();
        result["confusion"] = json!(matrix);
        if likelihoods {
            let (given, marginal) = self.logs.nats(self.labels);
            result["nats_per_image"] = json!(given);
            result["marginal_nats_per_image"] = json!(marginal);
        }
        output::line(result)
    }

    /// Prints a line per image, a line per class, and the accuracy.
    pub(super) fn print(&self) -> Result<()> {
        for image in 0..self.logs.images() {
            let shares = self.logs.probabilities(image);
            let likely: Vec<_> = self
                .logs
                .ranked(image)
                .into_iter()
                .take(SHOWN)
                .map(|class| format!("{} ({:.4})", self.name(class), shares[class]))
                .collect();
            let label = self.name(self.labels[image] as usize);
            output::line(format_args!(
                "{image}: class {label}; predicted {}",
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
            output::line(format_args!("{name}: {right} of {total} correct{rest}"))?;
        }
        let (accuracy, std_err) = mean_and_error(&self.right);
        let (balanced, balanced_std_err) = balanced_mean(&self.right, self.labels);
        output::line(format_args!(
            "accuracy {}, balanced accuracy {}, on {} of {}",
            estimate(accuracy, std_err, 4),
            estimate(balanced, balanced_std_err, 4),
            counted(self.labels.len(), "image"),
            counted(self.classes.count(), "class")
        ))
    }
}
