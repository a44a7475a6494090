//! Where maps and gradients are in the memory of a step.

/// Places in one region of memory, which can be used again after their last use.
#[derive(Debug, Default)]
pub(super) struct Memory {
    end: usize,
    /// Places that are no longer used: bytes and offset.
    free: Vec<(usize, usize)>,
}

/// Rows of maps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rows {
    /// Bytes from the start of the memory.
    pub offset: usize,
    pub bytes: usize,
    pub channels: usize,
    /// Numbers from one row to the next.
    pub stride: usize,
}

/// Kernels and products read 16 bytes at a time; cuBLAS prefers more.
const ALIGNED: usize = 256;

impl Memory {
    /// A place of this many bytes.
    pub(super) fn take(&mut self, bytes: usize) -> usize {
        let bytes = bytes.next_multiple_of(ALIGNED);
        if let Some(found) = self.free.iter().position(|(free, _)| *free == bytes) {
            return self.free.swap_remove(found).1;
        }
        let offset = self.end;
        self.end += bytes;
        offset
    }

    /// Gives a place back: what is launched later may use it.
    pub(super) fn give(&mut self, offset: usize, bytes: usize) {
        self.free.push((bytes.next_multiple_of(ALIGNED), offset));
    }

    /// Bytes of the whole region.
    pub(super) fn bytes(&self) -> usize {
        self.end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_that_was_given_back_is_used_again() {
        let mut memory = Memory::default();
        let [one, two] = [10, 300].map(|bytes| memory.take(bytes));
        assert_eq!((one, two, memory.bytes()), (0, 256, 768));
        memory.give(two, 300);
        assert_eq!(memory.take(10), 768);
        assert_eq!(memory.take(512), two);
    }
}
