//! AVX2 with fused multiply-add.

use std::arch::x86_64::*;

use super::Lanes;

#[derive(Clone, Copy)]
pub(crate) struct Avx2;

// SAFETY of every block: the instructions exist wherever these functions run
// (see the trait), and the caller guarantees valid memory.
impl Lanes for Avx2 {
    const WIDTH: usize = 8;
    const FUSED: bool = true;
    const ROWS: usize = 6;
    type Vector = __m256;
    type Sixteen = crate::exact::Avx2Sixteen;
    type Mask = __m256i;

    #[inline(always)]
    unsafe fn splat(value: f32) -> __m256 {
        // SAFETY: see above.
        unsafe { _mm256_set1_ps(value) }
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> __m256 {
        // SAFETY: see above.
        unsafe { _mm256_loadu_ps(from) }
    }

    #[inline(always)]
    unsafe fn store(to: *mut f32, value: __m256) {
        // SAFETY: see above.
        unsafe { _mm256_storeu_ps(to, value) }
    }

    #[inline(always)]
    unsafe fn add(a: __m256, b: __m256) -> __m256 {
        // SAFETY: see above.
        unsafe { _mm256_add_ps(a, b) }
    }

    #[inline(always)]
    unsafe fn multiply_add(a: __m256, b: __m256, c: __m256) -> __m256 {
        // SAFETY: see above.
        unsafe { _mm256_fmadd_ps(a, b, c) }
    }

    #[inline(always)]
    unsafe fn mask(start: usize, end: usize) -> __m256i {
        let bound = |lane: usize| lane.min(Self::WIDTH) as i32;
        // SAFETY: see above.
        unsafe {
            let lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
            let before = _mm256_cmpgt_epi32(_mm256_set1_epi32(bound(end)), lanes);
            let after = _mm256_cmpgt_epi32(_mm256_set1_epi32(bound(start)), lanes);
            _mm256_andnot_si256(after, before)
        }
    }

    #[inline(always)]
    unsafe fn load_masked(from: *const f32, mask: __m256i) -> __m256 {
        // SAFETY: see above; lanes that are left out are not accessed.
        unsafe { _mm256_maskload_ps(from, mask) }
    }

    #[inline(always)]
    unsafe fn store_masked(to: *mut f32, value: __m256, mask: __m256i) {
        // SAFETY: see above; lanes that are left out are not accessed.
        unsafe { _mm256_maskstore_ps(to, mask, value) }
    }

    #[inline(always)]
    unsafe fn transpose8(from: *const f32, from_stride: usize, to: *mut f32, to_stride: usize) {
        // SAFETY: see above.
        unsafe {
            let mut rows = [_mm256_setzero_ps(); 8];
            for (i, row) in rows.iter_mut().enumerate() {
                *row = _mm256_loadu_ps(from.add(i * from_stride));
            }
            // Pairs of rows interleaved, then pairs of pairs, then halves.
            let mut quads = [_mm256_setzero_ps(); 8];
            for half in [0, 4] {
                let low = _mm256_unpacklo_ps(rows[half], rows[half + 1]);
                let high = _mm256_unpackhi_ps(rows[half], rows[half + 1]);
                let next_low = _mm256_unpacklo_ps(rows[half + 2], rows[half + 3]);
                let next_high = _mm256_unpackhi_ps(rows[half + 2], rows[half + 3]);
                quads[half] = _mm256_shuffle_ps::<0x44>(low, next_low);
                quads[half + 1] = _mm256_shuffle_ps::<0xee>(low, next_low);
                quads[half + 2] = _mm256_shuffle_ps::<0x44>(high, next_high);
                quads[half + 3] = _mm256_shuffle_ps::<0xee>(high, next_high);
            }
            for j in 0..4 {
                let low = _mm256_permute2f128_ps::<0x20>(quads[j], quads[j + 4]);
                let high = _mm256_permute2f128_ps::<0x31>(quads[j], quads[j + 4]);
                _mm256_storeu_ps(to.add(j * to_stride), low);
                _mm256_storeu_ps(to.add((j + 4) * to_stride), high);
            }
        }
    }
}
