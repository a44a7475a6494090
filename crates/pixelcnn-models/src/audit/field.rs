//! The receptive field of a network.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use pixelcnn_conv::Tap;
use pixelcnn_layers::{Direction, Graph, Operation};

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

/// The image on which a network is audited, and the pixel whose outputs are tested.
///
/// # Example
///
/// ```
/// use pixelcnn_models::audit::{Frame, Offset};
///
/// let left = Offset { row: 0, column: -1, channel: 0 };
/// let frame = Frame::around(&[[left].into()]);
/// assert!(frame.column > 1 && frame.width > frame.column + 1);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Rows of the image.
    pub height: usize,
    /// Columns of the image.
    pub width: usize,
    /// Row of the pixel.
    pub row: usize,
    /// Column of the pixel.
    pub column: usize,
}

/// Pixels around the field, to detect values outside it.
const MARGIN: usize = 2;
/// Sides of the image for a network that sees as far as the image goes.
const UNBOUNDED: RangeInclusive<usize> = 9..=32;

impl Frame {
    /// A frame with the whole of these fields and a margin.
    pub fn around(fields: &[Field]) -> Self {
        let (rows, columns) = reach(fields);
        Self::with_room(rows, columns)
    }

    fn with_room(rows: usize, columns: usize) -> Self {
        Self {
            height: rows + 1 + 2 * MARGIN,
            width: 2 * (columns + MARGIN) + 1,
            row: rows + MARGIN,
            column: columns + MARGIN,
        }
    }

    /// A frame with the whole field of a network and a margin; for a network that sees as far as
    /// the image goes, an image of the given height and width, or of 9 to 32.
    pub(super) fn of(graph: &Graph, (height, width): (usize, usize)) -> Self {
        let side = |side: usize| side.clamp(*UNBOUNDED.start(), *UNBOUNDED.end());
        let (height, width) = (side(height), side(width));
        match graph.reach() {
            Some([up, left, right]) => Self::with_room(up, left.max(right)),
            None => Self {
                height,
                width,
                row: height - 1 - MARGIN,
                column: width / 2,
            },
        }
    }

    /// The pixel at a tap of another one, if it is inside the image.
    fn at(&self, pixel: usize, (row, column): (isize, isize)) -> Option<usize> {
        let row = (pixel / self.width).checked_add_signed(row)?;
        let column = (pixel % self.width).checked_add_signed(column)?;
        (row < self.height && column < self.width).then_some(row * self.width + column)
    }
}

/// The pixels of maps that an output sees, for each colour group.
#[derive(Clone)]
struct Seen(Vec<Vec<bool>>);

impl Seen {
    fn nothing(groups: usize, frame: &Frame) -> Self {
        Self(vec![vec![false; frame.height * frame.width]; groups])
    }

    /// Colour group and pixel of all that is seen.
    fn iter(&self) -> impl Iterator<Item = (usize, usize)> {
        self.0.iter().enumerate().flat_map(|(group, pixels)| {
            let seen = pixels.iter().enumerate().filter(|(_, seen)| **seen);
            seen.map(move |(pixel, _)| (group, pixel))
        })
    }

    fn add(&mut self, other: &Self) {
        for (group, pixel) in other.iter() {
            self.0[group][pixel] = true;
        }
    }

    /// What a convolution with these taps sees of its input.
    fn through_taps(&self, taps: &[Tap], frame: &Frame) -> Self {
        let groups = self.0.len();
        let mut input = Self::nothing(groups, frame);
        for tap in taps {
            for (to, pixel) in self.iter() {
                let Some(pixel) = frame.at(pixel, (tap.row, tap.column)) else {
                    continue;
                };
                for from in (0..groups).filter(|from| tap.colours.sees(to, *from)) {
                    input.0[from][pixel] = true;
                }
            }
        }
        input
    }

    /// What the hidden states of an LSTM see of its sums. A hidden state sees the cell state and
    /// the sums of its colour, these see all colours of the hidden states that the pixel reads,
    /// and a cell state sees its colour of the cell state before.
    fn through_lstm(&self, direction: Direction, frame: &Frame) -> Self {
        let (mut hidden, mut cells) = (self.clone(), Self::nothing(self.0.len(), frame));
        let mut pixels: Vec<usize> = (0..frame.height * frame.width).collect();
        if direction == Direction::Left {
            pixels.sort_by_key(|pixel| (pixel / frame.width, frame.width - pixel % frame.width));
        }
        let (taps, of_cell): (&[_], _) = match direction {
            Direction::Down => (&[(-1, -1), (-1, 0), (-1, 1)], (-1, 0)),
            Direction::Right => (&[(-1, 0), (0, -1)], (0, -1)),
            Direction::Left => (&[(-1, 0), (0, 1)], (0, 1)),
        };
        for pixel in pixels.into_iter().rev() {
            for group in 0..self.0.len() {
                cells.0[group][pixel] |= hidden.0[group][pixel];
                if !cells.0[group][pixel] {
                    continue;
                }
                for from in taps.iter().filter_map(|tap| frame.at(pixel, *tap)) {
                    hidden.0.iter_mut().for_each(|hidden| hidden[from] = true);
                }
                if let Some(from) = frame.at(pixel, of_cell) {
                    cells.0[group][from] = true;
                }
            }
        }
        cells
    }
}

