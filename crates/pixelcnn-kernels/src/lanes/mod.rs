//! A vector of f32 numbers, for each instruction-set level.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod portable;

use crate::exact::Sixteen;

#[cfg(target_arch = "x86_64")]
pub(crate) use avx2::Avx2;
#[cfg(target_arch = "x86_64")]
pub(crate) use avx512::Avx512;
pub(crate) use portable::Portable;

/// Operations on `WIDTH` numbers at a time.
///
/// # Safety
///
/// The functions of a level may run only where its instructions exist. All
/// callers are `#[inline(always)]` functions that only
/// [`dispatch`](crate::level::dispatch) instantiates, behind its check.
pub(crate) trait Lanes: Copy + Send + Sync + 'static {
    /// Numbers in a vector.
    const WIDTH: usize;
    /// Whether `multiply_add` rounds once.
    const FUSED: bool;
    /// Rows of the largest tile of a matrix product whose sums stay in
    /// registers.
    const ROWS: usize;
    type Vector: Copy;
    /// A tile of the exact engine.
    type Sixteen: Sixteen;
    /// The lanes of a masked load or store.
    type Mask: Copy;

    unsafe fn splat(value: f32) -> Self::Vector;
    /// # Safety
    /// `WIDTH` numbers can be read.
    unsafe fn load(from: *const f32) -> Self::Vector;
    /// # Safety
    /// `WIDTH` numbers can be written.
    unsafe fn store(to: *mut f32, value: Self::Vector);
    /// Prefetches the cache line at `to` (any address) for writing, if
    /// there is an instruction for it.
    unsafe fn prefetch(_to: *const f32) {}
    unsafe fn add(a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// `a b + c`.
    unsafe fn multiply_add(a: Self::Vector, b: Self::Vector, c: Self::Vector) -> Self::Vector;
    /// Lanes `start..end`; an `end` before `start` gives none.
    unsafe fn mask(start: usize, end: usize) -> Self::Mask;
    /// Zero in the lanes outside the mask, which are not read.
    ///
    /// # Safety
    /// The numbers of the mask's lanes can be read.
    unsafe fn load_masked(from: *const f32, mask: Self::Mask) -> Self::Vector;
    /// # Safety
    /// The numbers of the mask's lanes can be written.
    unsafe fn store_masked(to: *mut f32, value: Self::Vector, mask: Self::Mask);
    /// Writes an 8x8 block transposed: `to[j * to_stride + i] = from[i * from_stride + j]`.
    ///
    /// # Safety
    /// Eight rows of eight can be read and written.
    unsafe fn transpose8(from: *const f32, from_stride: usize, to: *mut f32, to_stride: usize);
}
