//! Elementwise operations on sums.

use std::ops::Range;

use super::product::{LANES, Strided};
use crate::arithmetic::{Once, elu, tanh_and_sigmoid};
use crate::lanes::Lanes;

/// Half of a tile: its number of outputs if the other half has the sums of their gates.
const HALF: usize = LANES / 2;

/// An operation, and the place of its numbers at the first position and output.
#[derive(Clone, Copy)]
pub(super) enum Operand {
    Load(Strided<*const f32>),
    Add(Strided<*const f32>),
    Relu,
    Elu,
    Gate,
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
    /// Distance from the first to the second half of the maps, if there is a gate.
    pub half: Option<usize>,
    pub tiles: Range<usize>,
    pub positions: Range<usize>,
}

/// Outputs `first..first + count` and their current numbers. Each half is aligned as one
/// vector, because reading from parts of vectors or from two cache lines is slow.
#[repr(C, align(64))]
struct Numbers<const N: usize> {
    /// Before a gate: the numbers of the first half of the maps.
    values: [f32; N],
    /// The numbers of the second half.
    gates: [f32; N],
    /// Before a gate: the distance from the first to the second half of the maps.
    half: Option<usize>,
    first: usize,
    count: usize,
}

#[inline(always)]
pub(super) fn apply<L: Lanes>(operations: &Operations) {
    match operations.lanes {
        HALF => in_tiles::<HALF>(operations),
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
                half: operations.half,
                values: [0.0; N],
                gates: [0.0; N],
            };
            if let Some(sums) = operations.sums {
                let sums = sums
                    .start
                    .wrapping_add(position * sums.stride + tile * LANES);
                // SAFETY: every position has the sums of whole tiles.
                unsafe {
                    numbers.values = read(sums, N);
                    if N == HALF {
                        numbers.gates = read(sums.add(N), N);
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
                    self.values = read(from, count);
                    if let Some(half) = self.half {
                        self.gates = read(from.wrapping_add(half), count);
                    }
                }
            }
            Operand::Add(from) => {
                let from = from.start.wrapping_add(position * from.stride + first);
                // SAFETY: the caller guarantees it.
                unsafe {
                    add(&mut self.values, &read(from, count));
                    if let Some(half) = self.half {
                        add(&mut self.gates, &read(from.wrapping_add(half), count));
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
                for (value, gate) in self.values.iter_mut().zip(&self.gates) {
                    let (tanh, sigmoid) = tanh_and_sigmoid::<Once>(*value, *gate);
                    *value = tanh * sigmoid;
                }
                self.half = None;
            }
            Operand::Store(to) => {
                let to = to.start.wrapping_add(position * to.stride + first);
                // SAFETY: the caller guarantees it.
                unsafe {
                    write(to, &self.values, count);
                    if let Some(half) = self.half {
                        write(to.wrapping_add(half), &self.gates, count);
                    }
                }
            }
        }
    }

    #[inline(always)]
    fn each(&mut self, act: impl Fn(f32) -> f32) {
        for value in &mut self.values {
            *value = act(*value);
        }
        if self.half.is_some() {
            for gate in &mut self.gates {
                *gate = act(*gate);
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
