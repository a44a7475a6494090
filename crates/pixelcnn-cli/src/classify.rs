//! `pixelcnn classify`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};
use candle_core::{DType, Device, Tensor};
use pixelcnn_data::Images;
use pixelcnn_models::{Classes, Condition, Kind, Model};
use pixelcnn_train::Examples;
use serde_json::json;

use crate::data::{Portion, Subject};
use crate::{model, output, progress, score};

/// Names the class of images: the one under which they are likeliest by a
/// class-conditional model (Bayes' rule, all classes as likely), or what a
/// classifier says, for classes as likely too
#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    subject: Subject,
    #[command(flatten)]
    portion: Portion,
    /// Images of a NumPy file [n, c, h, w] instead of a data set
    #[arg(long, value_name = "FILE", requires = "labels", conflicts_with_all = ["data", "limit", "split"])]
    npy: Option<PathBuf>,
    /// The right label of each of them
    #[arg(long, value_name = "L,L,...", value_delimiter = ',', requires = "npy")]
    labels: Vec<u32>,
    /// Print the result as one line of JSON
    #[arg(long)]
    json: bool,
}

pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let (model, device) = arguments.subject.model()?;
    let images = images(arguments)?;
    let Some(classes) = model.config().classes().map(Classes::count) else {
        bail!("{} tells no classes apart", model.config().name());
    };
    // That labels are those of the model.
    Examples::new(model.config(), &images, None)?;
    let batch = arguments.portion.batch();
    let logs = log_likelihoods(&model, classes, &images, batch, &device)?;
    let predicted: Vec<usize> = logs.iter().map(|logs| likeliest(logs)).collect();
    let right = predicted.iter().zip(images.labels());
    let right: Vec<f64> = right
        .map(|(found, label)| f64::from(*found == *label as usize))
        .collect();
    let mut result = score::accuracies(&right, images.labels());
    result["classes"] = json!(classes);
    result["predicted"] = json!(predicted);
    result["log_probabilities"] = json!(logs);
    if matches!(model.kind(), Kind::Network(..)) {
        let (given, marginal) = nats(&logs, images.labels());
        result["nats_per_image"] = json!(given);
        result["marginal_nats_per_image"] = json!(marginal);
    }
    if arguments.json {
        output::line(result)?;
        return Ok(ExitCode::SUCCESS);
    }
    for (image, logs) in logs.iter().enumerate() {
        let logs: Vec<_> = logs.iter().map(|nats| format!("{nats:.2}")).collect();
        output::line(format_args!(
            "{image}: label {}, found {}; log p: {}",
            images.labels()[image],
            predicted[image],
            logs.join(" ")
        ))?;
    }
    let (accuracy, std_err) = score::mean(&right);
    let (balanced, balanced_std_err) = score::balanced(&right, images.labels());
    output::line(format_args!(
        "accuracy {accuracy:.4} ± {std_err:.4}, its mean over the labels {balanced:.4} ± \
         {balanced_std_err:.4}, on {} images of {classes} classes",
        images.len()
    ))?;
    Ok(ExitCode::SUCCESS)
}

fn images(arguments: &Arguments) -> Result<Images> {
    let Some(path) = &arguments.npy else {
        let data = arguments.subject.load()?;
        return data.images(arguments.subject.split, arguments.portion.limit);
    };
    let values = model::read_values(path)?;
    let (count, c, h, w) = values.dims4()?;
    if count != arguments.labels.len() {
        let labels = arguments.labels.len();
        bail!("--labels: one for each of {count} images expected, found {labels}");
    }
    let values = values.to_dtype(DType::U32)?.flatten_all()?;
    let values = values.to_vec1::<u32>()?.into_iter().map(u8::try_from);
    let Ok(values) = values.collect::<Result<_, _>>() else {
        bail!("{}: values up to 255 expected", path.display());
    };
    Ok(Images::new((c, h, w), values, arguments.labels.clone())?)
}

/// For each image the nats `log p(x|class)` of each class, or the logits of a
/// classifier as `log p(class|x)` where all classes are as likely.
fn log_likelihoods(
    model: &Model,
    classes: usize,
    images: &Images,
    batch: usize,
    device: &Device,
) -> Result<Vec<Vec<f64>>> {
    let mut all = Vec::with_capacity(images.len());
    let mut bar = progress::Progress::start("classifying", images.len());
    for start in (0..images.len()).step_by(batch) {
        let range = start..images.len().min(start + batch);
        let values = images.tensor(range.clone(), device)?;
        let logs = match model.kind() {
            Kind::Classifier(network) => {
                let logits = network.forward(&model.scaled(&values)?)?;
                let logs = logits.broadcast_sub(&logits.log_sum_exp(1)?.unsqueeze(1)?)?;
                logs.to_device(&Device::Cpu)?.to_dtype(DType::F64)?
            }
            _ => {
                let of = |class: usize| -> Result<Tensor> {
                    let labels = vec![class as u32; range.len()];
                    let nats = model.nats(&values, &Condition::Labels(labels))?.sum(1)?;
                    Ok(nats.neg()?)
                };
                let classes: Vec<_> = (0..classes).map(of).collect::<Result<_>>()?;
                Tensor::stack(&classes, 1)?
            }
        };
        all.extend(logs.to_vec2::<f64>()?);
        bar.at(range.end, 1.0, "");
    }
    Ok(all)
}

fn likeliest(logs: &[f64]) -> usize {
    let best = (0..logs.len()).max_by(|a, b| logs[*a].total_cmp(&logs[*b]));
    best.unwrap_or(0)
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
        assert_eq!(likeliest(&logs[0]), 0);
    }
}
