//! The m(h) of eq. 5: from a vector or small maps to maps of the image's
//! size.

use candle_core::{Error, Result, Tensor, bail};
use candle_nn::VarBuilder;
use pixelcnn_conv::Convolution;
use serde::{Deserialize, Serialize};

use super::{linear, within};
use crate::size::check_large;
use crate::{ImageShape, ModelError};

/// Sizes of the network m of eq. 5: s = m(h).
///
/// # Example
///
/// ```
/// use pixelcnn_models::SpatialConfig;
///
/// let config: SpatialConfig = serde_json::from_str(r#"{"maps": 16, "hidden": 32}"#)?;
/// assert_eq!(config.maps, 16);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpatialConfig {
    /// Number of maps of s.
    pub maps: usize,
    /// Hidden feature maps.
    pub hidden: usize,
}

impl SpatialConfig {
    pub(crate) fn validate(&self) -> std::result::Result<(), ModelError> {
        within("spatial.maps", self.maps, 1, 65_536)?;
        within("spatial.hidden", self.hidden, 1, 16_384)
    }
}

/// The input of a [`Deconvolution`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DeconvolutionInput {
    /// A vector of this length.
    Vector(usize),
    /// This many maps, of the image's size divided by a power of two.
    Maps { maps: usize, factor: usize },
}

/// A linear layer turns a vector into maps of about 4 x 4. Then follow a
/// 3x3 convolution, doublings by depth-to-space with 3x3 convolutions, and
/// a last convolution to the maps of s.
#[derive(Clone, Debug)]
pub(crate) struct Deconvolution {
    height: usize,
    width: usize,
    hidden: usize,
    doublings: Vec<Convolution>,
    first: First,
    last: Convolution,
}

#[derive(Clone, Debug)]
enum First {
    Linear(Convolution),
    Maps(Convolution),
}

/// Side of the first maps of a vector.
const SMALL: usize = 4;

impl Deconvolution {
    /// A network with weights `first`, `doublings.0`, ... and `last`, to `maps`
    /// maps of the size of `image`.
    pub(crate) fn new(
        source: DeconvolutionInput,
        image: &ImageShape,
        config: &SpatialConfig,
        weights: VarBuilder,
    ) -> Result<Self> {
        let SpatialConfig { maps, hidden } = *config;
        let (height, width) = (image.height, image.width);
        let doublings = match source {
            DeconvolutionInput::Vector(_) => {
                let times = height.max(width).div_ceil(SMALL);
                times.next_power_of_two().trailing_zeros()
            }
            DeconvolutionInput::Maps { factor, .. } => factor.trailing_zeros(),
        };
        let first = match source {
            DeconvolutionInput::Vector(length) => {
                let small = |side: usize| side.div_ceil(1 << doublings);
                let outputs = hidden * small(height) * small(width);
                First::Linear(linear(length, outputs, weights.pp("first"))?)
            }
            DeconvolutionInput::Maps { maps, .. } => First::Maps(Convolution::plain(
                maps,
                hidden,
                (3, 3),
                weights.pp("first"),
            )?),
        };
        let doublings = (0..doublings).map(|doubling| {
            let weights = weights.pp("doublings").pp(doubling);
            Convolution::plain(hidden, 4 * hidden, (3, 3), weights)
        });
        Ok(Self {
            height,
            width,
            hidden,
            doublings: doublings.collect::<Result<_>>()?,
            first,
            last: Convolution::plain(hidden, maps, (3, 3), weights.pp("last"))?,
        })
    }

    /// `[b, d]` to `[b, maps, h, w]` of the model's image, or small maps
    /// `[b, i, h', w']` to maps of `size`.
    pub(crate) fn forward(&self, source: &Tensor, size: (usize, usize)) -> Result<Tensor> {
        let (height, width) = size;
        // Checked before anything of a wrong size is allocated.
        if matches!(self.first, First::Linear(_)) && size != (self.height, self.width) {
            let (own_height, own_width) = (self.height, self.width);
            bail!(
                "condition: m(h) of the model is {own_height} x {own_width}, not {height} x {width}"
            );
        }
        self.check_memory(source.dim(0)?, size)?;
        let mut maps = match &self.first {
            First::Linear(linear) => {
                let b = source.dim(0)?;
                let values = linear.forward(&source.reshape((b, (), 1, 1))?)?;
                let small = |side: usize| side.div_ceil(1 << self.doublings.len());
                let shape = (b, self.hidden, small(self.height), small(self.width));
                values.reshape(shape)?
            }
            First::Maps(convolution) => convolution.forward(source)?,
        };
        maps = maps.silu()?;
        for doubling in &self.doublings {
            maps = depth_to_space(&doubling.forward(&maps)?)?.silu()?;
        }
        let maps = maps.narrow(2, 0, height)?.narrow(3, 0, width)?;
        self.last.forward(&maps.contiguous()?)
    }

    /// Checks that the maps of the last doubling, before and after depth-to-space, and
    /// the results fit into memory.
    fn check_memory(&self, b: usize, (height, width): (usize, usize)) -> Result<()> {
        let maps = 3 * self.hidden as u128 + self.last.groups().maps() as u128;
        let sizes = [b, height, width];
        let numbers = sizes
            .iter()
            .fold(maps, |product, size| product.saturating_mul(*size as u128));
        let what = || {
            format!(
                "m(h) of {} of {height} x {width}",
                pixelcnn_system::counted(b, "image")
            )
        };
        check_large(numbers.saturating_mul(4), what).map_err(Error::wrap)
    }
}

/// Doubles height and width: four maps become the 2x2 pixels of one map,
/// `[b, 4p, h, w]` to `[b, p, 2h, 2w]`.
fn depth_to_space(maps: &Tensor) -> Result<Tensor> {
    let (b, p, h, w) = maps.dims4()?;
    maps.reshape(&[b, 2, 2, p / 4, h, w][..])?
        .permute([0, 3, 4, 1, 5, 2])?
        .reshape((b, p / 4, 2 * h, 2 * w))
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{DType, Device};

    #[test]
    fn the_maps_of_a_pixel_become_its_square() {
        let maps = Tensor::new(&[[[[1f32]], [[2.0]], [[3.0]], [[4.0]]]], &Device::Cpu).unwrap();
        let square = depth_to_space(&maps).unwrap();
        let rows = square.flatten_to(2).unwrap().to_vec2::<f32>().unwrap();
        assert_eq!(rows, [[1.0, 2.0], [3.0, 4.0]]);
    }

    #[test]
    fn sizes_that_no_power_of_two_divides_are_met() {
        let image = ImageShape {
            channels: 1,
            height: 28,
            width: 23,
            levels: 256,
        };
        let config = SpatialConfig { maps: 3, hidden: 4 };
        let weights = || VarBuilder::zeros(DType::F32, &Device::Cpu);
        let network =
            Deconvolution::new(DeconvolutionInput::Vector(5), &image, &config, weights()).unwrap();
        let vector = Tensor::zeros((2, 5), DType::F32, &Device::Cpu).unwrap();
        let maps = network.forward(&vector, (28, 23)).unwrap();
        assert_eq!(maps.dims(), [2, 3, 28, 23]);
        let source = DeconvolutionInput::Maps { maps: 2, factor: 4 };
        let network = Deconvolution::new(source, &image, &config, weights()).unwrap();
        let small = Tensor::zeros((2, 2, 3, 4), DType::F32, &Device::Cpu).unwrap();
        let maps = network.forward(&small, (9, 14)).unwrap();
        assert_eq!(maps.dims(), [2, 3, 9, 14]);
    }
}
