//! The matrix product of the engine: each output is one chain of fused multiply-adds,
//! and lanes are different outputs.

use super::lanes::Sixteen;
use crate::Level;
use crate::lanes::Lanes;
use crate::level::dispatch;

/// Outputs per tile.
pub const LANES: usize = 16;
/// Bytes of a tile's numbers.
pub(super) const TILE_BYTES: usize = size_of::<Tile>();

/// The numbers of a tile, aligned for vectors.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(super) struct Tile(pub [f32; LANES]);

/// The weights of a sum: for each tile of sixteen outputs and each input in
/// the order of the chain, sixteen weights.
///
/// # Example
///
/// ```
/// use pixelcnn_kernels::exact::Weights;
///
/// // Three inputs, two outputs: fourteen lanes stay empty.
/// let weights = Weights::pack(3, &[Some(0), Some(1)], |output, input| (output + input) as f32);
/// assert_eq!((weights.tiles(), weights.length()), (1, 3));
/// ```
#[derive(Clone, Debug)]
pub struct Weights {
    values: Vec<Tile>,
    length: usize,
    tiles: usize,
}

impl Weights {
    /// Weights of a chain of `length` inputs; `lanes` gives the output of each lane,
    /// and is padded with empty lanes to whole tiles.
    pub fn pack(
        length: usize,
        lanes: &[Option<usize>],
        weight: impl Fn(usize, usize) -> f32,
    ) -> Self {
        let tiles = lanes.len().div_ceil(LANES);
        let mut values = Vec::with_capacity(tiles * length);
        for tile in lanes.chunks(LANES) {
            for input in 0..length {
                let lane = |lane: usize| match tile.get(lane) {
                    Some(Some(output)) => weight(*output, input),
                    _ => 0.0,
                };
                values.push(Tile(std::array::from_fn(lane)));
            }
        }
        Self {
            values,
            length,
            tiles,
        }
    }

    /// Number of tiles of outputs.
    pub fn tiles(&self) -> usize {
        self.tiles
    }

    /// Number of inputs of a chain.
    pub fn length(&self) -> usize {
        self.length
    }

    /// Bytes that the weights take.
    pub(super) fn bytes(&self) -> usize {
        size_of_val(self.values.as_slice())
    }

    /// The weights of tile `tile` from input `input` on.
    fn address(&self, tile: usize, input: usize) -> *const f32 {
        assert!(tile < self.tiles && input <= self.length);
        let start = self.values.as_ptr().cast::<f32>();
        start.wrapping_add((tile * self.length + input) * LANES)
    }
}

/// Numbers at regular distances: the first one, and the distance between positions.
#[derive(Clone, Copy, Debug)]
pub(super) struct Strided<P> {
    pub start: P,
    pub stride: usize,
}

/// One piece of a product: `sums[position, tile] = start + inputs[position,
/// ..length] weights[tile, first..first + length]`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Piece<'a> {
    pub weights: &'a Weights,
    /// First and one past the last tile.
    pub tiles: (usize, usize),
    /// The part of the chain.
    pub first: usize,
    pub length: usize,
    pub positions: usize,
    pub inputs: Strided<*const f32>,
    /// The initial value of the chain of each lane; without it, chains continue from the
    /// values in the sums.
    pub bias: Option<&'a [f32]>,
    /// From tile 0 on.
    pub sums: Strided<*mut f32>,
}

/// Starts or continues the chains of a piece.
///
/// # Safety
///
/// `length` inputs can be read at each position, and the tiles' sums read and
/// written by this thread alone.
pub(super) unsafe fn add_products(level: Level, piece: Piece) {
    assert!(piece.first + piece.length <= piece.weights.length);
    assert!(piece.tiles.1 <= piece.weights.tiles);
    assert!(
        piece
            .bias
            .is_none_or(|bias| bias.len() >= piece.tiles.1 * LANES)
    );
    dispatch!(level, all_positions(piece: Piece));
}

