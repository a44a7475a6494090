//! The receptive field of a network.

use std::collections::BTreeSet;

use pixelcnn_conv::{ColourGroups, Tap};
use pixelcnn_layers::{Graph, Maps, Operation};

use crate::ModelError;

/// An input value, relative to the predicted pixel.
///
/// # Example
///
/// ```
/// use pixelcnn_models::audit::Offset;
///
/// let red_above = Offset { row: -1, column: 0, channel: 0 };
/// assert!(red_above < Offset { row: 0, column: 0, channel: 0 });
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Offset {
    /// Row offset; negative is above.
    pub row: isize,
    /// Column offset; negative is left.
    pub column: isize,
    /// Channel of the input.
    pub channel: usize,
}

/// The input values that one output channel sees.
pub type Field = BTreeSet<Offset>;

/// The field of each colour group of a stack.
#[derive(Clone)]
struct Stack(Vec<Field>);

impl Stack {
    fn of_image(groups: ColourGroups) -> Self {
        let own = |group| {
            let channels = (0..groups.maps()).filter(|channel| groups.group_of(*channel) == group);
            let offset = |channel| Offset {
                row: 0,
                column: 0,
                channel,
            };
            channels.map(offset).collect()
        };
        Self((0..groups.channels()).map(own).collect())
    }

    /// The field of a convolution with these taps on this stack.
    fn convolved(&self, taps: &[Tap]) -> Self {
        let group = |to: usize| {
            let mut field = Field::new();
            for tap in taps {
                let seen = (0..self.0.len()).filter(|from| tap.colours.sees(to, *from));
                let values = seen.flat_map(|from| &self.0[from]);
                field.extend(values.map(|value| Offset {
                    row: value.row + tap.row,
                    column: value.column + tap.column,
                    channel: value.channel,
                }));
            }
            field
        };
        Self((0..self.0.len()).map(group).collect())
    }

    /// The field of the row above.
    fn above(&self) -> Self {
        let up = |value: &Offset| Offset {
            row: value.row - 1,
            ..*value
        };
        let fields = self.0.iter();
        Self(fields.map(|field| field.iter().map(up).collect()).collect())
    }

    fn plus(mut self, other: &Self) -> Self {
        for (field, more) in self.0.iter_mut().zip(&other.0) {
            field.extend(more);
        }
        self
    }
}

/// Limit on the number of offsets; this many take seconds.
const MOST_WORK: usize = 1 << 30;

/// The field of each output channel of a network: the sums of the tap offsets of its
/// convolutions, colour group by colour group.
///
/// # Errors
///
/// If the field is too large to be computed value by value.
///
/// # Example
///
/// ```
/// use candle_core::{DType, Device};
/// use pixelcnn_models::audit::field;
/// use pixelcnn_models::{Definition, Parameters, PixelCnnConfig};
///
/// let config = PixelCnnConfig {
///     first_kernel: 3, blocks: 1, maps: 3, head: 3, ..PixelCnnConfig::cifar10()
/// };
/// let weights = Parameters::drawn(0).builder(DType::F32, &Device::Cpu);
/// let fields = field(&config.network(weights)?)?;
/// assert_eq!(fields[2].len(), fields[0].len() + 2); // blue sees red and green
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn field(graph: &Graph) -> Result<Vec<Field>, ModelError> {
    let groups = graph.image_groups();
    let channels = groups.maps();
    let (_, output) = graph.ends();
    let last = graph.last_reads(&[output]);
    let mut stacks: Vec<Option<Stack>> = Vec::new();
    let mut work = 0usize;
    for (index, operation) in graph.operations().iter().enumerate() {
        let stack = |maps: &Maps| match stacks.get(maps.index()) {
            Some(Some(stack)) => Ok(stack),
            _ => Err(ModelError::invalid(
                "receptive field",
                "maps that no operation computes",
            )),
        };
        let made = match operation {
            Operation::Image => Stack::of_image(groups),
            Operation::Convolution(convolution, maps) => {
                let (stack, taps) = (stack(maps)?, convolution.taps());
                let offsets: usize = stack.0.iter().map(Field::len).sum();
                work = work.saturating_add(offsets.saturating_mul(taps.len() * channels));
                if work > MOST_WORK {
                    let why = format!(
                        "{}: {offsets} offsets and {} taps are too large to be computed one by \
                         one",
                        convolution.name(),
                        taps.len()
                    );
                    return Err(ModelError::invalid("receptive field", why));
                }
                stack.convolved(&taps)
            }
            Operation::Sum(one, other) => stack(one)?.clone().plus(stack(other)?),
            Operation::Rescaled(_) | Operation::Embedding(_) => stack(&graph.image())?.clone(),
            Operation::RowAbove(_, maps) => stack(maps)?.above(),
            Operation::Condition(_, maps)
            | Operation::Relu(maps)
            | Operation::Elu(maps)
            | Operation::Gate(maps) => stack(maps)?.clone(),
        };
        stacks.push(Some(made));
        for maps in operation.reads() {
            if last[maps.index()] == index {
                stacks[maps.index()] = None;
            }
        }
    }
    match stacks.into_iter().nth(output.index()).flatten() {
        // The channels of a group are predicted together.
        Some(Stack(fields)) => Ok((0..channels)
            .map(|channel| fields[groups.group_of(channel)].clone())
            .collect()),
        None => Err(ModelError::invalid(
            "receptive field",
            "a network without an output",
        )),
    }
}

/// Furthest row above and furthest column left or right in the field of any channel.
pub(super) fn reach(fields: &[Field]) -> (usize, usize) {
    let largest = |distance: fn(&Offset) -> usize| {
        let distances = fields.iter().flatten().map(distance);
        distances.max().unwrap_or(0)
    };
    (
        largest(|offset| offset.row.unsigned_abs()),
        largest(|offset| offset.column.unsigned_abs()),
    )
}

/// Number of earlier pixels within [`reach`] that no output sees in any channel.
pub(super) fn blind_pixels(fields: &[Field]) -> usize {
    let (rows, columns) = reach(fields);
    let seen: BTreeSet<_> = fields.iter().flatten().map(|o| (o.row, o.column)).collect();
    let earlier = rows * (2 * columns + 1) + columns;
    earlier - seen.iter().filter(|pixel| **pixel < (0, 0)).count()
}
