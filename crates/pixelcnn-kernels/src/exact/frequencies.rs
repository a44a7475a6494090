//! From logits to a distribution with integer weights.

use candle_core::{Result, bail};

use super::{ln, mixture};
use crate::Level;
use crate::arithmetic::{Once, exp_negative};
use crate::lanes::Lanes;
use crate::level::dispatch;
use crate::mixture::LogisticMixture;

/// The weight of the likeliest value, `2^31`.
const ONE: f32 = 2_147_483_648.0;

/// The softmax of logits as integers, so that their sums are exact:
///
/// ```text
/// weight[v] = floor(2^31 exp(logit[v] - largest logit))
/// ```
///
/// The difference is rounded once to f32; `exp` is that of
/// [this module](super#arithmetic). A value has weight 0 if its probability is below
/// `2^-31` times that of the likeliest value.
///
/// # Example
///
/// ```
/// use pixelcnn_kernels::exact::Frequencies;
///
/// let mut frequencies = Frequencies::default();
/// frequencies.set(&[0.0, 1.0, f32::NEG_INFINITY])?;
/// assert_eq!(frequencies.weights()[1..], [1 << 31, 0]);
/// assert_eq!(frequencies.invert(0), 0); // the first value with a weight
/// assert_eq!(frequencies.invert(u64::MAX), 1); // the last one
/// assert!((frequencies.bits(1) - 0.452).abs() < 1e-3); // log2(1 + 1/e)
/// # Ok::<(), candle_core::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Frequencies {
    /// Minus the largest logit.
    logits: Vec<f32>,
    weights: Vec<u32>,
    total: u64,
    /// The total before any value was left out.
    whole: u64,
}

impl Frequencies {
    /// Sets the softmax of these logits.
    ///
    /// # Errors
    ///
    /// If there are no logits, or one is infinity or NaN. Minus infinity means
    /// that the value never occurs; not all may be minus infinity.
    pub fn set(&mut self, logits: &[f32]) -> Result<()> {
        self.logits.clear();
        self.logits.extend_from_slice(logits);
        self.weigh_all()
    }

    /// Sets a mixture of logistics, as the softmax of the logarithms of its
    /// probabilities, which are then treated like logits.
    ///
    /// If the channels are coupled, `parameters` are all parameters of a pixel, and
    /// `earlier` the values of its earlier channels; the distribution is that
    /// of the next channel. If each channel has its own mixture,
    /// `parameters` are those of the channel, and `earlier` is
    /// ignored.
    ///
    /// Parameters are in the order of [`LogisticMixture`]. The probabilities
    /// are those of [`LogisticMixture::nats`] up to rounding, but with the
    /// same bits everywhere.
    ///
    /// # Errors
    ///
    /// If the mixture is out of range, the number of parameters or of earlier
    /// values does not fit it, a value is not below its levels, or a
    /// parameter is infinite, NaN, or beyond about `1e30`, so that
    /// the arithmetic overflows.
    ///
    /// # Example
    ///
    /// ```
    /// use pixelcnn_kernels::{LogisticMixture, exact::Frequencies};
    ///
    /// let mixture = LogisticMixture { components: 1, levels: 4, channels: 2, coupled: true };
    /// // A logit; the means of two channels; their log scales; a coefficient,
    /// // by which the second channel follows the first one.
    /// let parameters = [0.0, 0.0, 0.0, -1.0, -3.0, 20.0];
    /// let mut frequencies = Frequencies::default();
    /// frequencies.set_mixture(&mixture, &parameters, &[])?;
    /// assert_eq!(frequencies.weights()[0], frequencies.weights()[3]);
    /// frequencies.set_mixture(&mixture, &parameters, &[3])?;
    /// assert!(frequencies.bits(3) < 0.1);
    /// # Ok::<(), candle_core::Error>(())
    /// ```
    pub fn set_mixture(
        &mut self,
        mixture: &LogisticMixture,
        parameters: &[f32],
        earlier: &[u32],
    ) -> Result<()> {
        mixture::log_probabilities(mixture, parameters, earlier, &mut self.logits)?;
        self.weigh_all()
    }

    /// Divides the logarithms of the probabilities by `temperature`, and sets
    /// their softmax: below 1 likely values become likelier.
    ///
    /// # Errors
    ///
    /// If the temperature is not positive, or is infinite.
    ///
    /// # Example
    ///
    /// ```
    /// use pixelcnn_kernels::exact::Frequencies;
    ///
    /// let mut frequencies = Frequencies::default();
    /// frequencies.set(&[0.0, 3.0])?;
    /// frequencies.temper(3.0)?;
    /// assert!((frequencies.bits(1) - 0.452).abs() < 1e-3); // log2(1 + 1/e)
    /// # Ok::<(), candle_core::Error>(())
    /// ```
    pub fn temper(&mut self, temperature: f32) -> Result<()> {
        if !(temperature > 0.0 && temperature.is_finite()) {
            bail!("temperature: a positive number expected, found {temperature}");
        }
        for logit in &mut self.logits {
            *logit /= temperature;
        }
        self.weigh_all()
    }

    /// Weights and their total from logits.
    fn weigh_all(&mut self) -> Result<()> {
        self.weights.clear();
        self.weights.resize(self.logits.len(), 0);
        let largest = largest(&self.logits);
        if !largest.is_finite() || self.logits.iter().any(|logit| logit.is_nan()) {
            bail!("logits: infinite or not a number: they define no distribution");
        }
        let (logits, weights) = (&mut self.logits, &mut self.weights);
        dispatch!(
            Level::current(),
            weigh(logits: &mut [f32], largest: f32, weights: &mut [u32])
        );
        self.sum();
        self.whole = self.total;
        Ok(())
    }

