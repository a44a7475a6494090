//! The peak speed of the machine.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rayon::prelude::*;

use crate::Level;
use crate::lanes::Lanes;
use crate::level::dispatch;

/// Additions per sum in a run.
const ROUNDS: usize = 1_000_000;

/// Peak floating-point operations per second of all threads of rayon's pool
/// together, multiplying and adding in registers. This is the best of the runs within
/// about `time`, because other processes may disturb some.
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
    let start = Instant::now();
    let mut best = 0f64;
    while start.elapsed() < time || best == 0.0 {
        for sums in SUMS {
            let operations = &AtomicUsize::new(0);
            let run = Instant::now();
            (0..threads).into_par_iter().for_each(|_| {
                dispatch!(level, multiply_and_add(sums: usize, operations: &AtomicUsize));
            });
            let seconds = run.elapsed().as_secs_f64();
            best = best.max(operations.load(Ordering::Relaxed) as f64 / seconds);
        }
    }
    best
}

/// Bytes per second that all threads of rayon's pool together read from `bytes`
/// bytes of memory, each thread its own part repeatedly, for about `time`. The
/// size decides which cache is measured.
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
    // SAFETY: each vector is inside a chunk of `READ` numbers, which every width divides.
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

/// Numbers of independent sums that are tried: enough to hide the latency of one sum,
/// few enough to stay in registers. The best number depends on the
/// processor.
const SUMS: [usize; 4] = [8, 10, 12, 24];

/// Computes `sums` sums in parallel, and counts the operations.
#[inline(always)]
fn multiply_and_add<L: Lanes>(sums: usize, operations: &AtomicUsize) {
    match sums {
        8 => add_to::<L, 8>(operations),
        10 => add_to::<L, 10>(operations),
        12 => add_to::<L, 12>(operations),
        _ => add_to::<L, 24>(operations),
    }
}

#[inline(always)]
fn add_to<L: Lanes, const SUMS: usize>(operations: &AtomicUsize) {
    // SAFETY: only the memory of an array is used.
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
    operations.fetch_add(2 * L::WIDTH * SUMS * ROUNDS, Ordering::Relaxed);
}
