//! The training of a network: update, validate, save.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use candle_core::{DType, Device};
use pixelcnn_data::{BatchConfig, Batches, Dataset, Split};
use pixelcnn_models::{Model, Variables};

use crate::average::Average;
use crate::beginning::{Beginning, initialise, with_tokenizer};
use crate::clip::{clip_factor, global_norm};
use crate::curve::write_curve;
use crate::metrics::{self, MetricsLog, Record};
use crate::objective::{Step, score};
use crate::optimiser::Optimiser;
use crate::outcome::{Outcome, Progress, Summary};
use crate::state::{self, Counters};
use crate::{Result, RunConfig, TrainError, Training, collect_gradients};

/// A network in training.
pub(crate) struct NetworkRun<'a> {
    config: &'a RunConfig,
    training: &'a Training,
    beginning: &'a Beginning<'a>,
    batches: Batches<'a>,
    out: &'a Path,
    device: &'a Device,
    model: Model,
    variables: Variables,
    average: Average,
    optimiser: Optimiser,
    counters: Counters,
    log: MetricsLog,
    started: Instant,
}

impl<'a> NetworkRun<'a> {
    pub(crate) fn open(
        config: &'a RunConfig,
        training: &'a Training,
        dataset: &'a Dataset,
        beginning: &'a Beginning<'a>,
        out: &'a Path,
        device: &'a Device,
    ) -> Result<Self> {
        let path = state_path(out);
        if let Some(tokenizer) = &beginning.tokenizer {
            tokenizer.save(out.join("tokenizer.json"))?;
        }
        let saved = match path.exists() {
            true => Some(state::load(&path, device)?),
            false => None,
        };
        let (model, variables) = match &saved {
            Some(saved) => Model::trainable(&config.model, saved.weights.clone(), device)
                .map_err(|error| TrainError::run(&path, error))?,
            None => initialise(config, device)?,
        };
        let mut average = Average::new(training.average, &variables)?;
        let mut optimiser = Optimiser::new(&training.optimiser, &variables)?
            .with_rates(&training.rates, &variables)?;
        let mut counters = Counters::default();
        if let Some(saved) = &saved {
            let named = |error| TrainError::run(&path, error);
            average.load(&saved.average).map_err(named)?;
            optimiser
                .load_state(&saved.optimiser, saved.counters.step)
                .map_err(named)?;
            counters = saved.counters.clone();
            tracing::info!(step = counters.step, "resuming");
        }
        Ok(Self {
            beginning,
            batches: batches(config, training, dataset)?,
            log: MetricsLog::open(&out.join("metrics.jsonl"), counters.step)?,
            config,
            training,
            out,
            device,
            model: with_tokenizer(model, &beginning.tokenizer)?,
            variables,
            average,
            optimiser,
            counters,
            started: Instant::now(),
        })
    }

    pub(crate) fn train(
        &mut self,
        stop: &AtomicBool,
        report: &mut dyn FnMut(Progress),
    ) -> Result<Outcome> {
        let steps = self.training.steps;
        while self.counters.step < steps {
            let loss = self.update()?;
            let step = self.counters.step;
            report(Progress::Step {
                step,
                steps,
                batch: self.training.batch,
                loss,
            });
            if step.is_multiple_of(self.training.validate_every) || step == steps {
                let score = self.validate()?;
                report(Progress::Validated { step, score });
            }
            if step < steps && stop.load(Ordering::Relaxed) {
                self.save()?;
                return Ok(Outcome::Stopped { step });
            }
        }
        Ok(Outcome::Finished(self.summary()?))
    }

    /// One update; the loss of its batch as it is reported.
    fn update(&mut self) -> Result<f64> {
        let step = self.counters.step;
        let finite = |number: f64, what: &str| match number.is_finite() {
            true => Ok(number),
            false => Err(TrainError::NonFinite {
                step,
                what: what.to_string(),
            }),
        };
        let batch = self.batches.at(step, self.device)?;
        let now = Step {
            examples: &self.beginning.training,
            batch: &batch,
            seed: self.config.seed,
            step,
        };
        let (loss, reported) = now.loss(&self.model)?;
        let reported = finite(reported, "the loss")?;
        let gradients = collect_gradients(&loss.backward()?, &self.variables)?;
        let norm = finite(global_norm(&gradients)?, "the gradient")?;
        let rate = self.training.rate * self.training.schedule.factor(step, self.training.steps);
        let factor = clip_factor(norm, self.training.clip);
        let average = Some(&self.average);
        self.optimiser
            .step(&self.variables, &gradients, rate, factor, average)?;
        self.counters.step += 1;
        self.counters.recent.push(reported);
        if self.counters.step.is_multiple_of(self.training.log_every) {
            self.log(rate, Some(norm), None)?;
        }
        Ok(reported)
    }

