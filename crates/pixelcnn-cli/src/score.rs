//! `pixelcnn score`.

mod files;
mod table;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Result, bail};
use candle_core::{Device, Tensor};
use pixelcnn_models::{Condition, Conditioning, Kind, Model, Score};
use serde_json::json;

use crate::arguments::{DeviceFlag, JsonFlag, ModelFlag};
use crate::given::{Conditions, Direct};
use crate::numbers::{estimate, mean};
use crate::output::{Channel, Format, Outputs, Target};
use crate::picture::counted;
use crate::{logging, picture, progress};
use table::Table;

/// Scores picture files: bits/dim and nats of each, by name, and of all
///
/// Pictures are scored as they are, none is scaled or cropped; a network takes
/// any size. One that cannot be scored is listed at the end, and the program
/// then ends with an error; the others are scored all the same. What a model is
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
    let outputs = Outputs::default().file("--csv", &arguments.csv, Format::Csv);
    let inputs = arguments.paths.iter().filter(|path| path.is_file());
    let outputs = inputs.fold(outputs, |all, path| all.input("FILE", Some(path)));
    let channel = outputs.check(arguments.json.json)?;
    let (model, device) = arguments.model.load(&arguments.device)?;
    if let Kind::AutoEncoder(_) | Kind::Embedding(_) | Kind::Classifier(_) = model.kind() {
        bail!("{} has no likelihood", model.config().name());
    }
    picture::check_channels(model.config().image().channels)?;
    let files = files::list(&arguments.paths)?;
    let given = arguments.given.read(&model)?;
    let scorer = Scorer {
        given: given_for(given, &model, files.len())?,
        model,
        device,
    };
    let mut table = arguments.csv.as_ref().map(Table::create).transpose()?;
    let mut written = Ok(());
    let (mut scored, mut unusable) = (Vec::new(), Vec::new());
    let mut bar = progress::Progress::start("scoring", files.len());
    for (index, path) in files.iter().enumerate() {
        match scorer.score(index, path) {
            Ok(image) => {
                if let Some(Err(error)) = table.as_mut().map(|table| table.row(&image)) {
                    (table, written) = (None, Err(error));
                }
                if !arguments.json.json {
                    channel.line(format_args!(
                        "{}: {:.4} bits/dim, {:.2} nats",
                        image.file, image.bits_per_dim, image.nats
                    ))?;
                }
                scored.push(image);
            }
            Err(error) => unusable.push((path.display().to_string(), format!("{error:#}"))),
        }
        bar.at(index + 1, 1.0, "");
    }
    drop(bar);
    let finished = table.map_or(Ok(()), Table::finish);
    let score = scorer.model.config().score();
    report(score, (&scored, &unusable), arguments.json.json, channel)?;
    written.and(finished)?;
    match unusable.len() {
        0 => Ok(ExitCode::SUCCESS),
        count => bail!(
            "{count} of {} could not be scored",
            counted(files.len(), "file")
        ),
    }
}

/// The condition of each image, or one for all; None where it is made of the
/// image.
fn given_for(given: Option<Conditions>, model: &Model, files: usize) -> Result<Option<Condition>> {
    match (given, model.config().conditioning()) {
        (Some(given), _) if given.count == 1 || given.count == files => Ok(Some(given.condition)),
        (Some(given), _) => bail!(
            "{} given for {files} files: one for all, or one for each expected",
            given.condition
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
            "{}: {} bits/dim on average, {nats:.2} nats together",
            counted(scored.len(), "image"),
            estimate(bits_per_dim, std_err, 4)
        ))?;
        if let Some(note) = score.note() {
            channel.line(note)?;
        }
    }
    for (file, why) in unusable {
        logging::say(match why.contains(file.as_str()) {
            true => why.clone(),
            false => format!("{file}: {why}"),
        });
    }
    Ok(())
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
