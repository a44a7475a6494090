//! Plain Rust, for every processor.

use super::Lanes;

#[derive(Clone, Copy)]
pub(crate) struct Portable;

const WIDTH: usize = 4;

impl Lanes for Portable {
    const WIDTH: usize = WIDTH;
    // Without this instruction in the processor, a fused multiply-add is a slow function
    // call.
    const FUSED: bool = cfg!(any(target_feature = "fma", target_arch = "aarch64"));
    const ROWS: usize = 4;
    type Vector = [f32; WIDTH];
    type Sixteen = crate::exact::PortableSixteen;
    type Mask = (usize, usize);

    #[inline(always)]
    unsafe fn splat(value: f32) -> Self::Vector {
        [value; WIDTH]
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self::Vector {
        // SAFETY: the caller guarantees `WIDTH` numbers.
        unsafe { from.cast::<Self::Vector>().read_unaligned() }
    }

    #[inline(always)]
    unsafe fn store(to: *mut f32, value: Self::Vector) {
        // SAFETY: the caller guarantees `WIDTH` numbers.
        unsafe { to.cast::<Self::Vector>().write_unaligned(value) }
    }

    #[inline(always)]
    unsafe fn add(a: Self::Vector, b: Self::Vector) -> Self::Vector {
        std::array::from_fn(|lane| a[lane] + b[lane])
    }

    #[inline(always)]
    unsafe fn multiply_add(a: Self::Vector, b: Self::Vector, c: Self::Vector) -> Self::Vector {
        std::array::from_fn(|lane| match Self::FUSED {
            true => a[lane].mul_add(b[lane], c[lane]),
            false => a[lane] * b[lane] + c[lane],
        })
    }

    #[inline(always)]
    unsafe fn mask(start: usize, end: usize) -> Self::Mask {
        (start, end.min(WIDTH))
    }

    #[inline(always)]
    unsafe fn load_masked(from: *const f32, (start, end): Self::Mask) -> Self::Vector {
        if (start, end) == (0, WIDTH) {
            // SAFETY: all lanes are open.
            return unsafe { Self::load(from) };
        }
        let mut value = [0.0; WIDTH];
        for (lane, value) in value.iter_mut().enumerate() {
            if start <= lane && lane < end {
                // SAFETY: the lane is open; the address may lie outside of
                // the object only for lanes that are not.
                *value = unsafe { *from.wrapping_add(lane) };
            }
        }
        value
    }

    #[inline(always)]
    unsafe fn store_masked(to: *mut f32, value: Self::Vector, (start, end): Self::Mask) {
        for (lane, value) in value.iter().enumerate() {
            if start <= lane && lane < end {
                // SAFETY: the lane is open.
                unsafe { *to.wrapping_add(lane) = *value };
            }
        }
    }

    #[inline(always)]
    unsafe fn transpose8(from: *const f32, from_stride: usize, to: *mut f32, to_stride: usize) {
        for i in 0..8 {
            for j in 0..8 {
                // SAFETY: the caller guarantees both blocks.
                unsafe { *to.add(j * to_stride + i) = *from.add(i * from_stride + j) };
            }
        }
    }
}
