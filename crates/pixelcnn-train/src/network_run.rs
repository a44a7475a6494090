//! The training of a network: update, validate, save.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use candle_core::{DType, Device, Tensor};
use pixelcnn_data::{Batches, Dataset};
use pixelcnn_models::{Model, Variables};

use crate::average::Average;
use crate::clip::{clip_factor, global_norm};
#[cfg(feature = "curve")]
use crate::curve::write_curve;
use crate::differentiation::Differentiation;
use crate::inputs::{RunInputs, batches, with_tokenizer};
use crate::metrics::{MetricsLog, Record};
use crate::objective::{Scoring, Step, objective};
use crate::optimiser::Optimiser;
use crate::outcome::{Outcome, Progress, Summary};
use crate::state::{self, Counters, state_path};
use crate::warm_start::initialise;
use crate::{Result, RunConfig, TrainError, Training};

/// The setting of the precision, for messages.
pub(crate) const PRECISION: &str = "training.precision";

/// A network in training.
pub(crate) struct NetworkRun<'a> {
    config: &'a RunConfig,
    training: &'a Training,
    inputs: &'a RunInputs<'a>,
    batches: Batches<'a>,
    out: &'a Path,
    mark: &'a str,
    device: &'a Device,
    model: Model,
    variables: Variables,
    differentiation: Differentiation,
    average: Average,
    second: Option<Average>,
    optimiser: Optimiser,
    counters: Counters,
    /// Whether each step reads its loss and the norm of the gradient. On the CPU this does
    /// not wait; a device would be idle meanwhile.
    waits: bool,
    /// Numbers that were not read back yet.
    unread: Vec<Unread>,
    /// The last loss and norm of the gradient that were read.
    last: Option<(f64, f64)>,
    /// The step of the state on the disk.
    saved: Option<usize>,
    log: MetricsLog,
    started: Instant,
}

/// Scalars on a device, copied back together.
fn numbers<'a>(scalars: impl Iterator<Item = &'a Tensor>) -> Result<Vec<f64>> {
    let all = Tensor::stack(&scalars.collect::<Vec<_>>(), 0)?;
    // Not every device has f64.
    let all = all.to_device(&Device::Cpu)?.to_dtype(DType::F64)?;
    Ok(all.to_vec1()?)
}

/// The numbers of a step, on the device.
struct Unread {
    step: usize,
    loss: Tensor,
    norm: Tensor,
}

impl<'a> NetworkRun<'a> {
    /// Opens a run at its last saved state, or at its start; `mark` is that of
    /// its folder.
    pub(crate) fn open(
        config: &'a RunConfig,
        training: &'a Training,
        dataset: &'a Dataset,
        inputs: &'a RunInputs<'a>,
        (out, mark): (&'a Path, &'a str),
        device: &'a Device,
    ) -> Result<Self> {
        let path = state_path(out);
        let saved = match path.exists() {
            true => Some(state::load(&path, device)?),
            false => None,
        };
        let (model, variables) = match &saved {
            Some(saved) => Model::trainable(&config.model, saved.weights.clone(), device)
                .map_err(|error| TrainError::run(&path, error))?,
            None => initialise(config, device)?,
        };
        let image = config.model.image();
        let sizes = [training.batch, image.height, image.width];
        let differentiation =
            Differentiation::new(&model, sizes, training.precision, PRECISION, device)?;
        let mut average = Average::new(training.ema_decay, &variables)?;
        let mut second = match training.second_ema_decay {
            Some(decay) => Some(Average::new(decay, &variables)?),
            None => None,
        };
        let mut optimiser = Optimiser::new(&training.optimiser, &variables)?
            .with_learning_rate_multipliers(&training.learning_rate_multipliers, &variables)?;
        let mut counters = Counters::default();
        if let Some(saved) = &saved {
            let named = |error| TrainError::run(&path, error);
            check(&saved.counters, training, (out, mark))?;
            average.load(&saved.average).map_err(named)?;
            if let Some(second) = &mut second {
                second.load(&saved.second_average).map_err(named)?;
            }
            optimiser
                .load_state(&saved.optimiser, saved.counters.step)
                .map_err(named)?;
            counters = saved.counters.clone();
            tracing::info!(step = counters.step, "resuming");
        }
        counters.run = Some(mark.to_string());
        let run = Self {
            inputs,
            batches: batches(config, training, dataset)?,
            log: log_of(out, &counters)?,
            config,
            training,
            out,
            mark,
            device,
            model: with_tokenizer(model, &inputs.tokenizer)?,
            variables,
            differentiation,
            average,
            second,
            optimiser,
            waits: device.is_cpu() || training.check_every_step,
            unread: Vec::new(),
            last: None,
            saved: saved.map(|saved| saved.counters.step),
            counters,
            started: Instant::now(),
        };
        // The last curve may show steps that were not saved.
        run.draw()?;
        Ok(run)
    }

