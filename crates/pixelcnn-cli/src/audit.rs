//! `pixelcnn audit`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;
use candle_core::Device;
use clap::ArgGroup;
use pixelcnn_models::Model;
use pixelcnn_models::audit::{Finding, Report, audit};
use pixelcnn_train::RunConfig;
use serde_json::json;

use crate::arguments::{JsonFlag, SeedFlag, ZoomFlag};
use crate::import::FromFlags;
use crate::output::{Channel, Format, Outputs, Target};
use crate::{model, picture};
use pixelcnn_system::counted;

/// Checks the receptive field of a network: leaks, blind spots, colour order;
/// exits with an error if it finds a fault
#[derive(clap::Args)]
#[command(group = ArgGroup::new("subject").args(["model", "config", "from"]).required(true))]
#[command(override_usage = USAGE)]
#[command(mut_arg("zoom", |zoom| zoom.requires("picture")))]
#[command(mut_arg("seed", |seed| seed.conflicts_with_all(["model", "from"])))]
pub(crate) struct Arguments {
    #[arg(long, value_name = "MODEL", help = model::HELP)]
    model: Option<PathBuf>,
    /// Or the configuration of a run: audits its model with random initial weights
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    from: FromFlags,
    #[command(flatten)]
    seed: SeedFlag,
    /// Write a picture of the receptive field, as in figure 1, as a PNG
    #[arg(long, value_name = "FILE")]
    picture: Option<Target>,
    #[command(flatten)]
    zoom: ZoomFlag,
    #[command(flatten)]
    json: JsonFlag,
}

/// Fits 80 columns.
const USAGE: &str = "pixelcnn audit [OPTIONS]
         <--model <MODEL>|--config <FILE>|--from <FORMAT>> [FILE]";

/// Number of findings that are printed.
const SHOWN: usize = 20;

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let json = arguments.json.json;
    let outputs = Outputs::default().file("--picture", &arguments.picture, Format::Png);
    let channel = outputs.check(json)?;
    let model = match (&arguments.model, &arguments.config) {
        (Some(path), _) => model::load(path, &Device::Cpu)?,
        (None, Some(path)) => drawn(path, arguments.seed.seed)?,
        (None, None) => match arguments.from.read()? {
            Some((_, _, import)) => import.model,
            None => anyhow::bail!("give --model, --config or --from"),
        },
    };
    let report = audit(model.config(), model.tensors())?;
    match json {
        true => channel.line(as_json(&report))?,
        false => print(model.config().name(), &report, channel)?,
    }
    if let Some(target) = &arguments.picture {
        picture::write_field(target, &report, arguments.zoom)?;
    }
    Ok(match report.findings.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

fn drawn(config: &Path, seed: u64) -> Result<Model> {
    let config = RunConfig::read(config)?.model;
    Ok(Model::initialise(&config, seed, &Device::Cpu)?.0)
}

fn as_json(report: &Report) -> serde_json::Value {
    let sizes = |fields: &[_]| -> Vec<usize> {
        fields
            .iter()
            .map(pixelcnn_models::audit::Field::len)
            .collect()
    };
    let finding = |finding: &Finding| {
        json!({
            "fault": finding.fault.name(),
            "output": finding.output,
            "row": finding.input.row,
            "column": finding.input.column,
            "channel": finding.input.channel,
        })
    };
    json!({
        "sound": report.findings.is_empty(),
        "findings": report.findings.iter().map(finding).collect::<Vec<_>>(),
        "analytic": sizes(&report.analytic),
        "reached": sizes(&report.reached),
        "blind_by_design": report.blind_by_design,
        "gradients": report.gradients,
    })
}

fn print(name: &str, report: &Report, channel: Channel) -> Result<()> {
    for (index, (reached, analytic)) in report.reached.iter().zip(&report.analytic).enumerate() {
        channel.line(format_args!(
            "channel {index}: {} reached, {} expected",
            counted(reached.len(), "input value"),
            analytic.len()
        ))?;
    }
    channel.line(format_args!(
        "not seen by the architecture (a blind spot, or gaps of dilated kernels): {} within reach",
        counted(report.blind_by_design, "earlier pixel")
    ))?;
    for finding in report.findings.iter().take(SHOWN) {
        channel.line(finding)?;
    }
    if report.findings.len() > SHOWN {
        channel.line(format_args!(
            "... and {} more",
            report.findings.len() - SHOWN
        ))?;
    }
    match report.findings.len() {
        0 => channel.line(format_args!(
            "{name}: sound, {} without a leak",
            counted(report.gradients, "gradient")
        )),
        count => channel.line(format_args!("{name}: {}", counted(count, "finding"))),
    }
}
