//! `pixelcnn eval`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Result, bail};
use candle_core::{Device, Tensor};
use pixelcnn_data::{DataSpec, Images, Split};
use pixelcnn_models::{Condition, Likelihood, Model, write_tensors};
use pixelcnn_train::{RunConfig, evaluate};
use serde_json::json;

use crate::{device, model, output, progress, surprise};

/// Measures the likelihood of images under a model
#[derive(clap::Args)]
pub struct Arguments {
    /// A model directory, or the folder of a run
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
    /// Images evaluated at a time
    #[arg(long, default_value_t = 16)]
    batch: usize,
    /// Also write the tensors `logits` [n, c, levels, h, w] and `values` [n, c, h, w]
    #[arg(long, value_name = "FILE", requires = "limit")]
    dump_logits: Option<PathBuf>,
    /// Also write each image with a map of its bits beside it into this folder
    #[arg(long, value_name = "DIR")]
    map: Option<PathBuf>,
    /// cpu, cuda:N or metal
    #[arg(long, default_value = "cpu")]
    device: String,
    /// Print the result as one line of JSON
    #[arg(long)]
    json: bool,
}

pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let device = device::parse(&arguments.device)?;
    let model = model::load(&arguments.model, &device)?;
    let data = match &arguments.data {
        Some(data) => data.clone(),
        None => data_of_run(&arguments.model)?,
    };
    let dataset = pixelcnn_data::load(&data)?;
    let images = dataset.split(arguments.split)?;
    let images = images.first(arguments.limit.unwrap_or(images.len()));
    // What cannot be done is said before it takes long.
    let map = match &arguments.map {
        Some(folder) => {
            output::create_folder(folder)?;
            Some((surprise::engine(&model)?, folder))
        }
        None => None,
    };
    let start = Instant::now();
    let mut bar = progress::Progress::start("evaluating", images.len());
    let mut report = |done| bar.at(done, 1.0, "");
    let likelihood = evaluate(&model, &images, arguments.batch, &device, &mut report)?;
    drop(bar);
    if let Some(path) = &arguments.dump_logits {
        dump(&model, &images, arguments.batch, &device, path)?;
    }
    if let Some((engine, folder)) = &map {
        surprise::write(engine, &images, arguments.batch, folder)?;
    }
    print(arguments, &likelihood, &data, start.elapsed().as_secs_f64())?;
    Ok(ExitCode::SUCCESS)
}

fn print(
    arguments: &Arguments,
    likelihood: &Likelihood,
    data: &DataSpec,
    seconds: f64,
) -> Result<()> {
    let (bits_per_dim, std_err) = (likelihood.bits_per_dim(), likelihood.std_err());
    if !bits_per_dim.is_finite() {
        let model = arguments.model.display();
        bail!("{model}: {bits_per_dim} bits/dim: the network's numbers overflow");
    }
    let per_channel = likelihood.per_channel();
    if arguments.json {
        let result = json!({
            "bits_per_dim": bits_per_dim,
            "std_err": std_err,
            "per_channel": per_channel,
            "nats_per_image": likelihood.nats_per_image(),
            "images": likelihood.images(),
            "data": data.to_string(),
            "split": arguments.split.to_string(),
            "seconds": seconds,
        });
        output::line(result)
    } else {
        let channels: Vec<_> = per_channel
            .iter()
            .map(|bits| format!("{bits:.4}"))
            .collect();
        output::line(format_args!(
            "{bits_per_dim:.4} ± {std_err:.4} bits/dim on {} {} images of {}\n\
             per channel {}; {:.2} nats an image",
            likelihood.images(),
            arguments.split,
            data,
            channels.join(", "),
            likelihood.nats_per_image()
        ))
    }
}

/// The data set that a run was trained on.
fn data_of_run(model: &Path) -> Result<DataSpec> {
    let file = model.join("run.toml");
    if !file.exists() {
        let model = model.display();
        bail!("{model}: no folder of a run: --data must say what to evaluate on");
    }
    Ok(RunConfig::read(&file)?.data.parse()?)
}

/// The logits of every image, for comparison with other implementations.
fn dump(model: &Model, images: &Images, batch: usize, device: &Device, path: &Path) -> Result<()> {
    let mut logits = Vec::new();
    for start in (0..images.len()).step_by(batch) {
        let values = images.tensor(start..images.len().min(start + batch), device)?;
        logits.push(
            model
                .logits(&values, &Condition::None)?
                .to_device(&Device::Cpu)?,
        );
    }
    let values = images.tensor(0..images.len(), &Device::Cpu)?;
    let tensors = BTreeMap::from([
        ("logits".to_string(), Tensor::cat(&logits, 0)?),
        ("values".to_string(), values),
    ]);
    Ok(write_tensors(path, &tensors, "")?)
}