    pub(crate) fn train(
        &mut self,
        stop: &AtomicBool,
        report: &mut dyn FnMut(Progress),
    ) -> Result<Outcome> {
        let outcome = self.go_on(stop, report);
        if let Err(error) = &outcome
            && error.is_of_writing()
        {
            self.rescue();
        }
        outcome
    }

    fn go_on(&mut self, stop: &AtomicBool, report: &mut dyn FnMut(Progress)) -> Result<Outcome> {
        let steps = self.training.steps;
        loop {
            let stopped = match self.counters.due {
                true => self.validate(stop, report)?.is_break(),
                false => false,
            };
            let step = self.counters.step;
            if !self.counters.due && (step == steps || self.has_stopped_early()) {
                return Ok(Outcome::Finished(self.summary()?));
            }
            if stopped || stop.load(Ordering::Relaxed) {
                // Before the first step there is nothing to save.
                if step > 0 && self.saved != Some(step) {
                    self.save()?;
                }
                return Ok(Outcome::Stopped { step });
            }
            self.update()?;
            let step = self.counters.step;
            self.counters.due = self.training.validates_at(step);
            if step.is_multiple_of(self.training.log_every) {
                self.read()?;
                self.log(self.last.map(|(_, norm)| norm), None)?;
            }
            report(Progress::Step {
                step,
                steps,
                batch: self.training.batch,
                loss: self.last.map(|(loss, _)| loss),
            });
        }
    }

    /// After a file could not be written: saves the steps since the last
    /// checkpoint, if the checkpoint can be written.
    fn rescue(&mut self) {
        let step = self.counters.step;
        if self.saved == Some(step) || step == 0 {
            return;
        }
        match (self.save(), self.saved) {
            (Ok(()), _) => tracing::warn!("saved after step {step}: the run can resume from there"),
            (Err(_), Some(saved)) => {
                tracing::warn!("step {step} cannot be saved: the run can resume from step {saved}");
            }
            (Err(_), None) => tracing::warn!("step {step} cannot be saved"),
        }
    }

    /// One update.
    fn update(&mut self) -> Result<()> {
        let step = self.counters.step;
        // The first operation of the model sends the values to a device.
        let batch = self.batches.at(step, &Device::Cpu)?;
        let now = Step {
            conditioned: &self.inputs.training,
            batch: &batch,
            seed: self.config.seed,
            step,
        };
        let loss = objective(&self.model).loss(&now)?;
        let (loss, gradients) =
            self.differentiation
                .loss_and_gradients(&self.model, &self.variables, loss)?;
        let norm = global_norm(&gradients)?;
        let max = self.training.max_grad_norm;
        let rate = self.training.learning_rate * self.training.factor(step);
        self.unread.push(Unread {
            step,
            loss,
            norm: norm.clone(),
        });
        if self.waits {
            self.read()?;
        }
        let average = Some(&self.average);
        // On the CPU the update scales the gradients itself, without another pass over them.
        match self.last.filter(|_| self.waits && self.device.is_cpu()) {
            Some((_, norm)) => {
                let factor = clip_factor(norm, max);
                self.optimiser
                    .step(&self.variables, &gradients, rate, factor, average)?;
            }
            None => self.optimiser.clipped_step(
                &self.variables,
                &gradients,
                rate,
                (&norm, max),
                average,
            )?,
        }
        if let Some(second) = &self.second {
            second.follow(&self.variables, step)?;
        }
        self.counters.step += 1;
        Ok(())
    }

