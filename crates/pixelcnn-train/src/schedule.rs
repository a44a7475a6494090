//! The schedule of the learning rate.

use std::f64::consts::PI;

use serde::{Deserialize, Serialize};

use crate::{Result, TrainError};

/// A linear warm-up, then a decay.
///
/// The learning rate of step `s` (from 0) of a run of `total` steps is multiplied by
///
/// ```text
/// (s + 1) / warmup                                         while s < warmup, then
/// 1                                                        Constant
/// floor + (1 - floor) (1 + cos(pi x)) / 2                  Cosine
/// factor^(s - warmup)                                      Exponential
/// 1, then floor + (1 - floor) (total - s) / steps          Linear
/// ```
///
/// where `x = (s - warmup) / (total - warmup)`, and `x = 1` from the end of the run on. The
/// linear decay takes the last `steps` steps.
///
/// ```
/// use pixelcnn_train::schedule::{Decay, Schedule};
///
/// let schedule = Schedule { warmup: 4, decay: Decay::Cosine { floor: 0.0 } };
/// assert_eq!(schedule.factor(0, 104), 0.25);
/// assert_eq!(schedule.factor(3, 104), 1.0);
/// assert!((schedule.factor(54, 104) - 0.5).abs() < 1e-12);
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Schedule {
    /// Steps of the warm-up; 0 for none.
    pub warmup: usize,
    /// What follows the warm-up.
    pub decay: Decay,
}

/// The decay of the learning rate after the warm-up; [`Schedule`] has the formulas.
///
/// ```
/// use pixelcnn_train::schedule::Decay;
///
/// assert_eq!(toml::from_str("kind = 'cosine'"), Ok(Decay::Cosine { floor: 0.0 }));
/// assert_eq!(Decay::default(), Decay::Constant);
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", from = "DecayFields")]
pub enum Decay {
    /// No decay.
    #[default]
    Constant,
    /// Half a cosine, to the end of the run.
    Cosine {
        /// The fraction of the learning rate at the end, in `[0, 1]`.
        floor: f64,
    },
    /// The same factor at every step.
    Exponential {
        /// The factor, in `(0, 1]`.
        factor: f64,
    },
    /// No decay until the last steps of the run, then a straight line. A run that is extended
    /// goes back to the full learning rate, and decays again at its new end.
    Linear {
        /// The number of last steps that decay, at least 1.
        steps: usize,
        /// The fraction of the learning rate at the end, in `[0, 1]`.
        floor: f64,
    },
}

/// [`Decay`] for reading: serde ignores unknown fields with the tag of a unit variant, but
/// refuses them with the tag of an empty variant.
#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
enum DecayFields {
    Constant {},
    Cosine {
        #[serde(default)]
        floor: f64,
    },
    Exponential {
        factor: f64,
    },
    Linear {
        steps: usize,
        #[serde(default)]
        floor: f64,
    },
}

impl From<DecayFields> for Decay {
    fn from(fields: DecayFields) -> Self {
        match fields {
            DecayFields::Constant {} => Self::Constant,
            DecayFields::Cosine { floor } => Self::Cosine { floor },
            DecayFields::Exponential { factor } => Self::Exponential { factor },
            DecayFields::Linear { steps, floor } => Self::Linear { steps, floor },
        }
    }
}

impl Schedule {
    /// The factor of the learning rate in step `step` (from 0) of a run of `total` steps.
    pub fn factor(&self, step: usize, total: usize) -> f64 {
        if step < self.warmup {
            return (step + 1) as f64 / self.warmup as f64;
        }
        let since = (step - self.warmup) as f64;
        match self.decay {
            Decay::Constant => 1.0,
            Decay::Cosine { floor } => {
                let done = if step < total {
                    since / (total - self.warmup) as f64
                } else {
                    1.0
                };
                floor + (1.0 - floor) * (1.0 + (PI * done).cos()) / 2.0
            }
            Decay::Exponential { factor } => factor.powf(since),
            Decay::Linear { steps, floor } => {
                let left = total.saturating_sub(step) as f64 / steps as f64;
                floor + (1.0 - floor) * left.min(1.0)
            }
        }
    }

