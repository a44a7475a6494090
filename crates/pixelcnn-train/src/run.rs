//! A run and its folder.

use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use candle_core::{Device, Tensor};
use pixelcnn_data::{DataSpec, Dataset, Images, Split};
use pixelcnn_models::{GaussianConfig, ImageSource, Model, ModelConfig};
use pixelcnn_system::{counted, write_file};

use crate::card::card_of_run;
use crate::classes::matched;
use crate::differentiation::check_device;
use crate::folder::{Found, RunFolder};
use crate::inputs::RunInputs;
use crate::lock::Lock;
use crate::network_run::{NetworkRun, PRECISION};
use crate::outcome::{Outcome, Progress, Summary};
use crate::record::DataRecord;
use crate::{ConditionedDataset, Result, RunConfig, TrainError, evaluate};

/// Trains the model of `config` on `dataset` in the folder `out`. Resumes
/// where an earlier call stopped, or returns at once if the run is finished.
/// [`RunConfig::dataset`] loads the data of the configuration.
///
/// Two runs of one configuration on one machine give the same weights to the
/// bit, and so does a run that was stopped or killed and resumed. Setting
/// `stop` saves a checkpoint after the present step, or in the middle of a
/// validation, and returns. A configuration of
/// [`RunConfig::extended_to`] goes on with the run that it extends.
///
/// Where the model knows as many classes as the data set names, it takes their
/// names; where it names them, the data set's labels are matched by name.
///
/// # Errors
///
/// If the folder holds another run, or this one with other data; the data do
/// not fit the model; the device does not have the precision; a file cannot be written: what has been computed is then
/// saved if that is possible; or a loss or gradient is not finite: then the
/// checkpoint of the last validation stays as it was.
///
/// # Example
///
/// ```
/// use std::sync::atomic::AtomicBool;
/// use candle_core::Device;
/// use pixelcnn_data::{Dataset, Images};
/// use pixelcnn_train::{Outcome, RunConfig, train};
///
/// let config = RunConfig::parse(
///     r#"
///     seed = 1
///     data = "made up"
///     [model]
///     kind = "uniform"
///     image = { channels = 1, height = 2, width = 2, levels = 256 }
///     "#,
/// )?;
/// let images = Images::new((1, 2, 2), vec![7; 8], vec![0; 2])?;
/// let splits = [images.clone(), images.clone(), images];
/// let dataset = Dataset::new("made up", vec![], splits);
/// let folder = tempfile::tempdir()?;
/// let stop = AtomicBool::new(false);
/// let outcome = train(&config, &dataset, folder.path(), &Device::Cpu, &stop, &mut |_| ())?;
/// let Outcome::Finished(summary) = outcome else { panic!("nobody stopped it") };
/// assert!((summary.valid_score - 8.0).abs() < 1e-12);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn train(
    config: &RunConfig,
    dataset: &Dataset,
    out: &Path,
    device: &Device,
    stop: &AtomicBool,
    report: &mut dyn FnMut(Progress),
) -> Result<Outcome> {
    config.validate()?;
    check_outside(config, out)?;
    let (named, matched) = matched(config, dataset)?;
    check_images(&named.model, &matched)?;
    let record = DataRecord::new(config, dataset)?;
    let folder = RunFolder::new(out, config, &named.model, record)?;
    // A finished run needs no lock: its folder may be read-only.
    if let Found::Finished(summary) = folder.look()? {
        folder.warn_unrecorded();
        return Ok(Outcome::FinishedBefore(summary));
    }
    if let Some(training) = &named.training {
        check_device(training.precision, PRECISION, device)?;
    }
    let inputs = RunInputs::new(&named, &matched, out, device)?;
    // Held until this function returns. The content of the folder may have changed.
    let lock = Lock::take(out)?;
    if let Lock::Held { .. } = lock {
        folder.remove_leftovers()?;
    }
    let found = folder.look()?;
    if let Found::Finished(summary) = found {
        return Ok(Outcome::FinishedBefore(summary));
    }
    let inputs = match found {
        Found::Nothing => inputs,
        _ => inputs.with_tokenizer_of(out)?,
    };
    folder.begin(&found, &inputs)?;
    let mark = folder.mark()?;
    let place = (out, mark.as_str());
    let outcome = match &named.training {
        None if stop.load(Ordering::Relaxed) => Outcome::Stopped { step: 0 },
        None => Outcome::Finished(fit(&named, &matched, &inputs.valid, place, device)?),
        Some(settings) => NetworkRun::open(&named, settings, &matched, &inputs, place, device)?
            .train(stop, report)?,
    };
    let Outcome::Finished(mut summary) = outcome else {
        return Ok(outcome);
    };
    summary.run = Some(mark);
    let card = card_of_run(config, &summary);
    let path = summary.model.join("README.md");
    write_file(&path, card.as_bytes()).map_err(TrainError::write(&path))?;
    folder.finish(&summary)?;
    Ok(Outcome::Finished(summary))
}

