//! Elementwise operations on sums.

use std::ops::Range;

use super::product::{LANES, Strided};
use crate::arithmetic::{Once, elu, sigmoid, tanh_and_sigmoid};
use crate::lanes::Lanes;

/// Half of a tile: its number of outputs if the other half has the sums of their gates.
const HALF: usize = LANES / 2;
/// The same for the four gates of an LSTM.
const QUARTER: usize = LANES / 4;

/// An operation, and the place of its numbers at the first position and output.
#[derive(Clone, Copy)]
pub(super) enum Operand {
    Load(Strided<*const f32>),
    Add(Strided<*const f32>),
    Relu,
    Elu,
    Gate,
    Lstm {
        before: Strided<*const f32>,
        cell: Strided<*mut f32>,
    },
    Store(Strided<*mut f32>),
}

/// The work of one member of a team on some tiles at some positions.
pub(super) struct Operations<'a> {
    /// The initial sums, from tile 0 on; without them it starts with a load.
    pub sums: Option<Strided<*const f32>>,
    pub places: &'a [Operand],
    /// Outputs per tile.
    pub lanes: usize,
    /// First tile of the colour group.
    pub first_tile: usize,
    pub outputs: usize,
    /// Parts of the maps before a gate; 1 without one.
    pub parts: usize,
    /// Distance from one part to the next.
    pub distance: usize,
    pub tiles: Range<usize>,
    pub positions: Range<usize>,
}

/// Outputs `first..first + count` and their current numbers. Each part is aligned as one
/// vector, because reading from parts of vectors or from two cache lines is slow.
#[repr(C, align(64))]
struct Numbers<const N: usize> {
    /// The numbers of the parts of the maps: several before a gate, after it one.
    parts: [[f32; N]; 4],
    /// How many of them there are.
    count_of_parts: usize,
    /// Distance from one part to the next.
    distance: usize,
    first: usize,
    count: usize,
}

#[inline(always)]
pub(super) fn apply<L: Lanes>(operations: &Operations) {
    match operations.lanes {
        HALF => in_tiles::<HALF>(operations),
        QUARTER => in_tiles::<QUARTER>(operations),
        _ => in_tiles::<LANES>(operations),
    }
}

/// Applies the operations in tiles of `N` outputs.
#[inline(always)]
fn in_tiles<const N: usize>(operations: &Operations) {
    for position in operations.positions.clone() {
        for tile in operations.tiles.clone() {
            let first = (tile - operations.first_tile) * N;
            let mut numbers = Numbers {
                first,
                count: operations.outputs.saturating_sub(first).min(N),
                parts: [[0.0; N]; 4],
                count_of_parts: operations.parts,
                distance: operations.distance,
            };
            if let Some(sums) = operations.sums {
                let sums = sums
                    .start
                    .wrapping_add(position * sums.stride + tile * LANES);
                // SAFETY: every position has the sums of whole tiles.
                unsafe {
                    for part in 0..LANES / N {
                        numbers.parts[part] = read(sums.add(part * N), N);
                    }
                }
            }
            for place in operations.places {
                // SAFETY: the addresses are checked for the whole span and all outputs of
                // the group; only this member writes them.
                unsafe { numbers.apply(place, position) };
            }
        }
    }
}

impl<const N: usize> Numbers<N> {
    /// # Safety
    ///
    /// At the position, the numbers of the place for these outputs can be read or written.
    #[inline(always)]
    unsafe fn apply(&mut self, place: &Operand, position: usize) {
        let (first, count) = (self.first, self.count);
        match place {
            Operand::Load(from) => {
                let from = from.start.wrapping_add(position * from.stride + first);
                // SAFETY: the caller guarantees it.
                unsafe {
                    for part in 0..self.count_of_parts {
                        self.parts[part] = read(from.wrapping_add(part * self.distance), count);
                    }
                }
            }
            Operand::Add(from) => {
                let from = from.start.wrapping_add(position * from.stride + first);
                // SAFETY: the caller guarantees it.
                unsafe {
                    for part in 0..self.count_of_parts {
                        let from = from.wrapping_add(part * self.distance);
                        add(&mut self.parts[part], &read(from, count));
                    }
                }
            }
            // NaN or infinity must not silently become zero.
            Operand::Relu => self.each(|number| match number > 0.0 {
                true => number,
                false => (number * 0.0).abs(),
            }),
            Operand::Elu => self.each(elu::<Once>),
            Operand::Gate => {
                let [values, gates, ..] = &mut self.parts;
                for (value, gate) in values.iter_mut().zip(gates) {
                    let (tanh, sigmoid) = tanh_and_sigmoid::<Once>(*value, *gate);
                    *value = tanh * sigmoid;
                }
                self.count_of_parts = 1;
            }
            Operand::Lstm { before, cell } => {
                let before = before.start.wrapping_add(position * before.stride + first);
                let cell = cell.start.wrapping_add(position * cell.stride + first);
                // SAFETY: the caller guarantees it.
                let mut cells: [f32; N] = unsafe { read(before, count) };
                self.lstm(&mut cells);
                // SAFETY: the caller guarantees it.
                unsafe { write(cell, &cells, count) };
            }
            Operand::Store(to) => {
                let to = to.start.wrapping_add(position * to.stride + first);
                // SAFETY: the caller guarantees it.
                unsafe {
                    for part in 0..self.count_of_parts {
                        let to = to.wrapping_add(part * self.distance);
                        write(to, &self.parts[part], count);
                    }
                }
            }
        }
    }

