//! `pixelcnn score`.

mod files;
mod table;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::Ordering;

use anyhow::{Result, bail};
use candle_core::{Device, Tensor};
use pixelcnn_models::{Condition, Conditioning, Kind, Model, Score};
use serde_json::json;

use crate::arguments::{DeviceFlag, JsonFlag, ModelFlag};
use crate::given::{Conditions, Direct};
use crate::numbers::{counted, estimate, mean};
use crate::output::{Channel, Format, Outputs, Target};
use crate::stop::Stop;
use crate::{chain, logging, output, picture, progress};
use files::Found;
use table::Table;

/// Scores picture files: bits/dim and nats of each, by name, and of all
///
/// Pictures are scored as they are, none is scaled or cropped; a network takes
/// any size. One that cannot be scored is listed at the end, and the program
/// then ends with an error; the others are scored all the same. Ctrl-C keeps the
/// rows so far of --csv. What a model is
/// given is one condition for all files, or one for each in their order; where
/// it is the image itself, a grey or a small version of it, no flag is needed.
#[derive(clap::Args)]
pub struct Arguments {
    /// PNG or JPEG files, or folders: all such files in them and in the folders
    /// within, in the order of their names
    #[arg(required = true, value_name = "FILE|DIR")]
    paths: Vec<PathBuf>,
    #[command(flatten)]
    model: ModelFlag,
    #[command(flatten)]
    given: Direct,
    /// Also write file, height, width, bits_per_dim and nats of each as CSV; -
    /// for standard output
    #[arg(long, value_name = "FILE")]
    csv: Option<Target>,
    #[command(flatten)]
    device: DeviceFlag,
    #[command(flatten)]
    json: JsonFlag,
}

/// An image and what it costs.
pub struct Scored {
    file: String,
    height: usize,
    width: usize,
    bits_per_dim: f64,
    nats: f64,
}

pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let stop = Stop::new()?;
    let stop = match &arguments.csv {
        Some(Target::File(_)) => Some(stop),
        _ => {
            stop.end_cleanly();
            None
        }
    };
    let outputs = Outputs::default().file("--csv", &arguments.csv, Format::Csv);
    let inputs = arguments.paths.iter().filter(|path| path.is_file());
    let outputs = inputs.fold(outputs, |all, path| all.input("FILE", Some(path)));
    let channel = outputs.check(arguments.json.json)?;
    let (model, device) = arguments.model.load(&arguments.device)?;
    if let Kind::AutoEncoder(_) | Kind::Embedding(_) | Kind::Classifier(_) = model.kind() {
        bail!("{} has no likelihood", model.config().name());
    }
    picture::check_channels(model.config().image().channels)?;
    let found = files::list(&arguments.paths)?;
    let given = arguments.given.read(&model)?;
    let scorer = Scorer {
        given: given_for(given, &model, found.files.len())?,
        model,
        device,
    };
    let requested = stop
        .as_ref()
        .map(|stop| stop.listen("stopping after this file, with the rows so far in the table"));
    let mut work = Work::new(arguments, channel, &found)?;
    let mut bar = progress::Progress::of("scoring", found.files.len(), "files");
    for (index, path) in found.files.iter().enumerate() {
        let stopped = requested
            .as_ref()
            .is_some_and(|it| it.load(Ordering::SeqCst));
        if let (true, Some(stop)) = (stopped, &stop) {
            drop(bar);
            work.stopped(index)?;
            return Ok(ExitCode::from(stop.status()));
        }
        if !work.is_wanted() {
            return Ok(ExitCode::SUCCESS);
        }
        work.take(path, scorer.score(index, path))?;
        bar.at(index + 1);
    }
    drop(bar);
    work.finish(scorer.model.config().score())
}

/// What is done so far, and where it goes.
struct Work<'a> {
    arguments: &'a Arguments,
    channel: Channel,
    found: &'a Found,
    table: Option<Table>,
    /// Whether the rows so far could be written.
    written: Result<()>,
    scored: Vec<Scored>,
    /// Files and folders, each with the reason.
    unusable: Vec<(String, String)>,
}