    /// Checks the settings against the length of the run.
    ///
    /// # Errors
    ///
    /// [`TrainError::Invalid`] if the warm-up is longer than the run, or a setting of the
    /// decay is out of range.
    pub fn validate(&self, total: usize) -> Result<()> {
        if self.warmup > total {
            let allowed = format!("at most the {total} steps of the run");
            return Err(TrainError::invalid("warmup", self.warmup, &allowed));
        }
        match self.decay {
            Decay::Cosine { floor } if !(0.0..=1.0).contains(&floor) => {
                Err(TrainError::invalid("cosine floor", floor, "in [0, 1]"))
            }
            Decay::Linear { floor, .. } if !(0.0..=1.0).contains(&floor) => {
                Err(TrainError::invalid("linear floor", floor, "in [0, 1]"))
            }
            Decay::Linear { steps, .. } if !(1..=total - self.warmup).contains(&steps) => {
                let allowed = format!(
                    "from 1 to the {} steps after the warm-up",
                    total - self.warmup
                );
                Err(TrainError::invalid("linear steps", steps, &allowed))
            }
            Decay::Exponential { factor } if !(factor > 0.0 && factor <= 1.0) => Err(
                TrainError::invalid("exponential factor", factor, "in (0, 1]"),
            ),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn factors(schedule: Schedule, total: usize) -> Vec<f64> {
        (0..total + 2)
            .map(|step| schedule.factor(step, total))
            .collect()
    }

    fn assert_close(found: Vec<f64>, expected: &[f64]) {
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-12, "{found} not {expected}");
        }
    }

    #[test]
    fn warm_up_is_linear_from_the_first_step() {
        let warm = Schedule {
            warmup: 4,
            decay: Decay::Constant,
        };
        assert_close(factors(warm, 5), &[0.25, 0.5, 0.75, 1.0, 1.0, 1.0, 1.0]);
        assert_close(factors(Schedule::default(), 1), &[1.0, 1.0, 1.0]);
    }

    #[test]
    fn cosine_falls_to_its_floor_at_the_end() {
        let schedule = |floor| Schedule {
            warmup: 2,
            decay: Decay::Cosine { floor },
        };
        let half = 0.5f64.sqrt();
        let (high, low) = ((1.0 + half) / 2.0, (1.0 - half) / 2.0);
        let expected = [0.5, 1.0, 1.0, high, 0.5, low, 0.0, 0.0];
        assert_close(factors(schedule(0.0), 6), &expected);
        let expected = [
            0.5,
            1.0,
            1.0,
            0.2 + 0.8 * high,
            0.6,
            0.2 + 0.8 * low,
            0.2,
            0.2,
        ];
        assert_close(factors(schedule(0.2), 6), &expected);
        assert_close(factors(schedule(0.1), 2), &[0.5, 1.0, 0.1, 0.1]);
    }

    #[test]
    fn exponential_decay_starts_after_the_warm_up() {
        let schedule = Schedule {
            warmup: 2,
            decay: Decay::Exponential { factor: 0.5 },
        };
        assert_close(factors(schedule, 3), &[0.5, 1.0, 1.0, 0.5, 0.25]);
    }

    #[test]
    fn a_linear_decay_takes_the_last_steps() {
        let schedule = Schedule {
            warmup: 2,
            decay: Decay::Linear {
                steps: 4,
                floor: 0.2,
            },
        };
        let expected = [0.5, 1.0, 1.0, 1.0, 1.0, 0.8, 0.6, 0.4, 0.2, 0.2];
        assert_close(factors(schedule, 8), &expected);
        assert!(schedule.validate(6).is_ok());
        let error = schedule.validate(5).unwrap_err().to_string();
        assert!(error.contains("4 is not from 1 to the 3 steps"), "{error}");
    }

    #[test]
    fn settings_out_of_range_are_refused() {
        let message = |warmup, decay| {
            Schedule { warmup, decay }
                .validate(10)
                .unwrap_err()
                .to_string()
        };
        assert!(Schedule::default().validate(0).is_ok());
        assert!(
            Schedule {
                warmup: 10,
                decay: Decay::Constant
            }
            .validate(10)
            .is_ok()
        );
        assert_eq!(
            message(11, Decay::Constant),
            "invalid warmup: 11 is not at most the 10 steps of the run"
        );
        assert_eq!(
            message(0, Decay::Cosine { floor: 1.5 }),
            "invalid cosine floor: 1.5 is not in [0, 1]"
        );
        for factor in [0.0, 1.1, f64::NAN] {
            let expected = format!("invalid exponential factor: {factor} is not in (0, 1]");
            assert_eq!(message(0, Decay::Exponential { factor }), expected);
        }
    }

    #[test]
    fn schedules_are_read_and_written_without_slack() {
        let schedule = Schedule {
            warmup: 100,
            decay: Decay::Exponential { factor: 0.999 },
        };
        let text = toml::to_string(&schedule).unwrap();
        assert_eq!(toml::from_str(&text), Ok(schedule));
        let constant = toml::to_string(&Schedule::default()).unwrap();
        assert_eq!(toml::from_str(&constant), Ok(Schedule::default()));
        for text in [
            "warm_up = 3",
            "decay = { kind = 'constant', floor = 0.1 }",
            "decay = { kind = 'cosine', factor = 0.1 }",
            "decay = { kind = 'exponential' }",
            "decay = { kind = 'linear' }",
            "decay = { kind = 'linear', steps = -1 }",
        ] {
            assert!(toml::from_str::<Schedule>(text).is_err(), "{text}");
        }
    }
}