    /// Copies the losses and norms of the last steps from the device. Those that are not
    /// finite are an error.
    fn read(&mut self) -> Result<()> {
        let unread = std::mem::take(&mut self.unread);
        if unread.is_empty() {
            return Ok(());
        }
        let unit = objective(&self.model).unit();
        let losses = numbers(unread.iter().map(|it| &it.loss))?;
        let norms = numbers(unread.iter().map(|it| &it.norm))?;
        let steps = unread.iter().map(|it| it.step);
        for (step, (loss, norm)) in steps.zip(losses.into_iter().zip(norms)) {
            for (number, what) in [(loss, "the loss"), (norm, "the gradient")] {
                if !number.is_finite() {
                    return Err(TrainError::NonFinite {
                        step,
                        what: what.to_string(),
                    });
                }
            }
            self.counters.recent.push(loss / unit);
            self.last = Some((loss / unit, norm));
        }
        Ok(())
    }

    /// Writes a line of the log, with the learning rate of the last step.
    fn log(&mut self, norm: Option<f64>, valid: Option<f64>) -> Result<()> {
        let recent = &self.counters.recent;
        let mean = recent.iter().sum::<f64>() / recent.len() as f64;
        let record = Record {
            step: self.counters.step,
            images: self.counters.step * self.training.batch,
            train_score: (!recent.is_empty()).then_some(mean),
            valid_score: valid,
            learning_rate: self.training.learning_rate
                * self.training.factor(self.counters.step - 1),
            gradient_norm: norm,
            seconds: self.seconds(),
        };
        self.log.append(&record)?;
        self.counters.recent.clear();
        Ok(())
    }

    /// Whether the score has not improved for as many validations as the configuration allows.
    fn has_stopped_early(&self) -> bool {
        let patience = self.training.patience;
        patience.is_some_and(|patience| self.counters.without_improvement >= patience)
    }

    /// Scores the averaged weights, saves them if they are the best so far,
    /// and saves the run, unless it is stopped before.
    fn validate(
        &mut self,
        stop: &AtomicBool,
        report: &mut dyn FnMut(Progress),
    ) -> Result<ControlFlow<()>> {
        self.read()?;
        let step = self.counters.step;
        let mut model = self.averaged(&self.average)?;
        let Some(mut score) = self.score(&model, stop, report)? else {
            return Ok(ControlFlow::Break(()));
        };
        if let Some(second) = &self.second {
            let other = self.averaged(second)?;
            let Some(second) = self.score(&other, stop, report)? else {
                return Ok(ControlFlow::Break(()));
            };
            tracing::info!(step, "averages: {score:.4} and {second:.4}");
            if second < score {
                (model, score) = (other, second);
            }
        }
        let is_best = self.counters.best.is_none_or(|best| score < best);
        if is_best {
            // Saved before the state: a run killed in between makes
            // the same model again.
            model.save_with_note(self.out.join("best"), self.mark)?;
        }
        self.log(None, Some(score))?;
        // Together, after all that can fail: a validation must not count twice.
        self.counters.due = false;
        match is_best {
            true => (self.counters.best, self.counters.without_improvement) = (Some(score), 0),
            false => self.counters.without_improvement += 1,
        }
        self.save()?;
        self.draw()?;
        tracing::info!(
            step,
            "validation: {score:.4} {}",
            self.config.model.score().unit()
        );
        report(Progress::Validated { step, score });
        Ok(ControlFlow::Continue(()))
    }

