//! Weights in the order in which a product reads them.

use super::geometry::Geometry;
use crate::product::row_tiles;

/// Inputs of a convolution summed at a time, so that their views and weights
/// stay in the cache nearest but one.
pub(crate) const SUMMED: usize = 256;

/// Weights cut into blocks of [`SUMMED`] pairs of tap and input, each into
/// tiles of outputs, each of these contiguous, `[pair, output]`.
pub(crate) struct Weights {
    values: Vec<f32>,
    /// For each block and each tile, the first and one past the last pair with
    /// a weight that is not zero.
    live: Vec<(usize, usize)>,
    /// Of the outputs: first and number.
    pub tiles: Vec<(usize, usize)>,
    outputs: usize,
}

impl Weights {
    /// Of the weights `[output, input, row, column]` of a convolution.
    pub fn forward(geometry: &Geometry, weight: &[f32], rows: usize) -> Self {
        let (taps, inputs) = (geometry.taps(), geometry.inputs);
        Self::packed(geometry, rows, |tap, input, output| {
            weight[(output * inputs + input) * taps + tap]
        })
    }

    /// Of the transposed convolution, from the same weights: `geometry` is the
    /// transposed one.
    pub fn backward(geometry: &Geometry, weight: &[f32], rows: usize) -> Self {
        let (taps, inputs) = (geometry.taps(), geometry.outputs);
        Self::packed(geometry, rows, |tap, input, output| {
            weight[(input * inputs + output) * taps + taps - 1 - tap]
        })
    }

    fn packed(
        geometry: &Geometry,
        rows: usize,
        weight: impl Fn(usize, usize, usize) -> f32,
    ) -> Self {
        let (inputs, outputs) = (geometry.inputs, geometry.outputs);
        let summed = geometry.summed();
        let tiles: Vec<_> = row_tiles(outputs, rows).collect();
        let mut values = Vec::with_capacity(summed * outputs);
        let mut live = Vec::new();
        for first in (0..summed).step_by(SUMMED) {
            let block = first..summed.min(first + SUMMED);
            for (start, count) in &tiles {
                let tile = values.len();
                for pair in block.clone() {
                    let (tap, input) = (pair / inputs, pair % inputs);
                    let outputs = *start..start + count;
                    values.extend(outputs.map(|output| weight(tap, input, output)));
                }
                live.push(not_zero(&values[tile..], *count));
            }
        }
        Self {
            values,
            live,
            tiles,
            outputs,
        }
    }

    /// The weights of a tile of the block that begins at pair `first` of
    /// `count`, but for pairs at its start and end that are zero; and how many
    /// are left out at its start.
    pub fn tile(&self, first: usize, count: usize, tile: usize) -> (&[f32], usize) {
        let (start, rows) = self.tiles[tile];
        let (live, after) = self.live[first / SUMMED * self.tiles.len() + tile];
        let values = &self.values[first * self.outputs + count * start..];
        (&values[live * rows..after * rows], live)
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
