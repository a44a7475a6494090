//! The buffers of a program for some images, shared by the threads of a team.

use candle_core::{Error, Result};

use super::product::{LANES, Strided, Tile};
use super::program::{Buffer, Extent, Program, ProgramParts};

/// The layout of a buffer, `[row, image, column, map]`.
#[derive(Clone, Copy, Debug)]
struct Layout {
    buffer: Buffer,
    start: usize,
    length: usize,
    /// Distance from one image to the next.
    stride: usize,
    images: usize,
}

/// All buffers of a team, initially zero.
pub(super) struct Memory {
    numbers: Vec<Tile>,
    layouts: Vec<Layout>,
}

/// Positions that are computed together: several images at one column, or several
/// columns of one image.
#[derive(Clone, Copy, Debug)]
pub(super) enum Span {
    /// The first `images` images, at a column.
    Images { images: usize, column: usize },
    /// All `width` columns of an image.
    Columns { image: usize, width: usize },
}

impl Span {
    pub(super) fn positions(&self) -> usize {
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
    ///
    /// # Errors
    ///
    /// If there is not enough memory.
    pub(super) fn new(program: &ProgramParts, images: usize, width: usize) -> Result<Self> {
        let too_large = || {
            let what = "images at a time do not fit into memory";
            Error::msg(format!("run: {images} {what}, {width} columns wide"))
        };
        let (layouts, length) = layouts(program, images, width).ok_or_else(too_large)?;
        let mut numbers = Vec::new();
        if numbers.try_reserve_exact(length / LANES).is_err() {
            return Err(too_large());
        }
        numbers.resize(length / LANES, Tile([0.0; LANES]));
        Ok(Self { numbers, layouts })
    }

    pub(super) fn clear(&mut self) {
        self.numbers.fill(Tile([0.0; LANES]));
    }

    pub(super) fn shared(&mut self) -> Shared<'_> {
        Shared {
            start: self.numbers.as_mut_ptr().cast(),
            layouts: &self.layouts,
        }
    }
}

/// The place of each buffer, and the total number of numbers; `None` if
/// the number overflows.
fn layouts(program: &ProgramParts, images: usize, width: usize) -> Option<(Vec<Layout>, usize)> {
    let mut layouts = Vec::with_capacity(program.buffers.len());
    let mut start: usize = 0;
    for buffer in &program.buffers {
        let columns = match buffer.extent {
            Extent::Row => width.checked_add(buffer.margin.checked_mul(2)?)?,
            Extent::Image => 1,
        };
        // An odd number of tiles: with a power of two, the same column of
        // all images would share a few cache lines.
        let tiles = columns.checked_mul(buffer.maps)?.div_ceil(LANES) | 1;
        let stride = tiles.checked_mul(LANES)?;
        let length = stride.checked_mul(images)?.checked_mul(buffer.rows)?;
        layouts.push(Layout {
            buffer: *buffer,
            start,
            length,
            stride,
            images,
        });
        start = start.checked_add(length)?;
    }
    Some((layouts, start))
}

impl Program {
    /// Bytes that [`run`](super::run) needs for `images` images of `width`
    /// columns with `threads` threads, without the program and the
    /// condition; `u64::MAX` if the number overflows.
    pub fn memory(&self, images: usize, width: usize, threads: usize) -> u64 {
        let teams = super::team::team_sizes(threads, images).len();
        let at_a_time = images.div_ceil(teams).min(super::MOST_IMAGES);
        let values = width.saturating_mul(self.parts.channels.saturating_mul(size_of::<u32>()));
        let one_team = layouts(&self.parts, at_a_time, width).map_or(u64::MAX, |(_, numbers)| {
            (numbers as u64)
                .saturating_mul(size_of::<f32>() as u64)
                .saturating_add(at_a_time.saturating_mul(values) as u64)
        });
        one_team.saturating_mul(teams as u64)
    }
}

/// The buffers, shared by the threads of a team. The program defines where each member
/// writes between barriers: its own tiles or positions.
#[derive(Clone, Copy)]
pub(super) struct Shared<'a> {
    start: *mut f32,
    layouts: &'a [Layout],
}

// SAFETY: no other thread writes the numbers that a thread reads or writes.
unsafe impl Send for Shared<'_> {}
// SAFETY: as above.
unsafe impl Sync for Shared<'_> {}

impl Shared<'_> {
    pub(super) fn maps(&self, buffer: usize) -> usize {
        self.layouts[buffer].buffer.maps
    }

    /// Number of stored rows.
    pub(super) fn rows(&self, buffer: usize) -> usize {
        self.layouts[buffer].buffer.rows
    }

    pub(super) fn extent(&self, buffer: usize) -> Extent {
        self.layouts[buffer].buffer.extent
    }

    /// The numbers of a buffer from `column + shift` of the span's first
    /// position on, `length` numbers at each position.
    pub(super) fn strided(
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
            (Extent::Image, Span::Images { .. }) => (0, layout.stride),
            (Extent::Row, Span::Columns { .. }) => (column, maps),
            (Extent::Row, Span::Images { .. }) => (column, layout.stride),
        };
        let column = (column + margin) as isize + shift;
        assert!(column >= 0 && image < layout.images);
        let first = (slot * layout.images + image) * layout.stride;
        let first = first + column as usize * maps + map;
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
