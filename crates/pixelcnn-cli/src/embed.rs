//! `pixelcnn embed`.

use std::process::ExitCode;

use anyhow::{Result, bail};
use candle_core::DType;
use pixelcnn_models::{EmbeddingNetwork, Kind};
use pixelcnn_train::{condition_vectors, embeddings};
use serde_json::json;

use crate::arguments::JsonFlag;
use crate::data::{Portion, Subject};
use crate::output::{Format, NpyWriter, Number, Outputs, Target};
use crate::progress;
use pixelcnn_system::counted;

/// Writes the vector h of each image, from a conditional model or from an
/// embedding network
///
/// Embeddings have norm 1; they are multiplied by the square root of their length
/// d, as for models conditioned on embeddings. The output is a NumPy file [n, d].
/// Models of conditioning kind `vector` can be trained on it, and `sample
/// --vector` and `interpolate --vector` read it.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    subject: Subject,
    #[command(flatten)]
    portion: Portion,
    /// The output file, .npy; - for standard output
    #[arg(long, value_name = "FILE")]
    out: Target,
    #[command(flatten)]
    json: JsonFlag,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let outputs = Outputs::default().file("--out", &arguments.out, Format::Npy);
    let channel = outputs.check(arguments.json.json)?;
    let (model, _) = arguments.subject.model()?;
    let data = arguments.subject.load(&model)?;
    let images = data.images(arguments.subject.split(), arguments.portion.limit)?;
    let vectors = match model.kind() {
        Kind::Embedding(network, _) => {
            let vectors = embeddings(network, &images, arguments.portion.batch)?;
            EmbeddingNetwork::condition(&vectors.to_dtype(DType::F32)?)?
        }
        Kind::Density(density) => {
            let split = arguments.subject.split();
            let conditioned = data.conditioned(&model, &images, split, None)?;
            {
                let mut bar = progress::Progress::start("embedding", images.len());
                let (encoder, batch) = (density.condition_encoder(), arguments.portion.batch);
                condition_vectors(encoder, &conditioned, batch, &mut |done| bar.at(done))?
            }
        }
        Kind::AutoEncoder(_) | Kind::Classifier(_) => {
            bail!("{} computes no vectors", model.config().name())
        }
    };
    let (count, length) = vectors.dims2()?;
    let vectors = vectors.to_dtype(DType::F32)?.to_vec2::<f32>()?;
    if !vectors.iter().flatten().all(|number| number.is_finite()) {
        bail!("numbers overflow in the network: it gives no vectors");
    }
    let mut file = NpyWriter::create(&arguments.out, &[count, length], Number::F32)?;
    for vector in &vectors {
        file.floats(vector)?;
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
