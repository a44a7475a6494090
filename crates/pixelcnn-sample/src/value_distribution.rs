//! From the outputs of a network to the frequencies of the levels of a value.

use candle_core::Result;
use pixelcnn_kernels::LogisticMixture;

use crate::Frequencies;

/// The distribution of a value, computed from its parameters: of a softmax or of a mixture of
/// logistics, as the model has it. A [`Driver`](crate::Driver) uses it for each value.
///
/// # Example
///
/// The likeliest values, one after the other:
///
/// ```
/// # use candle_core::Device;
/// # use pixelcnn_models::{ImageShape, Model, ModelConfig, PixelCnnConfig};
/// use pixelcnn_models::Condition;
/// use pixelcnn_sample::{Driver, Engine, ValueDistribution, ValueIndex};
///
/// struct Likeliest(ValueDistribution, Vec<u32>);
///
/// impl Driver for Likeliest {
///     fn known(&mut self, _: usize, _: &mut [u32]) -> candle_core::Result<bool> {
///         Ok(false)
///     }
///     fn value(&mut self, index: ValueIndex, parameters: &[f32]) -> candle_core::Result<u32> {
///         let pixel = self.1.len() - index.channel;
///         self.0.set(parameters, &self.1[pixel..], 1.0)?;
///         let weights = self.0.frequencies().weights();
///         let value = (0..weights.len()).max_by_key(|value| weights[*value]);
///         self.1.push(value.unwrap_or(0) as u32);
///         Ok(self.1[pixel + index.channel])
///     }
/// }
///
/// # let image = ImageShape { channels: 3, height: 2, width: 2, levels: 8 };
/// # let config = PixelCnnConfig { image, blocks: 1, maps: 3, head: 3, ..PixelCnnConfig::cifar10() };
/// # let (model, _) = Model::initialise(&ModelConfig::from(config), 1, &Device::Cpu)?;
/// let engine = Engine::new(model.density()?)?;
/// let mut image = [Likeliest(engine.value_distribution(), Vec::new())];
/// engine.run((2, 2), &Condition::None, &mut image)?;
/// assert_eq!(image[0].1.len(), 2 * 2 * 3);
/// # Ok::<(), pixelcnn_sample::SampleError>(())
/// ```
#[derive(Clone, Debug)]
pub struct ValueDistribution {
    /// `None` for a softmax.
    mixture: Option<LogisticMixture>,
    pub(crate) frequencies: Frequencies,
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
    ///
    /// # Errors
    ///
    /// If the parameters define no distribution, because the network has overflowed.
    pub fn set(&mut self, parameters: &[f32], earlier: &[u32], temperature: f32) -> Result<()> {
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

    /// The weight of each value, and the bits of a value.
    pub fn frequencies(&self) -> &Frequencies {
        &self.frequencies
    }
}
