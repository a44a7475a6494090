//! `pixelcnn import`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::ArgGroup;
use pixelcnn_import::{Format, Import, Settings, card, import};
use pixelcnn_models::write_file;
use pixelcnn_system::{counted, shown};
use serde_json::json;

use crate::arguments::JsonFlag;
use crate::output;

/// The checkpoint of another program.
#[derive(clap::Args)]
pub(crate) struct FromFlags {
    /// The program that wrote FILE: uvadlc, pytorch-vqvae, anordertoreclaim or
    /// pytorch-generative
    #[arg(long, value_name = "FORMAT", requires = "file")]
    pub from: Option<Format>,
    /// The checkpoint: an archive of torch.save, or safetensors; nothing of it is executed
    #[arg(value_name = "FILE", requires = "from")]
    pub file: Option<PathBuf>,
    /// What the file does not store, such as height=28; may be repeated
    #[arg(long, value_name = "KEY=VALUE", requires = "from", long_help = settings_help())]
    set: Vec<String>,
}

fn settings_help() -> String {
    let mut text = String::from("What the file does not store; may be repeated. With defaults:\n");
    for format in Format::ALL {
        let settings = format.settings().iter();
        let settings = settings.map(|(name, default)| format!("{name}={default}"));
        let settings: Vec<_> = settings.collect();
        text.push_str(&format!("{format}:\n  {}\n", settings.join(" ")));
    }
    text
}

impl FromFlags {
    /// The model of the file, if one is given; logs what a user should know.
    pub(crate) fn read(&self) -> Result<Option<(Format, &Path, Import)>> {
        let (Some(format), Some(file)) = (self.from, &self.file) else {
            return Ok(None);
        };
        let settings = Settings::parse(&self.set)?;
        let import = import(format, file, &settings)?;
        for note in &import.notes {
            tracing::info!("{note}");
        }
        for warning in &import.warnings {
            tracing::warn!("{warning}");
        }
        Ok(Some((format, file, import)))
    }
}

/// Makes a model directory of the checkpoint of another program
#[derive(clap::Args)]
#[command(group = ArgGroup::new("format").args(["from"]).required(true))]
pub(crate) struct Arguments {
    #[command(flatten)]
    from: FromFlags,
    /// The folder for config.json, model.safetensors and a card
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    #[command(flatten)]
    json: JsonFlag,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let out = &arguments.out;
    output::check_new_folder(out)?;
    let Some((format, file, import)) = arguments.from.read()? else {
        bail!("give --from and a file");
    };
    let model = &import.model;
    model.save(out)?;
    write_file(
        out.join("README.md"),
        card(format, file, &import).as_bytes(),
    )?;
    let image = model.config().image();
    if arguments.json.json {
        output::line(json!({
            "out": out.display().to_string(),
            "format": format.name(),
            "name": model.config().name(),
            "image": image,
            "parameters": model.parameters(),
            "notes": import.notes,
            "warnings": import.warnings,
        }))?;
    } else {
        output::line(format_args!(
            "{}: {}, {}, {} x {} x {} of {} levels",
            shown(out),
            model.config().name(),
            counted(model.parameters(), "parameter"),
            image.channels,
            image.height,
            image.width,
            image.levels
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}
