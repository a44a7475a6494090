//! `cargo xtask reproduce-all`: every table and figure, and an index page.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::experiment::program::Program;
use crate::experiment::{self, Device, Entry, Experiment, Page, Preset, markdown};
use crate::{conditions, cost, figure3, figure4, figure6, figure7, process, table1, table2};

/// Run every table and figure with one preset, and write an index of their pages
///
/// If one fails, the others still run; the command then fails at the end and names it.
/// What is saved from before does not run again.
// This is also the text of `--help`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The set of configurations to run
    #[arg(long, value_enum, default_value_t = Preset::Quick)]
    preset: Preset,
    /// Where to run: cpu, cuda:N or metal; the program is built with that back end [default: cpu]
    #[arg(long)]
    device: Option<Device>,
    /// Print the command lines without running them
    #[arg(long)]
    dry_run: bool,
    /// Folder of the results [default: runs/all-PRESET in the workspace]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// Every experiment, in the paper's order.
pub(crate) const EXPERIMENTS: [Experiment<'static>; 9] = [
    table1::TABLE_1,
    table2::TABLE_2,
    figure3::FIGURE_3,
    figure4::FIGURE_4,
    figure4::FIGURE_5,
    figure6::FIGURE_6,
    figure7::FIGURE_7,
    conditions::CONDITIONS,
    cost::COST,
];

/// Runs the task.
///
/// # Errors
/// When the program does not build, the index cannot be written, or an
/// experiment fails.
pub(crate) fn run(root: &Path, arguments: &Arguments) -> Result<()> {
    experiment::with_program(root, arguments.device, arguments.dry_run, |program| {
        reproduce(root, program, arguments)
    })
}

fn reproduce(root: &Path, program: &Program, arguments: &Arguments) -> Result<()> {
    let out = arguments.out.clone();
    let out = out.unwrap_or_else(|| root.join(format!("runs/all-{}", arguments.preset)));
    let out = std::path::absolute(out).context("cannot tell the current folder")?;
    let mut entries = Vec::new();
    let mut failed = Vec::new();
    for experiment in &EXPERIMENTS {
        let (name, folder) = (experiment.name, experiment.folder);
        let arguments = experiment::Arguments {
            preset: arguments.preset,
            data: None,
            device: arguments.device,
            dry_run: arguments.dry_run,
            out: Some(out.join(folder)),
        };
        println!("\n=== {name}");
        let entry = match experiment::reproduce(root, program, &arguments, experiment) {
            Ok((page, _)) => entry(page, folder, name),
            Err(error) if process::interrupted() => return Err(error),
            Err(error) => {
                eprintln!("error: {name}: {error:#}");
                failed.push(name);
                // The causes may have several lines and do not fit into a table.
                Entry {
                    title: name.to_owned(),
                    page: None,
                    picture: None,
                    headline: format!("failed: {}", markdown::escape(&error.to_string())),
                }
            }
        };
        entries.push(entry);
    }
    if !arguments.dry_run {
        experiment::write(&index(arguments.preset, entries), &out, "index")?;
        println!("\nAll pages: {}", out.join("index.html").display());
    }
    if !failed.is_empty() {
        bail!("failed: {}", failed.join(", "));
    }
    Ok(())
}

/// The part of a page that the index shows: its first picture and its first number.
fn entry(page: Page, folder: &str, name: &str) -> Entry {
    let picture = page.pictures.first();
    Entry {
        picture: picture.map(|picture| format!("{folder}/{}", picture.file)),
        page: Some(format!("{folder}/{name}")),
        title: page.title,
        headline: page.headline,
    }
}

fn index(preset: Preset, entries: Vec<Entry>) -> Page {
    let mut notes = vec![format!(
        "Tables and figures of \"Conditional Image Generation with PixelCNN Decoders\", preset \
         `{preset}`."
    )];
    notes.extend(preset.warning().map(str::to_owned));
    Page {
        title: "The paper's experiments".to_owned(),
        notes,
        entries,
        ..Page::default()
    }
}

#[cfg(test)]
mod tests;
