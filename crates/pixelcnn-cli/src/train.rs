//! `pixelcnn train`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, bail};
use pixelcnn_models::ModelConfig;
use pixelcnn_train::{Outcome, Progress, RunConfig, train};

use crate::{device, output, progress};

/// Trains a model, or goes on with a run that was stopped or killed
#[derive(clap::Args)]
pub struct Arguments {
    /// The configuration of the run, TOML
    #[arg(long)]
    config: PathBuf,
    /// The folder of the run
    #[arg(long)]
    out: PathBuf,
    /// Another data set than the configuration's
    #[arg(long)]
    data: Option<String>,
    /// The folder of the embedding network that the model is conditioned on, or of an
    /// auto-encoder that its code begins with
    #[arg(long, value_name = "DIR")]
    encoder: Option<String>,
    /// The tokenizer.json that captions are read by, instead of one that is learnt
    #[arg(long, value_name = "FILE")]
    tokenizer: Option<String>,
    /// Another seed than the configuration's
    #[arg(long)]
    seed: Option<u64>,
    /// Another number of steps than the configuration's
    #[arg(long)]
    steps: Option<usize>,
    /// Another batch size than the configuration's
    #[arg(long)]
    batch: Option<usize>,
    /// cpu, cuda:N or metal
    #[arg(long, default_value = "cpu")]
    device: String,
    /// Print the result as one line of JSON
    #[arg(long)]
    json: bool,
}

pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let config = resolve(arguments)?;
    let device = device::parse(&arguments.device)?;
    let dataset = config.dataset()?;
    let stop = stop_on_ctrl_c()?;
    let steps = config
        .training
        .as_ref()
        .map_or(0, |training| training.steps);
    let mut bar = (steps > 0).then(|| progress::Progress::start("training", steps));
    let mut smooth = None;
    let unit = match config.model {
        ModelConfig::PixelCnn(_) | ModelConfig::GatedPixelCnn(_) => "bits/dim",
        _ => "loss",
    };
    let mut report = |progress: Progress| {
        if let (
            Progress::Step {
                step, batch, loss, ..
            },
            Some(bar),
        ) = (progress, &mut bar)
        {
            let mean = smooth.map_or(loss, |mean: f64| 0.95 * mean + 0.05 * loss);
            smooth = Some(mean);
            bar.at(step, batch as f64, &format!("{mean:.3} {unit}"));
        }
    };
    let outcome = train(
        &config,
        &dataset,
        &arguments.out,
        &device,
        &stop,
        &mut report,
    )?;
    drop(bar);
    match outcome {
        Outcome::Finished(summary) if arguments.json => {
            output::line(serde_json::to_string(&summary)?)?;
            Ok(ExitCode::SUCCESS)
        }
        Outcome::Finished(summary) => {
            output::line(format_args!(
                "{}: {:.4} {} on the validation images, {} parameters, {} images, {:.0} s",
                summary.model.display(),
                summary.valid_score,
                summary.unit,
                summary.parameters,
                summary.images_seen,
                summary.seconds
            ))?;
            Ok(ExitCode::SUCCESS)
        }
        Outcome::Stopped { step } => {
            eprintln!("stopped after {step} of {steps} steps; the same command goes on from there");
            Ok(ExitCode::from(130))
        }
    }
}

fn resolve(arguments: &Arguments) -> Result<RunConfig> {
    let mut config = RunConfig::read(&arguments.config)?;
    if let Some(data) = &arguments.data {
        config.data.clone_from(data);
    }
    if let Some(encoder) = &arguments.encoder {
        config.encoder = Some(encoder.clone());
    }
    if let Some(tokenizer) = &arguments.tokenizer {
        config.tokenizer = Some(tokenizer.clone());
    }
    if let Some(seed) = arguments.seed {
        config.seed = seed;
    }
    if (arguments.steps.is_some() || arguments.batch.is_some()) && config.training.is_none() {
        bail!(
            "--steps and --batch: {} is not trained by steps",
            config.model.name()
        );
    }
    if let Some(training) = &mut config.training {
        if let Some(steps) = arguments.steps {
            training.steps = steps;
            if training.schedule.warmup > steps {
                tracing::warn!("the warm-up is cut to the {steps} steps of the run");
                training.schedule.warmup = steps;
            }
        }
        if let Some(batch) = arguments.batch {
            training.batch = batch;
        }
    }
    config.validate()?;
    Ok(config)
}

/// Set by the first Ctrl-C; the second one ends the program at once.
fn stop_on_ctrl_c() -> Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    let set = Arc::clone(&stop);
    ctrlc::set_handler(move || {
        if set.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
        eprintln!("saving a checkpoint after this step; Ctrl-C again to end without");
    })
    .context("cannot listen for Ctrl-C")?;
    Ok(stop)
}