/// Images that a Gaussian is fitted to, read as they are needed.
struct InParts<'a>(&'a Images);

impl ImageSource for InParts<'_> {
    fn count(&self) -> usize {
        self.0.len()
    }

    fn part(&self, range: Range<usize>) -> candle_core::Result<Tensor> {
        let part = self.0.tensor(range, &Device::Cpu);
        part.map_err(candle_core::Error::wrap)
    }
}

/// Refuses a folder of the run inside the folder of the images: its files would then be read as
/// images.
fn check_outside(config: &RunConfig, out: &Path) -> Result<()> {
    let spec = config.data.parse::<DataSpec>().ok();
    let data = spec.as_ref().and_then(DataSpec::folder);
    let Some(data) = data.and_then(|folder| folder.canonicalize().ok()) else {
        return Ok(());
    };
    // The folder of the run may not exist yet.
    let absolute = std::path::absolute(out).map_err(TrainError::read(out))?;
    let real = absolute.ancestors().find_map(|it| it.canonicalize().ok());
    match real.is_some_and(|real| real.starts_with(&data)) {
        false => Ok(()),
        true => {
            let why = format!(
                "the folder of the run is inside {}, the folder of the images, where its files \
                 would be read as images; choose another folder",
                data.display()
            );
            Err(TrainError::run(out, why))
        }
    }
}

fn check_images(model: &ModelConfig, dataset: &Dataset) -> Result<()> {
    let image = model.image();
    let images = dataset.split(Split::Train)?;
    let expected = (image.channels, image.height, image.width);
    let (found, levels) = (images.shape(), images.levels());
    if expected != found || image.levels != levels {
        let text = |(c, h, w), levels| {
            let channels = counted(c, "channel");
            format!("{channels}, {h} x {w}, {levels} levels")
        };
        return Err(TrainError::State {
            what: "model.image".to_string(),
            expected: format!("{} as in {}", text(found, levels), dataset.name),
            found: format!(
                "{}: change model.image, or data",
                text(expected, image.levels)
            ),
        });
    }
    dataset.split(Split::Valid)?;
    Ok(())
}

/// The baselines: nothing to train, or a closed-form fit.
fn fit(
    config: &RunConfig,
    dataset: &Dataset,
    valid: &ConditionedDataset,
    (out, mark): (&Path, &str),
    device: &Device,
) -> Result<Summary> {
    let start = Instant::now();
    let train = dataset.split(Split::Train)?;
    let (model, images_seen) = match config.model.get::<GaussianConfig>() {
        Some(_) => {
            let (fitted, chosen) = (InParts(train), InParts(valid.images()));
            let model = Model::fit_gaussian(&config.model, &fitted, &chosen)?;
            (model, train.len())
        }
        None => (Model::initialise(&config.model, config.seed, device)?.0, 0),
    };
    let model_path = out.join("best");
    model.save_with_note(&model_path, mark)?;
    let score = evaluate(model.density()?, valid, 256, &mut |_| ())?;
    Ok(Summary {
        steps: 0,
        stopped_early: false,
        images_seen,
        seconds: start.elapsed().as_secs_f64(),
        parameters: model.parameters(),
        valid_score: score.bits_per_dim(),
        unit: config.model.score().unit().to_string(),
        model: model_path,
        peak_memory: pixelcnn_system::peak_memory(),
        run: None,
    })
}
