//! A tile in the engine: its values are known and encoded, or decoded.

use std::sync::atomic::{AtomicUsize, Ordering};

use candle_core::{Result, bail};
use constriction::Queue;
use constriction::backends::ReadWords;
use constriction::stream::queue::{DefaultRangeEncoder, RangeDecoder};
use constriction::stream::{Decode, Encode};
use pixelcnn_sample::{Driver, ValueDistribution, ValueIndex};

use crate::table::{PRECISION, Table};

/// From the parameters of a value to its table. With many levels this has more bytes than the
/// tile, so a tile has it only while it is computed.
struct Frequencies {
    distribution: ValueDistribution,
    table: Table,
    earlier: Vec<u32>,
}

impl Frequencies {
    fn new(distribution: ValueDistribution) -> Self {
        Self {
            distribution,
            table: Table::default(),
            earlier: Vec::new(),
        }
    }

    /// The table of a value, given the earlier values of its pixel.
    fn table(&mut self, parameters: &[f32], earlier: &[u16]) -> Result<&Table> {
        self.earlier.clear();
        self.earlier.extend(earlier.iter().copied().map(u32::from));
        self.distribution.set(parameters, &self.earlier, 1.0)?;
        self.table.set(self.distribution.frequencies());
        Ok(&self.table)
    }
}

/// Encodes the values of a tile.
pub(crate) struct Encoding<'a> {
    /// `[row, column, channel]`.
    values: &'a [u16],
    width: usize,
    channels: usize,
    /// `None` after the last value.
    frequencies: Option<Frequencies>,
    coder: DefaultRangeEncoder,
}

impl<'a> Encoding<'a> {
    pub(crate) fn new(
        values: &'a [u16],
        (width, channels): (usize, usize),
        distribution: ValueDistribution,
    ) -> Self {
        Self {
            values,
            width,
            channels,
            frequencies: Some(Frequencies::new(distribution)),
            coder: DefaultRangeEncoder::new(),
        }
    }

    /// The compressed values: words of four bytes, the highest byte first.
    pub(crate) fn finish(self) -> Vec<u8> {
        let words = match self.coder.into_compressed() {
            Ok(words) => words,
            Err(never) => match never {},
        };
        words.iter().flat_map(|word| word.to_be_bytes()).collect()
    }
}

impl Driver for Encoding<'_> {
    fn known(&mut self, row: usize, values: &mut [u32]) -> Result<bool> {
        let own = &self.values[row * values.len()..][..values.len()];
        for (value, own) in values.iter_mut().zip(own) {
            *value = (*own).into();
        }
        Ok(true)
    }

    fn value(&mut self, index: ValueIndex, parameters: &[f32]) -> Result<u32> {
        let position = index.row * self.width + index.column;
        let pixel = &self.values[position * self.channels..][..self.channels];
        let Some(frequencies) = &mut self.frequencies else {
            bail!("a value after the last one of a tile");
        };
        let table = frequencies.table(parameters, &pixel[..index.channel])?;
        let value = u32::from(pixel[index.channel]);
        let encoded = Encode::<PRECISION>::encode_symbol(&mut self.coder, value, table);
        if encoded.is_err() {
            bail!("the value {value} is not below the model's levels");
        }
        if position * self.channels + index.channel + 1 == self.values.len() {
            self.frequencies = None;
        }
        Ok(value)
    }
}

/// Decodes the values of a tile.
///
/// Damaged bytes end no run as long as another tile of the run is sound. When none is left,
/// the run ends. So a damaged tile takes at most the time of a sound one.
pub(crate) struct Decoding<'a> {
    /// `[row, column, channel]`, as far as they are decoded.
    values: Vec<u16>,
    /// The number of values of the tile.
    count: usize,
    /// `None` after the last value, and after damage.
    frequencies: Option<Frequencies>,
    coder: RangeDecoder<u32, u64, Words<'a>>,
    /// Number of tiles of the run that are not damaged.
    sound: &'a AtomicUsize,
}

