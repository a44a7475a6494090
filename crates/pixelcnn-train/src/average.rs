//! A moving average of the weights, which scores better than the last weights.

use std::collections::BTreeMap;

use candle_core::{Tensor, Var};

use crate::tensors::{check_layout, copies, detached, variables};
use crate::{Result, TrainError};

/// The exponential moving average of the weights over the steps of a run (Polyak and Juditsky
/// 1992, in its exponential form).
///
/// After update number `step` (from 0), the average `a` moves towards the weights
/// `w` by `a <- a + (1 - d)(w - a)`, `d = min(decay, (1 + step) / (10 + step))`. The smaller
/// `d` of the first steps prevents a short run from averaging over its start.
///
/// ```
/// use std::collections::BTreeMap;
/// use candle_core::{Device, Var};
/// use pixelcnn_train::average::Average;
/// use pixelcnn_train::optimiser::{Optimiser, OptimiserConfig};
///
/// let weight = Var::new(&[1f64], &Device::Cpu)?;
/// let parameters = BTreeMap::from([("weight".to_string(), weight.clone())]);
/// let gradients = BTreeMap::from([("weight".to_string(), weight.ones_like()?)]);
/// let average = Average::new(0.999, &parameters)?;
/// let mut optimiser = Optimiser::new(&OptimiserConfig::default(), &parameters)?;
/// optimiser.step(&parameters, &gradients, 0.5, 1.0, Some(&average))?; // to 0.5
/// let averaged = average.tensors()?["weight"].to_vec1::<f64>()?[0];
/// assert!((averaged - 0.55).abs() < 1e-6); // a tenth of the way is left
/// # Ok::<(), pixelcnn_train::TrainError>(())
/// ```
#[derive(Debug)]
pub struct Average {
    decay: f64,
    variables: BTreeMap<String, Var>,
}

impl Average {
    /// An average that starts at the current weights.
    ///
    /// # Errors
    ///
    /// [`TrainError::Invalid`] if `decay` is not in `[0, 1)`.
    pub fn new(decay: f64, parameters: &BTreeMap<String, Var>) -> Result<Self> {
        if !(0.0..1.0).contains(&decay) {
            return Err(TrainError::invalid(
                "decay of the average",
                decay,
                "in [0, 1)",
            ));
        }
        let weights = detached(parameters);
        let variables = variables("weight", &weights, &weights)?;
        Ok(Self { decay, variables })
    }

    /// The factor `d` of update number `step` (from 0).
    pub fn keep(&self, step: usize) -> f64 {
        let step = step as f64;
        self.decay.min((1.0 + step) / (10.0 + step))
    }

    /// Moves the average towards the weights after update number `step` (from 0), in a pass of
    /// its own.
    ///
    /// # Errors
    ///
    /// If the weights are not those of [`Average::new`].
    pub(crate) fn follow(&self, parameters: &BTreeMap<String, Var>, step: usize) -> Result<()> {
        check_layout("average", &detached(parameters), &detached(&self.variables))?;
        let keep = self.keep(step);
        for (average, weight) in self.variables.values().zip(parameters.values()) {
            let old = average.as_detached_tensor();
            let difference = (weight.as_detached_tensor() - &old)?;
            average.set(&(old + (difference * (1.0 - keep))?)?)?;
        }
        Ok(())
    }

    /// The average itself, which [`Optimiser::step`](crate::optimiser::Optimiser::step) updates.
    pub(crate) fn variables(&self) -> &BTreeMap<String, Var> {
        &self.variables
    }

    /// The averaged weights.
    ///
    /// # Shapes
    ///
    /// Copies, with the names, shapes and element types of the parameters.
    ///
    /// # Errors
    ///
    /// If they cannot be copied.
    pub fn tensors(&self) -> Result<BTreeMap<String, Tensor>> {
        copies("averaged weight", &self.variables)
    }

