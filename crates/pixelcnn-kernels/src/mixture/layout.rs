//! Where the parameters of a mixture stand.

use super::{Levels, LogisticMixture};

/// The planes of a group of channels that share a mixture: all channels of a
/// pixel where they are coupled, otherwise one channel, which is the same with
/// nothing to couple.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Layout {
    pub components: usize,
    /// Of the group.
    pub channels: usize,
    pub levels: Levels,
}

impl Layout {
    pub fn of(mixture: &LogisticMixture) -> Self {
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
    pub fn pairs(&self) -> usize {
        self.channels * self.channels.saturating_sub(1) / 2
    }

    /// All planes of the group.
    pub fn planes(&self) -> usize {
        self.components * (1 + 2 * self.channels + self.pairs())
    }

    /// The first plane of the means of a channel.
    pub fn means(&self, channel: usize) -> usize {
        self.components * (1 + channel)
    }

    /// The first plane of the logarithms of the scales of a channel.
    pub fn log_scales(&self, channel: usize) -> usize {
        self.components * (1 + self.channels + channel)
    }

    /// The first plane of the coefficients of a channel and an earlier one.
    pub fn coefficients(&self, channel: usize, earlier: usize) -> usize {
        self.components * (1 + 2 * self.channels + pair(channel, earlier))
    }
}

/// The place of a channel and an earlier one among all pairs.
pub(super) fn pair(channel: usize, earlier: usize) -> usize {
    channel * channel.saturating_sub(1) / 2 + earlier
}
