//! Buffers of numbers without initialisation.

use std::cell::Cell;
use std::mem::MaybeUninit;

thread_local! {
    static SCRATCH: Cell<Vec<f32>> = const { Cell::new(Vec::new()) };
}

/// Runs `work` with buffers of these lengths and arbitrary content. The buffers are kept
/// for the next call from the same thread.
pub(crate) fn scratch<const COUNT: usize, T>(
    lengths: [usize; COUNT],
    work: impl FnOnce([&mut [f32]; COUNT]) -> T,
) -> T {
    let mut buffer = SCRATCH.take();
    let total: usize = lengths.iter().sum();
    if buffer.len() < total {
        buffer = vec![0.0; total];
    }
    let mut rest = buffer.as_mut_slice();
    let parts = lengths.map(|length| {
        let (part, after) = std::mem::take(&mut rest).split_at_mut(length);
        rest = after;
        part
    });
    let result = work(parts);
    SCRATCH.set(buffer);
    result
}

/// A vector of `length` numbers that `fill` writes.
///
/// # Safety
///
/// `fill` writes every number.
pub(crate) unsafe fn written(
    length: usize,
    fill: impl FnOnce(&mut [MaybeUninit<f32>]),
) -> Vec<f32> {
    let mut values = Vec::with_capacity(length);
    fill(&mut values.spare_capacity_mut()[..length]);
    // SAFETY: `fill` has written them all.
    unsafe { values.set_len(length) };
    values
}

/// Maps of a batch of images: the maps of an image are contiguous, images are
/// `stride` apart.
#[derive(Clone, Copy)]
pub(crate) struct Maps<'a> {
    pub values: &'a [f32],
    pub stride: usize,
}

impl<'a> Maps<'a> {
    /// The first `length` numbers of an image.
    pub(crate) fn image(&self, index: usize, length: usize) -> &'a [f32] {
        &self.values[index * self.stride..][..length]
    }

    /// From map `first` of each image on.
    pub(crate) fn from(&self, first: usize, area: usize) -> Self {
        Self {
            values: &self.values[first * area..],
            ..*self
        }
    }
}

/// Maps that several threads write, each thread its own maps.
#[derive(Clone, Copy)]
pub(crate) struct Target {
    start: *mut f32,
    length: usize,
    pub stride: usize,
}

// SAFETY: each thread writes only its own numbers.
unsafe impl Send for Target {}
// SAFETY: as above.
unsafe impl Sync for Target {}

impl Target {
    pub(crate) fn new(values: &mut [MaybeUninit<f32>], stride: usize) -> Self {
        Self {
            start: values.as_mut_ptr().cast(),
            length: values.len(),
            stride,
        }
    }

    /// From map `first` of each image on.
    pub(crate) fn from(&self, first: usize, area: usize) -> Self {
        assert!(first * area <= self.length);
        Self {
            start: self.start.wrapping_add(first * area),
            length: self.length - first * area,
            ..*self
        }
    }

    /// The address of `length` numbers of an image from `first` on.
    pub(crate) fn address(&self, image: usize, first: usize, length: usize) -> *mut f32 {
        let offset = image * self.stride + first;
        assert!(offset + length <= self.length);
        self.start.wrapping_add(offset)
    }

    /// One map.
    ///
    /// # Safety
    ///
    /// No other thread uses the map, and its memory lives as long as the slice.
    pub(crate) unsafe fn map<'a>(
        self,
        image: usize,
        map: usize,
        area: usize,
    ) -> &'a mut [MaybeUninit<f32>] {
        let start = self.address(image, map * area, area);
        // SAFETY: the address is that of `area` numbers, and only the caller uses them.
        unsafe { std::slice::from_raw_parts_mut(start.cast(), area) }
    }
}