    fn log(&mut self, rate: f64, norm: Option<f64>, valid: Option<f64>) -> Result<()> {
        let recent = std::mem::take(&mut self.counters.recent);
        let mean = recent.iter().sum::<f64>() / recent.len() as f64;
        let record = Record {
            step: self.counters.step,
            images: self.counters.step * self.training.batch,
            train_score: (!recent.is_empty()).then_some(mean),
            valid_score: valid,
            rate,
            gradient_norm: norm,
            seconds: self.seconds(),
        };
        self.log.append(&record)
    }

    /// Scores the averaged weights, keeps them if they are the best so far,
    /// and saves the run.
    fn validate(&mut self) -> Result<f64> {
        let step = self.counters.step;
        let average = self.averaged()?;
        let batch = self.training.batch;
        let score = score(&average, &self.beginning.valid, batch, self.device)?;
        if !score.is_finite() {
            return Err(TrainError::NonFinite {
                step,
                what: "the validation score".to_string(),
            });
        }
        if self.counters.best.is_none_or(|best| score < best) {
            // Before the state that says so: a run killed in between makes
            // the same model again.
            average.save(self.out.join("best"))?;
            self.counters.best = Some(score);
        }
        let factor = self.training.schedule.factor(step - 1, self.training.steps);
        self.log(self.training.rate * factor, None, Some(score))?;
        self.save()?;
        let records = metrics::read(&self.out.join("metrics.jsonl"))?;
        let unit = self.config.model.score().unit();
        write_curve(&records, unit, &self.out.join("curve.svg"))?;
        tracing::info!(step, "validation: {score:.4} {unit}");
        Ok(score)
    }

    fn averaged(&self) -> Result<Model> {
        let mut tensors = self.average.tensors()?;
        tensors.extend(self.model.frozen());
        let config = &self.config.model;
        let model = Model::from_tensors(config, tensors, DType::F32, self.device)?;
        with_tokenizer(model, &self.beginning.tokenizer)
    }

    /// Everything under `last/`; the state comes last and alone decides.
    fn save(&mut self) -> Result<()> {
        let path = state_path(self.out);
        self.averaged()?.save(self.out.join("last"))?;
        let counters = Counters {
            seconds: self.seconds(),
            ..self.counters.clone()
        };
        state::save(
            &path,
            (&self.variables, &self.model.frozen()),
            &self.average,
            &self.optimiser,
            &counters,
        )
    }

    fn seconds(&self) -> f64 {
        self.counters.seconds + self.started.elapsed().as_secs_f64()
    }

    fn summary(&self) -> Result<Summary> {
        let path = state_path(self.out);
        let Some(best) = self.counters.best else {
            return Err(TrainError::run(&path, "the run was never validated"));
        };
        Ok(Summary {
            steps: self.training.steps,
            images_seen: self.training.steps * self.training.batch,
            seconds: self.seconds(),
            parameters: self.model.parameters()?,
            valid_score: best,
            unit: self.config.model.score().unit().to_string(),
            model: self.out.join("best"),
        })
    }
}

pub(crate) fn state_path(out: &Path) -> PathBuf {
    out.join("last").join("training.safetensors")
}

/// The training images in batches; an error if there are too few for one.
pub(crate) fn batches<'a>(
    config: &RunConfig,
    training: &Training,
    dataset: &'a Dataset,
) -> Result<Batches<'a>> {
    let batches = BatchConfig {
        batch: training.batch,
        each: training.each,
        seed: config.seed,
        flips: training.flips,
    };
    Ok(Batches::new(dataset.split(Split::Train)?, batches)?)
}
