//! Which colour a feature map belongs to.

use candle_core::{Result, bail};

/// The colour group of each feature map (section 2 of the paper).
///
/// `p` maps are split among `c` channels in contiguous runs, map `i` in group
/// `i * c / p` (rounded down), so that sizes differ by at most one and any
/// `p >= c` works. The `2p` maps before a gate carry the grouping twice, once
/// for each half.
///
/// # Example
///
/// ```
/// use pixelcnn_conv::ColourGroups;
///
/// let groups = ColourGroups::new(3, 7)?;
/// let of: Vec<usize> = (0..7).map(|map| groups.of(map)).collect();
/// assert_eq!(of, [0, 0, 0, 1, 1, 2, 2]);
/// assert_eq!(groups.repeated(2).maps(), 14);
/// # Ok::<(), candle_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ColourGroups {
    channels: usize,
    maps_each: usize,
    repeats: usize,
}

impl ColourGroups {
    /// The groups of `maps` feature maps of an image of `channels` channels.
    ///
    /// # Errors
    ///
    /// If there are no channels, or fewer maps than channels.
    pub fn new(channels: usize, maps: usize) -> Result<Self> {
        if channels == 0 || maps < channels {
            bail!(
                "colour groups need at least one channel and a map for each, \
                 found {channels} channels and {maps} maps"
            );
        }
        Ok(Self {
            channels,
            maps_each: maps,
            repeats: 1,
        })
    }

    /// All maps in one group.
    pub(crate) fn single(maps: usize) -> Self {
        Self {
            channels: 1,
            maps_each: maps,
            repeats: 1,
        }
    }

    /// The same grouping `times` times over, as for the tanh and the sigmoid
    /// half before a gate.
    pub fn repeated(self, times: usize) -> Self {
        Self {
            repeats: self.repeats * times,
            ..self
        }
    }

    /// The group of feature map `map`, from 0 to `channels - 1`.
    pub fn of(&self, map: usize) -> usize {
        (map % self.maps_each) * self.channels / self.maps_each
    }

    /// Number of feature maps in the groups before `group`, repetitions included.
    pub(crate) fn before(&self, group: usize) -> usize {
        (group * self.maps_each).div_ceil(self.channels) * self.repeats
    }

    /// Number of feature maps, repetitions included.
    pub fn maps(&self) -> usize {
        self.maps_each * self.repeats
    }

    /// Number of channels of the image.
    pub fn channels(&self) -> usize {
        self.channels
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn fewer_maps_than_channels_is_an_error() {
        assert!(ColourGroups::new(3, 2).is_err());
        assert!(ColourGroups::new(0, 2).is_err());
    }

    proptest! {
        #[test]
        fn groups_are_contiguous_and_even(channels in 1usize..8, extra in 0usize..40) {
            let maps = channels + extra;
            let groups = ColourGroups::new(channels, maps).unwrap();
            let mut sizes = vec![0; channels];
            for map in 0..maps {
                sizes[groups.of(map)] += 1;
                prop_assert!(map == 0 || groups.of(map) >= groups.of(map - 1));
            }
            let (least, most) = (sizes.iter().min().unwrap(), sizes.iter().max().unwrap());
            prop_assert!(*least >= 1 && most - least <= 1);
            for group in 0..=channels {
                let before: usize = sizes[..group].iter().sum();
                prop_assert_eq!(groups.repeated(2).before(group), 2 * before);
            }
        }
    }
}
