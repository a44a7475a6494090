//! `pixelcnn embed`.

use std::process::ExitCode;

use anyhow::{Result, bail};
use candle_core::{DType, Device, Tensor};
use pixelcnn_data::Images;
use pixelcnn_models::{EmbeddingNetwork, Kind, Model};
use pixelcnn_train::embeddings;
use serde_json::json;

use crate::arguments::JsonFlag;
use crate::data::{Data, Portion, Subject};
use crate::output::{Format, NpyWriter, Number, Outputs, Target};
use crate::progress;
use pixelcnn_system::counted;

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
    /// The file, .npy; - for standard output
    #[arg(long, value_name = "FILE")]
    out: Target,
    #[command(flatten)]
    json: JsonFlag,
}

pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let outputs = Outputs::default().file("--out", &arguments.out, Format::Npy);
    let channel = outputs.check(arguments.json.json)?;
    let (model, device) = arguments.subject.model()?;
    let data = arguments.subject.load(&model)?;
    let images = data.images(arguments.subject.split(), arguments.portion.limit)?;
    let vectors = match model.kind() {
        Kind::Embedding(..) => {
            let batch = arguments.portion.batch;
            let vectors = embeddings(&model, &images, batch, &device)?;
            EmbeddingNetwork::condition(&vectors.to_dtype(DType::F32)?)?
        }
        _ => conditions(&model, &data, &images, arguments, &device)?,
    };
    let (count, length) = vectors.dims2()?;
    let mut file = NpyWriter::create(&arguments.out, &[count, length], Number::F32)?;
    for vector in vectors.to_dtype(DType::F32)?.to_vec2::<f32>()? {
        file.floats(&vector)?;
    }
    file.finish()?;
    let out = &arguments.out;
    out.wrote(counted(count, "vector"));
    match arguments.json.json {
        true => channel.line(json!({
            "out": out.to_string(),
            "images": count,
            "length": length,
        }))?,
        false => channel.line(format_args!(
            "{out}: {} of {}",
            counted(count, "vector"),
            counted(length, "value")
        ))?,
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
    let examples = data.examples(model, images, arguments.subject.split(), None)?;
    let batch = arguments.portion.batch;
    let mut bar = progress::Progress::start("embedding", images.len());
    let mut all = Vec::new();
    for start in (0..images.len()).step_by(batch) {
        let end = images.len().min(start + batch);
        let indices: Vec<usize> = (start..end).collect();
        let values = images.gather(&indices, device)?;
        let condition = examples.condition(&indices, &values)?;
        all.push(encoder.vectors(&condition)?.to_device(&Device::Cpu)?);
        bar.at(end);
    }
    Ok(Tensor::cat(&all, 0)?)
}
