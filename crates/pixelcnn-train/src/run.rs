//! A run and its folder.

use std::fs::{File, TryLockError};
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use candle_core::Device;
use pixelcnn_data::{Dataset, Images, Split};
use pixelcnn_models::{Model, ModelConfig, write_file};

use crate::beginning::Beginning;
use crate::card::model_card;
use crate::network_run::NetworkRun;
use crate::outcome::{Outcome, Progress, Summary};
use crate::{Examples, Result, RunConfig, TrainError, evaluate};

/// Trains the model of `config` on `dataset` in the folder `out`, or goes on
/// where an earlier call stopped, or answers at once if it is finished.
/// [`RunConfig::dataset`] loads the data that the configuration names.
///
/// Two runs of one configuration on one machine give the same weights to the
/// bit, and so does a run that was stopped or killed and resumed. Setting
/// `stop` saves a checkpoint after the present step and returns.
///
/// # Errors
///
/// If the folder holds another run, the data do not fit the model, a file
/// cannot be written, or a loss or gradient is not finite: then the
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
/// let dataset = Dataset {
///     name: "made up".into(),
///     train: images.clone(),
///     valid: images.clone(),
///     test: images,
///     classes: vec![],
/// };
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
    check_images(&config.model, dataset)?;
    let beginning = Beginning::new(config, dataset, out, device)?;
    claim(config, out)?;
    // Held until this function returns.
    let _lock = lock(out)?;
    if let Some(summary) = finished(out)? {
        return Ok(Outcome::Finished(summary));
    }
    let outcome = match &config.training {
        None => Outcome::Finished(fit(config, dataset, &beginning.valid, out, device)?),
        Some(settings) => {
            let mut run = NetworkRun::open(config, settings, dataset, &beginning, out, device)?;
            run.train(stop, report)?
        }
    };
    if let Outcome::Finished(summary) = &outcome {
        let card = model_card(config, summary);
        write_file(summary.model.join("README.md"), card.as_bytes())?;
        let path = out.join("summary.json");
        let line = serde_json::to_string(summary).map_err(|error| TrainError::run(&path, error))?;
        write_file(&path, (line + "\n").as_bytes())?;
    }
    Ok(outcome)
}

fn check_images(model: &ModelConfig, dataset: &Dataset) -> Result<()> {
    let image = model.image();
    let expected = (image.channels, image.height, image.width);
    let found = dataset.split(Split::Train)?.shape();
    if expected != found || image.levels != 256 {
        let (c, h, w) = found;
        return Err(TrainError::State {
            what: "model.image".to_string(),
            expected: format!("{c} channels, {h} x {w}, 256 levels as in {}", dataset.name),
            found: format!("{image:?}"),
        });
    }
    dataset.split(Split::Valid)?;
    Ok(())
}

/// Keeps other processes out of the folder; the system lets go of the lock
/// when the process ends, however it does.
fn lock(out: &Path) -> Result<File> {
    let path = out.join("lock");
    let file = File::create(&path).map_err(TrainError::io(&path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            Err(TrainError::run(out, "another process is training here"))
        }
        Err(TryLockError::Error(error)) => Err(TrainError::io(&path)(error)),
    }
}

/// Writes `run.toml`, or refuses a folder that holds another run.
fn claim(config: &RunConfig, out: &Path) -> Result<()> {
    if out.to_str().is_none() {
        return Err(TrainError::run(out, "the name of the folder is not UTF-8"));
    }
    let path = out.join("run.toml");
    if !path.exists() {
        std::fs::create_dir_all(out).map_err(TrainError::io(out))?;
        return Ok(write_file(&path, config.to_toml()?.as_bytes())?);
    }
    let held = RunConfig::read(&path)?;
    if held == *config {
        return Ok(());
    }
    let (held, asked) = (held.to_toml()?, config.to_toml()?);
    let mut lines = held.lines().zip(asked.lines()).filter(|(a, b)| a != b);
    let difference = match lines.next() {
        Some((held, asked)) => format!("it says `{held}`, asked for is `{asked}`"),
        None => "one has more settings than the other".to_string(),
    };
    let why = format!("the folder holds another run: {difference}; choose another folder");
    Err(TrainError::run(&path, why))
}

fn finished(out: &Path) -> Result<Option<Summary>> {
    let path = out.join("summary.json");
    if !path.exists() {
        return Ok(None);
    }
    let text = std::fs::read_to_string(&path).map_err(TrainError::io(&path))?;
    let summary = serde_json::from_str(&text).map_err(|error| TrainError::run(&path, error))?;
    // The folder may have been moved since.
    Ok(Some(Summary {
        model: out.join("best"),
        ..summary
    }))
}

/// The baselines: nothing to train, or a fit in closed form.
fn fit(
    config: &RunConfig,
    dataset: &Dataset,
    valid: &Examples,
    out: &Path,
    device: &Device,
) -> Result<Summary> {
    let start = Instant::now();
    let train = dataset.split(Split::Train)?;
    let whole = |images: &Images| images.tensor(0..images.len(), &Device::Cpu);
    let (model, images_seen) = match &config.model {
        ModelConfig::Gaussian(_) => {
            let model =
                Model::fit_gaussian(&config.model, &whole(train)?, &whole(valid.images())?)?;
            (model, train.len())
        }
        _ => (Model::initialise(&config.model, config.seed, device)?.0, 0),
    };
    let model_path = out.join("best");
    model.save(&model_path)?;
    let score = evaluate(&model, valid, 256, &Device::Cpu, &mut |_| ())?;
    Ok(Summary {
        steps: 0,
        images_seen,
        seconds: start.elapsed().as_secs_f64(),
        parameters: model.parameters()?,
        valid_score: score.bits_per_dim(),
        unit: config.model.score().unit().to_string(),
        model: model_path,
    })
}
