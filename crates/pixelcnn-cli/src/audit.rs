//! `pixelcnn audit`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;
use candle_core::Device;
use pixelcnn_models::Model;
use pixelcnn_models::audit::{Finding, Report, audit};
use pixelcnn_train::RunConfig;
use serde_json::json;

use crate::{model, output, picture};

/// Checks what a network sees: leaks, blind spots, colour order; exits
/// non-zero if anything is wrong
#[derive(clap::Args)]
pub struct Arguments {
    /// A model directory, or the folder of a run
    #[arg(long, required_unless_present = "config", conflicts_with = "config")]
    model: Option<PathBuf>,
    /// The configuration of a run instead: its model with drawn weights
    #[arg(long)]
    config: Option<PathBuf>,
    /// Seed of the drawn weights
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Draw the receptive field, as in figure 1, PNG
    #[arg(long, value_name = "FILE")]
    picture: Option<PathBuf>,
    /// Print the result as one line of JSON
    #[arg(long)]
    json: bool,
}

/// Findings printed one by one.
const SHOWN: usize = 20;

pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let model = match (&arguments.model, &arguments.config) {
        (Some(path), _) => model::load(path, &Device::Cpu)?,
        (None, Some(path)) => drawn(path, arguments.seed)?,
        (None, None) => anyhow::bail!("give --model or --config"),
    };
    let report = audit(model.config(), model.tensors())?;
    if let Some(path) = &arguments.picture {
        picture::write_field(path, &report)?;
    }
    match arguments.json {
        true => output::line(as_json(&report))?,
        false => print(model.config().name(), &report)?,
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

fn print(name: &str, report: &Report) -> Result<()> {
    for (channel, (reached, analytic)) in report.reached.iter().zip(&report.analytic).enumerate() {
        output::line(format_args!(
            "channel {channel}: {} input values reached, {} expected",
            reached.len(),
            analytic.len()
        ))?;
    }
    output::line(format_args!(
        "{} earlier pixels within reach are left out by the architecture",
        report.blind_by_design
    ))?;
    for finding in report.findings.iter().take(SHOWN) {
        output::line(finding)?;
    }
    if report.findings.len() > SHOWN {
        output::line(format_args!(
            "... and {} more",
            report.findings.len() - SHOWN
        ))?;
    }
    match report.findings.len() {
        0 => output::line(format_args!(
            "{name}: sound, {} gradients without a leak",
            report.gradients
        )),
        count => output::line(format_args!("{name}: {count} findings")),
    }
}
