//! From the engine's weights of a value to the table of the range coder.

use std::borrow::Borrow;
use std::num::NonZeroU32;

use constriction::stream::model::{DecoderModel, EncoderModel, EntropyModel};
use pixelcnn_sample::Frequencies;

/// The frequencies of a table add up to 2 to this power.
pub(crate) const PRECISION: usize = 24;

/// Bits of the sum of weights that are used: the products below then fit into 64 bits.
const WEIGHT_BITS: u32 = 40;

/// The cumulative frequencies of a value, with at least 1 for each level.
///
/// With `W[v]` the sum of the weights of the levels below `v`, shifted right by the same number
/// of bits until the total `T` has at most 40, the levels below `v` have together the frequency
/// `v + floor(W[v] (2^24 - levels) / T)`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Table {
    /// The sum of the weights of the levels below each level, and the total.
    below: Vec<u64>,
    shift: u32,
}

impl Table {
    pub(crate) fn set(&mut self, frequencies: &Frequencies) {
        self.below.clear();
        self.below.push(0);
        let mut sum = 0;
        let sums = frequencies.weights().iter().map(|weight| {
            sum += u64::from(*weight);
            sum
        });
        self.below.extend(sums);
        self.shift = (u64::BITS - sum.leading_zeros()).saturating_sub(WEIGHT_BITS);
    }

    fn levels(&self) -> usize {
        self.below.len() - 1
    }

    /// The frequency of all levels below `level`.
    fn cumulative(&self, level: usize) -> u32 {
        let levels = self.levels();
        // The likeliest level has a weight of 2^31, so the total is never zero.
        let total = (self.below[levels] >> self.shift).max(1);
        let shared = (1_u64 << PRECISION) - levels as u64;
        let below = self.below[level] >> self.shift;
        level as u32 + (below * shared / total) as u32
    }

    /// The beginning and the length of the range of a level.
    fn range(&self, level: usize) -> (u32, NonZeroU32) {
        let begin = self.cumulative(level);
        let length = self.cumulative(level + 1) - begin;
        // Each level has a frequency of at least 1.
        (begin, NonZeroU32::new(length).unwrap_or(NonZeroU32::MIN))
    }
}

impl EntropyModel<PRECISION> for Table {
    type Symbol = u32;
    type Probability = u32;
}

impl EncoderModel<PRECISION> for Table {
    fn left_cumulative_and_probability(
        &self,
        symbol: impl Borrow<u32>,
    ) -> Option<(u32, NonZeroU32)> {
        let level = *symbol.borrow() as usize;
        (level < self.levels()).then(|| self.range(level))
    }
}

impl DecoderModel<PRECISION> for Table {
    fn quantile_function(&self, quantile: u32) -> (u32, u32, NonZeroU32) {
        // The last level that begins at the quantile or before it.
        let (mut level, mut end) = (0, self.levels());
        while end - level > 1 {
            let middle = level + (end - level) / 2;
            match self.cumulative(middle) <= quantile {
                true => level = middle,
                false => end = middle,
            }
        }
        let (begin, length) = self.range(level);
        (level as u32, begin, length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(logits: &[f32]) -> Table {
        let mut frequencies = Frequencies::default();
        frequencies.set(logits).unwrap();
        let mut table = Table::default();
        table.set(&frequencies);
        table
    }

    fn cases() -> Vec<Vec<f32>> {
        let wave = |levels: usize| (0..levels).map(|level| (level as f32 * 0.7).sin() * 9.0);
        vec![
            vec![0.0, 0.0],
            vec![0.0, f32::NEG_INFINITY],
            vec![-100.0, 0.0, -30.0],
            wave(256).collect(),
            vec![0.0; 256],
            wave(65_536).collect(),
            vec![0.0; 65_536],
        ]
    }

    #[test]
    fn ranges_tile_the_whole_and_every_level_has_one() {
        for logits in cases() {
            let table = table(&logits);
            let mut end = 0;
            for level in 0..logits.len() {
                let (begin, length) = table.range(level);
                assert_eq!(begin, end);
                end += length.get();
            }
            assert_eq!(end, 1 << PRECISION);
            assert!(
                table
                    .left_cumulative_and_probability(logits.len() as u32)
                    .is_none()
            );
        }
    }

    #[test]
    fn quantiles_find_the_level_of_their_range() {
        for logits in cases() {
            let table = table(&logits);
            let step = logits.len().div_ceil(300);
            for level in (0..logits.len()).step_by(step) {
                let (begin, length) = table.range(level);
                for quantile in [begin, begin + length.get() / 2, begin + length.get() - 1] {
                    let found = table.quantile_function(quantile);
                    assert_eq!(found, (level as u32, begin, length));
                }
            }
        }
    }

    #[test]
    fn frequencies_cost_hardly_more_than_the_weights() {
        for logits in cases() {
            let mut frequencies = Frequencies::default();
            frequencies.set(&logits).unwrap();
            let table = table(&logits);
            let (mut more, mut entropy) = (0.0, 0.0);
            for (level, weight) in frequencies.weights().iter().enumerate() {
                let share = f64::from(*weight) / frequencies.total() as f64;
                let bits = PRECISION as f64 - f64::from(table.range(level).1.get()).log2();
                if share > 0.0 {
                    more += share * (bits + share.log2());
                    entropy -= share * share.log2();
                }
            }
            assert!(more < 1e-3 * entropy + 1e-4, "{more} more than {entropy}");
        }
    }
}
