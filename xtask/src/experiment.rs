//! Shared by the commands `reproduce-*`: saved runs of the program, and the page
//! that reports them.

mod answer;
mod device;
pub(crate) mod files;
pub(crate) mod format;
mod html;
pub(crate) mod markdown;
mod page;
mod preset;
pub(crate) mod program;
mod progress;
mod run;
mod runner;
mod saved_answer;
mod tables;
mod tasks;
mod terminal;
#[cfg(test)]
pub(crate) mod test_workspace;

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Result;

pub(crate) use answer::{Accuracy, Likelihood, SquaredError, Training, Verification};
pub(crate) use device::Device;
pub(crate) use page::{Entry, Page, Picture, Table};
pub(crate) use preset::Preset;
pub(crate) use run::Run;
pub(crate) use runner::ExperimentRunner;
pub(crate) use tables::likelihood_table;
pub(crate) use tasks::Split;
pub(crate) use terminal::page as terminal_page;

use crate::process;
use program::Program;

/// The arguments of every command.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Arguments {
    /// The set of configurations to run
    #[arg(long, value_enum, default_value_t = Preset::Quick)]
    pub preset: Preset,
    /// Train and evaluate on these data, for example cifar10, instead of the configurations' data
    #[arg(long, value_name = "SPEC")]
    pub data: Option<String>,
    /// Where to run: cpu, cuda:N or metal; the program is built with that back end [default: cpu]
    #[arg(long)]
    pub device: Option<Device>,
    /// Print the command lines without running them
    #[arg(long)]
    pub dry_run: bool,
    /// Folder of the results [default: runs/EXPERIMENT-PRESET in the workspace]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
}

/// One table or figure.
pub(crate) struct Experiment<'a> {
    /// Name of the page.
    pub name: &'static str,
    /// Folder of the configs and of the runs; two experiments may share their runs.
    pub folder: &'static str,
    /// Its sets of configs.
    pub presets: &'static [Preset],
    /// Trains, measures and draws.
    pub report: &'a dyn Fn(&mut ExperimentRunner<'_>) -> Result<Page>,
}

/// Runs one experiment and prints its page.
///
/// # Errors
/// When the program does not build, a config or result cannot be read or
/// written, or a command fails.
pub(crate) fn run(root: &Path, arguments: &Arguments, experiment: &Experiment<'_>) -> Result<()> {
    with_program(root, arguments.device, arguments.dry_run, |program| {
        let (page, out) = reproduce(root, program, arguments, experiment)?;
        if !arguments.dry_run {
            println!("\n{}", terminal::page(&page));
            let file = |name: &str| out.join(name).display().to_string();
            println!("Page:  {}", file(&format!("{}.html", experiment.name)));
            for curve in &page.curves {
                println!("Curve: {}", file(&curve.file));
            }
        }
        Ok(())
    })
}

/// Builds the program, except in a dry run, and runs a task with it.
///
/// # Errors
/// When the program does not build or the task fails.
pub(crate) fn with_program(
    root: &Path,
    device: Option<Device>,
    dry_run: bool,
    task: impl FnOnce(&Program) -> Result<()>,
) -> Result<()> {
    let mut build = program::build_command(root, device);
    if dry_run {
        println!("{}", process::shell_line(&build));
        return task(&Program::expected_in(root));
    }
    process::let_children_finish_on_interrupt()?;
    let program = Program::build(&mut build, "pixelcnn")?;
    let start = Instant::now();
    task(&program)?;
    println!(
        "Total running time without compilation: {}",
        format::duration(start.elapsed().as_secs_f64())
    );
    Ok(())
}

/// Runs everything that is not done yet, and writes the page beside the runs.
/// Returns the page and its folder.
///
/// # Errors
/// When a config or result cannot be read or written, or a command fails.
pub(crate) fn reproduce(
    root: &Path,
    program: &Program,
    arguments: &Arguments,
    experiment: &Experiment<'_>,
) -> Result<(Page, PathBuf)> {
    let mut runner = ExperimentRunner::new(root, program, arguments, experiment.folder)?;
    let mut page = (experiment.report)(&mut runner)?;
    runner.add_summary(&mut page);
    if !arguments.dry_run {
        write(&page, runner.out(), experiment.name)?;
    }
    Ok((page, runner.out().to_owned()))
}

/// Writes a page as `NAME.md`, `NAME.html` and `NAME.json`.
///
/// # Errors
/// When a file cannot be written.
pub(crate) fn write(page: &Page, folder: &Path, name: &str) -> Result<()> {
    let path = |extension: &str| folder.join(format!("{name}.{extension}"));
    let text = markdown::page(page);
    files::write(&path("md"), text.as_bytes())?;
    files::write(&path("html"), html::page(&text).as_bytes())?;
    files::write_json(&path("json"), page)
}

#[cfg(unix)]
#[cfg(test)]
mod tests;