/// Limit on the pixels and taps that are followed; this many take seconds.
const MOST_WORK: u128 = 1 << 33;

/// The field of each output channel of a network at the pixel of a frame, as far as it is in the
/// frame: followed back from the output through the taps of all operations, colour group by
/// colour group.
///
/// # Errors
///
/// If the frame and the network are too large to be followed value by value.
///
/// # Example
///
/// ```
/// use candle_core::{DType, Device};
/// use pixelcnn_models::audit::{Frame, field};
/// use pixelcnn_models::{Definition, Parameters, PixelCnnConfig};
///
/// let config = PixelCnnConfig {
///     first_kernel: 3, blocks: 1, maps: 3, head: 3, ..PixelCnnConfig::cifar10()
/// };
/// let weights = Parameters::drawn(0).builder(DType::F32, &Device::Cpu);
/// let frame = Frame { height: 9, width: 9, row: 5, column: 4 };
/// let fields = field(&config.network(weights)?, &frame)?;
/// assert_eq!(fields[2].len(), fields[0].len() + 2); // blue sees red and green
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn field(graph: &Graph, frame: &Frame) -> Result<Vec<Field>, ModelError> {
    let groups = graph.image_groups();
    check_work(graph, frame)?;
    let of_group = (0..groups.channels()).map(|group| of_group(graph, frame, group));
    let of_group: Vec<Field> = of_group.collect::<Result<_, _>>()?;
    // The channels of a group are predicted together.
    let fields = (0..groups.maps()).map(|channel| of_group[groups.group_of(channel)].clone());
    Ok(fields.collect())
}

fn check_work(graph: &Graph, frame: &Frame) -> Result<(), ModelError> {
    let groups = graph.image_groups().channels();
    let taps = graph.operations().iter().map(|operation| match operation {
        Operation::Convolution(convolution, _) => convolution.taps().len(),
        _ => 4,
    });
    let pixels = frame.height as u128 * frame.width as u128;
    let work = pixels.saturating_mul((taps.sum::<usize>() * groups * groups * groups) as u128);
    match work > MOST_WORK {
        false => Ok(()),
        true => {
            let why = format!(
                "{} x {} pixels through {} operations are too many to be followed one by one",
                frame.height,
                frame.width,
                graph.operations().len()
            );
            Err(ModelError::invalid("receptive field", why))
        }
    }
}

/// The field of a colour group of the output.
fn of_group(graph: &Graph, frame: &Frame, group: usize) -> Result<Field, ModelError> {
    let image = graph.image_groups();
    let (_, output) = graph.ends();
    let count = graph.operations().len();
    let mut all: Vec<Option<Seen>> = vec![None; count];
    let mut first = Seen::nothing(image.channels(), frame);
    first.0[group][frame.row * frame.width + frame.column] = true;
    if output.index() >= count {
        let why = "a network without an output";
        return Err(ModelError::invalid("receptive field", why));
    }
    all[output.index()] = Some(first);
    for (index, operation) in graph.operations().iter().enumerate().skip(1).rev() {
        let Some(seen) = all[index].take() else {
            continue;
        };
        let input = match operation {
            Operation::Convolution(convolution, _) => seen.through_taps(&convolution.taps(), frame),
            Operation::Lstm(recurrence, _) => seen.through_lstm(recurrence.direction(), frame),
            Operation::RowAbove(..) => {
                let mut input = Seen::nothing(seen.0.len(), frame);
                for (group, pixel) in seen.iter() {
                    if let Some(pixel) = frame.at(pixel, (-1, 0)) {
                        input.0[group][pixel] = true;
                    }
                }
                input
            }
            Operation::Image
            | Operation::Sum(..)
            | Operation::Rescaled(_)
            | Operation::Embedding(_)
            | Operation::Condition(..)
            | Operation::Relu(_)
            | Operation::Elu(_)
            | Operation::Gate(_) => seen,
        };
        for maps in operation.reads() {
            match &mut all[maps.index()] {
                Some(seen) => seen.add(&input),
                place => *place = Some(input.clone()),
            }
        }
    }
    let Some(Some(seen)) = all.into_iter().next() else {
        return Ok(Field::new());
    };
    let values = seen.iter().flat_map(|(group, pixel)| {
        let channels = (0..image.maps()).filter(move |channel| image.group_of(*channel) == group);
        channels.map(move |channel| Offset {
            row: (pixel / frame.width) as isize - frame.row as isize,
            column: (pixel % frame.width) as isize - frame.column as isize,
            channel,
        })
    });
    Ok(values.collect())
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

/// Number of earlier pixels of the frame within [`reach`] that no output sees in any channel.
pub(super) fn blind_pixels(fields: &[Field], frame: &Frame) -> usize {
    let (rows, columns) = reach(fields);
    let seen: BTreeSet<_> = fields.iter().flatten().map(|o| (o.row, o.column)).collect();
    let side = |before: usize, reach: usize| -(before.min(reach) as isize);
    let left = side(frame.column, columns);
    let right = -side(frame.width - 1 - frame.column, columns);
    let earlier = (side(frame.row, rows)..=0)
        .flat_map(|row| (left..=right).map(move |column| (row, column)))
        .filter(|pixel| *pixel < (0, 0));
    earlier.filter(|pixel| !seen.contains(pixel)).count()
}
