//! `pixelcnn train`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Result, bail};
use pixelcnn_train::schedule::{Decay, Schedule};
use pixelcnn_train::{Outcome, Progress, RunConfig, Summary, Training, train};

use crate::arguments::{DeviceFlag, JsonFlag, data_help, spec};
use crate::pace::Pace;
use crate::stop::Stop;
use crate::{device, loading, logging, model, output, progress, values};
use pixelcnn_system::counted;

/// Trains a model, or resumes a run that was stopped or killed
///
/// Ctrl-C, SIGTERM and SIGHUP save a checkpoint after the current step, or in the
/// middle of a validation, and exit with status 130, 143 or 129. The same command
/// resumes the run. Repeated signals change nothing. Ctrl-\ (SIGQUIT) exits at once
/// and loses the steps since the last checkpoint.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The configuration of the run, TOML
    #[arg(long, value_name = "FILE", required_unless_present = "extend")]
    config: Option<PathBuf>,
    /// The folder of the run
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Continue a finished run to STEPS steps in total, with the configuration in its folder
    #[arg(long, value_name = "STEPS", conflicts_with = "steps", value_parser = values::from_one)]
    extend: Option<usize>,
    /// Use this data set instead of the configuration's
    #[arg(long, value_name = "SPEC", value_parser = spec_text, long_help = data_help("Use this data set instead of the configuration's"))]
    data: Option<String>,
    /// The embedding network that the model is conditioned on, or the auto-encoder whose
    /// weights initialise the encoder of the code, as for --model of other commands
    #[arg(long, value_name = "MODEL")]
    pretrained_encoder: Option<String>,
    /// Start from the weights of this model instead of random ones; the optimiser starts anew
    #[arg(long, value_name = "MODEL")]
    init_from: Option<String>,
    /// Use this tokenizer.json for the captions instead of learning one
    #[arg(long, value_name = "FILE")]
    tokenizer: Option<String>,
    /// Use this seed instead of the configuration's
    #[arg(long, value_name = "N", value_parser = values::seed)]
    seed: Option<u64>,
    /// Train for this number of steps instead of the configuration's
    #[arg(long, value_name = "N", value_parser = values::from_one)]
    steps: Option<usize>,
    /// Use this batch size instead of the configuration's
    #[arg(long, value_name = "N", value_parser = values::from_one)]
    batch: Option<usize>,
    #[command(flatten)]
    device: DeviceFlag,
    #[command(flatten)]
    json: JsonFlag,
}

