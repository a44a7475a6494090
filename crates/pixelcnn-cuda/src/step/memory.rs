//! Where maps and gradients are in the memory of a step.

/// Places in one region of memory, which can be used again after their last use.
#[derive(Debug, Default)]
pub(super) struct Memory {
    end: usize,
    free: Vec<Place>,
}

/// Bytes from `offset`, for rows of so many channels or, with 0, for anything else.
///
/// A place serves only one number of channels, because the ends of rows are written once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub offset: usize,
    pub bytes: usize,
    pub channels: usize,
}

/// Kernels and products read 16 bytes at a time; cuBLAS prefers more.
const ALIGNED: usize = 256;

impl Memory {
    /// A place of at least this many bytes.
    pub(super) fn take(&mut self, bytes: usize, channels: usize) -> Place {
        let bytes = bytes.next_multiple_of(ALIGNED);
        let fits = |place: &Place| (place.bytes, place.channels) == (bytes, channels);
        if let Some(found) = self.free.iter().position(fits) {
            return self.free.swap_remove(found);
        }
        let offset = self.end;
        self.end += bytes;
        Place {
            offset,
            bytes,
            channels,
        }
    }

    /// Gives a place back: what is launched later may use it.
    pub(super) fn give(&mut self, place: Place) {
        self.free.push(place);
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
        let [one, two] = [10, 300].map(|bytes| memory.take(bytes, 4));
        assert_eq!((one.offset, two.offset, memory.bytes()), (0, 256, 768));
        memory.give(two);
        // Not for other bytes or other channels.
        assert_eq!(memory.take(10, 4).offset, 768);
        assert_eq!(memory.take(300, 5).offset, 1024);
        assert_eq!(memory.take(512, 4), two);
    }
}