impl<'a> Decoding<'a> {
    /// A tile of `count` values; `None` if the bytes are not whole words.
    pub(crate) fn new(
        bytes: &'a [u8],
        count: usize,
        distribution: ValueDistribution,
        sound: &'a AtomicUsize,
    ) -> Option<Self> {
        let words = Words::new(bytes)?;
        let coder = RangeDecoder::with_backend(words).ok()?;
        sound.fetch_add(1, Ordering::Relaxed);
        Some(Self {
            values: Vec::with_capacity(count),
            count,
            frequencies: Some(Frequencies::new(distribution)),
            coder,
            sound,
        })
    }

    /// The values, if the bytes are used up and nothing showed damage.
    pub(crate) fn finish(self) -> Option<Vec<u16>> {
        let sound = self.values.len() == self.count && self.coder.maybe_exhausted();
        sound.then_some(self.values)
    }

    fn decode(&mut self, index: ValueIndex, parameters: &[f32]) -> Option<u32> {
        let pixel = self.values.len() - index.channel;
        let frequencies = self.frequencies.as_mut()?;
        let table = frequencies.table(parameters, &self.values[pixel..]).ok()?;
        Decode::<PRECISION>::decode_symbol(&mut self.coder, table).ok()
    }
}

impl Driver for Decoding<'_> {
    fn known(&mut self, _row: usize, _values: &mut [u32]) -> Result<bool> {
        Ok(false)
    }

    fn value(&mut self, index: ValueIndex, parameters: &[f32]) -> Result<u32> {
        if self.frequencies.is_some() {
            if let Some(value) = self.decode(index, parameters) {
                self.values.push(value as u16);
                if self.values.len() == self.count {
                    self.frequencies = None;
                }
                return Ok(value);
            }
            self.frequencies = None;
            self.sound.fetch_sub(1, Ordering::Relaxed);
        }
        match self.sound.load(Ordering::Relaxed) {
            0 => bail!("no tile is left to decode"),
            _ => Ok(0),
        }
    }
}

/// Words of four bytes, the highest byte first. The coder begins one word ahead, so
/// it reads at most one word beyond the end.
struct Words<'a> {
    rest: &'a [[u8; 4]],
    is_beyond: bool,
}

/// More words were read than there are.
#[derive(Debug)]
struct TooFewWords;

impl<'a> Words<'a> {
    fn new(bytes: &'a [u8]) -> Option<Self> {
        let (rest, odd) = bytes.as_chunks();
        odd.is_empty().then_some(Self {
            rest,
            is_beyond: false,
        })
    }
}

impl ReadWords<u32, Queue> for Words<'_> {
    type ReadError = TooFewWords;

    fn read(&mut self) -> std::result::Result<Option<u32>, TooFewWords> {
        match self.rest.split_first() {
            Some((word, rest)) => {
                self.rest = rest;
                Ok(Some(u32::from_be_bytes(*word)))
            }
            None if self.is_beyond => Err(TooFewWords),
            None => {
                self.is_beyond = true;
                Ok(None)
            }
        }
    }

    fn maybe_exhausted(&self) -> bool {
        self.rest.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use pixelcnn_models::Condition;
    use pixelcnn_sample::Engine;

    use super::*;

    /// Otherwise memory would grow with the number of tiles.
    #[test]
    fn a_finished_or_damaged_tile_has_no_table_any_more() {
        let model = crate::testing::grey(300);
        let engine = Engine::new(model.density().unwrap()).unwrap();
        let values: Vec<u16> = (0..6).map(|index| index * 59).collect();
        let distribution = || engine.value_distribution();
        let mut encoding = [Encoding::new(&values, (3, 1), distribution())];
        engine.run((2, 3), &Condition::None, &mut encoding).unwrap();
        assert!(encoding[0].frequencies.is_none());
        let bytes = encoding.map(Encoding::finish).concat();

        let sound = AtomicUsize::new(0);
        let decoding = |bytes| Decoding::new(bytes, 6, distribution(), &sound).unwrap();
        let mut decoding = [decoding(&bytes), decoding(&[])];
        engine.run((2, 3), &Condition::None, &mut decoding).unwrap();
        assert!(decoding.iter().all(|tile| tile.frequencies.is_none()));
        assert_eq!(decoding.map(Decoding::finish), [Some(values), None]);
    }
}
