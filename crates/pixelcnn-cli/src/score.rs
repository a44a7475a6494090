//! What networks without a likelihood are measured by.

use anyhow::{Result, bail};
use candle_core::Device;
use pixelcnn_data::{Images, Split};
use pixelcnn_models::{Kind, Model};
use pixelcnn_train::{Pairs, errors};
use serde_json::{Value, json};

use crate::data::Data;
use crate::output;

/// The scores of a model by name, and how many images they are of.
pub fn measure(
    model: &Model,
    data: &Data,
    images: &Images,
    batch: usize,
    device: &Device,
) -> Result<Value> {
    Ok(match model.kind() {
        Kind::AutoEncoder(_) => {
            let (mean, std_err) = mean(&errors(model, images, batch, device)?);
            json!({"mean_squared_error": mean, "std_err": std_err, "images": images.len()})
        }
        Kind::Classifier(_) => {
            let (mean, std_err) = mean(&errors(model, images, batch, device)?);
            json!({"accuracy": 1.0 - mean, "std_err": std_err, "images": images.len()})
        }
        Kind::Embedding(_) => {
            let valid = data.dataset.split(Split::Valid)?;
            let threshold = Pairs::of(model, valid, batch, device)?.best_threshold();
            let pairs = Pairs::of(model, images, batch, device)?;
            json!({
                "area_under_curve": pairs.area_under_curve(),
                "accuracy": pairs.accuracy(threshold),
                "threshold": threshold,
                "pairs": pairs.count(),
                "images": images.len(),
            })
        }
        Kind::Uniform | Kind::Gaussian(_) | Kind::Network(..) => {
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
        output::line(format_args!("{}: {value}", name.replace('_', " ")))?;
    }
    Ok(())
}

/// The mean and its standard error.
pub fn mean(numbers: &[f64]) -> (f64, f64) {
    let count = numbers.len() as f64;
    let mean = numbers.iter().sum::<f64>() / count;
    let squares: f64 = numbers.iter().map(|number| (number - mean).powi(2)).sum();
    let variance = squares / (count - 1.0).max(1.0);
    (mean, (variance / count).sqrt())
}
