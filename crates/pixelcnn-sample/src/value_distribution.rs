//! From the outputs of a network to the frequencies of the levels of a value.

use candle_core::Result;
use pixelcnn_kernels::LogisticMixture;

use crate::Frequencies;

/// The distribution of a value, computed from its parameters.
pub(crate) struct ValueDistribution {
    /// `None` for a softmax.
    mixture: Option<LogisticMixture>,
    pub frequencies: Frequencies,
    logits: Vec<f32>,
}

impl ValueDistribution {
    pub(crate) fn new(mixture: Option<LogisticMixture>) -> Self {
        Self {
            mixture,
            frequencies: Frequencies::default(),
            logits: Vec::new(),
        }
    }

    /// Sets the distribution of a value at a temperature, given the parameters of
    /// its group of channels and the values of the pixel's earlier channels.
    pub(crate) fn set(
        &mut self,
        parameters: &[f32],
        earlier: &[u32],
        temperature: f32,
    ) -> Result<()> {
        let Some(mixture) = &self.mixture else {
            if temperature == 1.0 {
                return self.frequencies.set(parameters);
            }
            self.logits.clear();
            let divided = parameters.iter().map(|logit| logit / temperature);
            self.logits.extend(divided);
            return self.frequencies.set(&self.logits);
        };
        self.frequencies.set_mixture(mixture, parameters, earlier)?;
        match temperature == 1.0 {
            true => Ok(()),
            false => self.frequencies.temper(temperature),
        }
    }
}
