//! A convolution split into three parts: rows above, pixels to the left, and the
//! pixel itself.

use std::ops::Range;

use candle_core::{DType, Device, Result, Tensor};
use pixelcnn_conv::{ColourGroups, Colours, Convolution, Tap};
use pixelcnn_kernels::exact::{Group, LANES, Run, Weights};
use pixelcnn_layers::{ConditionTerm, Recurrence};

/// The numbers of a convolution, on the CPU.
pub(crate) struct Parts {
    weight: Vec<f32>,
    bias: Vec<f32>,
    outputs: usize,
    inputs: usize,
    kernel: (usize, usize),
    taps: Vec<Tap>,
    /// Rows above and columns left of the output position in the kernel.
    before: (usize, usize),
    dilation: isize,
}

/// The taps of a sum.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum TapRows {
    /// All taps.
    Everything,
    /// Taps in rows above.
    Above,
    /// Taps to the left in the current row.
    Left,
}

impl Parts {
    pub(crate) fn new(convolution: &Convolution) -> Result<Self> {
        let kernel = convolution.kernel()?;
        let (outputs, inputs, rows, columns) = convolution.weight().dims4()?;
        let steps = |side: isize| (side / kernel.dilation as isize) as usize;
        Ok(Self {
            weight: numbers(&convolution.masked_weight()?)?,
            bias: match &kernel.bias {
                Some(bias) => numbers(bias)?,
                None => vec![0.0; outputs],
            },
            outputs,
            inputs,
            kernel: (rows, columns),
            taps: convolution.taps().to_vec(),
            before: (steps(kernel.padding.top), steps(kernel.padding.left)),
            dilation: kernel.dilation as isize,
        })
    }

    pub(crate) fn outputs(&self) -> usize {
        self.outputs
    }

    /// The bias in the order of the lanes, zero in empty lanes.
    pub(crate) fn bias(&self, lanes: &[Option<usize>]) -> Vec<f32> {
        let lanes = lanes.iter();
        lanes
            .map(|lane| lane.map_or(0.0, |output| self.bias[output]))
            .collect()
    }

    /// The runs and weights of a sum over some taps of a buffer of `maps` maps: rows
    /// from the top, columns from the left, then maps; `None` if there are no taps.
    pub(crate) fn sum(&self, reads: TapRows, lanes: &[Option<usize>], maps: usize) -> Option<Sum> {
        let wanted = |tap: &&Tap| match reads {
            TapRows::Everything => true,
            TapRows::Above => tap.row < 0,
            TapRows::Left => tap.row == 0 && tap.column < 0,
        };
        let taps: Vec<Tap> = self.taps.iter().filter(wanted).copied().collect();
        let mut runs: Vec<Run> = Vec::new();
        for tap in &taps {
            match runs.last_mut() {
                Some(run) if maps == self.inputs && self.continues(run, tap) => {
                    run.length += self.inputs
                }
                _ => runs.push(Run {
                    row: tap.row,
                    column: tap.column,
                    length: self.inputs,
                }),
            }
        }
        let weights = Weights::pack(taps.len() * self.inputs, lanes, |output, input| {
            self.weight(output, input % self.inputs, &taps[input / self.inputs])
        });
        (!runs.is_empty()).then_some((runs, weights))
    }

    /// Whether the maps of a tap follow those of a run in memory.
    fn continues(&self, run: &Run, tap: &Tap) -> bool {
        let columns = (run.length / self.inputs) as isize;
        tap.row == run.row && tap.column == run.column + columns
    }

    fn weight(&self, output: usize, input: usize, tap: &Tap) -> f32 {
        let index =
            |offset: isize, before: usize| (offset / self.dilation + before as isize) as usize;
        let row = index(tap.row, self.before.0);
        let column = index(tap.column, self.before.1);
        let (rows, columns) = self.kernel;
        self.weight[((output * self.inputs + input) * rows + row) * columns + column]
    }

    /// The weights of the pixel itself, and for each colour the maps it sees.
    pub(crate) fn centre(
        &self,
        lanes: &[Option<usize>],
        from: ColourGroups,
    ) -> (Weights, Vec<usize>) {
        let centre = self.taps.iter().find(|tap| (tap.row, tap.column) == (0, 0));
        let seen = |output: usize| match centre.map(|tap| tap.colours) {
            None => 0,
            Some(Colours::All) => self.inputs,
            Some(Colours::Masked(mask)) => {
                let maps = 0..from.maps();
                maps.filter(|map| mask.sees(output, from.group_of(*map)))
                    .count()
            }
        };
        let seen: Vec<usize> = (0..from.channels()).map(seen).collect();
        let length = seen.iter().copied().max().unwrap_or(0);
        let weights = Weights::pack(length, lanes, |output, input| {
            centre.map_or(0.0, |tap| self.weight(output, input, tap))
        });
        (weights, seen)
    }
}

/// The inputs of chains: runs of a buffer, and their weights.
pub(crate) type Sum = (Vec<Run>, Weights);

