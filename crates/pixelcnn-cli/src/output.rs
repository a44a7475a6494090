//! Results on standard output and in files.

mod npy;
mod outputs;
mod target;
mod tensors;

use std::fmt::Display;
use std::io::{ErrorKind, Write, stderr, stdout};
use std::path::Path;

use anyhow::{Context, Result};

pub use npy::{NpyWriter, Number};
pub use outputs::Outputs;
pub use target::{Format, SharedSink, Sink, Target};
pub use tensors::TensorsWriter;

/// Prints a result and ends the line. A reader that has gone away, as `head`
/// does, is no error.
pub fn line(text: impl Display) -> Result<()> {
    Channel::Output.line(text)
}

/// Prints a text of several lines.
pub fn text(text: &str) -> Result<()> {
    match stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        result => result.context("cannot write to standard output"),
    }
}

/// Where the words of a command go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channel {
    /// Standard output.
    Output,
    /// Standard error, where standard output is for a file.
    Error,
}

impl Channel {
    /// Prints a line there.
    pub fn line(self, text: impl Display) -> Result<()> {
        let (result, name) = match self {
            Self::Output => (writeln!(stdout(), "{text}"), "standard output"),
            Self::Error => (writeln!(stderr(), "{text}"), "standard error"),
        };
        match result {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
            result => result.with_context(|| format!("cannot write to {name}")),
        }
    }
}

/// Numbers as NumPy and safetensors files hold them.
fn little_endian(numbers: &[f32]) -> Vec<u8> {
    let bytes = numbers.iter().flat_map(|number| number.to_le_bytes());
    bytes.collect()
}

/// Makes a folder unless it is there.
pub fn create_folder(path: &Path) -> Result<()> {
    std::fs::create_dir_all(path)
        .with_context(|| format!("{}: the folder cannot be made", path.display()))
}

/// All outputs that failed as one error, once everything has been tried.
pub fn together(results: impl IntoIterator<Item = Result<()>>) -> Result<()> {
    let mut errors = results.into_iter().filter_map(Result::err);
    let Some(first) = errors.next() else {
        return Ok(());
    };
    let rest: Vec<_> = errors.map(|error| format!("{error:#}")).collect();
    match rest.is_empty() {
        true => Err(first),
        false => Err(anyhow::anyhow!("{first:#}; {}", rest.join("; "))),
    }
}
