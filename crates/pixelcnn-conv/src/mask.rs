//! The inputs that an output sees: masks A and B between colour groups, and the unmasked
//! positions of a kernel.

use candle_core::{Result, bail};

/// The colour groups that a feature map may see at the centre of a kernel (figure 1
/// and section 2): only the earlier colours of the current pixel are known.
///
/// # Example
///
/// ```
/// use pixelcnn_conv::Mask;
///
/// assert!(!Mask::A.sees(1, 1)); // G does not see G in the first layer,
/// assert!(Mask::A.sees(1, 0)); // it sees R;
/// assert!(Mask::B.sees(1, 1)); // later layers see G's own maps,
/// assert!(!Mask::B.sees(1, 2)); // never B's.
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mask {
    /// For the first layer, whose input is the image: only earlier colours.
    A,
    /// For later layers: earlier colours and the same colour.
    B,
}

impl Mask {
    /// Whether a map of colour group `output` sees a map of group `input` at
    /// the centre of the kernel.
    pub fn sees(self, output: usize, input: usize) -> bool {
        match self {
            Mask::A => input < output,
            Mask::B => input <= output,
        }
    }
}

/// The colour group of each feature map (section 2 of the paper).
///
/// `p` maps are split into contiguous groups for `c` channels; map `i` is in group
/// `i * c / p` (rounded down). Sizes differ by at most one, and any
/// `p >= c` works. The `2p` maps before a gate repeat the grouping for each half.
///
/// # Example
///
/// ```
/// use pixelcnn_conv::ColourGroups;
///
/// let groups = ColourGroups::new(3, 7)?;
/// let of: Vec<usize> = (0..7).map(|map| groups.group_of(map)).collect();
/// assert_eq!(of, [0, 0, 0, 1, 1, 2, 2]);
/// assert_eq!(groups.repeated(2).maps(), 14);
/// # Ok::<(), candle_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ColourGroups {
    channels: usize,
    maps_each: usize,
    repeats: usize,
    /// By how many colours each repetition is ahead of the one before.
    turn: usize,
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
                "colour groups need at least one channel, and at least one map per channel, \
                 found {channels} channels and {maps} maps"
            );
        }
        Ok(Self {
            channels,
            maps_each: maps,
            repeats: 1,
            turn: 0,
        })
    }

    /// All maps in one group.
    pub(crate) fn single(maps: usize) -> Self {
        Self {
            channels: 1,
            maps_each: maps,
            repeats: 1,
            turn: 0,
        }
    }

    /// The same grouping, repeated `times` times, for example for the tanh and the
    /// sigmoid half before a gate.
    pub fn repeated(self, times: usize) -> Self {
        Self {
            repeats: self.repeats * times,
            ..self
        }
    }

    /// The same groups, but each repetition starts `by` colours after the one before, as
    /// if interleaved groups were counted through all repetitions. If `by` is not a multiple of
    /// the channels, the halves before a gate belong to different colours, so that a network
    /// with such groups sees colours that it must not see.
    ///
    /// # Example
    ///
    /// ```
    /// use pixelcnn_conv::ColourGroups;
    ///
    /// let groups = ColourGroups::new(3, 4)?.repeated(2).turned(4);
    /// let of: Vec<usize> = (0..8).map(|map| groups.group_of(map)).collect();
    /// assert_eq!(of, [0, 0, 1, 2, 1, 1, 2, 0]);
    /// # Ok::<(), candle_core::Error>(())
    /// ```
    pub fn turned(self, by: usize) -> Self {
        Self {
            turn: by % self.channels,
            ..self
        }
    }

    /// The group of feature map `map`, from 0 to `channels - 1`.
    pub fn group_of(&self, map: usize) -> usize {
        let group = (map % self.maps_each) * self.channels / self.maps_each;
        (group + self.turn * (map / self.maps_each)) % self.channels
    }

    /// Number of feature maps in the groups before `group`, including repetitions.
    pub(crate) fn before(&self, group: usize) -> usize {
        let first = |group: usize| (group * self.maps_each).div_ceil(self.channels);
        if self.turn == 0 {
            return first(group) * self.repeats;
        }
        let size = |of: usize, repeat: usize| {
            let (channels, turn) = (self.channels, self.turn * repeat % self.channels);
            let of = (of + channels - turn) % channels;
            first(of + 1) - first(of)
        };
        let groups = 0..group;
        let sizes = groups.flat_map(|of| (0..self.repeats).map(move |repeat| size(of, repeat)));
        sizes.sum()
    }

    /// Number of feature maps, including repetitions.
    pub fn maps(&self) -> usize {
        self.maps_each * self.repeats
    }

    /// Number of channels of the image.
    pub fn channels(&self) -> usize {
        self.channels
    }
}

/// The colour groups of the input that a tap reads.
///
/// # Example
///
/// ```
/// use pixelcnn_conv::{Colours, Mask};
///
/// assert!(Colours::All.sees(0, 2));
/// assert!(!Colours::Masked(Mask::A).sees(0, 0));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colours {
    /// All groups: the whole pixel is known.
    All,
    /// The groups that the mask allows: the pixel is being predicted.
    Masked(Mask),
}

impl Colours {
    /// Whether a map of group `output` sees a map of group `input`.
    pub fn sees(self, output: usize, input: usize) -> bool {
        match self {
            Colours::All => true,
            Colours::Masked(mask) => mask.sees(output, input),
        }
    }
}

/// One unmasked position of a kernel.
///
/// The sums of the taps of all layers are the receptive field of a network.
///
/// # Example
///
/// ```
/// use candle_core::{DType, Device};
/// use candle_nn::VarBuilder;
/// use pixelcnn_conv::{Convolution, Rows};
///
/// let weights = VarBuilder::zeros(DType::F32, &Device::Cpu);
/// let vertical = Convolution::vertical(1, 4, 3, 1, Rows::Above, weights)?;
/// let rows: Vec<isize> = vertical.taps().iter().map(|tap| tap.row).collect();
/// assert_eq!(rows, [-1, -1, -1]);
/// # Ok::<(), candle_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tap {
    /// Row, relative to the output; negative is above.
    pub row: isize,
    /// Column, relative to the output; negative is left.
    pub column: isize,
    /// The colour groups that the tap reads.
    pub colours: Colours,
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
                sizes[groups.group_of(map)] += 1;
                prop_assert!(map == 0 || groups.group_of(map) >= groups.group_of(map - 1));
            }
            let (least, most) = (sizes.iter().min().unwrap(), sizes.iter().max().unwrap());
            prop_assert!(*least >= 1 && most - least <= 1);
            for group in 0..=channels {
                let before: usize = sizes[..group].iter().sum();
                prop_assert_eq!(groups.repeated(2).before(group), 2 * before);
            }
        }

        #[test]
        fn turned_groups_are_counted(channels in 1usize..6, extra in 0usize..20, by in 0usize..9) {
            let maps = channels + extra;
            let groups = ColourGroups::new(channels, maps).unwrap();
            let turned = groups.repeated(3).turned(by);
            for group in 0..=channels {
                let earlier = (0..3 * maps).filter(|map| turned.group_of(*map) < group);
                prop_assert_eq!(turned.before(group), earlier.count());
            }
            for map in 0..3 * maps {
                let ahead = by * (map / maps);
                let expected = (groups.group_of(map % maps) + ahead) % channels;
                prop_assert_eq!(turned.group_of(map), expected);
            }
        }
    }
}