    /// Hidden states from the gates, and cell states from those before.
    #[inline(always)]
    fn lstm(&mut self, cells: &mut [f32; N]) {
        let [outputs, forgets, inputs, contents] = &mut self.parts;
        for lane in 0..N {
            let (content, input) = tanh_and_sigmoid::<Once>(contents[lane], inputs[lane]);
            let forget = sigmoid::<Once>(forgets[lane]);
            cells[lane] = forget.mul_add(cells[lane], input * content);
            let (tanh, output) = tanh_and_sigmoid::<Once>(cells[lane], outputs[lane]);
            outputs[lane] = tanh * output;
        }
        self.count_of_parts = 1;
    }

    #[inline(always)]
    fn each(&mut self, act: impl Fn(f32) -> f32) {
        for part in &mut self.parts[..self.count_of_parts] {
            for value in part {
                *value = act(*value);
            }
        }
    }
}

#[inline(always)]
fn add<const N: usize>(numbers: &mut [f32; N], others: &[f32; N]) {
    for (number, other) in numbers.iter_mut().zip(others) {
        *number += other;
    }
}

/// `count` numbers, then zeros; as one vector if `count` is `N`, which is the usual case.
///
/// # Safety
///
/// `count` numbers can be read, at most `N`.
#[inline(always)]
unsafe fn read<const N: usize>(from: *const f32, count: usize) -> [f32; N] {
    if count == N {
        // SAFETY: the caller guarantees it.
        return unsafe { from.cast::<[f32; N]>().read() };
    }
    let mut numbers = [0.0; N];
    // SAFETY: the caller guarantees it.
    unsafe { copy(from, numbers.as_mut_ptr(), count) };
    numbers
}

/// Writes the first of some numbers.
///
/// # Safety
///
/// `count` numbers can be written, at most `N`.
#[inline(always)]
unsafe fn write<const N: usize>(to: *mut f32, numbers: &[f32; N], count: usize) {
    // SAFETY: the caller guarantees it.
    unsafe {
        match count == N {
            true => to.cast::<[f32; N]>().write(*numbers),
            false => copy(numbers.as_ptr(), to, count),
        }
    }
}

/// Copies less than a tile in parts of fixed sizes, because calling the system's copy
/// function for so few numbers takes longer.
///
/// # Safety
///
/// As `copy_nonoverlapping`.
#[inline(always)]
unsafe fn copy(from: *const f32, to: *mut f32, count: usize) {
    let mut done = 0;
    for part in [8, 4, 2, 1] {
        if count & part != 0 {
            // SAFETY: the caller guarantees it; the parts are `count` numbers together.
            unsafe { std::ptr::copy_nonoverlapping(from.add(done), to.add(done), part) };
            done += part;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_numbers_as_asked_are_read_and_written() {
        let from: [f32; LANES] = std::array::from_fn(|index| index as f32 + 1.0);
        for count in 0..=LANES {
            let expected: [f32; LANES] =
                std::array::from_fn(|lane| if lane < count { from[lane] } else { 0.0 });
            let mut to = [0.0; LANES];
            // SAFETY: both are a tile.
            let read: [f32; LANES] = unsafe {
                write(to.as_mut_ptr(), &from, count);
                read(from.as_ptr(), count)
            };
            assert_eq!((read, to), (expected, expected), "{count}");
        }
    }
}
