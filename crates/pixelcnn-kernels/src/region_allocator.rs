//! An allocator that keeps large blocks of memory.

use std::alloc::{GlobalAlloc, Layout};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// An allocator for programs that train. Blocks of half a MiB or more come
/// from one region of huge pages, which is never returned to the system.
/// Smaller blocks, and blocks that do not fit into the region, come from the
/// wrapped allocator.
///
/// Every training step allocates and frees the same large tensors.
/// An ordinary allocator returns them to the system, which clears each page
/// before it is used again. Also, the maps of a tensor are so far apart that with
/// 4 KiB pages address translation is slower than the computation.
///
/// A block takes the lowest free addresses, so that memory stays at
/// the peak need of the process. On systems other than 64-bit Linux,
/// the inner allocator does everything.
///
/// # Example
///
/// ```
/// use std::alloc::System;
/// use pixelcnn_kernels::RegionAllocator;
///
/// #[global_allocator]
/// static ALLOCATOR: RegionAllocator<System> = RegionAllocator::new(System);
///
/// let numbers = vec![1f32; 1 << 20];
/// assert_eq!(numbers.iter().sum::<f32>(), 1048576.0);
/// ```
#[derive(Debug)]
pub struct RegionAllocator<A> {
    inner: A,
    region: Mutex<Region>,
}

/// Sizes are rounded up to a multiple of this.
const UNIT: usize = 256 << 10;
/// The least size of a large block.
const LARGE: usize = 2 * UNIT;
/// Units of the region: 64 GiB of addresses, which take memory only when used.
const UNITS: usize = 1 << 18;

#[derive(Debug)]
struct Region {
    /// Address, 0 before the first use.
    start: usize,
    /// A bit for each unit in use.
    used: [u64; UNITS / 64],
    /// Units from here on have never been used and are zero.
    fresh: usize,
}

impl<A> RegionAllocator<A> {
    /// Around another allocator.
    pub const fn new(inner: A) -> Self {
        let region = Region {
            start: 0,
            used: [0; UNITS / 64],
            fresh: 0,
        };
        Self {
            inner,
            region: Mutex::new(region),
        }
    }

    fn region(&self) -> MutexGuard<'_, Region> {
        self.region.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A block of the region, and the number of first bytes that may not be zero.
    fn take(&self, layout: &Layout) -> Option<(*mut u8, usize)> {
        if layout.size() < LARGE || layout.align() > UNIT {
            return None;
        }
        self.region().take(layout.size().div_ceil(UNIT))
    }
}

impl Region {
    fn take(&mut self, units: usize) -> Option<(*mut u8, usize)> {
        if self.start == 0 {
            self.start = map()?;
        }
        let first = self.free_run(units)?;
        self.set(first, units, true);
        let old = self.fresh.saturating_sub(first).min(units) * UNIT;
        self.fresh = self.fresh.max(first + units);
        Some(((self.start + first * UNIT) as *mut u8, old))
    }

    /// Frees a block if it belongs to the region.
    fn give_back(&mut self, block: *mut u8, size: usize) -> bool {
        let offset = (block as usize).wrapping_sub(self.start);
        if self.start == 0 || offset >= UNITS * UNIT {
            return false;
        }
        self.set(offset / UNIT, size.div_ceil(UNIT), false);
        true
    }

    /// The lowest run of this many free units.
    fn free_run(&self, units: usize) -> Option<usize> {
        let (mut first, mut length) = (0, 0);
        for (index, word) in self.used.iter().enumerate() {
            if *word == u64::MAX {
                (first, length) = ((index + 1) * 64, 0);
                continue;
            }
            for bit in 0..64 {
                if word >> bit & 1 == 1 {
                    (first, length) = (index * 64 + bit + 1, 0);
                } else {
                    length += 1;
                    if length == units {
                        return Some(first);
                    }
                }
            }
        }
        None
    }