impl<'a> Work<'a> {
    fn new(arguments: &'a Arguments, channel: Channel, found: &'a Found) -> Result<Self> {
        let unreadable = found.unreadable.iter();
        let unreadable = unreadable.map(|(path, why)| (path.display().to_string(), chain(why)));
        Ok(Self {
            table: arguments.csv.as_ref().map(Table::create).transpose()?,
            unusable: unreadable.collect(),
            arguments,
            channel,
            found,
            written: Ok(()),
            scored: Vec::new(),
        })
    }

    /// Whether there is somebody to read what comes, or a file for it.
    fn is_wanted(&self) -> bool {
        let file = matches!(self.arguments.csv, Some(Target::File(_)));
        output::is_read() || (file && self.table.is_some())
    }

    fn take(&mut self, path: &Path, image: Result<Scored>) -> Result<()> {
        let image = match image {
            Ok(image) => image,
            Err(error) => {
                self.unusable
                    .push((path.display().to_string(), chain(&error)));
                return Ok(());
            }
        };
        if let Some(Err(error)) = self.table.as_mut().map(|table| table.row(&image)) {
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
    fn stopped(self, done: usize) -> Result<()> {
        say_unusable(&self.unusable);
        let finished = self.table.map_or(Ok(()), Table::finish);
        self.written.and(finished)?;
        logging::say(format_args!(
            "stopped after {done} of {}",
            counted(self.found.files.len(), "file")
        ));
        Ok(())
    }

    fn finish(self, score: Score) -> Result<ExitCode> {
        let finished = self.table.map_or(Ok(()), Table::finish);
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

/// The condition of each image, or one for all; None where it is made of the
/// image.
fn given_for(given: Option<Conditions>, model: &Model, files: usize) -> Result<Option<Condition>> {
    match (given, model.config().conditioning()) {
        (Some(given), _) if given.count == 1 || given.count == files => Ok(Some(given.condition)),
        (Some(given), _) => bail!(
            "{} given for {}: one for all, or one for each expected",
            given.condition,
            counted(files, "file")
        ),
        (None, Some(Conditioning::Class { .. })) => bail!("the model is conditioned: give --label"),
        (None, Some(Conditioning::Caption(_))) => bail!("the model is conditioned: give --caption"),
        (None, Some(Conditioning::Vector { .. } | Conditioning::Map { .. })) => {
            bail!("the model is conditioned: give --vector")
        }
        (None, None) => Ok(Some(Condition::None)),
        (None, Some(_)) => Ok(None),
    }
}

/// What scores an image.
struct Scorer {
    model: Model,
    device: Device,
    given: Option<Condition>,
}

impl Scorer {
    fn score(&self, index: usize, path: &Path) -> Result<Scored> {
        let image = self.model.config().image();
        let values = files::read(path, image)?;
        let (_, _, height, width) = values.dims4()?;
        let values = values.to_device(&self.device)?;
        let condition = self.condition(index, &values)?;
        let likelihood = self.model.bits_per_dim(&values, &condition)?;
        let nats = likelihood.nats_per_image();
        if !nats.is_finite() {
            bail!("{nats} nats: the network's numbers overflow");
        }
        Ok(Scored {
            file: path.display().to_string(),
            height,
            width,
            bits_per_dim: likelihood.bits_per_dim(),
            nats,
        })
    }

    fn condition(&self, index: usize, values: &Tensor) -> Result<Condition> {
        Ok(match (&self.given, self.model.config().conditioning()) {
            (Some(given), _) => match given.images() {
                Some(count) if count > 1 => given.select(&[index])?,
                _ => given.clone(),
            },
            (None, Some(Conditioning::Image { given, .. })) => Condition::Image(given.of(values)?),
            (None, _) => Condition::Image(values.clone()),
        })
    }
}

/// What all images cost together, and which could not be scored.
fn report(
    score: Score,
    (scored, unusable): (&[Scored], &[(String, String)]),
    as_json: bool,
    channel: Channel,
) -> Result<()> {
    let bits: Vec<_> = scored.iter().map(|image| image.bits_per_dim).collect();
    let (bits_per_dim, std_err) = mean(&bits);
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
            "{}: on average {} {}; {nats:.2} nats together",
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
