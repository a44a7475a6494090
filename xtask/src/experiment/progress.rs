//! The progress of an experiment.

use std::collections::BTreeMap;
use std::time::Instant;

use super::Run;
use super::format::duration;

/// The models of an experiment, and the training time of those already trained.
#[derive(Default)]
pub(super) struct Progress {
    /// The estimated cost of training each model, see [`Run::cost`]; 0 once it is trained.
    costs: BTreeMap<&'static str, f64>,
    begun: usize,
    /// Cost and seconds of the models that were trained now.
    done: (f64, f64),
    current: Option<(&'static str, Instant)>,
}

impl Progress {
    /// Adds models that will be trained.
    pub(super) fn add_runs(&mut self, runs: &[Run]) {
        self.costs
            .extend(runs.iter().map(|run| (run.name, run.cost())));
    }

    /// Starts a model, and returns a text with its number among all models.
    pub(super) fn start_run(&mut self, run: &Run) -> String {
        self.begun += 1;
        self.current = Some((run.name, Instant::now()));
        let (number, all) = (self.begun, self.costs.len());
        let left = self.seconds_left().map_or_else(String::new, |seconds| {
            let left = match seconds < 60.0 {
                true => format!("{:.0} s", seconds.max(1.0)),
                false => duration(seconds),
            };
            format!(", about {left} of training left")
        });
        format!("model {number} of {all}: {}{left}", run.name)
    }

    /// Finishes the current model, trained now or before.
    pub(super) fn finish_run(&mut self, trained_now: bool) {
        if let Some((name, start)) = self.current.take() {
            let cost = self.costs.insert(name, 0.0).unwrap_or_default();
            // A model without cost (a closed-form fit) gives no information about the
            // speed.
            if trained_now && cost > 0.0 {
                self.done.0 += cost;
                self.done.1 += start.elapsed().as_secs_f64();
            }
        }
    }

    /// Remaining seconds of training at the speed so far; None if it is unknown.
    fn seconds_left(&self) -> Option<f64> {
        let (cost, seconds) = self.done;
        let rest: f64 = self.costs.values().sum();
        (cost > 0.0 && seconds > 1.0).then(|| rest * seconds / cost)
    }
}
