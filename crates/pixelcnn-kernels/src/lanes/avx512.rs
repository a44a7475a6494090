//! AVX-512.

use std::arch::x86_64::*;

use super::{Avx2, Lanes};

#[derive(Clone, Copy)]
pub(crate) struct Avx512;

// SAFETY of every block: the instructions exist wherever these functions run
// (see the trait), and the caller guarantees valid memory.
impl Lanes for Avx512 {
    const WIDTH: usize = 16;
    const FUSED: bool = true;
    const ROWS: usize = 14;
    type Vector = __m512;
    type Sixteen = crate::exact::Avx512Sixteen;
    type Mask = __mmask16;

    #[inline(always)]
    unsafe fn splat(value: f32) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_set1_ps(value) }
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_loadu_ps(from) }
    }

    #[inline(always)]
    unsafe fn store(to: *mut f32, value: __m512) {
        // SAFETY: see above.
        unsafe { _mm512_storeu_ps(to, value) }
    }

    #[inline(always)]
    unsafe fn prefetch(to: *const f32) {
        // SAFETY: a hint, which never faults.
        unsafe { _mm_prefetch::<_MM_HINT_ET0>(to.cast()) }
    }

    #[inline(always)]
    unsafe fn add(a: __m512, b: __m512) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_add_ps(a, b) }
    }

    #[inline(always)]
    unsafe fn multiply_add(a: __m512, b: __m512, c: __m512) -> __m512 {
        // SAFETY: see above.
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }

    #[inline(always)]
    unsafe fn mask(start: usize, end: usize) -> __mmask16 {
        let below = |lane: usize| (1u32 << lane.min(Self::WIDTH)) - 1;
        (below(end) & !below(start)) as __mmask16
    }

    #[inline(always)]
    unsafe fn load_masked(from: *const f32, mask: __mmask16) -> __m512 {
        // SAFETY: see above; lanes that are left out are not accessed.
        unsafe { _mm512_maskz_loadu_ps(mask, from) }
    }

    #[inline(always)]
    unsafe fn store_masked(to: *mut f32, value: __m512, mask: __mmask16) {
        // SAFETY: see above; lanes that are left out are not accessed.
        unsafe { _mm512_mask_storeu_ps(to, mask, value) }
    }

    #[inline(always)]
    unsafe fn transpose8(from: *const f32, from_stride: usize, to: *mut f32, to_stride: usize) {
        // SAFETY: see above.
        unsafe { Avx2::transpose8(from, from_stride, to, to_stride) }
    }
}
