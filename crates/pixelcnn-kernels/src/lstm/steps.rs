//! The steps of a scan, and which pixels each of them computes.

use std::ops::Range;

use super::Direction;

/// The steps of a scan over images of one size. The pixels of a step do not depend on each other:
/// a row, or a diagonal. Each is in a lane, its column or row, and a pixel reads the states of
/// the step before in its own and in neighbouring lanes.
#[derive(Clone, Debug)]
pub(super) struct Steps {
    direction: Direction,
    height: usize,
    width: usize,
    /// The number of pixels of all steps before each step, and of all.
    before: Vec<usize>,
}

impl Steps {
    pub(super) fn new(direction: Direction, (height, width): (usize, usize)) -> Self {
        let mut steps = Self {
            direction,
            height,
            width,
            before: vec![0],
        };
        let mut pixels = 0;
        for step in 0..steps.count() {
            pixels += steps.lanes(step).len();
            steps.before.push(pixels);
        }
        steps
    }

    pub(super) fn count(&self) -> usize {
        match self.direction {
            Direction::Down => self.height,
            Direction::Right | Direction::Left => self.height + self.width - 1,
        }
    }

    /// Most lanes of a step.
    pub(super) fn most_lanes(&self) -> usize {
        match self.direction {
            Direction::Down => self.width,
            Direction::Right | Direction::Left => self.height,
        }
    }

    /// The lanes of a step. After the last step of a diagonal scan there are none.
    pub(super) fn lanes(&self, step: usize) -> Range<usize> {
        match self.direction {
            Direction::Down => 0..self.width,
            Direction::Right | Direction::Left => {
                (step + 1).saturating_sub(self.width)..(step + 1).min(self.height)
            }
        }
    }

    /// The lanes that begin with a step: they read the initial states.
    pub(super) fn begin(&self, step: usize) -> Range<usize> {
        match self.direction {
            Direction::Down if step == 0 => 0..self.width,
            Direction::Right | Direction::Left if step < self.height => step..step + 1,
            _ => 0..0,
        }
    }

    /// Lanes, relative to its own, from which a pixel reads hidden states, as the columns of the
    /// kernel.
    pub(super) fn first_tap(&self) -> (isize, usize) {
        match self.direction {
            Direction::Down => (-1, 3),
            Direction::Right | Direction::Left => (-1, 2),
        }
    }

    /// The step and the lane of a pixel.
    pub(super) fn of_pixel(&self, row: usize, column: usize) -> (usize, usize) {
        match self.direction {
            Direction::Down => (row, column),
            Direction::Right => (row + column, row),
            Direction::Left => (row + self.width - 1 - column, row),
        }
    }

    /// The number of pixels before a step.
    pub(super) fn pixels_before(&self, step: usize) -> usize {
        self.before[step]
    }

    /// The index of a step's lane among all pixels, step by step.
    pub(super) fn index(&self, step: usize, lane: usize) -> usize {
        self.before[step] + lane - self.lanes(step).start
    }

    /// The same if each step has one more lane on each side.
    pub(super) fn index_with_sides(&self, step: usize, lane: usize) -> usize {
        self.before[step] + 2 * step + 1 + lane - self.lanes(step).start
    }

    /// Height and width of the images.
    pub(super) fn size(&self) -> (usize, usize) {
        (self.height, self.width)
    }
}
