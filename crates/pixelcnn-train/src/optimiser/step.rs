//! The steps of an optimiser.

use std::collections::BTreeMap;

use candle_core::{Tensor, Var};
use pixelcnn_kernels::{Moments, Parameter, Update, update, update_all};

use super::{FIRST_MOMENT, MOMENTUM, MuonConfig, Optimiser, OptimiserConfig, SECOND_MOMENT};
use super::{check_not_negative, layout};
use crate::average::Average;
use crate::muon::MuonChange;
use crate::tensors::{check_layout, detached};
use crate::{Result, TrainError};

impl Optimiser {
    /// Updates the parameters by one step at the learning rate `learning_rate`. The gradients are
    /// first multiplied by `scale`, for clipping. An average is updated in the same pass over
    /// memory.
    ///
    /// # Shapes
    ///
    /// Each gradient has the shape and element type of its parameter.
    ///
    /// # Errors
    ///
    /// [`TrainError::State`] if the parameters are not those of [`Optimiser::new`] or the
    /// gradients do not fit them, [`TrainError::Invalid`] if `learning_rate` or `scale` is negative
    /// or not finite; then nothing has changed. After [`TrainError::Candle`], only some parameters
    /// may have changed.
    pub fn step(
        &mut self,
        parameters: &BTreeMap<String, Var>,
        gradients: &BTreeMap<String, Tensor>,
        learning_rate: f64,
        scale: f64,
        average: Option<&Average>,
    ) -> Result<()> {
        check_not_negative("scale of the gradients", scale)?;
        self.begin(parameters, gradients, learning_rate, average)?;
        let ema_decay = average.map_or(0.0, |average| average.keep(self.steps - 1));
        let rule = self.config.rule(self.steps);
        for change in self.changes(parameters, gradients, learning_rate, average) {
            match change.by {
                By::Muon(muon, momentum) => {
                    muon.step(&change.of_muon(momentum, ema_decay), scale)?;
                }
                By::Rule(moments) => {
                    let step = Update {
                        rule,
                        learning_rate: change.learning_rate,
                        scale,
                        weight_decay: change.weight_decay,
                        ema_decay,
                    };
                    update(change.weight, change.gradient, moments, &step)?;
                }
            }
        }
        Ok(())
    }

    /// The same, with gradients that are scaled so that their norm is at most `most`. `norm` is
    /// that of [`global_norm`](crate::clip::global_norm) on their device; this step does not wait
    /// for it. If the norm is not finite, weights and state are of no use afterwards.
    ///
    /// # Errors
    ///
    /// As for [`Optimiser::step`], and if `most` is not positive.
    pub fn clipped_step(
        &mut self,
        parameters: &BTreeMap<String, Var>,
        gradients: &BTreeMap<String, Tensor>,
        learning_rate: f64,
        (norm, most): (&Tensor, f64),
        average: Option<&Average>,
    ) -> Result<()> {
        if most.is_nan() || most <= 0.0 {
            return Err(TrainError::invalid("largest norm", most, "positive"));
        }
        self.begin(parameters, gradients, learning_rate, average)?;
        let ema_decay = average.map_or(0.0, |average| average.keep(self.steps - 1));
        let (mut by_muon, mut by_rule) = (Vec::new(), Vec::new());
        for change in self.changes(parameters, gradients, learning_rate, average) {
            match change.by {
                By::Muon(_, momentum) => by_muon.push(change.of_muon(momentum, ema_decay)),
                By::Rule(moments) => by_rule.push(Parameter {
                    weight: change.weight,
                    gradient: change.gradient,
                    moments,
                    learning_rate: change.learning_rate,
                    weight_decay: change.weight_decay,
                }),
            }
        }
        if let OptimiserConfig::Muon(muon) = &self.config {
            muon.clipped_step(&by_muon, (norm, most))?;
        }
        let rule = self.config.rule(self.steps);
        Ok(update_all(&by_rule, norm, most, rule, ema_decay)?)
    }

    /// Checks everything, and then counts the step.
    fn begin(
        &mut self,
        parameters: &BTreeMap<String, Var>,
        gradients: &BTreeMap<String, Tensor>,
        learning_rate: f64,
        average: Option<&Average>,
    ) -> Result<()> {
        check_not_negative("learning rate", learning_rate)?;
        let weights = detached(parameters);
        check_layout("gradient", &weights, gradients)?;
        let expected = layout(&self.config, &weights);
        check_layout("optimiser state", &expected, &detached(&self.state))?;
        if let Some(average) = average {
            check_layout("average", &weights, &detached(average.variables()))?;
        }
        self.steps += 1;
        Ok(())
    }

    /// What a step does to each parameter, after [`Self::begin`].
    fn changes<'a>(
        &'a self,
        parameters: &'a BTreeMap<String, Var>,
        gradients: &'a BTreeMap<String, Tensor>,
        learning_rate: f64,
        average: Option<&'a Average>,
    ) -> impl Iterator<Item = Change<'a>> {
        let all = parameters.iter().zip(gradients.values());
        all.filter_map(move |((name, weight), gradient)| {
            let learning_rate = learning_rate * self.factors.get(name).unwrap_or(&1.0);
            let moment = |slot: &str| self.state.get(&format!("{slot}.{name}"));
            let average = average.and_then(|average| average.variables().get(name));
            let change = Change {
                weight,
                gradient,
                average,
                learning_rate,
                weight_decay: 0.0,
                by: match (self.config.muon(name, weight.rank()), moment(MOMENTUM)) {
                    (Some(muon), Some(momentum)) => By::Muon(muon, momentum),
                    (_, momentum) => By::Rule(Moments {
                        first: moment(FIRST_MOMENT).or(momentum),
                        // The layout has been checked.
                        second: moment(SECOND_MOMENT)?,
                        average,
                    }),
                },
            };
            Some(match change.by {
                By::Muon(..) => change,
                By::Rule(_) => Change {
                    learning_rate: learning_rate * self.config.multiplier(),
                    weight_decay: match weight.rank() {
                        0 | 1 => 0.0,
                        _ => self.config.weight_decay(),
                    },
                    ..change
                },
            })
        })
    }
}

/// What a step does to a parameter.
struct Change<'a> {
    weight: &'a Var,
    gradient: &'a Tensor,
    average: Option<&'a Var>,
    learning_rate: f64,
    weight_decay: f64,
    by: By<'a>,
}

/// Who changes a parameter.
enum By<'a> {
    /// With its momentum.
    Muon(&'a MuonConfig, &'a Var),
    Rule(Moments<'a>),
}

impl<'a> Change<'a> {
    fn of_muon(&self, momentum: &'a Var, ema_decay: f64) -> MuonChange<'a> {
        MuonChange {
            weight: self.weight,
            gradient: self.gradient,
            momentum,
            average: self.average.map(|average| (average, ema_decay)),
            learning_rate: self.learning_rate,
        }
    }
}