    /// Continues from an average that [`Average::tensors`] gave.
    ///
    /// # Errors
    ///
    /// [`TrainError::State`] names the first tensor that is missing, unexpected or has a wrong
    /// shape or element type; the average is then unchanged.
    pub fn load(&mut self, tensors: &BTreeMap<String, Tensor>) -> Result<()> {
        let expected = detached(&self.variables);
        self.variables = variables("averaged weight", &expected, tensors)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::optimiser::{Optimiser, OptimiserConfig};
    use candle_core::Device;

    fn parameters() -> BTreeMap<String, Var> {
        let variable = |values: &[f64]| Var::new(values, &Device::Cpu).unwrap();
        BTreeMap::from([
            ("a".to_string(), variable(&[1.0, -0.3])),
            ("b".to_string(), variable(&[0.0])),
        ])
    }

    fn set(parameters: &BTreeMap<String, Var>, values: &[f64]) {
        let tensor = Tensor::new(values, &Device::Cpu).unwrap();
        parameters["a"].set(&tensor).unwrap();
    }

    /// An update that changes no parameter, after `step` others.
    fn update(average: &Average, parameters: &BTreeMap<String, Var>, step: usize) -> Result<()> {
        let mut optimiser = Optimiser::new(&OptimiserConfig::default(), parameters)?;
        optimiser.load_state(&optimiser.state()?, step)?;
        let zeros = |(name, variable): (&String, &Var)| Ok((name.clone(), variable.zeros_like()?));
        let gradients = parameters.iter().map(zeros).collect::<Result<_>>()?;
        optimiser.step(parameters, &gradients, 0.0, 1.0, Some(average))
    }

    fn values(average: &Average) -> Vec<f64> {
        average.tensors().unwrap()["a"].to_vec1().unwrap()
    }

    #[test]
    fn the_first_steps_count_for_more_and_the_decay_limits_them() {
        let parameters = parameters();
        let average = Average::new(0.5, &parameters).unwrap();
        set(&parameters, &[0.0, 0.7]);
        assert_eq!(values(&average), [1.0, -0.3]);
        update(&average, &parameters, 1).unwrap();
        let expected = [1.0 * 2.0 / 11.0, -0.3 * 2.0 / 11.0 + 0.7 * 9.0 / 11.0];
        for (found, expected) in values(&average).into_iter().zip(expected) {
            assert!((found - expected).abs() < 1e-15, "{found} not {expected}");
        }
        update(&average, &parameters, 1000).unwrap();
        assert!((values(&average)[0] - 1.0 / 11.0).abs() < 1e-15);
    }

    #[test]
    fn weights_that_rest_have_exactly_their_value_as_average() {
        let parameters = parameters();
        let average = Average::new(0.999, &parameters).unwrap();
        for step in 1..100 {
            update(&average, &parameters, step).unwrap();
        }
        assert_eq!(values(&average), [1.0, -0.3]);
        assert_eq!(
            average.tensors().unwrap()["b"].to_vec1::<f64>().unwrap()[0].to_bits(),
            0
        );
    }

    #[test]
    fn a_saved_and_loaded_average_continues_with_the_same_bits() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("average.safetensors");
        let parameters = parameters();
        let average = Average::new(0.9, &parameters).unwrap();
        let run = |average: &Average, steps: std::ops::Range<usize>| {
            for step in steps {
                set(&parameters, &[(step as f64).sin(), (step as f64).cos()]);
                update(average, &parameters, step).unwrap();
            }
        };
        run(&average, 1..5);
        let saved = average.tensors().unwrap().into_iter().collect();
        candle_core::safetensors::save(&saved, &file).unwrap();
        run(&average, 5..40);
        let loaded = candle_core::safetensors::load(&file, &Device::Cpu).unwrap();
        let mut resumed = Average::new(0.9, &parameters).unwrap();
        resumed.load(&loaded.into_iter().collect()).unwrap();
        run(&resumed, 5..40);
        let bits = |average| {
            values(average)
                .into_iter()
                .map(f64::to_bits)
                .collect::<Vec<_>>()
        };
        assert_eq!(bits(&average), bits(&resumed));
    }

    #[test]
    fn other_parameters_and_decays_are_refused() {
        let parameters = parameters();
        let mut average = Average::new(0.9, &parameters).unwrap();
        let mut fewer = parameters.clone();
        fewer.remove("b");
        let error = update(&average, &fewer, 1).unwrap_err();
        assert_eq!(
            error.to_string(),
            "average `b`: expected no such tensor, found f64 [1]"
        );
        let error = average.load(&detached(&fewer)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "averaged weight `b`: expected f64 [1], found none"
        );
        for decay in [1.0, -0.1, f64::NAN] {
            let error = Average::new(decay, &parameters).unwrap_err().to_string();
            assert_eq!(
                error,
                format!("invalid decay of the average: {decay} is not in [0, 1)")
            );
        }
    }
}
