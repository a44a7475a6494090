//! A tile in the engine: its values are known and encoded, or decoded.

use std::sync::atomic::{AtomicUsize, Ordering};

use candle_core::{Result, bail};
use constriction::Queue;
use constriction::backends::ReadWords;
use constriction::stream::queue::{DefaultRangeEncoder, RangeDecoder};
use constriction::stream::{Decode, Encode};
use pixelcnn_sample::{Driver, ValueDistribution, ValueIndex};

use crate::table::{PRECISION, Table};

/// Encodes the values of a tile.
pub(crate) struct Encoding<'a> {
    /// `[row, column, channel]`.
    values: &'a [u16],
    width: usize,
    channels: usize,
    earlier: Vec<u32>,
    distribution: ValueDistribution,
    table: Table,
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
            earlier: Vec::new(),
            distribution,
            table: Table::default(),
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
        self.earlier.clear();
        let earlier = pixel[..index.channel].iter().copied().map(u32::from);
        self.earlier.extend(earlier);
        self.distribution.set(parameters, &self.earlier, 1.0)?;
        self.table.set(self.distribution.frequencies());
        let value = u32::from(pixel[index.channel]);
        let encoded = Encode::<PRECISION>::encode_symbol(&mut self.coder, value, &self.table);
        match encoded {
            Ok(()) => Ok(value),
            Err(_) => bail!("the value {value} is not below the model's levels"),
        }
    }
}

/// Decodes the values of a tile.
///
/// Damaged bytes end no run as long as another tile of the run is sound. When none is left,
/// the run ends, so that damage never costs more time than the tiles themselves.
pub(crate) struct Decoding<'a> {
    /// `[row, column, channel]`, as far as they are decoded.
    values: Vec<u16>,
    earlier: Vec<u32>,
    distribution: ValueDistribution,
    table: Table,
    coder: RangeDecoder<u32, u64, Words<'a>>,
    is_damaged: bool,
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
            earlier: Vec::new(),
            distribution,
            table: Table::default(),
            coder,
            is_damaged: false,
            sound,
        })
    }

    /// The values, if the bytes are used up and nothing showed damage.
    pub(crate) fn finish(self) -> Option<Vec<u16>> {
        let sound = !self.is_damaged && self.coder.maybe_exhausted();
        sound.then_some(self.values)
    }

    fn decode(&mut self, index: ValueIndex, parameters: &[f32]) -> Option<u32> {
        let pixel = self.values.len() - index.channel;
        self.earlier.clear();
        let earlier = self.values[pixel..].iter().copied().map(u32::from);
        self.earlier.extend(earlier);
        self.distribution.set(parameters, &self.earlier, 1.0).ok()?;
        self.table.set(self.distribution.frequencies());
        Decode::<PRECISION>::decode_symbol(&mut self.coder, &self.table).ok()
    }
}

impl Driver for Decoding<'_> {
    fn known(&mut self, _row: usize, _values: &mut [u32]) -> Result<bool> {
        Ok(false)
    }

    fn value(&mut self, index: ValueIndex, parameters: &[f32]) -> Result<u32> {
        if !self.is_damaged {
            if let Some(value) = self.decode(index, parameters) {
                self.values.push(value as u16);
                return Ok(value);
            }
            self.is_damaged = true;
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