/// The sums over hidden states of an LSTM, from some taps of its kernel, which are next to each
/// other in a buffer of as many maps: the run begins at `run`.
pub(crate) fn state_sum(
    recurrence: &Recurrence,
    taps: Range<usize>,
    (row, column): (isize, isize),
    lanes: &[Option<usize>],
) -> Result<Sum> {
    let (maps, weight) = (recurrence.maps(), numbers(recurrence.weight())?);
    let (rows, columns) = recurrence.direction().kernel();
    let length = taps.len() * maps;
    let run = Run {
        row,
        column,
        length,
    };
    let weights = Weights::pack(length, lanes, |output, input| {
        let (tap, map) = (taps.start + input / maps, input % maps);
        weight[(output * maps + map) * rows * columns + tap]
    });
    Ok((vec![run], weights))
}

/// The factors of a conditioning term.
pub(crate) fn term_sum(term: &ConditionTerm, lanes: &[Option<usize>]) -> Result<Option<Sum>> {
    Ok(match term {
        ConditionTerm::None => None,
        ConditionTerm::Map(convolution) => {
            let parts = Parts::new(convolution)?;
            parts.sum(TapRows::Everything, lanes, parts.inputs)
        }
        ConditionTerm::Vector(weight) => {
            let length = weight.dim(1)?;
            let weight = numbers(weight)?;
            let run = Run {
                row: 0,
                column: 0,
                length,
            };
            let weights = Weights::pack(length, lanes, |output, input| {
                weight[output * length + input]
            });
            Some((vec![run], weights))
        }
    })
}

/// The numbers of a tensor as f32, in order.
pub(crate) fn numbers(tensor: &Tensor) -> Result<Vec<f32>> {
    let tensor = tensor.to_device(&Device::Cpu)?.to_dtype(DType::F32)?;
    tensor.flatten_all()?.to_vec1()
}

/// The output in each lane.
pub(crate) struct Order {
    pub lanes: Vec<Option<usize>>,
    /// The tiles of each colour.
    pub tiles: Vec<Range<usize>>,
    /// The outputs of each colour, after the activation.
    pub outputs: Vec<Range<usize>>,
}

/// Outputs in order, padded to whole tiles.
pub(crate) fn in_a_row(outputs: usize) -> Vec<Option<usize>> {
    let mut lanes: Vec<_> = (0..outputs).map(Some).collect();
    lanes.resize(outputs.next_multiple_of(LANES), None);
    lanes
}

impl Order {
    /// Each colour starts with its own tile. Before a gate of several parts, a tile has a few
    /// outputs of the first part, then the same few of each other part: eight of the tanh and of
    /// the sigmoid half, or four of each gate of an LSTM.
    pub(crate) fn by_colour(maps: ColourGroups, parts: usize) -> Self {
        let (mut lanes, mut tiles, mut outputs) = (Vec::new(), Vec::new(), Vec::new());
        for channel in 0..maps.channels() {
            let own = |map: &usize| maps.group_of(*map) == channel;
            let own: Vec<usize> = (0..maps.maps()).filter(own).collect();
            let first = lanes.len() / LANES;
            let each = LANES / parts;
            for few in own.chunks(each) {
                for part in 0..parts {
                    lanes.extend(few.iter().map(|map| Some(part * maps.maps() + map)));
                    lanes.resize(lanes.len().next_multiple_of(each), None);
                }
            }
            tiles.push(first..lanes.len() / LANES);
            // Colour groups are contiguous.
            let start = own.first().copied().unwrap_or(0);
            outputs.push(start..start + own.len());
        }
        Self {
            lanes,
            tiles,
            outputs,
        }
    }

    /// Whether the lanes have the outputs in order, without empty lanes.
    pub(crate) fn is_in_a_row(&self) -> bool {
        let mut lanes = self.lanes.iter().enumerate();
        lanes.all(|(lane, output)| *output == Some(lane))
    }

    /// The groups of a stage, from the maps that each colour sees.
    pub(crate) fn groups(&self, seen: &[usize]) -> Vec<Group> {
        let parts = self.tiles.iter().zip(&self.outputs).zip(seen);
        parts
            .map(|((tiles, outputs), inputs)| Group {
                tiles: tiles.clone(),
                inputs: *inputs,
                outputs: outputs.clone(),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_output_has_one_lane_and_colours_their_own_tiles() {
        for (channels, maps) in [(1, 5), (3, 7), (3, 128), (4, 40)] {
            let groups = ColourGroups::new(channels, maps).unwrap();
            for parts in [1, 2, 4] {
                let order = Order::by_colour(groups, parts);
                let mut held: Vec<_> = order.lanes.iter().flatten().copied().collect();
                held.sort_unstable();
                assert_eq!(held, (0..parts * maps).collect::<Vec<_>>());
                assert_eq!(order.tiles.last().unwrap().end * LANES, order.lanes.len());
                for (channel, tiles) in order.tiles.iter().enumerate() {
                    let lanes = &order.lanes[tiles.start * LANES..tiles.end * LANES];
                    let of = |lane: &usize| groups.group_of(lane % maps);
                    assert!(lanes.iter().flatten().all(|lane| of(lane) == channel));
                }
            }
        }
    }
}
