//! The condition: its rows, the sums of maps with a row of each image, and their gradients.

use candle_core::{Result, bail};

use super::{Argument, Compiler, EIGHT, Place, Rows};
use crate::kernel::{Source, blocks_of_threads, grid};
use crate::step::{StepCondition, StepOperation, StepPlan};

/// Channels that a block of `sums_of_images` takes, as in kernels/condition.cu.
const SUMMED: usize = 32;

/// Whether an operation gives a row for each image, instead of one for each pixel.
pub(super) fn is_of_images(plan: &StepPlan, index: usize) -> bool {
    match plan.operations.get(index) {
        Some(StepOperation::Condition) => matches!(plan.condition, StepCondition::Vector(_)),
        Some(StepOperation::Convolution(_, input)) if *input < index => is_of_images(plan, *input),
        _ => false,
    }
}

impl Compiler<'_> {
    /// The rows of the condition, from its numbers in f32.
    pub(super) fn condition(&mut self, index: usize) -> Result<()> {
        let (count, channels) = match self.plan.condition {
            StepCondition::None => bail!("training step: no condition to read"),
            StepCondition::Vector(length) => (self.plan.sizes[0], length),
            StepCondition::Map(maps) => (self.rows, maps),
        };
        let to = self.new_rows(count, channels);
        self.maps[index] = Some(to);
        let from = Argument::Place(Place::At(self.given[0]));
        self.of_condition("condition_rows", to, [from, to.place()])
    }

    /// The gradient of the condition, in f32.
    pub(super) fn through_condition(&mut self, incoming: Rows) -> Result<()> {
        let to = Argument::Place(Place::At(self.given[1]));
        self.of_condition("condition_gradient", incoming, [incoming.place(), to])
    }

    fn of_condition(&mut self, name: &str, rows: Rows, places: [Argument; 2]) -> Result<()> {
        let area = self.area(rows)?;
        let mut arguments = vec![
            Argument::Number(rows.count as u32),
            Argument::Number(area),
            Argument::Number(rows.channels as u32),
            Argument::Number(rows.stride as u32),
        ];
        arguments.extend(places);
        let grid = grid(rows.count * rows.channels.div_ceil(EIGHT));
        self.kernel(Source::Condition, &self.typed(name), grid, arguments)
    }

    /// Rows of an image.
    fn area(&self, rows: Rows) -> Result<u32> {
        match u32::try_from(rows.count) {
            Ok(count) => Ok(count / self.plan.sizes[0] as u32),
            Err(_) => bail!("training step: {} pixels are too many", rows.count),
        }
    }

    /// The sum of maps and a row for each image, or a copy of that row for all pixels.
    pub(super) fn add_images(&mut self, maps: Option<Rows>, images: Rows, to: Rows) -> Result<()> {
        let (stride, place) = match maps {
            Some(maps) => (maps.stride, maps.place()),
            None => (to.stride, Argument::Place(Place::At(0))),
        };
        let arguments = vec![
            Argument::Number(to.count as u32),
            Argument::Number(to.channels as u32),
            Argument::Number(stride as u32),
            Argument::Number(images.stride as u32),
            Argument::Number(to.stride as u32),
            Argument::Number(self.area(to)?),
            place,
            images.place(),
            to.place(),
        ];
        let grid = grid(to.count * to.channels.div_ceil(EIGHT));
        let name = self.typed("sum_with_images");
        self.kernel(Source::Condition, &name, grid, arguments)
    }

    /// The gradient of a row for each image, from that of all pixels.
    pub(super) fn through_images(&mut self, images: usize, incoming: Rows) -> Result<()> {
        let (to, adds) = self.target(images)?;
        let arguments = vec![
            Argument::Number(self.area(incoming)?),
            Argument::Number(incoming.channels as u32),
            Argument::Number(incoming.stride as u32),
            incoming.place(),
            Argument::Number(to.stride as u32),
            Argument::Number(adds.into()),
            to.place(),
        ];
        let blocks = blocks_of_threads((to.count * to.channels.div_ceil(SUMMED)) as u32);
        let name = self.typed("sums_of_images");
        self.kernel(Source::Condition, &name, blocks, arguments)
    }
}
