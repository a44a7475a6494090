//! A pixel network: from images to the parameters of the distributions of their values.

use candle_core::{Result, Tensor, bail};
use pixelcnn_conv::Convolution;
use pixelcnn_kernels::is_fast;
use pixelcnn_layers::{Condition, Graph, Operation, Pass};

use crate::model::CONDITION;
use crate::size::check_pass;
use crate::{Distribution, ImageShape, ModelError, scale};

/// Limit on the outputs computed at a time for likelihoods: 256 MB.
const MOST_OUTPUTS: usize = 1 << 26;

/// A network that maps an image to the parameters of the distributions of all values in
/// one pass.
///
/// # Example
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use pixelcnn_models::{Condition, Definition, Network, Parameters, PixelCnnConfig};
///
/// let config = PixelCnnConfig { blocks: 1, maps: 3, head: 3, ..PixelCnnConfig::cifar10() };
/// let weights = Parameters::drawn(0).builder(DType::F64, &Device::Cpu);
/// let network = Network::new(config.network(weights)?, config.image, config.distribution)?;
/// let image = Tensor::zeros((1, 3, 4, 5), DType::F64, &Device::Cpu)?; // any size
/// let logits = network.forward(&image, &Condition::None)?;
/// assert_eq!(logits.dims(), [1, 3, 256, 4, 5]);
/// # Ok::<(), candle_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Network {
    graph: Graph,
    image: ImageShape,
    distribution: Distribution,
}

impl Network {
    /// A network of these operations, whose output is the parameters of a
    /// distribution.
    ///
    /// # Errors
    ///
    /// If the operations do not fit together ([`Graph::check`]), do not fit the image or the
    /// distribution, or use a name that is reserved for the encoder.
    pub fn new(graph: Graph, image: ImageShape, distribution: Distribution) -> Result<Self> {
        graph.check()?;
        let (groups, found) = (distribution.groups(&image)?, graph.image_groups());
        if groups != found {
            bail!(
                "network: {} channels in {} groups expected for the distribution, found {} in {}",
                groups.maps(),
                groups.channels(),
                found.maps(),
                found.channels()
            );
        }
        let expected = distribution.outputs(&image)?.maps();
        let found = graph.maps(graph.ends().1);
        if expected != found {
            bail!("network: {expected} outputs expected for the distribution, found {found}");
        }
        for operation in graph.operations() {
            if let Operation::Embedding(tables) = operation
                && tables.dim(1)? != image.levels
            {
                let (levels, found) = (image.levels, tables.dim(1)?);
                bail!("network: an embedding of {levels} levels expected, found {found}");
            }
        }
        let of_condition = |convolution: &&Convolution| convolution.name().starts_with(CONDITION);
        if let Some(convolution) = graph.convolutions().into_iter().find(of_condition) {
            let name = convolution.name();
            bail!(
                "network: {name}: names that begin with {CONDITION} are reserved for the encoder"
            );
        }
        Ok(Self {
            graph,
            image,
            distribution,
        })
    }

    /// Its operations.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// Shape of the images.
    pub fn image(&self) -> ImageShape {
        self.image
    }

    /// The distribution whose parameters are its outputs.
    pub fn distribution(&self) -> Distribution {
        self.distribution
    }

    /// The parameters of each group of channels, `[b, groups, parameters, h, w]`, for
    /// an image scaled to -1..1, of any height and width. For a softmax: logits
    /// `[b, channels, levels, h, w]`.
    ///
    /// # Errors
    ///
    /// If the image or the condition does not fit.
    pub fn forward(&self, image: &Tensor, condition: &Condition) -> Result<Tensor> {
        let maps = self.graph.before_head(image, condition)?;
        let outputs = not_hidden(&self.graph.head(&maps)?, &maps)?;
        let (b, _, h, w) = outputs.dims4()?;
        let groups = self.graph.image_groups().channels();
        outputs.reshape((b, groups, (), h, w))
    }

    /// The same for unscaled values.
    ///
    /// # Shapes
    ///
    /// `values [b, c, h, w]` to `[b, groups, parameters, h, w]`; for a softmax `[b, c,
    /// levels, h, w]`.
    ///
    /// # Errors
    ///
    /// If the values or the condition do not fit, or the outputs do not fit into memory.
    pub fn outputs(
        &self,
        values: &Tensor,
        condition: &Condition,
    ) -> std::result::Result<Tensor, ModelError> {
        self.image.check(values)?;
        let images = self.scaled(values, condition, values.dim(2)?)?;
        Ok(self.forward(&images, condition)?)
    }

    /// Nats `-log p(x|h)` of every value given the values before it, with gradients if
    /// the network is trained. The training loss is their mean.
    ///
    /// Nothing is copied back from a device. The caller must have checked that the values
    /// are below the levels. Otherwise the CPU returns an error, and a device gives nats of
    /// NaN.
    ///
    /// # Shapes
    ///
    /// `values [b, c, h, w]` to the same shape, with the type and device of the network.
    ///
    /// # Errors
    ///
    /// If the values or the condition do not fit, or the pass does not fit into memory.
    pub fn value_nats(
        &self,
        values: &Tensor,
        condition: &Condition,
    ) -> std::result::Result<Tensor, ModelError> {
        let rows = self.rows(values);
        let images = self.scaled(values, condition, rows)?;
        let maps = self.graph.before_head(&images, condition)?;
        Ok(self.nats(&maps, &values.to_device(maps.device())?, rows)?)
    }

