//! What the machine could do at most.

use std::time::{Duration, Instant};

use rayon::prelude::*;

use crate::Level;
use crate::lanes::Lanes;
use crate::level::dispatch;

/// Additions to each in a run.
const ROUNDS: usize = 1_000_000;

/// Floating-point operations a second that all threads of rayon's pool reach
/// together, multiplying and adding in registers: the best of the runs that fit
/// into about `time`, as others may disturb some. What shares of the machine's
/// peak are measured against.
///
/// # Example
///
/// ```
/// use std::time::Duration;
///
/// assert!(pixelcnn_kernels::peak_flops(Duration::from_millis(1)) > 0.0);
/// ```
pub fn peak_flops(time: Duration) -> f64 {
    let (level, threads) = (Level::current(), rayon::current_num_threads());
    let operations = threads * ROUNDS * sums(level) * 2 * level.width();
    let start = Instant::now();
    let mut best = 0f64;
    while start.elapsed() < time || best == 0.0 {
        let run = Instant::now();
        let threads = (0..threads).into_par_iter();
        threads.for_each(|_| dispatch!(level, multiply_and_add()));
        best = best.max(operations as f64 / run.elapsed().as_secs_f64());
    }
    best
}

/// Bytes a second that all threads of rayon's pool read together from `bytes`
/// bytes of memory, each its own part again and again, for about `time`: from
/// whichever cache holds so many.
///
/// # Example
///
/// ```
/// use std::time::Duration;
///
/// assert!(pixelcnn_kernels::peak_bandwidth(1 << 16, Duration::from_millis(1)) > 0.0);
/// ```
pub fn peak_bandwidth(bytes: usize, time: Duration) -> f64 {
    let (level, threads) = (Level::current(), rayon::current_num_threads());
    let length = (bytes / size_of::<f32>() / threads).next_multiple_of(READ) + READ;
    let numbers = vec![1f32; length * threads];
    let start = Instant::now();
    let mut runs = 0;
    while start.elapsed() < time || runs == 0 {
        numbers.par_chunks(length).for_each(|numbers| {
            for _ in 0..8 {
                dispatch!(level, read(numbers: &[f32]));
            }
        });
        runs += 8;
    }
    let read = runs * numbers.len() * size_of::<f32>();
    read as f64 / start.elapsed().as_secs_f64()
}

/// Numbers read at a time.
const READ: usize = 128;

#[inline(always)]
fn read<L: Lanes>(numbers: &[f32]) {
    // SAFETY: each vector lies within a chunk of `READ` numbers, which every
    // width divides.
    unsafe {
        let mut sums = [L::splat(0.0); 8];
        for chunk in numbers.chunks_exact(READ) {
            for start in (0..READ).step_by(8 * L::WIDTH) {
                for (index, sum) in sums.iter_mut().enumerate() {
                    let at = start + index * L::WIDTH;
                    if at < READ {
                        *sum = L::add(*sum, L::load(chunk.as_ptr().add(at)));
                    }
                }
            }
        }
        std::hint::black_box(sums);
    }
}

/// Independent sums: enough to hide the latency of one, and so few that all
/// stay in registers beside two constants. AVX-512 has 32 registers, AVX2 has
/// 16; plain code may need several operations for each.
fn sums(level: Level) -> usize {
    match level {
        Level::Avx512 => 24,
        Level::Avx2 => 12,
        Level::Portable => 8,
    }
}

#[inline(always)]
fn multiply_and_add<L: Lanes>() {
    match L::WIDTH {
        16 => add_to::<L, 24>(),
        8 => add_to::<L, 12>(),
        _ => add_to::<L, 8>(),
    }
}

#[inline(always)]
fn add_to<L: Lanes, const SUMS: usize>() {
    // SAFETY: no memory but an array's is touched.
    unsafe {
        let (factor, term) = (L::splat(0.5), L::splat(1.0));
        let mut sums = [L::splat(0.0); SUMS];
        for _ in 0..ROUNDS {
            for sum in &mut sums {
                *sum = L::multiply_add(*sum, factor, term);
            }
        }
        std::hint::black_box(sums);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_counted_as_they_are_added() {
        // The widths that `multiply_and_add` tells levels apart by.
        assert_eq!(Level::Portable.width(), 4);
        for level in Level::available() {
            let expected = match level.width() {
                16 => 24,
                8 => 12,
                _ => 8,
            };
            assert_eq!(sums(*level), expected);
        }
    }
}