/// Splits positions and tiles into blocks whose sums stay in registers. The
/// weights of a block's tiles are used for all positions before others are read.
#[inline(always)]
fn all_positions<L: Lanes>(piece: Piece) {
    let mut first = 0;
    while first < piece.positions {
        let rows = block_rows::<L>(piece.positions - first);
        let end = piece.positions - (piece.positions - first) % rows;
        let most = block_tiles::<L>(rows);
        let mut tile = piece.tiles.0;
        while tile < piece.tiles.1 {
            let tiles = most.min(piece.tiles.1 - tile);
            for at in (first..end).step_by(rows) {
                let block = piece.block(at, tile);
                // SAFETY: the piece's; `add_products` has checked the weights.
                unsafe { by_size::<L>(block, rows, tiles) };
            }
            tile += tiles;
        }
        first = end;
    }
}

impl Piece<'_> {
    /// The part from a position and a tile on.
    #[inline(always)]
    fn block(&self, position: usize, tile: usize) -> Block {
        let inputs = self.inputs.start;
        let sums = self.sums.start;
        Block {
            inputs: Strided {
                start: inputs.wrapping_add(position * self.inputs.stride),
                ..self.inputs
            },
            sums: Strided {
                start: sums.wrapping_add(position * self.sums.stride + tile * LANES),
                ..self.sums
            },
            weights: Strided {
                start: self.weights.address(tile, self.first),
                stride: self.weights.length * LANES,
            },
            bias: self.bias.map(|bias| bias[tile * LANES..].as_ptr()),
            length: self.length,
        }
    }
}

/// Positions of the next block: as many as fit into registers with few tiles.
#[inline(always)]
fn block_rows<L: Lanes>(left: usize) -> usize {
    let sizes: &[usize] = match L::WIDTH {
        16 => &[8, 4, 2],
        8 => &[6, 4, 2],
        _ => &[2],
    };
    sizes
        .iter()
        .copied()
        .find(|size| *size <= left)
        .unwrap_or(1)
}

/// Largest number of tiles of a block with this many positions.
#[inline(always)]
fn block_tiles<L: Lanes>(rows: usize) -> usize {
    match (L::WIDTH, rows) {
        (16, 8) => 3,
        (16, 4) => 6,
        (16, _) => 8,
        (8, 4 | 6) => 1,
        (8, 2) => 3,
        (8, _) => 6,
        _ => 1,
    }
}

#[derive(Clone, Copy)]
struct Block {
    inputs: Strided<*const f32>,
    sums: Strided<*mut f32>,
    weights: Strided<*const f32>,
    bias: Option<*const f32>,
    length: usize,
}

/// # Safety
///
/// As [`fixed`], with these numbers.
#[inline(always)]
unsafe fn by_size<L: Lanes>(block: Block, rows: usize, tiles: usize) {
    macro_rules! sizes {
        ($($rows:literal: $($tiles:literal)*;)*) => {
            match (rows, tiles) {
                // Sizes that a level does not support are not compiled for it.
                $($(($rows, $tiles) => if const { possible::<L>($rows, $tiles) } {
                    // SAFETY: the caller guarantees it.
                    unsafe { fixed::<L, $rows, $tiles>(block) }
                })*)*
                _ => unreachable!("no block of {rows} x {tiles}"),
            }
        };
    }
    sizes!(
        1: 1 2 3 4 5 6 7 8;
        2: 1 2 3 4 5 6 7 8;
        4: 1 2 3 4 5 6;
        6: 1;
        8: 1 2 3;
    );
}

/// Whether a level has blocks of this size.
const fn possible<L: Lanes>(rows: usize, tiles: usize) -> bool {
    match L::WIDTH {
        16 => rows != 6 && rows * tiles <= 24,
        8 => rows != 8 && rows * tiles * 2 <= 12,
        _ => rows <= 2 && tiles == 1,
    }
}

