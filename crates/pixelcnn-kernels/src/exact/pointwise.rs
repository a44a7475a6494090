//! What becomes of sums, number by number.

use std::ops::Range;

use super::product::{LANES, Strided};
use crate::arithmetic::{Once, elu, tanh_and_sigmoid};
use crate::lanes::Lanes;

/// Half of a tile: outputs of a gate.
const HALF: usize = LANES / 2;

/// An operation, and where its numbers lie at the first position and output.
#[derive(Clone, Copy)]
pub(super) enum Place {
    Load(Strided<*const f32>),
    Add(Strided<*const f32>),
    Relu,
    Elu,
    Gate,
    Store(Strided<*mut f32>),
}

/// What one member of a team does with some tiles at some positions.
pub(super) struct Operations<'a> {
    /// What it begins with; without it, with a load. From tile 0 on.
    pub sums: Option<Strided<*const f32>>,
    pub places: &'a [Place],
    /// Outputs of a tile.
    pub lanes: usize,
    /// Of the colour group.
    pub first_tile: usize,
    pub outputs: usize,
    /// From the first to the second half of the maps before a gate.
    pub half: usize,
    pub tiles: Range<usize>,
    pub positions: Range<usize>,
}

/// The outputs of a tile that there are: numbers `first..first + count`, and before
/// a gate as many from `first + half` on.
#[derive(Clone, Copy)]
struct Part {
    first: usize,
    count: usize,
    half: Option<usize>,
}

#[inline(always)]
pub(super) fn apply<L: Lanes>(operations: &Operations) {
    for position in operations.positions.clone() {
        for tile in operations.tiles.clone() {
            let first = (tile - operations.first_tile) * operations.lanes;
            let left = operations.outputs.saturating_sub(first);
            let mut part = Part {
                first,
                count: left.min(operations.lanes),
                half: (operations.lanes == HALF).then_some(operations.half),
            };
            let mut numbers = [0.0; LANES];
            if let Some(sums) = operations.sums {
                let sums = sums
                    .start
                    .wrapping_add(position * sums.stride + tile * LANES);
                // SAFETY: the sums of whole tiles are there at each position.
                numbers = unsafe { sums.cast::<[f32; LANES]>().read() };
            }
            for place in operations.places {
                // SAFETY: the addresses are checked for the whole span and all
                // outputs of the group; what is written is this member's alone.
                unsafe { one(place, position, &mut part, &mut numbers) };
            }
        }
    }
}

/// # Safety
///
/// At the position, the place's numbers of the part can be read, or written.
#[inline(always)]
unsafe fn one(place: &Place, position: usize, part: &mut Part, numbers: &mut [f32; LANES]) {
    match place {
        // SAFETY: the caller's.
        Place::Load(from) => *numbers = unsafe { read(from, position, *part) },
        Place::Add(from) => {
            // SAFETY: the caller's.
            let others = unsafe { read(from, position, *part) };
            for (number, other) in numbers.iter_mut().zip(&others) {
                *number += other;
            }
        }
        Place::Relu => {
            for number in numbers {
                *number = if *number > 0.0 { *number } else { 0.0 };
            }
        }
        Place::Elu => {
            for number in numbers {
                *number = elu::<Once>(*number);
            }
        }
        Place::Gate => {
            let (values, gates) = numbers.split_at_mut(HALF);
            for (value, gate) in values.iter_mut().zip(gates) {
                let (tanh, sigmoid) = tanh_and_sigmoid::<Once>(*value, *gate);
                *value = tanh * sigmoid;
            }
            part.half = None;
        }
        // SAFETY: the caller's.
        Place::Store(to) => unsafe { write(to, position, *part, numbers) },
    }
}

/// The numbers of a part, zeros where there are none.
///
/// # Safety
///
/// They can be read at the position.
#[inline(always)]
unsafe fn read(from: &Strided<*const f32>, position: usize, part: Part) -> [f32; LANES] {
    let from = from.start.wrapping_add(position * from.stride + part.first);
    let mut numbers = [0.0; LANES];
    let to = numbers.as_mut_ptr();
    // SAFETY: the caller's; a part is at most a tile, or half a tile twice.
    unsafe {
        copy(from, to, part.count);
        if let Some(half) = part.half {
            copy(from.wrapping_add(half), to.add(HALF), part.count);
        }
    }
    numbers
}

/// Writes the numbers of a part.
///
/// # Safety
///
/// They can be written at the position.
#[inline(always)]
unsafe fn write(to: &Strided<*mut f32>, position: usize, part: Part, numbers: &[f32; LANES]) {
    let to = to.start.wrapping_add(position * to.stride + part.first);
    let from = numbers.as_ptr();
    // SAFETY: as in `read`.
    unsafe {
        copy(from, to, part.count);
        if let Some(half) = part.half {
            copy(from.add(HALF), to.wrapping_add(half), part.count);
        }
    }
}

/// Copies some numbers; whole and half tiles, which are nearly all, as vectors.
///
/// # Safety
///
/// As `copy_nonoverlapping`.
#[inline(always)]
unsafe fn copy(from: *const f32, to: *mut f32, count: usize) {
    // SAFETY: the caller's.
    unsafe {
        match count {
            LANES => std::ptr::copy_nonoverlapping(from, to, LANES),
            HALF => std::ptr::copy_nonoverlapping(from, to, HALF),
            _ => std::ptr::copy_nonoverlapping(from, to, count),
        }
    }
}
