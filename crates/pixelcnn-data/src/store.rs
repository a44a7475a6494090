//! Storage of image values, in files or in memory.

use std::path::Path;
use std::sync::Arc;

use crate::bytes::{BLOCK, Bytes};
use crate::{DataError, Values};

/// Values of images of one size in files or in memory. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    parts: Arc<[Part]>,
    /// Values per image.
    size: usize,
    coding: Coding,
}

/// Images at equal distances in one file.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    pub(crate) bytes: Bytes,
    /// Position of the first value in bytes.
    pub(crate) first: u64,
    /// Bytes from one image to the next.
    pub(crate) stride: u64,
    pub(crate) images: usize,
}

/// The stored form of a value (little-endian) and its form in memory. The creator of a
/// store checks that no value is too large.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Coding {
    /// Bytes per stored value: 1, 2, 4 or 8.
    pub(crate) bytes: usize,
    pub(crate) width: Width,
}

/// The size of values in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Width {
    Byte,
    Two,
}

impl Width {
    /// The smallest width for values below `levels`.
    pub(crate) fn for_levels(levels: usize) -> Self {
        match levels <= 1 << 8 {
            true => Self::Byte,
            false => Self::Two,
        }
    }

    pub(crate) fn most_levels(self) -> usize {
        match self {
            Self::Byte => 1 << 8,
            Self::Two => 1 << 16,
        }
    }

    fn bytes(self) -> usize {
        match self {
            Self::Byte => 1,
            Self::Two => 2,
        }
    }
}

impl Coding {
    /// Values stored as in memory.
    pub(crate) fn plain(width: Width) -> Self {
        Self {
            bytes: width.bytes(),
            width,
        }
    }

    fn values(self, raw: Vec<u8>) -> Values {
        match (self.bytes, self.width) {
            (1, Width::Byte) => Values::U8(raw),
            (bytes, Width::Byte) => Values::U8(raw.iter().step_by(bytes).copied().collect()),
            (1, Width::Two) => Values::U16(raw.into_iter().map(u16::from).collect()),
            (bytes, Width::Two) => {
                let numbers = raw.chunks_exact(bytes);
                Values::U16(
                    numbers
                        .map(|it| u16::from_le_bytes([it[0], it[1]]))
                        .collect(),
                )
            }
        }
    }
}

impl Store {
    /// Images of `size` values in several parts.
    pub(crate) fn new(parts: Vec<Part>, size: usize, coding: Coding) -> Self {
        Self {
            parts: parts.into(),
            size,
            coding,
        }
    }

    /// Images of `size` values, at least one, in memory.
    pub(crate) fn from_values(values: Values, size: usize) -> Self {
        let (width, bytes) = match values {
            Values::U8(values) => (Width::Byte, values),
            Values::U16(values) => {
                let bytes = values.into_iter().flat_map(u16::to_le_bytes);
                (Width::Two, bytes.collect())
            }
        };
        let coding = Coding::plain(width);
        let stride = (size * coding.bytes) as u64;
        let bytes = Bytes::in_memory(Path::new(""), bytes);
        let part = Part {
            images: (bytes.length() / stride.max(1)) as usize,
            bytes,
            first: 0,
            stride,
        };
        Self::new(vec![part], size, coding)
    }

    pub(crate) fn width(&self) -> Width {
        self.coding.width
    }

    /// Whether all values are in memory.
    pub(crate) fn is_in_memory(&self) -> bool {
        self.parts.iter().all(|part| part.bytes.are_in_memory())
    }

    /// Number of images.
    pub(crate) fn images(&self) -> usize {
        self.parts.iter().map(|part| part.images).sum()
    }

    /// Stored bytes per image.
    pub(crate) fn image_bytes(&self) -> usize {
        self.size * self.coding.bytes
    }

    /// The concatenated values of these images. Consecutive images are read together.
    pub(crate) fn read(&self, indices: &[usize]) -> Result<Values, DataError> {
        let mut raw = Vec::with_capacity(indices.len() * self.image_bytes());
        for run in indices.chunk_by(|one, next| one + 1 == *next) {
            self.read_run(run[0], run.len(), &mut raw)?;
        }
        Ok(self.coding.values(raw))
    }

