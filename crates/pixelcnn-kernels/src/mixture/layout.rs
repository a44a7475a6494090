//! The order of the parameters of a mixture.

#[cfg(feature = "cuda")]
use candle_core::{DType, Result, Tensor};

use super::{Levels, LogisticMixture};

/// The planes of a group of channels that share a mixture: all channels of a
/// pixel if they are coupled, otherwise a single channel.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Layout {
    pub components: usize,
    /// Of the group.
    pub channels: usize,
    pub levels: Levels,
}

impl Layout {
    pub(crate) fn of(mixture: &LogisticMixture) -> Self {
        Self {
            components: mixture.components,
            channels: match mixture.coupled {
                false => 1,
                true => mixture.channels,
            },
            levels: Levels::of(mixture),
        }
    }

    /// Pairs of a channel and an earlier one.
    pub(crate) fn pairs(&self) -> usize {
        self.channels * self.channels.saturating_sub(1) / 2
    }

    /// All planes of the group.
    pub(crate) fn planes(&self) -> usize {
        self.components * (1 + 2 * self.channels + self.pairs())
    }

    /// The sizes as the kernels of `pixelcnn-cuda` take them.
    #[cfg(feature = "cuda")]
    pub(super) fn sizes(&self) -> pixelcnn_cuda::Mixture {
        pixelcnn_cuda::Mixture {
            components: self.components as u32,
            channels: self.channels as u32,
            last: self.levels.last,
            half: self.levels.half,
            least: self.levels.least as f32,
        }
    }

    /// Nats by the kernels of `pixelcnn-cuda`, in the dtype of the parameters.
    #[cfg(feature = "cuda")]
    pub(crate) fn on_cuda(&self, parameters: &Tensor, values: &Tensor) -> Result<Tensor> {
        let sizes = self.sizes();
        // 16 bits are too few for the range and the precision.
        let wide = parameters.to_dtype(DType::F32)?;
        let nats = pixelcnn_cuda::mixture(&wide, &values.to_dtype(DType::U32)?, sizes)?;
        nats.to_dtype(parameters.dtype())
    }

    /// The first plane of the means of a channel.
    pub(crate) fn means(&self, channel: usize) -> usize {
        self.components * (1 + channel)
    }

    /// The first plane of the logarithms of the scales of a channel.
    pub(crate) fn log_scales(&self, channel: usize) -> usize {
        self.components * (1 + self.channels + channel)
    }

    /// The first plane of the coefficients of a channel and an earlier one.
    pub(crate) fn coefficients(&self, channel: usize, earlier: usize) -> usize {
        self.components * (1 + 2 * self.channels + pair(channel, earlier))
    }
}

/// The index of a channel and an earlier one among all pairs.
pub(super) fn pair(channel: usize, earlier: usize) -> usize {
    channel * channel.saturating_sub(1) / 2 + earlier
}
