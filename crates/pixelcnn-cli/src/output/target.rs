//! One output of a command, and its destination.

use std::ffi::OsString;
use std::fmt;
use std::io::{self, BufWriter, IsTerminal, Stdout, Write, stdout};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result, bail};
use pixelcnn_system::NewFile;

use super::no_reader;

/// The destination of an output: a file, or standard output for `-`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// A file, written completely or not at all.
    File(PathBuf),
    /// Standard output.
    StandardOutput,
}

impl From<OsString> for Target {
    fn from(text: OsString) -> Self {
        match text == "-" {
            true => Self::StandardOutput,
            false => Self::File(text.into()),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(formatter, "{}", path.display()),
            Self::StandardOutput => formatter.write_str("-"),
        }
    }
}

/// The format of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Png,
    AnimatedPng,
    Npy,
    Safetensors,
    Csv,
    Archive,
}

impl Format {
    fn name(self) -> &'static str {
        match self {
            Self::Png => "PNG",
            Self::AnimatedPng => "animated PNG",
            Self::Npy => "NumPy",
            Self::Safetensors => "safetensors",
            Self::Csv => "CSV",
            Self::Archive => "an archive",
        }
    }

    /// The allowed extensions of such files; the first one is the usual one.
    fn extensions(self) -> &'static [&'static str] {
        match self {
            Self::Png => &["png"],
            Self::AnimatedPng => &["png", "apng"],
            Self::Npy => &["npy"],
            Self::Safetensors => &["safetensors"],
            Self::Csv => &["csv"],
            Self::Archive => &["pxc"],
        }
    }

    /// Refuses the extension of another format: the wrong programs would open such a
    /// file, and a JPEG would not keep the values.
    pub(crate) fn check(self, path: &Path) -> Result<()> {
        let Some(found) = path.extension().map(|end| end.to_string_lossy()) else {
            return Ok(());
        };
        let known = self.extensions();
        if known.iter().any(|end| found.eq_ignore_ascii_case(end)) {
            return Ok(());
        }
        let right = path.with_extension(known[0]);
        bail!(
            "the output is {}, not .{found}: name it {}",
            self.name(),
            right.display()
        )
    }

    /// Whether a terminal cannot show the content.
    fn is_binary(self) -> bool {
        self != Self::Csv
    }
}

/// A file or standard output while it is written.
///
/// It records a failure, because an encoder that finishes its file when it is
/// dropped cannot report one.
pub(crate) struct Sink {
    target: Target,
    writer: Writer,
    failed: Option<io::Error>,
}

enum Writer {
    File(Box<BufWriter<NewFile>>),
    StandardOutput(BufWriter<Stdout>),
}

impl Target {
    /// Logs what was written, unless it is standard output.
    pub(crate) fn wrote(&self, what: impl fmt::Display) {
        if let Self::File(_) = self {
            super::wrote(self, what);
        }
    }

    /// Refuses, before the long work, what would make [`Target::create`] fail.
    pub(crate) fn check(&self, format: Format) -> Result<()> {
        match self {
            Self::File(path) => {
                format.check(path).with_context(|| format!("{self}"))?;
                pixelcnn_system::check_writable(path)
                    .with_context(|| format!("cannot write {self}"))
            }
            Self::StandardOutput if format.is_binary() && stdout().is_terminal() => {
                bail!("standard output is a terminal: redirect it to a file or a program")
            }
            Self::StandardOutput => Ok(()),
        }
    }

    /// Starts writing.
    pub(crate) fn create(&self) -> Result<Sink> {
        let writer = match self {
            Self::File(path) => {
                let file = NewFile::create(path);
                let file = file.with_context(|| format!("cannot write {self}"))?;
                Writer::File(Box::new(BufWriter::new(file)))
            }
            Self::StandardOutput => Writer::StandardOutput(BufWriter::new(stdout())),
        };
        Ok(Sink {
            target: self.clone(),
            writer,
            failed: None,
        })
    }
}

impl Sink {
    /// Moves the finished file to its final name.
    pub(crate) fn finish(self) -> Result<()> {
        if let Some(error) = self.failed {
            return Err(error).with_context(|| format!("cannot write {}", self.target));
        }
        let done = match self.writer {
            Writer::File(file) => file
                .into_inner()
                .map_err(io::IntoInnerError::into_error)
                .and_then(NewFile::commit),
            Writer::StandardOutput(mut output) => no_reader(output.flush()),
        };
        done.with_context(|| format!("cannot write {}", self.target))
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_all(bytes).map(|()| bytes.len())
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        let written = match &mut self.writer {
            Writer::File(file) => file.write_all(bytes),
            Writer::StandardOutput(output) => no_reader(output.write_all(bytes)),
        };
        if let Err(error) = &written {
            self.failed = Some(io::Error::new(error.kind(), error.to_string()));
        }
        written
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.writer {
            Writer::File(file) => file.flush(),
            Writer::StandardOutput(output) => no_reader(output.flush()),
        }
    }
}

/// A sink that an encoder writes to and that is finished after it.
#[derive(Clone)]
pub(crate) struct SharedSink(Arc<Mutex<Sink>>);

impl SharedSink {
    /// Shares a sink that has no other owner.
    pub(crate) fn new(sink: Sink) -> Self {
        Self(Arc::new(Mutex::new(sink)))
    }

    /// Moves the finished file to its final name, after the encoder was dropped.
    pub(crate) fn finish(self) -> Result<()> {
        match Arc::try_unwrap(self.0).map(Mutex::into_inner) {
            Ok(Ok(sink)) => sink.finish(),
            _ => bail!("a file that is still being written cannot be finished"),
        }
    }

    fn with(&self, work: impl FnOnce(&mut Sink) -> io::Result<()>) -> io::Result<()> {
        match self.0.lock() {
            Ok(mut sink) => work(&mut sink),
            Err(_) => Err(io::Error::other("another thread failed while it wrote")),
        }
    }
}

impl Write for SharedSink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.with(|sink| sink.write_all(bytes))
            .map(|()| bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.with(Write::flush)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_promise_another_format_are_refused() {
        for (format, name) in [
            (Format::Png, "a.PNG"),
            (Format::Png, "a"),
            (Format::AnimatedPng, "a.apng"),
            (Format::Csv, "a.b.csv"),
        ] {
            assert!(format.check(Path::new(name)).is_ok(), "{name}");
        }
        for (format, name, right) in [
            (Format::Png, "a.jpg", "a.png"),
            (Format::AnimatedPng, "b/a.gif", "b/a.png"),
            (Format::Npy, "a.npz", "a.npy"),
            (Format::Safetensors, "a.npy", "a.safetensors"),
        ] {
            let error = format.check(Path::new(name)).unwrap_err().to_string();
            assert!(error.ends_with(&format!("name it {right}")), "{error}");
        }
    }
}
