//! Weights in the order in which the product reads them.

use rayon::prelude::*;

use super::geometry::Geometry;
use crate::product::row_tiles;

/// Inputs of a convolution summed at a time, so that their views and weights
/// stay in the level-2 cache.
pub(crate) const SUMMED: usize = 256;

/// Weights split into blocks of [`SUMMED`] (tap, input) pairs, each split into
/// tiles of outputs.
pub(crate) struct Weights {
    /// Block by block, for each of its tiles.
    packed: Vec<Tile>,
    /// First output and number of outputs of each tile.
    pub tiles: Vec<(usize, usize)>,
}

/// Weights `[pair, output]` without zero pairs at the start and end,
/// and the number of pairs left out at the start.
struct Tile {
    values: Vec<f32>,
    skipped: usize,
}

impl Weights {
    /// From the weights `[output, input, row, column]` of a convolution.
    pub(crate) fn forward(geometry: &Geometry, weight: &[f32], rows: usize) -> Self {
        let (taps, inputs) = (geometry.taps(), geometry.inputs);
        Self::packed(geometry, rows, |tap, input, output| {
            weight[(output * inputs + input) * taps + tap]
        })
    }

    /// For the transposed convolution, from the same weights; `geometry` is the
    /// transposed one.
    pub(crate) fn backward(geometry: &Geometry, weight: &[f32], rows: usize) -> Self {
        let (taps, inputs) = (geometry.taps(), geometry.outputs);
        Self::packed(geometry, rows, |tap, input, output| {
            weight[(input * inputs + output) * taps + taps - 1 - tap]
        })
    }

    fn packed(
        geometry: &Geometry,
        rows: usize,
        weight: impl Fn(usize, usize, usize) -> f32 + Sync,
    ) -> Self {
        let (inputs, summed) = (geometry.inputs, geometry.summed());
        let tiles: Vec<_> = row_tiles(geometry.outputs, rows).collect();
        let all = 0..summed.div_ceil(SUMMED) * tiles.len();
        let tile = |index: usize| {
            let first = index / tiles.len() * SUMMED;
            let (start, count) = tiles[index % tiles.len()];
            let mut values = Vec::with_capacity(SUMMED * count);
            for pair in first..summed.min(first + SUMMED) {
                let (tap, input) = (pair / inputs, pair % inputs);
                values.extend((start..start + count).map(|output| weight(tap, input, output)));
            }
            let (skipped, after) = not_zero(&values, count);
            values.truncate(after * count);
            values.drain(..skipped * count);
            Tile { values, skipped }
        };
        Self {
            packed: all.into_par_iter().map(tile).collect(),
            tiles,
        }
    }

    /// The weights of a tile of the block that starts at pair `first`, without zero
    /// pairs at its start and end, and the number of pairs left out at
    /// its start.
    pub(crate) fn tile(&self, first: usize, tile: usize) -> (&[f32], usize) {
        let tile = &self.packed[first / SUMMED * self.tiles.len() + tile];
        (&tile.values, tile.skipped)
    }
}

/// First and one past the last row with an entry that is not zero.
fn not_zero(tile: &[f32], width: usize) -> (usize, usize) {
    let mut rows = tile.chunks_exact(width);
    let open = |row: &[f32]| row.iter().any(|value| *value != 0.0);
    match rows.position(open) {
        None => (0, 0),
        Some(first) => {
            let after = rows.rposition(open).map_or(0, |last| last + 1);
            (first, first + 1 + after)
        }
    }
}
