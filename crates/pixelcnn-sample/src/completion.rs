//! One image of which some pixels are known, while the others are drawn.

use candle_core::Result;

use crate::draw::Draw;
use crate::{Driver, SampleError, ValueIndex};

/// The pixels of an image that are known; of a known pixel, all channels are.
///
/// # Example
///
/// ```
/// use pixelcnn_sample::KnownPixels;
///
/// let upper_half = KnownPixels::new((4, 6), |row, _| row < 2)?;
/// assert_eq!(upper_half.unknown(), 12);
/// assert!(upper_half.is_known(1, 5) && !upper_half.is_known(2, 0));
/// # Ok::<(), pixelcnn_sample::SampleError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownPixels {
    width: usize,
    /// `[row, column]`.
    known: Vec<bool>,
}

impl KnownPixels {
    /// Asks `is_known` for each row and column of an image of `height x width`.
    ///
    /// # Errors
    ///
    /// If the size is zero or above 2^32 pixels.
    pub fn new(
        (height, width): (usize, usize),
        is_known: impl Fn(usize, usize) -> bool,
    ) -> std::result::Result<Self, SampleError> {
        let pixels = height.checked_mul(width);
        let Some(pixels) = pixels.filter(|pixels| (1..=1 << 32).contains(pixels)) else {
            let why = format!("{height} x {width}: 1 to 2^32 pixels expected");
            return Err(SampleError::invalid("known pixels", why));
        };
        let known = (0..pixels).map(|place| is_known(place / width, place % width));
        Ok(Self {
            width,
            known: known.collect(),
        })
    }

    /// Height and width.
    pub fn size(&self) -> (usize, usize) {
        (self.known.len() / self.width, self.width)
    }

    /// Whether a pixel is known. Pixels outside the image are not.
    pub fn is_known(&self, row: usize, column: usize) -> bool {
        let place = row.checked_mul(self.width).map(|place| place + column);
        let known = place.and_then(|place| self.known.get(place));
        column < self.width && known.copied().unwrap_or(false)
    }

    /// Number of pixels that are not known.
    pub fn unknown(&self) -> usize {
        self.known.iter().filter(|known| !**known).count()
    }

    /// The place of the first pixel that is not known, in raster order.
    pub(crate) fn first_unknown(&self) -> Option<usize> {
        self.known.iter().position(|known| !known)
    }

    /// The last row with a pixel that is not known.
    pub(crate) fn last_unknown_row(&self) -> Option<usize> {
        let last = self.known.iter().rposition(|known| !known);
        last.map(|place| place / self.width)
    }

    fn row(&self, row: usize) -> &[bool] {
        &self.known[row * self.width..][..self.width]
    }
}

/// Whether the known values after the first unknown pixel are scored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scoring {
    Off,
    On,
}

/// Draws the unknown pixels of an image, and adds up the bits of the known ones after them.
pub(crate) struct Completion<'a> {
    draw: Draw<'a>,
    known: &'a KnownPixels,
    /// The bits of the known values after this place are added up.
    scored_after: Option<usize>,
    bits: f64,
}

impl<'a> Completion<'a> {
    /// Draws in `draw`, which has the known values.
    pub(crate) fn new(draw: Draw<'a>, known: &'a KnownPixels, scoring: Scoring) -> Self {
        Self {
            draw,
            known,
            scored_after: match scoring {
                Scoring::On => known.first_unknown(),
                Scoring::Off => None,
            },
            bits: 0.0,
        }
    }

    /// The values `[channel, row, column]`, and the bits of the scored ones.
    pub(crate) fn finish(self) -> (Vec<u32>, f64) {
        (self.draw.values(), self.bits)
    }

    /// Whether the bits of the known values of a place depend on what is drawn.
    fn is_scored(&self, place: usize) -> bool {
        self.scored_after.is_some_and(|first| first < place)
    }
}

impl Driver for Completion<'_> {
    fn known(&mut self, row: usize, values: &mut [u32]) -> Result<bool> {
        let width = self.known.width;
        if !self.known.row(row).iter().all(|known| *known) {
            return Ok(false);
        }
        let channels = values.len() / width;
        for (index, value) in values.iter_mut().enumerate() {
            *value = self.draw.at(ValueIndex {
                row,
                column: index / channels,
                channel: index % channels,
            });
        }
        Ok(true)
    }

    fn scores(&mut self, row: usize) -> bool {
        self.is_scored(row * self.known.width)
    }

    fn value(&mut self, index: ValueIndex, parameters: &[f32]) -> Result<u32> {
        if !self.known.is_known(index.row, index.column) {
            return self.draw.value(index, parameters);
        }
        let value = self.draw.at(index);
        if self.is_scored(index.row * self.known.width + index.column) {
            self.draw.set(index, parameters)?;
            let frequencies = self.draw.distribution().frequencies();
            self.bits += frequencies.bits(value as usize);
        }
        Ok(value)
    }

    fn row_done(&mut self, row: usize, values: &[u32]) {
        self.draw.row_done(row, values);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_pixels_are_found() {
        let hole = KnownPixels::new((3, 4), |row, column| (row, column) != (1, 2)).unwrap();
        assert_eq!(
            (hole.first_unknown(), hole.last_unknown_row()),
            (Some(6), Some(1))
        );
        assert_eq!((hole.unknown(), hole.size()), (1, (3, 4)));
        assert!(!hole.is_known(0, 4) && !hole.is_known(3, 0) && hole.is_known(2, 3));
        let all = KnownPixels::new((1, 1), |_, _| true).unwrap();
        assert_eq!((all.first_unknown(), all.last_unknown_row()), (None, None));
        for size in [(0, 1), (1, 0), (usize::MAX, 2)] {
            assert!(KnownPixels::new(size, |_, _| true).is_err());
        }
    }
}
