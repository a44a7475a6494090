//! The version of the program, completions for shells, and manual pages.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::LazyLock;

use anyhow::{Context, Result};
use clap::{Command, CommandFactory};
use clap_complete::Shell;
use clap_mangen::Man as Page;

use crate::output::{self, Outputs, Target, create_folder};
use pixelcnn_system::counted;

/// The version, and the features that the program was built with.
pub(crate) fn version() -> &'static str {
    static VERSION: LazyLock<String> = LazyLock::new(|| {
        let features = features();
        let features = match features.is_empty() {
            true => "none".to_string(),
            false => features.join(", "),
        };
        format!("{} (features: {features})", env!("CARGO_PKG_VERSION"))
    });
    &VERSION
}

/// The features that the program has been built with.
pub(crate) fn features() -> Vec<&'static str> {
    let features = [
        ("hub", cfg!(feature = "hub")),
        ("cuda", cfg!(feature = "cuda")),
        ("cudnn", cfg!(feature = "cudnn")),
        ("nccl", cfg!(feature = "nccl")),
        ("metal", cfg!(feature = "metal")),
        ("accelerate", cfg!(feature = "accelerate")),
        ("mkl", cfg!(feature = "mkl")),
    ];
    let built = features.into_iter();
    built
        .filter_map(|(name, built)| built.then_some(name))
        .collect()
}

/// Prints shell completions for commands and flags
#[derive(clap::Args)]
pub(crate) struct Completions {
    /// bash, elvish, fish, powershell or zsh
    #[arg(value_name = "SHELL", hide_possible_values = true)]
    shell: Shell,
}

pub(crate) fn completions(arguments: &Completions) -> Result<ExitCode> {
    let mut text = Vec::new();
    let mut command = crate::Arguments::command();
    clap_complete::generate(arguments.shell, &mut command, "pixelcnn", &mut text);
    output::text(&String::from_utf8_lossy(&text))?;
    Ok(ExitCode::SUCCESS)
}

/// Prints the manual page of the program, or writes a page for each command into
/// a folder
#[derive(clap::Args)]
pub(crate) struct Man {
    /// Folder for the pages pixelcnn.1, pixelcnn-train.1 and so on
    #[arg(value_name = "DIR")]
    folder: Option<PathBuf>,
}

pub(crate) fn man(arguments: &Man) -> Result<ExitCode> {
    let mut command = crate::Arguments::command();
    command.build();
    match &arguments.folder {
        None => output::text(&String::from_utf8_lossy(&page(&command)?))?,
        Some(folder) => {
            Outputs::default()
                .folder("DIR", Some(folder))
                .check(false)?;
            create_folder(folder)?;
            let pages = counted(write_pages(&command, folder)?, "page");
            output::wrote(folder.display(), &pages);
            output::line(format_args!("{}: {pages}", folder.display()))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn page(command: &Command) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let rendered = Page::new(command.clone()).render(&mut bytes);
    rendered.context("cannot make a manual page")?;
    Ok(with_lists(&String::from_utf8_lossy(&bytes)).into_bytes())
}

/// Adds a line break before each line of a list, because the formatter would join
/// the lines into one paragraph. A list line follows a colon or an indented line.
fn with_lists(page: &str) -> String {
    let mut text = String::new();
    let mut before = "";
    for line in page.lines() {
        let plain = !line.is_empty() && !line.starts_with(['.', ' ']);
        if plain && (before.ends_with(':') || before.starts_with("  ")) {
            text.push_str(".br\n");
        }
        text.push_str(line);
        text.push('\n');
        before = line;
    }
    text
}

/// Writes the page of a command and the pages of its subcommands; returns their
/// number.
fn write_pages(command: &Command, folder: &Path) -> Result<usize> {
    let name = command.get_display_name().unwrap_or("pixelcnn");
    let target = Target::File(folder.join(format!("{name}.1")));
    let mut sink = target.create()?;
    let bytes = page(command)?;
    sink.write_all(&bytes)
        .with_context(|| format!("cannot write {target}"))?;
    sink.finish()?;
    let mut pages = 1;
    for inner in command.get_subcommands() {
        if inner.get_name() != "help" {
            pages += write_pages(inner, folder)?;
        }
    }
    Ok(pages)
}
