//! Results on standard output and in files.

mod csv;
mod npy;
mod outputs;
mod target;
mod tensors;

use std::fmt::{self, Display};
use std::io::{self, ErrorKind, Write, stderr, stdout};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, bail};
use pixelcnn_system::shown;

pub(crate) use csv::CsvWriter;
pub(crate) use npy::{NpyWriter, Number};
pub(crate) use outputs::Outputs;
pub(crate) use target::{Format, SharedSink, Sink, Target};
pub(crate) use tensors::TensorsWriter;

/// Whether the reader of standard output is gone.
static UNREAD: AtomicBool = AtomicBool::new(false);

/// Whether somebody may still read standard output. If nobody does, work with results only
/// for it ends.
pub(crate) fn is_read() -> bool {
    !UNREAD.load(Ordering::Relaxed)
}

/// If the reader is gone, as with `head`, this is not an error.
fn no_reader(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => {
            UNREAD.store(true, Ordering::Relaxed);
            Ok(())
        }
        result => result,
    }
}

/// Ends work whose results nobody reads any more; this is not an error of the
/// program.
#[derive(Debug)]
pub(crate) struct Unread;

impl fmt::Display for Unread {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("nobody reads standard output")
    }
}

impl std::error::Error for Unread {}

/// Prints a result and ends the line. If the reader is gone, this is not an error.
pub(crate) fn line(text: impl Display) -> Result<()> {
    Channel::Output.line(text)
}

/// Prints a text of several lines.
pub(crate) fn text(text: &str) -> Result<()> {
    no_reader(stdout().write_all(text.as_bytes())).context("cannot write to standard output")
}

/// The stream for the messages of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Channel {
    /// Standard output.
    Output,
    /// Standard error, if standard output is used for a file.
    Error,
}

impl Channel {
    /// Prints a line on this stream.
    pub(crate) fn line(self, text: impl Display) -> Result<()> {
        let text = printable(&text.to_string());
        match self {
            Self::Output => {
                no_reader(writeln!(stdout(), "{text}")).context("cannot write to standard output")
            }
            Self::Error => match writeln!(stderr(), "{text}") {
                Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
                result => result.context("cannot write to standard error"),
            },
        }
    }
}

/// Logs what was written: a file or a folder, and its content.
pub(crate) fn wrote(path: impl Display, what: impl Display) {
    tracing::info!("wrote {}: {what}", printable(&path.to_string()));
}

/// Escapes control characters as JSON does, so that the name of a file or a class
/// can neither break a line nor control the terminal.
pub(crate) fn printable(text: &str) -> String {
    let mut all = String::with_capacity(text.len());
    for character in text.chars() {
        match character.is_control() {
            true => all.push_str(&format!("\\u{:04x}", u32::from(character))),
            false => all.push(character),
        }
    }
    all
}

/// Numbers as bytes of NumPy and safetensors files.
fn little_endian(numbers: &[f32]) -> Vec<u8> {
    let bytes = numbers.iter().flat_map(|number| number.to_le_bytes());
    bytes.collect()
}

/// Creates a folder if it does not exist.
pub(crate) fn create_folder(path: &Path) -> Result<()> {
    std::fs::create_dir_all(path)
        .with_context(|| format!("cannot create the folder {}", path.display()))
}

/// Refuses a folder of `--out` that already has something: a file of it could be lost, or stay
/// among those of the new model.
pub(crate) fn check_new_folder(out: &Path) -> Result<()> {
    match std::fs::read_dir(out).map(|mut entries| entries.next().is_some()) {
        Ok(true) => bail!("--out {}: an empty or new folder expected", shown(out)),
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("--out {}", shown(out)))
        }
        _ => Ok(()),
    }
}

/// Combines the errors of all failed outputs, after all were tried.
pub(crate) fn together(results: impl IntoIterator<Item = Result<()>>) -> Result<()> {
    let mut errors = results.into_iter().filter_map(Result::err);
    let Some(first) = errors.next() else {
        return Ok(());
    };
    let rest: Vec<_> = errors.map(|error| crate::chain(&error)).collect();
    match rest.is_empty() {
        true => Err(first),
        false => Err(anyhow::anyhow!(
            "{}; {}",
            crate::chain(&first),
            rest.join("; ")
        )),
    }
}