    fn sum(&mut self) {
        self.total = self.weights.iter().map(|weight| u64::from(*weight)).sum();
    }

    /// The weight of each value.
    pub fn weights(&self) -> &[u32] {
        &self.weights
    }

    /// Their sum.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Keeps the smallest number of likeliest values that together have at least the share
    /// `share` of the total; among equally likely values the lower come first.
    pub fn keep_likeliest(&mut self, share: f64) {
        let mut order: Vec<usize> = (0..self.weights.len()).collect();
        order.sort_by_key(|value| std::cmp::Reverse(self.weights[*value]));
        let wanted = (share * self.total as f64).ceil() as u64;
        let mut kept = 0;
        for value in order {
            if kept >= wanted.max(1) {
                self.weights[value] = 0;
            }
            kept += u64::from(self.weights[value]);
        }
        self.sum();
    }

    /// The first value whose cumulative weight exceeds `total random / 2^64`:
    /// the inverse of the cumulative distribution, monotone in `random`.
    pub fn invert(&self, random: u64) -> u32 {
        let target = (u128::from(random) * u128::from(self.total)) >> 64;
        let mut below = 0;
        let found = self.weights.iter().position(|weight| {
            below += u128::from(*weight);
            below > target
        });
        found.unwrap_or(0) as u32
    }

    /// `-log2` of the probability of a value under the softmax before any value was
    /// left out. It is finite even if the weight is 0, unless the logit is minus
    /// infinity.
    pub fn bits(&self, value: usize) -> f64 {
        let total = ln(self.whole as f64 / f64::from(ONE));
        (total - f64::from(self.logits[value])) / std::f64::consts::LN_2
    }
}

/// The largest number, ignoring NaN.
fn largest(numbers: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; 16];
    for numbers in numbers.chunks(16) {
        for (largest, number) in lanes.iter_mut().zip(numbers) {
            *largest = if *number > *largest {
                *number
            } else {
                *largest
            };
        }
    }
    lanes.into_iter().fold(f32::NEG_INFINITY, f32::max)
}

#[inline(always)]
fn weigh<L: Lanes>(logits: &mut [f32], largest: f32, weights: &mut [u32]) {
    for (logit, weight) in logits.iter_mut().zip(weights) {
        *logit -= largest;
        *weight = (exp_negative::<Once>(*logit) * ONE) as u32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wave(index: usize) -> f32 {
        (index as f32 * 0.7).sin() * 12.0
    }

    #[test]
    fn every_level_gives_the_same_weights() {
        let logits: Vec<f32> = (0..300).map(wave).collect();
        let weights = Level::available().iter().map(|level| {
            let mut frequencies = Frequencies::default();
            level.scope(|| frequencies.set(&logits)).unwrap();
            frequencies.weights
        });
        let weights: Vec<_> = weights.collect();
        assert!(weights.windows(2).all(|pair| pair[0] == pair[1]));
    }

    #[test]
    fn weights_and_bits_are_those_of_the_softmax() {
        let logits: Vec<f32> = (0..40).map(wave).collect();
        let mut frequencies = Frequencies::default();
        frequencies.set(&logits).unwrap();
        let total: f64 = logits.iter().map(|logit| f64::from(*logit).exp()).sum();
        for (value, logit) in logits.iter().enumerate() {
            let share = f64::from(*logit).exp() / total;
            let found = f64::from(frequencies.weights()[value]) / frequencies.total() as f64;
            assert!((found - share).abs() < 1e-6, "{value}: {found} {share}");
            assert!((frequencies.bits(value) + share.log2()).abs() < 1e-5);
        }
    }

    #[test]
    fn the_inverse_takes_each_value_as_often_as_its_weight() {
        let mut frequencies = Frequencies::default();
        frequencies
            .set(&[0.0, f32::NEG_INFINITY, 0.0, 2f32.ln()])
            .unwrap();
        let steps = 1u64 << 12;
        let mut counts = [0; 4];
        for step in 0..steps {
            counts[frequencies.invert(step << 52) as usize] += 1;
        }
        assert_eq!(counts, [1024, 0, 1024, 2048]);
    }

    #[test]
    fn the_likeliest_values_are_the_fewest_with_the_share() {
        let mut frequencies = Frequencies::default();
        let half = |share: f64, frequencies: &mut Frequencies| {
            frequencies.set(&[0.0, 1.0, 0.0, -40.0]).unwrap();
            frequencies.keep_likeliest(share);
            let kept = frequencies.weights().iter().map(|weight| *weight > 0);
            kept.collect::<Vec<_>>()
        };
        assert_eq!(half(0.5, &mut frequencies), [false, true, false, false]);
        assert_eq!(half(0.7, &mut frequencies), [true, true, false, false]);
        assert_eq!(half(1.0, &mut frequencies), [true, true, true, false]);
        assert_eq!(half(0.0, &mut frequencies), [false, true, false, false]);
        // Dropping values changes no probability.
        let bits = frequencies.bits(0);
        frequencies.set(&[0.0, 1.0, 0.0, -40.0]).unwrap();
        assert_eq!(frequencies.bits(0), bits);
    }

    #[test]
    fn invalid_distributions_are_refused() {
        let mut frequencies = Frequencies::default();
        for logits in [
            &[][..],
            &[f32::NAN, 0.0],
            &[f32::INFINITY],
            &[f32::NEG_INFINITY],
        ] {
            assert!(frequencies.set(logits).is_err(), "{logits:?}");
        }
    }
}