    fn set(&mut self, first: usize, units: usize, used: bool) {
        for unit in first..first + units {
            let bit = 1 << (unit % 64);
            match used {
                true => self.used[unit / 64] |= bit,
                false => self.used[unit / 64] &= !bit,
            }
        }
    }
}

/// Reserves the region and returns its address.
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
fn map() -> Option<usize> {
    let kind = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    let access = libc::PROT_READ | libc::PROT_WRITE;
    let length = (UNITS + 8) * UNIT;
    // SAFETY: a new mapping at an address of the system's choice.
    let start = unsafe { libc::mmap(std::ptr::null_mut(), length, access, kind, -1, 0) };
    if start == libc::MAP_FAILED {
        return None;
    }
    // Huge pages begin at multiples of 2 MiB.
    let start = (start as usize).next_multiple_of(8 * UNIT);
    // SAFETY: the mapping is ours, and the advice does not change its content. Without huge
    // pages the system refuses it, which has no effect.
    unsafe {
        libc::madvise(
            start as *mut libc::c_void,
            UNITS * UNIT,
            libc::MADV_HUGEPAGE,
        )
    };
    Some(start)
}

#[cfg(not(all(target_os = "linux", target_pointer_width = "64")))]
fn map() -> Option<usize> {
    None
}

// SAFETY: a block of the region is aligned to `UNIT`, at least as long as requested, and
// marked as used until it is freed, so that no two blocks overlap. All other blocks are
// from the inner allocator, which also frees them.
unsafe impl<A: GlobalAlloc> GlobalAlloc for RegionAllocator<A> {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        match self.take(&layout) {
            Some((block, _)) => block,
            // SAFETY: the caller guarantees it.
            None => unsafe { self.inner.alloc(layout) },
        }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        match self.take(&layout) {
            Some((block, old)) => {
                // SAFETY: the block is at least this long.
                unsafe { block.write_bytes(0, old.min(layout.size())) };
                block
            }
            // SAFETY: the caller guarantees it.
            None => unsafe { self.inner.alloc_zeroed(layout) },
        }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if layout.size() < LARGE || !self.region().give_back(block, layout.size()) {
            // SAFETY: the caller guarantees it; the block is not in the region.
            unsafe { self.inner.dealloc(block, layout) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::alloc::System;

    static ALLOCATOR: RegionAllocator<System> = RegionAllocator::new(System);

    #[test]
    fn blocks_do_not_overlap_and_zeroed_ones_are_zero() {
        let layouts: Vec<_> = [100, LARGE, 3 * UNIT + 1, 5 << 20, 70 << 20]
            .map(|size| Layout::from_size_align(size, 64).unwrap())
            .into();
        for round in 0..3u8 {
            let mut blocks = Vec::new();
            for (index, layout) in layouts.iter().enumerate() {
                // SAFETY: blocks are used within their layouts.
                unsafe {
                    let block = ALLOCATOR.alloc_zeroed(*layout);
                    let bytes = std::slice::from_raw_parts_mut(block, layout.size());
                    assert!(bytes.iter().all(|byte| *byte == 0), "round {round}");
                    bytes.fill(index as u8 + 1);
                    blocks.push(bytes);
                }
            }
            for (index, (bytes, layout)) in blocks.into_iter().zip(&layouts).enumerate() {
                assert!(bytes.iter().all(|byte| *byte == index as u8 + 1));
                // SAFETY: each block is freed once, with its layout.
                unsafe { ALLOCATOR.dealloc(bytes.as_mut_ptr(), *layout) };
            }
        }
    }

    #[test]
    fn the_lowest_units_that_are_free_are_taken() {
        static REGION: RegionAllocator<System> = RegionAllocator::new(System);
        let mut region = REGION.region();
        region.set(0, 130, true);
        region.set(3, 2, false);
        region.set(70, 5, false);
        assert_eq!(region.free_run(2), Some(3));
        assert_eq!(region.free_run(3), Some(70));
        assert_eq!(region.free_run(6), Some(130));
        assert_eq!(region.free_run(UNITS), None);
    }
}
