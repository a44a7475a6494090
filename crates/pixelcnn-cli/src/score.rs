//! `pixelcnn score`.

mod files;
mod table;
mod work;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::Ordering;

use anyhow::{Result, bail};
use candle_core::Tensor;
use pixelcnn_models::{Conditioning, DensityModel, Given, Model};

use crate::arguments::{DeviceFlag, JsonFlag, ModelFlag};
use crate::condition::{Conditions, DirectFlags};
use crate::output::{Format, Outputs, Target};
use crate::stop::Stop;
use crate::{picture, progress};
use pixelcnn_system::counted;
use work::{Scored, Work};

/// Scores picture files: bits/dim and nats of each, by name, and of all
///
/// Pictures are scored as they are, none is scaled or cropped; a network takes
/// any size. One that cannot be scored is listed at the end, and the program
/// then ends with an error; the others are scored all the same. Ctrl-C keeps the
/// rows of --csv that there are. What a model is given is one condition for all
/// files, or one for each in their order; where it is the image itself, a grey or
/// a small version of it, no flag is needed.
#[derive(clap::Args)]
pub struct Arguments {
    /// PNG or JPEG files, or folders: all such files in them and in the folders
    /// within, in the order of their names
    #[arg(required = true, value_name = "FILE|DIR")]
    paths: Vec<PathBuf>,
    #[command(flatten)]
    model: ModelFlag,
    #[command(flatten)]
    given: DirectFlags,
    /// Also write file, height, width, bits_per_dim and nats of each as CSV; -
    /// for standard output
    #[arg(long, value_name = "FILE")]
    csv: Option<Target>,
    #[command(flatten)]
    device: DeviceFlag,
    #[command(flatten)]
    json: JsonFlag,
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
    let (model, _) = arguments.model.load(&arguments.device)?;
    let density = model.density()?;
    picture::check_channels(model.config().image().channels)?;
    let found = files::list(&arguments.paths)?;
    let given = arguments.given.read(&model)?;
    let scorer = Scorer {
        given: given_for(given, &model, found.files.len())?,
        density,
        conditioning: model.config().conditioning(),
    };
    let requested = stop
        .as_ref()
        .map(|stop| stop.listen("stopping after this file, with the rows so far in the table"));
    let mut work = Work::new(arguments, channel, &found)?;
    let mut bar = progress::Progress::with_unit("scoring", found.files.len(), "files");
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
    let score = model.config().score();
    work.finish(match &scorer.given {
        Some(given) => score.with(given),
        None => score,
    })
}

/// What is given for each image, or for all; None where it is made of the image.
fn given_for(given: Option<Conditions>, model: &Model, files: usize) -> Result<Option<Given>> {
    match (given, model.config().conditioning()) {
        (Some(given), _) if given.count == 1 || given.count == files => Ok(Some(given.given)),
        (Some(given), _) => bail!(
            "{} given for {}: one for all, or one for each expected",
            given.given,
            counted(files, "file")
        ),
        (None, Some(Conditioning::Class { .. })) => bail!("the model is conditioned: give --label"),
        (None, Some(Conditioning::Caption(_))) => bail!("the model is conditioned: give --caption"),
        (None, Some(Conditioning::Vector { .. })) => {
            bail!("the model is conditioned: give --vector")
        }
        (None, Some(Conditioning::Map { .. })) => bail!("the model is conditioned: give --map"),
        (None, None) => Ok(Some(Given::Nothing)),
        (None, Some(_)) => Ok(None),
    }
}

/// What scores an image.
struct Scorer<'a> {
    density: &'a DensityModel,
    conditioning: Option<&'a Conditioning>,
    given: Option<Given>,
}

impl Scorer<'_> {
    fn score(&self, index: usize, path: &Path) -> Result<Scored> {
        let values = files::read(path, self.density.image())?;
        let (_, _, height, width) = values.dims4()?;
        let given = self.given(index, &values)?;
        let likelihood = self.density.bits_per_dim(&values, &given)?;
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

    fn given(&self, index: usize, values: &Tensor) -> Result<Given> {
        Ok(match (&self.given, self.conditioning) {
            (Some(given), _) => match given.images() {
                Some(count) if count > 1 => given.one(index)?,
                _ => given.clone(),
            },
            (None, Some(conditioning)) => {
                conditioning.given_image(values)?.unwrap_or(Given::Nothing)
            }
            (None, None) => Given::Nothing,
        })
    }
}
