//! Extending finished runs.

use crate::{Result, RunConfig, TrainError, Training};

impl RunConfig {
    /// This run, extended to `steps` steps in total. `training.extended` keeps the
    /// earlier end.
    ///
    /// # Errors
    ///
    /// If the model has no training steps, or the run already has this many steps.
    ///
    /// # Example
    ///
    /// ```
    /// use pixelcnn_train::RunConfig;
    ///
    /// let config = RunConfig::parse(
    ///     r#"
    ///     seed = 1
    ///     data = "photos32"
    ///     [model]
    ///     kind = "pixelcnn"
    ///     image = { channels = 3, height = 32, width = 32, levels = 256 }
    ///     first_kernel = 7
    ///     kernel = 3
    ///     blocks = 2
    ///     maps = 6
    ///     head = 6
    ///     [training]
    ///     steps = 1000
    ///     batch = 8
    ///     learning_rate = 1e-3
    ///     flips = "none"
    ///     optimiser = { kind = "adam" }
    ///     max_grad_norm = 1.0
    ///     ema_decay = 0.999
    ///     validate_every = 250
    ///     log_every = 10
    ///     "#,
    /// )?;
    /// let longer = config.extended_to(3000)?.training.unwrap();
    /// assert_eq!((longer.steps, longer.extended), (3000, vec![1000]));
    /// assert!(config.extended_to(1000).is_err());
    /// # Ok::<(), pixelcnn_train::TrainError>(())
    /// ```
    pub fn extended_to(&self, steps: usize) -> Result<Self> {
        let mut longer = self.clone();
        let Some(training) = &mut longer.training else {
            return Err(TrainError::Invalid {
                what: "extension".to_string(),
                why: format!("{} has no training steps", self.model.name()),
            });
        };
        if steps <= training.steps {
            return Err(TrainError::Invalid {
                what: "extension".to_string(),
                why: format!(
                    "{steps} steps in total requested, but the run already has {}; if it has not \
                     made this many yet, you can lower training.steps in its run.toml",
                    training.steps
                ),
            });
        }
        training.extended.push(training.steps);
        training.steps = steps;
        Ok(longer)
    }

    /// Whether this is `shorter`, extended once.
    pub(crate) fn extends(&self, shorter: &Self) -> bool {
        let steps = self.training.as_ref().map(|training| training.steps);
        let longer = steps.and_then(|steps| shorter.extended_to(steps).ok());
        longer.is_some_and(|longer| longer == *self)
    }

    /// The configuration without its length, which an extension changes.
    pub(crate) fn without_length(&self) -> Self {
        let mut config = self.clone();
        if let Some(training) = &mut config.training {
            training.steps = 1;
            training.extended.clear();
        }
        config
    }
}

impl Training {
    /// The factor of the learning rate in step `step` (from 0): that of a
    /// run that ends at the next of the ends.
    pub(crate) fn factor(&self, step: usize) -> f64 {
        let mut ends = self.extended.iter().copied();
        let end = ends.find(|end| step < *end).unwrap_or(self.steps);
        self.schedule.factor(step, end)
    }

    /// Whether there is a validation after this many steps.
    pub(crate) fn validates_at(&self, step: usize) -> bool {
        step > 0
            && (step.is_multiple_of(self.validate_every)
                || step == self.steps
                || self.extended.contains(&step))
    }

    pub(crate) fn validate_extended(&self) -> Result<()> {
        let mut ends = self.extended.clone();
        ends.push(self.steps);
        match ends.windows(2).all(|pair| pair[0] < pair[1]) && ends[0] > 0 {
            true => Ok(()),
            false => Err(TrainError::Invalid {
                what: "training.extended".to_string(),
                why: format!("rising steps of earlier ends below {} expected", self.steps),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn training(decay: &str) -> Training {
        let text = format!(
            r#"
            steps = 8
            extended = [4]
            batch = 1
            learning_rate = 1.0
            flips = "none"
            optimiser = {{ kind = "adam" }}
            schedule = {{ warmup = 0, decay = {decay} }}
            max_grad_norm = 1.0
            ema_decay = 0.5
            validate_every = 3
            log_every = 1
            "#
        );
        toml::from_str(&text).unwrap()
    }

    #[test]
    fn up_to_the_earlier_end_the_rate_is_that_of_the_shorter_run() {
        let factors = |decay: &str| -> Vec<f64> {
            let training = training(decay);
            (0..8).map(|step| training.factor(step)).collect()
        };
        assert_eq!(factors("{ kind = \"constant\" }"), [1.0; 8]);
        let cosine = factors("{ kind = \"cosine\" }");
        let of = |step: f64, steps: f64| (1.0 + (std::f64::consts::PI * step / steps).cos()) / 2.0;
        for (step, found) in cosine.iter().enumerate() {
            let steps = if step < 4 { 4.0 } else { 8.0 };
            let expected = of(step as f64, steps);
            assert!(
                (found - expected).abs() < 1e-12,
                "{step}: {found} {expected}"
            );
        }
        let exponential = factors("{ kind = \"exponential\", factor = 0.5 }");
        assert_eq!(exponential[7], 0.5f64.powi(7));
    }

    #[test]
    fn there_is_a_validation_at_each_end() {
        let training = training("{ kind = \"constant\" }");
        let due: Vec<_> = (0..9).filter(|step| training.validates_at(*step)).collect();
        assert_eq!(due, [3, 4, 6, 8]);
    }

    #[test]
    fn ends_rise() {
        let mut training = training("{ kind = \"constant\" }");
        for (extended, right) in [
            (vec![], true),
            (vec![1, 7], true),
            (vec![0], false),
            (vec![8], false),
            (vec![3, 3], false),
        ] {
            training.extended = extended;
            assert_eq!(training.validate_extended().is_ok(), right);
        }
    }
}