    /// Appends the bytes of `count` consecutive images.
    fn read_run(
        &self,
        mut index: usize,
        mut count: usize,
        raw: &mut Vec<u8>,
    ) -> Result<(), DataError> {
        for part in self.parts.iter() {
            if index >= part.images {
                index -= part.images;
                continue;
            }
            let here = count.min(part.images - index);
            part.read(index, here, self.image_bytes(), raw)?;
            (index, count) = (0, count - here);
            if count == 0 {
                break;
            }
        }
        Ok(())
    }
}

impl Part {
    /// Appends the `size` bytes of each of `count` images.
    fn read(
        &self,
        index: usize,
        count: usize,
        size: usize,
        raw: &mut Vec<u8>,
    ) -> Result<(), DataError> {
        let start = self.first + index as u64 * self.stride;
        if self.stride == size as u64 {
            return self.bytes.append_to(raw, start, count * size);
        }
        // The few bytes between images are read too, to read many images at once.
        let stride = self.stride as usize;
        let at_once = (BLOCK / stride.max(1)).clamp(1, count);
        let mut stretch = Vec::new();
        for from in (0..count).step_by(at_once) {
            let images = at_once.min(count - from);
            stretch.clear();
            let offset = start + from as u64 * self.stride;
            let length = (images - 1) * stride + size;
            self.bytes.append_to(&mut stretch, offset, length)?;
            for image in stretch.chunks(stride.max(1)) {
                raw.extend_from_slice(&image[..size]);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(bytes: Vec<u8>, first: u64, stride: u64, images: usize) -> Part {
        let bytes = Bytes::in_memory("some".as_ref(), bytes);
        Part {
            bytes,
            first,
            stride,
            images,
        }
    }

    #[test]
    fn runs_continue_in_the_next_part_and_skip_gaps() {
        let one = part(vec![90, 0, 1, 91, 2, 3, 92, 4, 5], 1, 3, 3);
        let two = part(vec![6, 7, 8, 9], 0, 2, 2);
        let store = Store::new(vec![one, two], 2, Coding::plain(Width::Byte));
        assert_eq!(store.images(), 5);
        let read = |indices: &[usize]| store.read(indices).unwrap();
        assert_eq!(read(&[0, 1, 2, 3, 4]), Values::U8((0..10).collect()));
        assert_eq!(
            read(&[4, 2, 3, 0]),
            Values::U8(vec![8, 9, 4, 5, 6, 7, 0, 1])
        );
        assert_eq!(read(&[]), Values::U8(vec![]));
        assert!(store.is_in_memory());
    }

    #[test]
    fn wide_numbers_are_read_as_narrow_ones() {
        let numbers = [1u64, 258, 3];
        let raw: Vec<u8> = numbers.iter().flat_map(|it| it.to_le_bytes()).collect();
        let read = |bytes, width| {
            let raw = raw.chunks(8).flat_map(|it| it[..bytes].to_vec()).collect();
            let part = part(raw, 0, bytes as u64, 3);
            let store = Store::new(vec![part], 1, Coding { bytes, width });
            store.read(&[0, 1, 2]).unwrap()
        };
        for bytes in [2, 4, 8] {
            assert_eq!(read(bytes, Width::Two), Values::U16(vec![1, 258, 3]));
            assert_eq!(read(bytes, Width::Byte), Values::U8(vec![1, 2, 3]));
        }
        assert_eq!(read(1, Width::Two), Values::U16(vec![1, 2, 3]));
    }

    #[test]
    fn more_images_than_there_are_bytes_are_an_error() {
        let store = Store::new(
            vec![part(vec![1, 2], 0, 2, 2)],
            2,
            Coding::plain(Width::Byte),
        );
        assert!(store.read(&[0]).is_ok());
        assert!(store.read(&[1]).is_err());
    }
}