    /// The score of a model on the validation images; `None` if the run is stopped before.
    fn score(
        &self,
        model: &Model,
        stop: &AtomicBool,
        report: &mut dyn FnMut(Progress),
    ) -> Result<Option<f64>> {
        let valid = &self.inputs.valid;
        let images = valid.images().len();
        let mut watch = |done| {
            report(Progress::Validating { done, images });
            match stop.load(Ordering::Relaxed) && done < images {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        };
        let scoring = Scoring {
            conditioned: valid,
            batch: self.training.batch,
        };
        let score = objective(model).score(&scoring, &mut watch)?;
        match score {
            Some(score) if !score.is_finite() => Err(TrainError::NonFinite {
                step: self.counters.step,
                what: "the validation score".to_string(),
            }),
            score => Ok(score),
        }
    }

    #[cfg(not(feature = "curve"))]
    fn draw(&self) -> Result<()> {
        Ok(())
    }

    /// Draws the curve, if there is something to draw.
    #[cfg(feature = "curve")]
    fn draw(&self) -> Result<()> {
        let records = crate::metrics::read(&self.out.join("metrics.jsonl"))?;
        let drawn = |record: &Record| record.train_score.or(record.valid_score).is_some();
        let unit = self.config.model.score().unit();
        match records.iter().any(drawn) {
            true => write_curve(&records, unit, &self.out.join("curve.svg")),
            false => Ok(()),
        }
    }

    fn averaged(&self, average: &Average) -> Result<Model> {
        let mut tensors = average.tensors()?;
        tensors.extend(self.model.frozen());
        let config = &self.config.model;
        let model = Model::from_tensors(config, tensors, DType::F32, self.device)?;
        with_tokenizer(model, &self.inputs.tokenizer)
    }

    /// Saves everything in `last/`. The state is written last, and only it counts.
    fn save(&mut self) -> Result<()> {
        // Overflowed numbers must not replace the last good checkpoint.
        self.read()?;
        let path = state_path(self.out);
        let last = self.out.join("last");
        let model = self.averaged(&self.average)?;
        model.save_with_note(last, self.mark)?;
        let counters = Counters {
            seconds: self.seconds(),
            ..self.counters.clone()
        };
        state::save(
            &path,
            (&self.variables, &self.model.frozen()),
            (&self.average, self.second.as_ref()),
            &self.optimiser,
            &counters,
        )?;
        self.saved = Some(self.counters.step);
        Ok(())
    }

    fn seconds(&self) -> f64 {
        self.counters.seconds + self.started.elapsed().as_secs_f64()
    }

    fn summary(&self) -> Result<Summary> {
        let path = state_path(self.out);
        let Some(best) = self.counters.best else {
            return Err(TrainError::run(&path, "the run was never validated"));
        };
        let steps = self.counters.step;
        Ok(Summary {
            steps,
            stopped_early: self.has_stopped_early(),
            images_seen: steps * self.training.batch,
            seconds: self.seconds(),
            parameters: self.model.parameters(),
            valid_score: best,
            unit: self.config.model.score().unit().to_string(),
            model: self.out.join("best"),
            peak_memory: pixelcnn_system::peak_memory(),
            run: None,
        })
    }
}

/// Checks that a state belongs to this run, and that its best model exists.
fn check(counters: &Counters, training: &Training, (out, mark): (&Path, &str)) -> Result<()> {
    let path = state_path(out);
    if counters.run.as_deref().is_some_and(|run| run != mark) {
        let why = "the state of a run with other settings or data; choose another folder";
        return Err(TrainError::run(&path, why));
    }
    if counters.step > training.steps {
        let why = format!(
            "it is from step {}, but the run has {}",
            counters.step, training.steps
        );
        return Err(TrainError::run(&path, why));
    }
    let best = out.join("best").join("model.safetensors");
    match counters.best.is_some() && !best.exists() {
        false => Ok(()),
        true => {
            let why = "the best model of the run is missing; restore it, or choose another folder";
            Err(TrainError::run(&best, why))
        }
    }
}

/// The log of a run that resumes after `counters`, without later records and
/// without that of a validation that is repeated.
fn log_of(out: &Path, counters: &Counters) -> Result<MetricsLog> {
    let (step, due) = (counters.step, counters.due);
    MetricsLog::open_with(&out.join("metrics.jsonl"), |record| {
        record.step < step || record.step == step && !(due && record.valid_score.is_some())
    })
}

#[cfg(test)]
#[path = "network_run_tests.rs"]
mod tests;
