//! `pixelcnn embed`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};
use candle_core::{DType, Device, Tensor};
use pixelcnn_data::Images;
use pixelcnn_models::{EmbeddingNetwork, Kind, Model};
use pixelcnn_train::embeddings;
use serde_json::json;

use crate::data::{Data, Portion, Subject};
use crate::{output, progress};

/// Writes the vectors of images: the h that a model is conditioned on, or what
/// it would be by an embedding network
///
/// Embeddings, of length 1, are multiplied by the root of their number of
/// values, as models conditioned on them take them. As a NumPy file [n, d],
/// which a model of kind `vector` is trained on, and `sample --vector` and
/// `interpolate --vector` read.
#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    subject: Subject,
    #[command(flatten)]
    portion: Portion,
    /// The file, .npy
    #[arg(long)]
    out: PathBuf,
    /// Print the result as one line of JSON
    #[arg(long)]
    json: bool,
}

pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    output::check_file(&arguments.out)?;
    let (model, device) = arguments.subject.model()?;
    let data = arguments.subject.load()?;
    let images = data.images(arguments.subject.split, arguments.portion.limit)?;
    let vectors = match model.kind() {
        Kind::Embedding(_) => {
            let batch = arguments.portion.batch();
            let vectors = embeddings(&model, &images, batch, &device)?;
            EmbeddingNetwork::condition(&vectors.to_dtype(DType::F32)?)?
        }
        _ => conditions(&model, &data, &images, arguments, &device)?,
    };
    output::npy(&arguments.out, &vectors.to_dtype(DType::F32)?)?;
    let (count, length) = vectors.dims2()?;
    let out = arguments.out.display();
    match arguments.json {
        true => output::line(json!({
            "out": out.to_string(),
            "images": count,
            "length": length,
        }))?,
        false => output::line(format_args!("{out}: {count} vectors of {length} values"))?,
    }
    Ok(ExitCode::SUCCESS)
}

/// h of each image.
fn conditions(
    model: &Model,
    data: &Data,
    images: &Images,
    arguments: &Arguments,
    device: &Device,
) -> Result<Tensor> {
    let Some(encoder) = model.encoder() else {
        bail!("{} has no vectors", model.config().name());
    };
    let examples = data.examples(model, images, arguments.subject.split, None)?;
    let batch = arguments.portion.batch();
    let mut bar = progress::Progress::start("embedding", images.len());
    let mut all = Vec::new();
    for start in (0..images.len()).step_by(batch) {
        let end = images.len().min(start + batch);
        let indices: Vec<usize> = (start..end).collect();
        let values = images.gather(&indices, device)?;
        let condition = examples.condition(&indices, &values)?;
        all.push(encoder.vectors(&condition)?.to_device(&Device::Cpu)?);
        bar.at(end, 1.0, "");
    }
    Ok(Tensor::cat(&all, 0)?)
}
