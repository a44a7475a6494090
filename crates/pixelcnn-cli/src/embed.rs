//! `pixelcnn embed`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};
use candle_core::{DType, Device, Tensor};
use pixelcnn_data::{DataSpec, Images, Split};
use pixelcnn_models::{Kind, Model};
use pixelcnn_train::embeddings;
use serde_json::json;

use crate::data::Data;
use crate::{device, model, output, progress};

/// Writes the vectors of images: embeddings, or the h that a model is
/// conditioned on
///
/// As a NumPy file [n, d], which a model of kind `vector` is trained on, and
/// `sample --vector` and `interpolate --vector` read.
#[derive(clap::Args)]
pub struct Arguments {
    /// An embedding network, or a model whose h is a vector: a model directory, or the folder
    /// of a run
    #[arg(long)]
    model: PathBuf,
    /// The data set, if not that of the run
    #[arg(long)]
    data: Option<DataSpec>,
    /// train, valid or test
    #[arg(long, default_value = "test")]
    split: Split,
    /// Only the first N images
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Images at a time
    #[arg(long, default_value_t = 16)]
    batch: usize,
    /// The file, .npy
    #[arg(long)]
    out: PathBuf,
    /// cpu, cuda:N or metal
    #[arg(long, default_value = "cpu")]
    device: String,
    /// Print the result as one line of JSON
    #[arg(long)]
    json: bool,
}

pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    output::check_file(&arguments.out)?;
    let device = device::parse(&arguments.device)?;
    let model = model::load(&arguments.model, &device)?;
    let data = Data::load(arguments.data.as_ref(), &arguments.model)?;
    let images = data.images(arguments.split, arguments.limit)?;
    if arguments.batch == 0 {
        bail!("--batch: at least 1 expected, found 0");
    }
    let vectors = match model.kind() {
        Kind::Embedding(_) => embeddings(&model, &images, arguments.batch, &device)?,
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
    let examples = data.examples(model, images, arguments.split, None)?;
    let mut bar = progress::Progress::start("embedding", images.len());
    let mut all = Vec::new();
    for start in (0..images.len()).step_by(arguments.batch) {
        let end = images.len().min(start + arguments.batch);
        let indices: Vec<usize> = (start..end).collect();
        let values = images.gather(&indices, device)?;
        let condition = examples.condition(&indices, &values)?;
        all.push(encoder.vectors(&condition)?.to_device(&Device::Cpu)?);
        bar.at(end, 1.0, "");
    }
    Ok(Tensor::cat(&all, 0)?)
}
