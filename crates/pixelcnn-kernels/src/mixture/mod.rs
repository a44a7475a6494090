//! The discretised mixture of logistics of PixelCNN++.

mod component;
mod functions;
mod gradient;
mod layout;
mod loss;
mod pixels;
mod portable;
#[cfg(test)]
pub(crate) mod tests;

pub(crate) use component::{Component, Levels, Width, component, width};
pub(crate) use functions::{ln, tanh};
pub(crate) use layout::Layout;

use candle_core::{Result, Tensor, bail};

use crate::path::Path;
#[cfg(feature = "cuda")]
use crate::path::is_cuda;
use crate::values;

/// Limit on the number of components.
const MOST_COMPONENTS: usize = 64;

/// The discretised mixture of logistics (Salimans et al. 2017, PixelCNN++,
/// sections 2.1 and 2.2), a distribution over `levels` values with few
/// parameters.
///
/// A value `v` covers the number `x = 2 v / (levels - 1) - 1` and half
/// a level to each side of it. The first value also covers everything below, the
/// last one everything above. With the cumulative distribution `F` of a
/// logistic distribution of mean `mean` and scale `scale`, a component gives
/// `v` the mass
///
/// ```text
/// F(x + 1 / (levels - 1)) - F(x - 1 / (levels - 1)),   F(x) = sigmoid((x - mean) / scale)
/// ```
///
/// with `F = 0` below the first value and `F = 1` above the last one. The
/// probability of `v` is the mean of these masses, weighted by the softmax of
/// `components` logits.
///
/// The logarithm of a scale is a parameter `s` of the network, but never below
/// [`least_log_scale`](Self::least_log_scale):
/// `scale = exp(max(s, least log scale))`.
///
/// # Parameters
///
/// The parameters of a pixel are planes, in this order.
///
/// - Not coupled: for each channel, `components` logits, then as many
///   means, then as many logarithms of scales:
///   `[b, channels * 3 * components, h, w]`.
/// - Coupled: `components` logits; for each channel `components`
///   means; for each channel `components` logarithms of scales; for each pair
///   of a channel `j` and an earlier one `i`, in the order (1, 0), (2, 0),
///   (2, 1), ..., `components` coefficients. The mean of channel `j` is its
///   parameter plus `tanh(coefficient) x_i` of each earlier channel. Given a
///   component, the channels are independent otherwise, so that the weights of
///   the components, given the earlier channels, are their posterior ones.
///
/// # Example
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use pixelcnn_kernels::LogisticMixture;
///
/// let mixture = LogisticMixture { components: 5, levels: 256, channels: 3, coupled: true };
/// assert_eq!(mixture.parameters(), 5 + 2 * 3 * 5 + 3 * 5);
/// let parameters = Tensor::zeros((1, mixture.parameters(), 2, 2), DType::F32, &Device::Cpu)?;
/// let values = Tensor::zeros((1, 3, 2, 2), DType::U8, &Device::Cpu)?;
/// assert_eq!(mixture.nats(&parameters, &values)?.dims(), [1, 3, 2, 2]);
/// # Ok::<(), candle_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogisticMixture {
    /// Components of the mixture, 1 to 64.
    pub components: usize,
    /// Number of values of a channel, 2 to 65,536.
    pub levels: usize,
    /// Channels of an image.
    pub channels: usize,
    /// Whether one pass of the network gives the parameters of all channels of a
    /// pixel: the weights of the components are shared, and the means of a channel
    /// depend linearly on the earlier channels. Otherwise every channel has its own
    /// mixture, and a network that computes the channels one after the other makes
    /// each depend on the earlier ones.
    pub coupled: bool,
}

impl LogisticMixture {
    /// The least logarithm of a scale at 256 levels, as in PixelCNN++.
    pub const LEAST_LOG_SCALE: f64 = -7.0;

    /// The least logarithm of a scale:
    /// [`LEAST_LOG_SCALE`](Self::LEAST_LOG_SCALE) `- ln((levels - 1) / 255)`,
    /// the same fraction of a level for any number of levels.
    ///
    /// # Example
    ///
    /// ```
    /// use pixelcnn_kernels::LogisticMixture;
    ///
    /// let mixture = LogisticMixture { components: 5, levels: 256, channels: 1, coupled: false };
    /// assert_eq!(mixture.least_log_scale(), -7.0);
    /// let coarse = LogisticMixture { levels: 2, ..mixture };
    /// assert!((coarse.least_log_scale() - (255f64.ln() - 7.0)).abs() < 1e-14);
    /// ```
    pub fn least_log_scale(&self) -> f64 {
        let last = self.levels.saturating_sub(1) as f64;
        Self::LEAST_LOG_SCALE - crate::exact::ln(last / 255.0)
    }

    /// Parameters per pixel: the planes of the network's output.
    pub fn parameters(&self) -> usize {
        self.groups() * Layout::of(self).planes()
    }