/// The chains of `ROWS` positions and `TILES` tiles, in registers.
///
/// # Safety
///
/// The block's inputs, weights and sums can be read, and its sums can be written.
#[inline(always)]
unsafe fn fixed<L: Lanes, const ROWS: usize, const TILES: usize>(block: Block) {
    let sum = |row: usize, tile: usize| {
        let start = block.sums.start;
        start.wrapping_add(row * block.sums.stride + tile * LANES)
    };
    // SAFETY: the caller guarantees all addresses.
    unsafe {
        let mut sums = [[L::Sixteen::zero(); TILES]; ROWS];
        for (row, sums) in sums.iter_mut().enumerate() {
            for (tile, to) in sums.iter_mut().enumerate() {
                *to = match block.bias {
                    Some(bias) => L::Sixteen::load(bias.add(tile * LANES)),
                    None => L::Sixteen::load(sum(row, tile)),
                };
            }
        }
        let (mut inputs, mut weights) = (block.inputs.start, block.weights.start);
        for _ in 0..block.length {
            let mut factors = [L::Sixteen::zero(); TILES];
            for (tile, factor) in factors.iter_mut().enumerate() {
                *factor = L::Sixteen::load(weights.add(tile * block.weights.stride));
            }
            for (row, sums) in sums.iter_mut().enumerate() {
                let input = L::Sixteen::splat(*inputs.add(row * block.inputs.stride));
                for (sum, factor) in sums.iter_mut().zip(&factors) {
                    *sum = sum.add_product(input, *factor);
                }
            }
            inputs = inputs.wrapping_add(1);
            weights = weights.wrapping_add(LANES);
        }
        for (row, sums) in sums.iter().enumerate() {
            for (tile, value) in sums.iter().enumerate() {
                value.store(sum(row, tile));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bits are those of the chain, for every number of positions and tiles and at
    /// every level.
    #[test]
    fn each_sum_is_one_chain_of_fused_multiply_adds() {
        let (length, stride) = (7, 9);
        let noise = |index: usize| ((index * 2_654_435_761) % 10_007) as f32 / 5_003.5 - 1.0;
        for positions in 1..=17 {
            for tiles in 1..=9 {
                let lanes: Vec<_> = (0..tiles * LANES).map(Some).collect();
                let weight = |output: usize, input: usize| noise(output * length + input);
                let weights = Weights::pack(length, &lanes, weight);
                let inputs: Vec<f32> = (0..positions * stride).map(noise).collect();
                let start: Vec<f32> = (0..positions * lanes.len()).map(|i| noise(i + 5)).collect();
                let bias: Vec<f32> = (0..lanes.len()).map(|i| noise(i + 9)).collect();
                let begun = [None, Some(bias.as_slice())].into_iter();
                let levels = Level::available().iter();
                for (level, bias) in levels.flat_map(|level| begun.clone().map(move |b| (level, b)))
                {
                    let mut sums = start.clone();
                    let piece = Piece {
                        bias,
                        weights: &weights,
                        tiles: (0, tiles),
                        first: 1,
                        length: length - 1,
                        positions,
                        inputs: Strided {
                            start: inputs.as_ptr(),
                            stride,
                        },
                        sums: Strided {
                            start: sums.as_mut_ptr(),
                            stride: lanes.len(),
                        },
                    };
                    // SAFETY: the buffers are as long as the sizes say.
                    unsafe { add_products(*level, piece) };
                    for (index, sum) in sums.iter().enumerate() {
                        let (position, output) = (index / lanes.len(), index % lanes.len());
                        let mut chain = bias.map_or(start[index], |bias| bias[output]);
                        for input in 1..length {
                            let number = inputs[position * stride + input - 1];
                            chain = number.mul_add(weight(output, input), chain);
                        }
                        assert_eq!(sum.to_bits(), chain.to_bits(), "{level:?} {index}");
                    }
                }
            }
        }
    }
}
