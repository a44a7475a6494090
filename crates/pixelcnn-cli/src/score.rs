//! `pixelcnn score`.

mod files;
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

/// Scores picture files: bits/dim and nats of each file, and of all together
///
/// Pictures are not scaled or cropped; a network accepts any size. Files that
/// cannot be scored are listed at the end, and the program then exits with an
/// error; the other files are still scored. Ctrl-C keeps the rows of --csv written
/// so far. A conditional model needs one condition for all files, or one for each
/// file in their order. If the condition is computed from the image (a grey or a
/// small version, a code), no flag is needed. The mean is over the given files, whole; it
/// cannot be compared with that of `eval`, whose images have the size of the training.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// PNG or JPEG files, or folders; all such files in a folder and its subfolders
    /// are scored, in the order of their names
    #[arg(required = true, value_name = "FILE|DIR")]
    paths: Vec<PathBuf>,
    #[command(flatten)]
    model: ModelFlag,
    #[command(flatten)]
    given: DirectFlags,
    /// Also write a CSV file with file, height, width, bits_per_dim and nats; - for
    /// standard output
    #[arg(long, value_name = "FILE")]
    csv: Option<Target>,
    #[command(flatten)]
    device: DeviceFlag,
    #[command(flatten)]
    json: JsonFlag,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
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
        .map(|stop| stop.listen("stopping after this file; the table keeps its rows"));
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

/// The condition of each image, or of all; None if it is computed from the image.
fn given_for(given: Option<Conditions>, model: &Model, files: usize) -> Result<Option<Given>> {
    match (given, model.config().conditioning()) {
        (Some(given), _) if given.count == 1 || given.count == files => Ok(Some(given.given)),
        (Some(given), _) => bail!(
            "{} given for {}: one for all or one for each expected",
            given.given,
            counted(files, "file")
        ),
        (None, Some(Conditioning::Class { .. })) => bail!("the model is conditional: give --label"),
        (None, Some(Conditioning::Caption(_))) => bail!("the model is conditional: give --caption"),
        (None, Some(Conditioning::Vector { .. })) => {
            bail!("the model is conditional: give --vector")
        }
        (None, Some(Conditioning::Map { .. })) => bail!("the model is conditional: give --map"),
        (None, None) => Ok(Some(Given::Nothing)),
        (None, Some(_)) => Ok(None),
    }
}

/// Scores images.
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
            bail!("{nats} nats: numbers overflow in the network");
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
