//! A network of pixels in order: images in, logits out.

use candle_core::{DType, Result, Tensor, bail};
use candle_nn::VarBuilder;
use pixelcnn_conv::Convolution;
use pixelcnn_kernels::cross_entropy;
use pixelcnn_layers::{Condition, Graph};

use crate::ModelConfig;

/// A network that maps an image to logits in one pass.
///
/// # Example
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use pixelcnn_models::{Condition, ModelConfig, Network, Parameters, PixelCnnConfig};
///
/// let config = PixelCnnConfig { blocks: 1, maps: 3, head: 3, ..PixelCnnConfig::cifar10() };
/// let weights = Parameters::drawn(0).builder(DType::F64, &Device::Cpu);
/// let network = Network::new(&ModelConfig::PixelCnn(config), weights)?;
/// let image = Tensor::zeros((1, 3, 4, 5), DType::F64, &Device::Cpu)?; // any size
/// let logits = network.forward(&image, &Condition::None)?;
/// assert_eq!(logits.dims(), [1, 3, 256, 4, 5]);
/// # Ok::<(), candle_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Network {
    graph: Graph,
    levels: usize,
}

impl Network {
    /// The network of `config`.
    ///
    /// # Errors
    ///
    /// If `config` is of a model without a pixel order, or the weights do not
    /// fit.
    pub fn new(config: &ModelConfig, weights: VarBuilder) -> Result<Self> {
        let graph = match config {
            ModelConfig::PixelCnn(config) => config.network(weights)?,
            ModelConfig::GatedPixelCnn(config) => config.network(weights)?,
            _ => bail!("{} has no pixel order", config.name()),
        };
        let levels = config.image().levels;
        Ok(Self { graph, levels })
    }

    /// Its operations.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// Logits `[b, channels, levels, h, w]` of an image scaled to -1..1, of any
    /// height and width.
    ///
    /// # Errors
    ///
    /// If the image or the condition does not fit, or numbers overflow.
    pub fn forward(&self, image: &Tensor, condition: &Condition) -> Result<Tensor> {
        self.logits(&self.maps(image, condition)?)
    }

    /// What the head makes logits of, `[b, maps, h, w]`.
    pub(crate) fn maps(&self, image: &Tensor, condition: &Condition) -> Result<Tensor> {
        self.graph.before_head(image, condition)
    }

    /// The logits of maps.
    pub(crate) fn logits(&self, maps: &Tensor) -> Result<Tensor> {
        // A rectifier makes zero of what is no number.
        let sum = maps.detach().sum_all()?.to_dtype(DType::F32)?;
        if !sum.to_scalar::<f32>()?.is_finite() {
            bail!("the network's numbers overflow");
        }
        let (b, _, h, w) = maps.dims4()?;
        self.graph.head(maps)?.reshape((b, (), self.levels, h, w))
    }

    /// Nats of every value of images whose [`Network::maps`] these are, so many
    /// rows at a time: more logits than theirs are never there at once.
    pub(crate) fn nats(&self, maps: &Tensor, values: &Tensor, rows: usize) -> Result<Tensor> {
        let height = maps.dim(2)?;
        let strip = |start: usize| {
            let rows = rows.min(height - start);
            let maps = maps.narrow(2, start, rows)?.contiguous()?;
            let values = values.narrow(2, start, rows)?.contiguous()?;
            cross_entropy(&self.logits(&maps)?, &values)
        };
        let strips = (0..height).step_by(rows.max(1)).map(strip);
        Tensor::cat(&strips.collect::<Result<Vec<_>>>()?, 2)
    }

    /// Every convolution of the network.
    pub fn convolutions(&self) -> Vec<&Convolution> {
        self.graph.convolutions()
    }

    /// Parameters that are not masked.
    ///
    /// # Errors
    ///
    /// Those of the tensor operations.
    pub fn parameters(&self) -> Result<usize> {
        let mut total = 0;
        for convolution in self.graph.convolutions() {
            total += convolution.parameters()?;
        }
        for term in self.graph.terms() {
            total += term.parameters()?;
        }
        Ok(total)
    }
}

/// Integer values as a network reads them: 0 becomes -1, `levels - 1`
/// becomes 1.
///
/// # Errors
///
/// If there are fewer than two levels, and those of the tensor operations.
///
/// # Example
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use pixelcnn_models::scale;
///
/// let values = Tensor::new(&[0u8, 3], &Device::Cpu)?;
/// assert_eq!(scale(&values, 4, DType::F32)?.to_vec1::<f32>()?, [-1.0, 1.0]);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn scale(values: &Tensor, levels: usize, dtype: DType) -> Result<Tensor> {
    if levels < 2 {
        bail!("values: two levels at least expected, found {levels}");
    }
    values
        .to_dtype(dtype)?
        .affine(2.0 / (levels - 1) as f64, -1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{GatedPixelCnnConfig, Parameters, PixelCnnConfig};
    use candle_core::Device;

    #[test]
    fn nats_of_strips_are_those_of_the_whole() {
        let plain = PixelCnnConfig {
            blocks: 1,
            maps: 6,
            head: 9,
            ..PixelCnnConfig::cifar10()
        };
        let gated = GatedPixelCnnConfig {
            blocks: 2,
            maps: 9,
            head: 12,
            ..GatedPixelCnnConfig::imagenet32()
        };
        for config in [
            ModelConfig::PixelCnn(plain),
            ModelConfig::GatedPixelCnn(gated),
        ] {
            let weights = Parameters::drawn(3).builder(DType::F32, &Device::Cpu);
            let network = Network::new(&config, weights).unwrap();
            let values = (0..2 * 3 * 23 * 19).map(|index| (index * 91 % 256) as u8);
            let values = values.collect::<Vec<_>>();
            let values = Tensor::from_vec(values, (2, 3, 23, 19), &Device::Cpu).unwrap();
            let images = scale(&values, 256, DType::F32).unwrap();
            let maps = network.maps(&images, &Condition::None).unwrap();
            let logits = network.forward(&images, &Condition::None).unwrap();
            let bits = |nats: Tensor| {
                let nats = nats.flatten_all().unwrap().to_vec1::<f32>().unwrap();
                nats.into_iter().map(f32::to_bits).collect::<Vec<_>>()
            };
            let whole = bits(cross_entropy(&logits, &values).unwrap());
            for rows in [1, 2, 7, 22, 23, 100] {
                let strips = network.nats(&maps, &values, rows).unwrap();
                assert_eq!(strips.dims(), [2, 3, 23, 19]);
                assert!(bits(strips) == whole, "{rows} rows");
            }
        }
    }

    #[test]
    fn what_is_no_number_has_no_logits() {
        let config = PixelCnnConfig {
            blocks: 1,
            maps: 3,
            head: 3,
            ..PixelCnnConfig::cifar10()
        };
        let weights = Parameters::drawn(0).builder(DType::F32, &Device::Cpu);
        let network = Network::new(&ModelConfig::PixelCnn(config), weights).unwrap();
        for (number, right) in [(1.0, true), (f32::NAN, false), (f32::INFINITY, false)] {
            let maps = Tensor::full(number, (1, 6, 2, 2), &Device::Cpu).unwrap();
            assert_eq!(network.logits(&maps).is_ok(), right, "{number}");
        }
    }
}
