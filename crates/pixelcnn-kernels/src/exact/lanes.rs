//! Vectors of sixteen numbers: the lanes of a tile.

/// Operations on sixteen numbers, each rounded once, with the same results on every level.
///
/// # Safety
///
/// As for [`Lanes`](crate::lanes::Lanes): the functions of a level may run
/// only where its instructions exist.
pub(crate) trait Sixteen: Copy {
    unsafe fn zero() -> Self;
    unsafe fn splat(value: f32) -> Self;
    /// # Safety
    /// Sixteen numbers can be read.
    unsafe fn load(from: *const f32) -> Self;
    /// # Safety
    /// Sixteen numbers can be written.
    unsafe fn store(self, to: *mut f32);
    /// `a b + self`, rounded once.
    unsafe fn add_product(self, a: Self, b: Self) -> Self;
}

/// For every processor. Without a fused multiply-add instruction, a slow function of
/// the system library gives the same bits.
#[derive(Clone, Copy)]
pub(crate) struct PortableSixteen([f32; 16]);

impl Sixteen for PortableSixteen {
    #[inline(always)]
    unsafe fn zero() -> Self {
        Self([0.0; 16])
    }

    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        Self([value; 16])
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller guarantees sixteen numbers.
        Self(unsafe { from.cast::<[f32; 16]>().read_unaligned() })
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the caller guarantees sixteen numbers.
        unsafe { to.cast::<[f32; 16]>().write_unaligned(self.0) }
    }

    #[inline(always)]
    unsafe fn add_product(self, a: Self, b: Self) -> Self {
        Self(std::array::from_fn(|lane| {
            a.0[lane].mul_add(b.0[lane], self.0[lane])
        }))
    }
}

#[cfg(target_arch = "x86_64")]
pub(crate) use x86::{Avx2Sixteen, Avx512Sixteen};

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::Sixteen;

    #[derive(Clone, Copy)]
    pub(crate) struct Avx2Sixteen(__m256, __m256);

    // SAFETY of every block: the instructions exist wherever these functions
    // run (see the trait), and the caller guarantees valid memory.
    impl Sixteen for Avx2Sixteen {
        #[inline(always)]
        unsafe fn zero() -> Self {
            // SAFETY: see above.
            unsafe { Self(_mm256_setzero_ps(), _mm256_setzero_ps()) }
        }

        #[inline(always)]
        unsafe fn splat(value: f32) -> Self {
            // SAFETY: see above.
            unsafe { Self(_mm256_set1_ps(value), _mm256_set1_ps(value)) }
        }

        #[inline(always)]
        unsafe fn load(from: *const f32) -> Self {
            // SAFETY: see above.
            unsafe { Self(_mm256_loadu_ps(from), _mm256_loadu_ps(from.add(8))) }
        }

        #[inline(always)]
        unsafe fn store(self, to: *mut f32) {
            // SAFETY: see above.
            unsafe {
                _mm256_storeu_ps(to, self.0);
                _mm256_storeu_ps(to.add(8), self.1);
            }
        }

        #[inline(always)]
        unsafe fn add_product(self, a: Self, b: Self) -> Self {
            // SAFETY: see above.
            unsafe {
                Self(
                    _mm256_fmadd_ps(a.0, b.0, self.0),
                    _mm256_fmadd_ps(a.1, b.1, self.1),
                )
            }
        }
    }

    #[derive(Clone, Copy)]
    pub(crate) struct Avx512Sixteen(__m512);

    // SAFETY of every block: as in the module above.
    impl Sixteen for Avx512Sixteen {
        #[inline(always)]
        unsafe fn zero() -> Self {
            // SAFETY: see above.
            unsafe { Self(_mm512_setzero_ps()) }
        }

        #[inline(always)]
        unsafe fn splat(value: f32) -> Self {
            // SAFETY: see above.
            unsafe { Self(_mm512_set1_ps(value)) }
        }

        #[inline(always)]
        unsafe fn load(from: *const f32) -> Self {
            // SAFETY: see above.
            unsafe { Self(_mm512_loadu_ps(from)) }
        }

        #[inline(always)]
        unsafe fn store(self, to: *mut f32) {
            // SAFETY: see above.
            unsafe { _mm512_storeu_ps(to, self.0) }
        }

        #[inline(always)]
        unsafe fn add_product(self, a: Self, b: Self) -> Self {
            // SAFETY: see above.
            unsafe { Self(_mm512_fmadd_ps(a.0, b.0, self.0)) }
        }
    }
}
