//! Collects scores file by file, and reports the total.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Result, bail};
use pixelcnn_models::Score;
use pixelcnn_train::mean_and_error;
use serde_json::json;

use super::Arguments;
use super::files::Found;
use crate::numbers::estimate;
use crate::output::{Channel, CsvWriter, Target};
use crate::{chain, logging, output};
use pixelcnn_system::counted;

/// An image and its score.
pub(super) struct Scored {
    pub file: String,
    pub height: usize,
    pub width: usize,
    pub bits_per_dim: f64,
    pub nats: f64,
}

/// The columns of `--csv`.
const COLUMNS: [&str; 5] = ["file", "height", "width", "bits_per_dim", "nats"];

/// The results so far, and their outputs.
pub(super) struct Work<'a> {
    arguments: &'a Arguments,
    channel: Channel,
    found: &'a Found,
    table: Option<CsvWriter<{ COLUMNS.len() }>>,
    /// Whether all rows so far were written.
    written: Result<()>,
    scored: Vec<Scored>,
    /// Unusable files and folders, each with the reason.
    unusable: Vec<(String, String)>,
}

impl<'a> Work<'a> {
    pub(super) fn new(
        arguments: &'a Arguments,
        channel: Channel,
        found: &'a Found,
    ) -> Result<Self> {
        let unreadable = found.unreadable.iter();
        let unreadable = unreadable.map(|(path, why)| (path.display().to_string(), chain(why)));
        let table = arguments.csv.as_ref();
        let table = table.map(|target| CsvWriter::create(target, COLUMNS));
        Ok(Self {
            table: table.transpose()?,
            unusable: unreadable.collect(),
            arguments,
            channel,
            found,
            written: Ok(()),
            scored: Vec::new(),
        })
    }

    /// Whether somebody reads the results, or they are written to a file.
    pub(super) fn is_wanted(&self) -> bool {
        let file = matches!(self.arguments.csv, Some(Target::File(_)));
        output::is_read() || (file && self.table.is_some())
    }

    pub(super) fn take(&mut self, path: &Path, image: Result<Scored>) -> Result<()> {
        let image = match image {
            Ok(image) => image,
            Err(error) => {
                self.unusable
                    .push((path.display().to_string(), chain(&error)));
                return Ok(());
            }
        };
        if let Some(Err(error)) = self.table.as_mut().map(|table| image.write(table)) {
            (self.table, self.written) = (None, Err(error));
        }
        if !self.arguments.json.json {
            self.channel.line(format_args!(
                "{}: {:.4} bits/dim, {:.2} nats",
                image.file, image.bits_per_dim, image.nats
            ))?;
        }
        self.scored.push(image);
        Ok(())
    }

    /// Keeps the rows of the first `done` files.
    pub(super) fn stopped(self, done: usize) -> Result<()> {
        say_unusable(&self.unusable);
        let finished = self.table.map_or(Ok(()), CsvWriter::finish);
        self.written.and(finished)?;
        logging::say(format_args!(
            "stopped after {done} of {}",
            counted(self.found.files.len(), "file")
        ));
        Ok(())
    }

    pub(super) fn finish(self, score: Score) -> Result<ExitCode> {
        let finished = self.table.map_or(Ok(()), CsvWriter::finish);
        let (all, json) = ((&*self.scored, &*self.unusable), self.arguments.json.json);
        report(score, all, json, self.channel)?;
        self.written.and(finished)?;
        let files = counted(self.found.files.len(), "file");
        let all = match self.found.unreadable.len() {
            0 => files,
            folders => format!("{files} and {}", counted(folders, "folder")),
        };
        match self.unusable.len() {
            0 => Ok(ExitCode::SUCCESS),
            count => bail!("{count} of {all} could not be scored"),
        }
    }
}

/// Reports the total of all images, and the files that could not be scored.
fn report(
    score: Score,
    (scored, unusable): (&[Scored], &[(String, String)]),
    as_json: bool,
    channel: Channel,
) -> Result<()> {
    let bits: Vec<_> = scored.iter().map(|image| image.bits_per_dim).collect();
    let (bits_per_dim, std_err) = mean_and_error(&bits);
    let nats: f64 = scored.iter().map(|image| image.nats).sum();
    let bits_per_dim = (!bits.is_empty()).then_some(bits_per_dim);
    if as_json {
        let images: Vec<_> = scored.iter().map(Scored::json).collect();
        let unusable = unusable.iter();
        let unusable: Vec<_> = unusable
            .map(|(file, why)| json!({"file": file, "why": why}))
            .collect();
        return channel.line(json!({
            "images": images,
            "score": score.unit(),
            "note": score.note(),
            "bits_per_dim": bits_per_dim,
            "std_err": std_err.filter(|_| bits_per_dim.is_some()),
            "nats": nats,
            "unusable": unusable,
        }));
    }
    if let Some(bits_per_dim) = bits_per_dim {
        channel.line(format_args!(
            "{}: mean {} {}; {nats:.2} nats in total",
            counted(scored.len(), "image"),
            estimate(bits_per_dim, std_err, 4),
            score.unit()
        ))?;
        if let Some(note) = score.note() {
            channel.line(note)?;
        }
    }
    say_unusable(unusable);
    Ok(())
}

fn say_unusable(unusable: &[(String, String)]) {
    for (file, why) in unusable {
        logging::say(match why.contains(file.as_str()) {
            true => why.clone(),
            false => format!("{file}: {why}"),
        });
    }
}

impl Scored {
    /// Writes a row; numbers have all their digits.
    fn write(&self, table: &mut CsvWriter<{ COLUMNS.len() }>) -> Result<()> {
        table.row([
            &self.file,
            &self.height.to_string(),
            &self.width.to_string(),
            &self.bits_per_dim.to_string(),
            &self.nats.to_string(),
        ])
    }

    fn json(&self) -> serde_json::Value {
        json!({
            "file": self.file,
            "height": self.height,
            "width": self.width,
            "bits_per_dim": self.bits_per_dim,
            "nats": self.nats,
        })
    }
}
