//! The buffers of a program for some images, shared by the threads of a team.

use super::product::{LANES, Strided, Tile};
use super::program::{Buffer, Extent, Program};

/// Where a buffer lies, `[row, image, column, map]`.
#[derive(Clone, Copy, Debug)]
struct Layout {
    buffer: Buffer,
    start: usize,
    length: usize,
    columns: usize,
    images: usize,
}

/// All buffers of a team, zero at first.
pub(super) struct Memory {
    numbers: Vec<Tile>,
    layouts: Vec<Layout>,
}

/// Positions that are treated alike: some images at one column, or some
/// columns of one image.
#[derive(Clone, Copy, Debug)]
pub(super) enum Span {
    /// `images` images from the first on, at a column.
    Images { images: usize, column: usize },
    /// All of `width` columns of an image.
    Columns { image: usize, width: usize },
}

impl Span {
    pub fn positions(&self) -> usize {
        match self {
            Self::Images { images, .. } => *images,
            Self::Columns { width, .. } => *width,
        }
    }

    fn first(&self) -> (usize, usize) {
        match self {
            Self::Images { column, .. } => (0, *column),
            Self::Columns { image, .. } => (*image, 0),
        }
    }
}

impl Memory {
    /// For `images` images at a time, `width` columns wide.
    pub fn new(program: &Program, images: usize, width: usize) -> Self {
        let mut layouts = Vec::new();
        let mut start = 0;
        for buffer in &program.buffers {
            let columns = match buffer.extent {
                Extent::Row => width + 2 * buffer.margin,
                Extent::Image => 1,
            };
            let length = buffer.rows * images * columns * buffer.maps;
            layouts.push(Layout {
                buffer: *buffer,
                start,
                length,
                columns,
                images,
            });
            start += length.next_multiple_of(LANES);
        }
        Self {
            numbers: vec![Tile([0.0; LANES]); start / LANES],
            layouts,
        }
    }

    pub fn clear(&mut self) {
        self.numbers.fill(Tile([0.0; LANES]));
    }

    pub fn shared(&mut self) -> Shared<'_> {
        Shared {
            start: self.numbers.as_mut_ptr().cast(),
            layouts: &self.layouts,
        }
    }
}

/// The buffers as a team's threads see them. Who writes where is settled by
/// the program: each member its own tiles or positions, between barriers.
#[derive(Clone, Copy)]
pub(super) struct Shared<'a> {
    start: *mut f32,
    layouts: &'a [Layout],
}

// SAFETY: whoever reads or writes vouches for nobody else writing there.
unsafe impl Send for Shared<'_> {}
// SAFETY: the same.
unsafe impl Sync for Shared<'_> {}

impl Shared<'_> {
    pub fn maps(&self, buffer: usize) -> usize {
        self.layouts[buffer].buffer.maps
    }

    pub fn extent(&self, buffer: usize) -> Extent {
        self.layouts[buffer].buffer.extent
    }

    /// The numbers of a buffer from `column + shift` of the span's first
    /// position on, `length` of them at each position.
    pub fn strided(
        &self,
        buffer: usize,
        row: isize,
        span: Span,
        (shift, map, length): (isize, usize, usize),
    ) -> Strided<*mut f32> {
        let layout = &self.layouts[buffer];
        let Buffer {
            maps, rows, margin, ..
        } = layout.buffer;
        let slot = row.rem_euclid(rows as isize) as usize;
        let (image, column) = span.first();
        let (column, stride) = match (layout.buffer.extent, span) {
            (Extent::Image, Span::Columns { .. }) => (0, 0),
            (Extent::Image, Span::Images { .. }) => (0, maps),
            (Extent::Row, Span::Columns { .. }) => (column, maps),
            (Extent::Row, Span::Images { .. }) => (column, layout.columns * maps),
        };
        let column = (column + margin) as isize + shift;
        assert!(column >= 0 && image < layout.images);
        let position = (slot * layout.images + image) * layout.columns + column as usize;
        let first = position * maps + map;
        let last = first + span.positions().saturating_sub(1) * stride + length;
        assert!(
            last <= layout.length,
            "buffer {buffer}: {last} of {}",
            layout.length
        );
        Strided {
            start: self.start.wrapping_add(layout.start + first),
            stride,
        }
    }
}