    /// The sizes of one of its mixtures, for a training step of `pixelcnn-cuda`.
    #[cfg(feature = "cuda")]
    pub fn sizes_on_cuda(&self) -> pixelcnn_cuda::Mixture {
        Layout::of(self).sizes()
    }

    /// Mixtures per pixel.
    fn groups(&self) -> usize {
        match self.coupled {
            false => self.channels,
            true => 1,
        }
    }

    /// Refuses a mixture whose numbers are out of range.
    ///
    /// # Errors
    ///
    /// Names the number, its range, and what was found.
    pub fn check(&self) -> Result<()> {
        for (name, found, most) in [
            ("components", self.components, MOST_COMPONENTS),
            ("channels", self.channels, usize::MAX),
        ] {
            if !(1..=most).contains(&found) {
                bail!("mixture of logistics: 1 to {most} {name} expected, found {found}");
            }
        }
        if !(2..=65_536).contains(&self.levels) {
            let found = self.levels;
            bail!("mixture of logistics: 2 to 65536 levels expected, found {found}");
        }
        Ok(())
    }

    /// Nats `-log p` of every value. If the channels are coupled, each
    /// value is given the earlier channels of its pixel, so that the nats of the
    /// channels add up to those of the pixel.
    ///
    /// Nats and gradients are finite for parameters between -10,000 and 10,000,
    /// however far the means are from the values.
    ///
    /// If the logarithm of a scale is below the least one, its gradient is that at the
    /// least one if the mean of the component is outside the bin of the value, and
    /// zero otherwise. Outside the bin, a larger scale makes the value likelier,
    /// so the gradient moves the parameter back to the range where it has an effect;
    /// inside, it would move it further away.
    ///
    /// On the CPU in f32 the code of this crate computes the nats and stores
    /// nothing else for the gradient. They are within `1e-5 max(1, nats)` of
    /// the exact ones. Numbers of 16 bits are computed as f32.
    ///
    /// # Shapes
    ///
    /// `parameters [b, parameters, h, w]` (see
    /// [above](LogisticMixture#parameters)), `values [b, channels, h, w]`
    /// (`u8` or `u32`) to `[b, channels, h, w]` in the dtype of the parameters.
    ///
    /// # Errors
    ///
    /// If the mixture is out of range, shapes, dtypes or devices do not fit, a
    /// size is zero, or on the CPU a value is not below `levels`. Values on
    /// other devices are not checked, because that would wait for the device.
    ///
    /// # Example
    ///
    /// ```
    /// use candle_core::{Device, Tensor};
    /// use pixelcnn_kernels::LogisticMixture;
    ///
    /// // One logistic distribution around the middle of two values.
    /// let mixture = LogisticMixture { components: 1, levels: 2, channels: 1, coupled: false };
    /// let parameters = Tensor::new(&[0f32, 0.0, 0.0], &Device::Cpu)?.reshape((1, 3, 1, 1))?;
    /// let values = Tensor::new(&[1u8], &Device::Cpu)?.reshape((1, 1, 1, 1))?;
    /// let nats = mixture.nats(&parameters, &values)?.sum_all()?.to_scalar::<f32>()?;
    /// assert!((nats - 2f32.ln()).abs() < 1e-6);
    /// # Ok::<(), candle_core::Error>(())
    /// ```
    pub fn nats(&self, parameters: &Tensor, values: &Tensor) -> Result<Tensor> {
        self.check_tensors(parameters, values)?;
        let (b, _, h, w) = parameters.dims4()?;
        let layout = Layout::of(self);
        let groups = b * self.groups();
        let parameters = parameters.reshape((groups, layout.planes(), h * w))?;
        let values = values.reshape((groups, layout.channels, h * w))?;
        let nats = match Path::choose("mixture of logistics", ("parameters", &parameters), [])? {
            #[cfg(feature = "cuda")]
            Path::Portable if is_cuda(&parameters) => layout.on_cuda(&parameters, &values)?,
            Path::Portable => {
                let nats = portable::nats(&layout, &parameters, &values)?;
                match parameters.device().is_cpu() {
                    true => nats,
                    false => values::beyond_is_nan(&nats, &values, self.levels)?,
                }
            }
            Path::Fast(level) => loss::nats(layout, level, &parameters, &values)?,
        };
        nats.reshape((b, self.channels, h, w))
    }

    fn check_tensors(&self, parameters: &Tensor, values: &Tensor) -> Result<()> {
        self.check()?;
        let planes = self.parameters();
        let (b, h, w) = match *parameters.dims() {
            [b, found, h, w] if found == planes => (b, h, w),
            ref found => bail!(
                "mixture of logistics: parameters [b, {planes}, h, w] expected, found {found:?}"
            ),
        };
        values::check(
            "mixture of logistics",
            values,
            [b, self.channels, h, w],
            ("parameters", parameters),
            self.levels,
        )
    }
}