    /// Scales values for the network, after checking the memory for a pass whose head
    /// computes outputs of `rows` at a time.
    fn scaled(
        &self,
        values: &Tensor,
        condition: &Condition,
        rows: usize,
    ) -> std::result::Result<Tensor, ModelError> {
        self.image.check_shape(values)?;
        let Some(weight) = self.weight() else {
            return Err(ModelError::invalid("network", "no convolution".to_string()));
        };
        let (b, _, height, w) = values.dims4()?;
        let pass = Pass {
            height,
            rows,
            gradients: self.is_trained(),
            kernels: is_fast(weight),
        };
        check_pass(&self.graph, &self.image, condition, [b, w], pass)?;
        let values = values.to_device(weight.device())?;
        Ok(scale(&values, self.image.levels, weight.dtype())?)
    }

    /// One of its weights; all have the same type and device.
    fn weight(&self) -> Option<&Tensor> {
        let convolutions = self.graph.convolutions();
        convolutions.first().map(|convolution| convolution.weight())
    }

    /// Whether the weights have gradients.
    fn is_trained(&self) -> bool {
        self.weight().is_some_and(Tensor::track_op)
    }

    /// Rows of images whose outputs are computed at a time; all rows if gradients need
    /// all outputs anyway.
    fn rows(&self, values: &Tensor) -> usize {
        let &[b, _, h, w] = values.dims() else {
            return 1;
        };
        let outputs = self.graph.maps(self.graph.ends().1);
        let row = outputs.saturating_mul(b).saturating_mul(w);
        match self.is_trained() {
            true => h,
            false => (MOST_OUTPUTS / row.max(1)).clamp(1, h.max(1)),
        }
    }

    /// Nats of every value, from the input maps of the head, a few rows at
    /// a time, so that only their outputs are in memory. NaN if one of the
    /// maps is NaN.
    fn nats(&self, maps: &Tensor, values: &Tensor, rows: usize) -> Result<Tensor> {
        let height = maps.dim(2)?;
        let strip = |start: usize| {
            let rows = rows.min(height - start);
            let part = |tensor: &Tensor| match rows == height {
                true => Ok(tensor.clone()),
                false => tensor.narrow(2, start, rows)?.contiguous(),
            };
            let outputs = self.graph.head(&part(maps)?)?;
            self.distribution
                .nats(&self.image, &outputs, &part(values)?)
        };
        let strips = (0..height).step_by(rows.max(1)).map(strip);
        let nats = Tensor::cat(&strips.collect::<Result<Vec<_>>>()?, 2)?;
        not_hidden(&nats, maps)
    }

    /// Every convolution of the network.
    pub fn convolutions(&self) -> Vec<&Convolution> {
        self.graph.convolutions()
    }
}

/// Sets results to NaN where one of the maps is NaN, because a ReLU turns NaN into
/// zero.
fn not_hidden(made: &Tensor, maps: &Tensor) -> Result<Tensor> {
    let zero = (maps.detach().sum_all()? * 0.0)?;
    made.broadcast_add(&zero)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Definition, GatedPixelCnnConfig, ModelConfig, Parameters, PixelCnnConfig};
    use candle_core::DType;
    use candle_core::Device;
    use pixelcnn_kernels::cross_entropy;

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
        for config in [ModelConfig::from(plain), ModelConfig::from(gated)] {
            let weights = Parameters::drawn(3).builder(DType::F32, &Device::Cpu);
            let (graph, distribution) = (config.network(weights).unwrap(), config.distribution());
            let network = Network::new(graph, config.image(), distribution).unwrap();
            let values = (0..2 * 3 * 23 * 19).map(|index| (index * 91 % 256) as u8);
            let values = values.collect::<Vec<_>>();
            let values = Tensor::from_vec(values, (2, 3, 23, 19), &Device::Cpu).unwrap();
            let images = scale(&values, 256, DType::F32).unwrap();
            let maps = network
                .graph
                .before_head(&images, &Condition::None)
                .unwrap();
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
    fn nan_has_no_likelihood() {
        let config = PixelCnnConfig {
            blocks: 1,
            maps: 3,
            head: 3,
            ..PixelCnnConfig::cifar10()
        };
        let weights = Parameters::drawn(0).builder(DType::F32, &Device::Cpu);
        let graph = config.network(weights).unwrap();
        let network = Network::new(graph, config.image, config.distribution).unwrap();
        let values = Tensor::zeros((1, 3, 2, 2), DType::U8, &Device::Cpu).unwrap();
        for (number, right) in [(1.0, true), (f32::NAN, false), (f32::INFINITY, false)] {
            let maps = Tensor::full(number, (1, 6, 2, 2), &Device::Cpu).unwrap();
            let nats = network.nats(&maps, &values, 1).unwrap();
            let nats = nats.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            assert!(
                nats.iter().all(|nats| nats.is_finite() == right),
                "{number}"
            );
        }
    }
}