/// Checks a spec and returns it unchanged: the run saves it as written.
fn spec_text(text: &str) -> Result<String, String> {
    spec(text).map(|_| text.to_string())
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let stop = Stop::new()?;
    let config = resolve(arguments)?;
    let device = device::parse(&arguments.device.device)?;
    let dataset = config.dataset_with(&loading::shown())?;
    let requested = stop.listen("saving a checkpoint after this step");
    let mut report = Report::new(&config);
    let outcome = train(
        &config,
        &dataset,
        &arguments.out,
        &device,
        &requested,
        &mut |progress| report.hear(progress),
    )?;
    drop(report);
    match outcome {
        Outcome::Finished(summary) => print(&summary, arguments.json.json)?,
        Outcome::FinishedBefore(summary) => {
            print(&summary, arguments.json.json)?;
            tracing::info!("{}", finished(&arguments.out, &summary));
        }
        Outcome::Stopped { step } => {
            logging::say(format_args!(
                "stopped after {step} of {} steps; the same command resumes the run",
                steps(&config)
            ));
            return Ok(ExitCode::from(stop.status()));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn print(summary: &Summary, json: bool) -> Result<()> {
    if json {
        return output::line(serde_json::to_string(summary)?);
    }
    output::line(format_args!(
        "{}: {:.4} {} on the validation images, {}, {}, {:.0} s",
        summary.model.display(),
        summary.valid_score,
        summary.unit,
        counted(summary.parameters, "parameter"),
        counted(summary.images_seen, "image"),
        summary.seconds
    ))
}

fn finished(out: &Path, summary: &Summary) -> String {
    let out = out.display();
    let after = counted(summary.steps, "step");
    match (summary.steps, summary.stopped_early) {
        (0, _) => format!("{out}: this run is already finished"),
        (_, true) => format!(
            "{out}: this run is already finished: it ended after {after} by `patience`; \
             --init-from starts another run from its weights"
        ),
        (_, false) => format!(
            "{out}: this run is already finished, after {after}; --extend STEPS trains it further"
        ),
    }
}

fn steps(config: &RunConfig) -> usize {
    let training = config.training.as_ref();
    training.map_or(0, |training| training.steps)
}

/// Shows the progress of a run: a bar for its steps, and one for the images of a
/// validation.
struct Report<'a> {
    training: Option<&'a Training>,
    unit: &'static str,
    steps: Option<progress::Progress>,
    validation: Option<progress::Progress>,
    pace: Pace,
    smooth: Option<f64>,
}

impl<'a> Report<'a> {
    fn new(config: &'a RunConfig) -> Self {
        let unit = match config.model.score().is_bits_per_dim() {
            true => "bits/dim",
            false => "loss",
        };
        Self {
            training: config.training.as_ref(),
            unit,
            steps: None,
            validation: None,
            pace: Pace::default(),
            smooth: None,
        }
    }

    fn hear(&mut self, progress: Progress) {
        match progress {
            Progress::Step {
                step,
                steps,
                batch,
                loss,
            } => {
                self.pace.step(Instant::now());
                if let Some(loss) = loss {
                    let mean = self.smooth.map_or(loss, |mean| 0.95 * mean + 0.05 * loss);
                    self.smooth = Some(mean);
                }
                let left = self.pace.left(steps - step, self.validations(step));
                let rate = self.pace.speed() * batch as f64;
                let loss = self.smooth.map(|mean| format!("{mean:.3} {} ", self.unit));
                let note = format!("{}{rate:.1} images/s", loss.unwrap_or_default());
                self.steps
                    .get_or_insert_with(|| {
                        progress::Progress::with_unit("training", steps, "steps")
                    })
                    .show(step, note, left);
            }
            Progress::Validating { done, images } => {
                self.pace.validation(Instant::now(), done == images);
                self.validation
                    .get_or_insert_with(|| progress::Progress::start("validation", images))
                    .at(done);
            }
            Progress::Validated { .. } => self.validation = None,
        }
    }

    /// Number of validations from `step` on, `step` included.
    fn validations(&self, step: usize) -> usize {
        let Some(training) = self.training else {
            return 0;
        };
        let (steps, every) = (training.steps, training.validate_every);
        let last = usize::from(!steps.is_multiple_of(every));
        steps / every - step.saturating_sub(1) / every + last
    }
}

fn resolve(arguments: &Arguments) -> Result<RunConfig> {
    let held = arguments.out.join("run.toml");
    let mut config = match &arguments.config {
        Some(config) => RunConfig::read(config)?,
        None => RunConfig::read(&held)?,
    };
    if let Some(data) = &arguments.data {
        config.data.clone_from(data);
    }
    if let Some(encoder) = &arguments.pretrained_encoder {
        config.pretrained_encoder = Some(encoder.clone());
    }
    if let Some(folder) = &arguments.init_from {
        config.init_from = Some(folder.clone());
    }
    if let Some(tokenizer) = &arguments.tokenizer {
        config.tokenizer = Some(tokenizer.clone());
    }
    if let Some(seed) = arguments.seed {
        config.seed = seed;
    }
    replace_training(arguments, &mut config)?;
    config.validate()?;
    // Fetched here, with a progress bar; the run then finds them without another download.
    for name in [&config.pretrained_encoder, &config.init_from] {
        if let Some(name) = name.as_ref().filter(|name| name.starts_with("hf:")) {
            model::find(Path::new(name))?;
        }
    }
    match arguments.extend {
        Some(steps) => extend(config, &held, steps),
        None => Ok(config),
    }
}

fn replace_training(arguments: &Arguments, config: &mut RunConfig) -> Result<()> {
    if (arguments.steps.is_some() || arguments.batch.is_some()) && config.training.is_none() {
        bail!(
            "--steps and --batch: {} has no training steps",
            config.model.name()
        );
    }
    if let Some(training) = &mut config.training {
        if let Some(steps) = arguments.steps {
            training.steps = steps;
            shorten(&mut training.schedule, steps);
        }
        if let Some(batch) = arguments.batch {
            training.batch = batch;
        }
    }
    Ok(())
}

/// Makes warm-up and decay fit into a run.
fn shorten(schedule: &mut Schedule, total: usize) {
    if schedule.warmup > total {
        tracing::warn!("the warm-up is shortened to the {total} steps of the run");
        schedule.warmup = total;
    }
    let left = total - schedule.warmup;
    match &mut schedule.decay {
        Decay::Linear { steps, .. } if *steps > left && left > 0 => {
            tracing::warn!("the decay is shortened to the {left} steps after the warm-up");
            *steps = left;
        }
        Decay::Linear { .. } if left == 0 => {
            tracing::warn!("there is no decay, because no step is left after the warm-up");
            schedule.decay = Decay::Constant;
        }
        _ => {}
    }
}

/// Extends the run with the `run.toml` `held` to `steps` steps, or resumes it if it
/// is already being extended. Everything except its length must equal `config`.
fn extend(config: RunConfig, held: &Path, steps: usize) -> Result<RunConfig> {
    let held = RunConfig::read(held)?;
    let longer = match &held.training {
        // The same command is repeated.
        Some(training) if training.steps == steps && !training.extended.is_empty() => held,
        _ => held.extended_to(steps)?,
    };
    let mut asked = config;
    if let (Some(asked), Some(longer)) = (&mut asked.training, &longer.training) {
        asked.steps = longer.steps;
        asked.extended.clone_from(&longer.extended);
    }
    Ok(asked)
}
