//! The remaining time of a run.

use std::time::{Duration, Instant};

/// The time that a run has taken since it was started or resumed, separately for
/// steps and validations.
#[derive(Default)]
pub(crate) struct Pace {
    steps: Share,
    validations: Share,
    last: Option<Instant>,
}

#[derive(Default)]
struct Share {
    count: usize,
    time: Duration,
}

impl Share {
    fn mean(&self) -> Option<Duration> {
        let count = u32::try_from(self.count).ok().filter(|count| *count > 0)?;
        Some(self.time / count)
    }
}

impl Pace {
    /// Records a step.
    pub(crate) fn step(&mut self, now: Instant) {
        Self::add(&mut self.steps, &mut self.last, now, 1);
    }

    /// Records that a validation is running or done.
    pub(crate) fn validation(&mut self, now: Instant, done: bool) {
        Self::add(
            &mut self.validations,
            &mut self.last,
            now,
            usize::from(done),
        );
    }

    /// The first call only sets the time: what happened before is unknown.
    fn add(share: &mut Share, last: &mut Option<Instant>, now: Instant, count: usize) {
        if let Some(last) = last {
            share.time += now.duration_since(*last);
            share.count += count;
        }
        *last = Some(now);
    }

    /// Steps per second, without validations.
    pub(crate) fn speed(&self) -> f64 {
        match self.steps.mean() {
            Some(mean) if !mean.is_zero() => 1.0 / mean.as_secs_f64(),
            _ => 0.0,
        }
    }

    /// The time for this number of steps and validations; validations count only after
    /// the first one. `None` if it is unknown or infinite.
    pub(crate) fn left(&self, steps: usize, validations: usize) -> Option<Duration> {
        let step = self.steps.mean()?.as_secs_f64();
        let validation = self.validations.mean().unwrap_or_default().as_secs_f64();
        let seconds = step * steps as f64 + validation * validations as f64;
        Duration::try_from_secs_f64(seconds).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_and_validations_are_counted_apart() {
        let start = Instant::now();
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        let mut pace = Pace::default();
        pace.step(at(0)); // resumed: the time of earlier steps is unknown
        assert_eq!(pace.left(10, 1), None);
        pace.step(at(2));
        pace.step(at(4));
        assert_eq!(pace.left(10, 1), Some(Duration::from_secs(20)));
        assert_eq!(pace.speed(), 0.5);
        assert_eq!(pace.left(usize::MAX, 1), None);
        pace.validation(at(10), false);
        pace.validation(at(34), true);
        assert_eq!(pace.left(10, 1), Some(Duration::from_secs(50)));
        pace.step(at(36));
        assert_eq!(pace.left(10, 2), Some(Duration::from_secs(80)));
    }
}
