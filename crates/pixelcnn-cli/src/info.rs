//! `pixelcnn info`.

mod versions;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use candle_core::Device;
use pixelcnn_models::{Classes, Model};
use serde_json::json;

use crate::arguments::JsonFlag;
use crate::{model, output};
use pixelcnn_system::counted;

/// Describes a model: configuration, parameters, tensors; or, for reports of bugs,
/// what the program is
#[derive(clap::Args)]
#[group(id = "subject", required = true, multiple = false, args = ["model", "versions"])]
pub(crate) struct Arguments {
    #[arg(long, value_name = "MODEL", help = model::HELP)]
    model: Option<PathBuf>,
    /// Versions of the program and of candle, features, and what is used of the processor
    #[arg(long)]
    versions: bool,
    #[command(flatten)]
    json: JsonFlag,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let as_json = arguments.json.json;
    match &arguments.model {
        Some(path) => describe(&model::load(path, &Device::Cpu)?, as_json)?,
        None => versions::print(as_json)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints a description of a model.
fn describe(model: &Model, as_json: bool) -> Result<()> {
    let parameters = model.parameters();
    let tensors: Vec<_> = model
        .tensors()
        .iter()
        .map(|(name, tensor)| (name, tensor.dims().to_vec()))
        .collect();
    let graph = model.network().map(|network| network.graph());
    let reach = graph.and_then(|graph| graph.reach());
    let classes = model.config().classes();
    let classes = classes.map_or(&[][..], Classes::names);
    if as_json {
        let shapes: serde_json::Map<_, _> = tensors
            .iter()
            .map(|(name, shape)| ((*name).clone(), json!(shape)))
            .collect();
        let result = json!({
            "name": model.config().name(),
            "config": model.config(),
            "parameters": parameters,
            "reach": reach.and_then(|reach| reach.into_iter().max()),
            "classes": classes,
            "tensors": shapes,
        });
        return output::line(result);
    }
    output::line(format_args!(
        "{}, {}",
        model.config().name(),
        counted(parameters, "parameter")
    ))?;
    match reach {
        None if graph.is_some() => output::line("sees as far as the image goes")?,
        None => {}
        Some([up, left, right]) if up == left && up == right => {
            let pixels = counted(up, "pixel");
            output::line(format_args!("sees {pixels} up, left and right"))?;
        }
        Some([up, left, right]) => {
            let pixels = counted(up, "pixel");
            output::line(format_args!("sees {pixels} up, {left} left, {right} right"))?;
        }
    }
    if !classes.is_empty() {
        let names = classes.iter().enumerate();
        let names: Vec<_> = names
            .map(|(label, name)| format!("{label} {name}"))
            .collect();
        output::line(format_args!("classes: {}", names.join(", ")))?;
    }
    for line in serde_json::to_string_pretty(model.config())?.lines() {
        output::line(line)?;
    }
    for (name, shape) in tensors {
        let sides: Vec<_> = shape.iter().map(ToString::to_string).collect();
        output::line(format_args!("{name:40} [{}]", sides.join(", ")))?;
    }
    Ok(())
}
