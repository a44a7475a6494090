//! `pixelcnn info`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use candle_core::Device;
use pixelcnn_models::ModelConfig;
use serde_json::json;

use crate::{model, output};

/// Says what a model is: configuration, parameters, tensors
#[derive(clap::Args)]
pub struct Arguments {
    /// A model directory, or the folder of a run
    #[arg(long)]
    model: PathBuf,
    /// Print the result as one line of JSON
    #[arg(long)]
    json: bool,
}

pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let model = model::load(&arguments.model, &Device::Cpu)?;
    let parameters = model.parameters()?;
    let tensors: Vec<_> = model
        .tensors()
        .iter()
        .map(|(name, tensor)| (name, tensor.dims().to_vec()))
        .collect();
    let reach = match model.config() {
        ModelConfig::GatedPixelCnn(config) => Some(config.reach()),
        _ => None,
    };
    if arguments.json {
        let shapes: serde_json::Map<_, _> = tensors
            .iter()
            .map(|(name, shape)| ((*name).clone(), json!(shape)))
            .collect();
        let result = json!({
            "name": model.config().name(),
            "config": model.config(),
            "parameters": parameters,
            "reach": reach,
            "tensors": shapes,
        });
        output::line(result)?;
        return Ok(ExitCode::SUCCESS);
    }
    output::line(format_args!(
        "{}, {parameters} parameters",
        model.config().name()
    ))?;
    if let Some(reach) = reach {
        output::line(format_args!("sees {reach} pixels up, left and right"))?;
    }
    output::line(serde_json::to_string_pretty(model.config())?)?;
    for (name, shape) in tensors {
        output::line(format_args!("{name:40} {shape:?}"))?;
    }
    Ok(ExitCode::SUCCESS)
}
