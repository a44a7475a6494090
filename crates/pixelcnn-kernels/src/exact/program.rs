//! A network as a program of the engine: the part computed once per row, and the part
//! computed pixel by pixel.

use std::ops::Range;

use candle_core::Result;

use super::product::{TILE_BYTES, Weights};

/// Stored numbers: maps at each position of some rows.
///
/// # Example
///
/// ```
/// use pixelcnn_kernels::exact::{Buffer, Extent};
///
/// // The rows that a 3x3 convolution reads: its own and the one above.
/// let buffer = Buffer { maps: 128, rows: 2, margin: 1, extent: Extent::Row };
/// assert_eq!(buffer.rows, 2);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Buffer {
    /// Numbers at each position.
    pub maps: usize,
    /// Stored rows: the current one and those above that are still read.
    pub rows: usize,
    /// Columns of zeros on each side.
    pub margin: usize,
    /// Whether there is a position for each column.
    pub extent: Extent,
}

/// The positions of a buffer.
///
/// # Example
///
/// ```
/// use pixelcnn_kernels::exact::Extent;
///
/// assert_ne!(Extent::Row, Extent::Image);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// Each column of an image.
    Row,
    /// The image as a whole.
    Image,
}

/// Consecutive numbers of a buffer that are summed over: the maps of
/// one position, or of several neighbouring ones.
///
/// # Example
///
/// ```
/// use pixelcnn_kernels::exact::Run;
///
/// // Three positions of 8 maps in the row above.
/// let run = Run { row: -1, column: -1, length: 24 };
/// assert_eq!(run.length % 8, 0);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Run {
    /// Row, relative to the current one.
    pub row: isize,
    /// Column of the first position, relative to the current one.
    pub column: isize,
    /// How many numbers.
    pub length: usize,
}

/// An elementwise operation on the numbers of a position, 16 outputs at a time.
///
/// # Example
///
/// ```
/// use pixelcnn_kernels::exact::Pointwise;
///
/// // The end of a residual block: as it is for the next sum, and rectified.
/// let (before, after, rectified) = (1, 2, 3);
/// let end = [
///     Pointwise::Add(before),
///     Pointwise::Store(after),
///     Pointwise::Relu,
///     Pointwise::Store(rectified),
/// ];
/// assert_eq!(end[1].buffers().collect::<Vec<_>>(), [2]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Pointwise {
    /// Loads the numbers of a buffer.
    Load(usize),
    /// Adds the numbers of a buffer.
    Add(usize),
    /// `x` above zero, else 0.
    Relu,
    /// `x` above zero, else `e^x - 1`.
    Elu,
    /// `tanh` of the first half of the maps times the sigmoid of the second.
    Gate,
    /// The hidden states of an LSTM from its sums, a quarter of the maps each for the gates o, f,
    /// i and g.
    Lstm {
        /// A buffer with the cell states before.
        before: usize,
        /// Their column, relative to the current one.
        column: isize,
        /// The buffer to which the new cell states are written.
        cell: usize,
    },
    /// Writes the numbers to a buffer.
    Store(usize),
}

impl Pointwise {
    /// The buffers that it reads or writes.
    pub fn buffers(self) -> impl Iterator<Item = usize> {
        let [one, other] = match self {
            Self::Load(buffer) | Self::Add(buffer) | Self::Store(buffer) => [Some(buffer), None],
            Self::Lstm { before, cell, .. } => [Some(before), Some(cell)],
            Self::Relu | Self::Elu | Self::Gate => [None, None],
        };
        one.into_iter().chain(other)
    }

    /// How many parts of the maps it needs for each of its results.
    pub(super) fn parts(self) -> usize {
        match self {
            Self::Gate => 2,
            Self::Lstm { .. } => 4,
            _ => 1,
        }
    }
}

/// Limit on the length of a list of operations, which are kept in registers.
pub const MOST_POINTWISE: usize = 8;

/// A side of an image.
///
/// # Example
///
/// ```
/// use pixelcnn_kernels::exact::{Instruction, Side};
///
/// let begin = Instruction::Beside { side: Side::Left, numbers: vec![0.5], target: 0 };
/// assert!(matches!(begin, Instruction::Beside { side: Side::Left, .. }));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Before the first column.
    Left,
    /// After the last column.
    Right,
}

/// An instruction for all positions of a row, from rows above.
///
/// # Example
///
/// ```
/// use pixelcnn_kernels::exact::Instruction;
///
/// let instruction = Instruction::Copy { source: 1, target: 0 };
/// assert!(matches!(instruction, Instruction::Copy { target: 0, .. }));
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Instruction {
    /// Copies the numbers of the image to each position: chains started for the whole image.
    Copy {
        /// A buffer of [`Extent::Image`].
        source: usize,
        /// A buffer of [`Extent::Row`] with as many maps.
        target: usize,
    },
    /// Starts or continues the chains of the target.
    Product {
        /// The initial value of the chain of each lane; without it, chains continue from
        /// the values in the target.
        bias: Option<Vec<f32>>,
        /// The runs that are summed over.
        source: usize,
        /// In the order of the chain.
        runs: Vec<Run>,
        /// Over all runs.
        weights: Weights,
        /// A buffer with a map for each lane of the weights.
        target: usize,
    },
    /// Elementwise operations.
    Pointwise {
        /// Number of maps at the end, after a gate if there is one.
        maps: usize,
        /// The operations, in this order.
        operations: Vec<Pointwise>,
    },
    /// Copies the numbers of the row above; in the first row, copies `first` to each position.
    RowAbove {
        /// A buffer of at least two rows.
        source: usize,
        /// The numbers of the first row, one for each map of the target.
        first: Vec<f32>,
        /// A buffer with at most as many maps.
        target: usize,
    },
    /// Writes numbers beside the columns of all stored rows: the states before the first step of a
    /// scan along the rows.
    Beside {
        /// The side of the image.
        side: Side,
        /// One number for each map of the target.
        numbers: Vec<f32>,
        /// A buffer with a margin.
        target: usize,
    },
    /// Goes through the columns.
    Scan(Scan),
    /// The same instruction for the row above, which is complete by now: it may read all of its
    /// values. In the first row, nothing.
    Late(Box<Instruction>),
}

/// Continues chains and applies elementwise operations column by column, from the right: the
/// sums may read what the operations have stored at the columns before.
///
/// # Example
///
/// See [`Program`].
#[derive(Clone, Debug)]
pub struct Scan {
    /// The runs that are summed over.
    pub source: usize,
    /// In the order of the chain.
    pub runs: Vec<Run>,
    /// Over all runs.
    pub weights: Weights,
    /// A buffer with a map for each lane of the weights, which holds the chains so far.
    pub target: usize,
    /// Number of maps at the end.
    pub maps: usize,
    /// The operations, in this order; they begin with a load of the target.
    pub operations: Vec<Pointwise>,
}

impl Instruction {
    /// The instruction, and by how many rows it is late.
    pub(super) fn with_lag(&self) -> (&Self, usize) {
        match self {
            Self::Late(inner) => {
                let (inner, lag) = inner.with_lag();
                (inner, lag + 1)
            }
            instruction => (instruction, 0),
        }
    }
}

/// The part of a stage that belongs to one colour group.
///
/// # Example
///
/// ```
/// use pixelcnn_kernels::exact::Group;
///
/// let green = Group { tiles: 3..6, inputs: 86, outputs: 43..86 };
/// assert_eq!(green.outputs.len(), 43);
/// ```
#[derive(Clone, Debug)]
pub struct Group {
    /// Its tiles of outputs.
    pub tiles: Range<usize>,
    /// Number of maps at the current position that it sees: the first ones.
    pub inputs: usize,
    /// Its outputs, after a gate if there is one.
    pub outputs: Range<usize>,
}

/// The sums at the start of a stage: one chain per lane.
///
/// # Example
///
/// See [`Stage`].
#[derive(Clone, Debug)]
pub struct Chain {
    /// The input buffer of the sums.
    pub source: usize,
    /// The initial value of the chain of each lane; without it, chains continue from the
    /// values that instructions have written to the sums.
    pub bias: Option<Vec<f32>>,
    /// Pixels to the left in the row, which every colour sees.
    pub left: Option<(Vec<Run>, Weights)>,
    /// States of the pixel to the left that the stage itself has written, from this buffer: the
    /// pixels of a row are then computed one after the other, even if the row is known.
    pub state: Option<(usize, Vec<Run>, Weights)>,
    /// The pixel itself.
    pub centre: Weights,
    /// A buffer with a map for each lane.
    pub sums: usize,
}

/// The work for each pixel, one colour group after the other.
///
/// [`Program`] has the rules. Lanes of a tile are outputs. If there is a
/// gate, the first eight belong to the tanh half, the other eight to the sigmoid half
/// of the same eight outputs.
///
/// # Example
///
/// ```
/// use pixelcnn_kernels::exact::{Chain, Group, Pointwise, Stage, Weights};
///
/// // One colour, one map in, one logit out.
/// let chain = Chain {
///     source: 0,
///     bias: Some(vec![0.5; 16]),
///     left: None,
///     state: None,
///     centre: Weights::pack(1, &[Some(0)], |_, _| 1.0),
///     sums: 1,
/// };
/// let stage = Stage {
///     chain: Some(chain),
///     groups: vec![Group { tiles: 0..1, inputs: 1, outputs: 0..1 }],
///     operations: vec![Pointwise::Store(2)],
/// };
/// assert_eq!(stage.groups.len(), 1);
/// ```
#[derive(Clone, Debug)]
pub struct Stage {
    /// The chain at its start; without it, a [`Pointwise::Load`].
    pub chain: Option<Chain>,
    /// One for each colour group of the image, in order.
    pub groups: Vec<Group>,
    /// The elementwise operations on the numbers.
    pub operations: Vec<Pointwise>,
}

/// A buffer that is written for each value as soon as it is known.
///
/// # Example
///
/// ```
/// use pixelcnn_kernels::exact::Input;
///
/// // Two levels of one channel, from -1 to 1.
/// let input = Input { buffer: 0, maps: 1, numbers: vec![-1.0, 1.0] };
/// assert_eq!(input.numbers.len(), 2);
/// ```
#[derive(Clone, Debug)]
pub struct Input {
    /// With `maps` maps for each channel.
    pub buffer: usize,
    /// Numbers per value.
    pub maps: usize,
    /// `[channel, level, map]`.
    pub numbers: Vec<f32>,
}

/// What a [`Program`] is made of: a network, row by row and pixel by pixel.
///
/// An output is one chain: it starts with a bias, and continues with the products
/// of the instructions, the runs to the left, and the maps of its own position that
/// its colour may see.
///
/// The output has the parameters of the distribution of each value: for each channel of a
/// group, the group's part of the output maps. The last stage writes them; if it has no
/// operations, they are its sums.
///
/// # Example
///
/// A single channel of two levels, whose logits are the value of the left neighbour
/// times 0 and times 5:
///
/// ```
/// use pixelcnn_kernels::exact::{
///     Buffer, Chain, Extent, Group, Input, Pointwise, Program, ProgramParts, Run, Stage, Weights,
/// };
///
/// let lanes = [Some(0), Some(1)];
/// let buffer = |maps| Buffer { maps, rows: 1, margin: 1, extent: Extent::Row };
/// let chain = Chain {
///     source: 0,
///     bias: Some(vec![0.0; 16]),
///     left: Some((
///         vec![Run { row: 0, column: -1, length: 1 }],
///         Weights::pack(1, &lanes, |output, _| 5.0 * output as f32),
///     )),
///     state: None,
///     centre: Weights::pack(0, &lanes, |_, _| 0.0),
///     sums: 1,
/// };
/// let stage = Stage {
///     chain: Some(chain),
///     groups: vec![Group { tiles: 0..1, inputs: 0, outputs: 0..2 }],
///     operations: vec![Pointwise::Store(2)],
/// };
/// let program = Program::new(ProgramParts {
///     channels: 1,
///     levels: 2,
///     groups: 1,
///     buffers: vec![buffer(1), buffer(16), buffer(2)],
///     inputs: vec![Input { buffer: 0, maps: 1, numbers: vec![-1.0, 1.0] }],
///     condition: None,
///     once: Vec::new(),
///     instructions: Vec::new(),
///     stages: vec![stage],
///     output: 2,
/// })?;
/// assert_eq!(program.parameters(), (1, 2)); // one group, two logits
/// # Ok::<(), candle_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct ProgramParts {
    /// Channels of the image.
    pub channels: usize,
    /// Values of a channel.
    pub levels: usize,
    /// Colour groups of equal size; the values of one group become known
    /// together.
    pub groups: usize,
    /// The buffers.
    pub buffers: Vec<Buffer>,
    /// The buffers written from values.
    pub inputs: Vec<Input>,
    /// The buffer of the condition: [`Extent::Image`]
    /// for a vector, [`Extent::Row`] for maps.
    pub condition: Option<usize>,
    /// Instructions once per image.
    pub once: Vec<Instruction>,
    /// Instructions once per row.
    pub instructions: Vec<Instruction>,
    /// Stages for each pixel.
    pub stages: Vec<Stage>,
    /// The buffer of the parameters, in the order of the groups.
    pub output: usize,
}

impl Instruction {
    fn reads(&self, buffer: usize) -> bool {
        match self {
            Self::Copy { source, .. }
            | Self::Product { source, .. }
            | Self::RowAbove { source, .. } => *source == buffer,
            Self::Beside { .. } => false,
            Self::Scan(scan) => {
                [scan.source, scan.target].contains(&buffer) || reads(&scan.operations, buffer)
            }
            Self::Pointwise { operations, .. } => reads(operations, buffer),
            Self::Late(inner) => match &**inner {
                // It continues chains of the row above, to which stages may have added.
                Self::Product { source, target, .. } => [*source, *target].contains(&buffer),
                inner => inner.reads(buffer),
            },
        }
    }
}

impl Chain {
    /// The buffers that it reads, besides its sums.
    pub(super) fn sources(&self) -> impl Iterator<Item = usize> {
        let state = self.state.as_ref().map(|(source, ..)| *source);
        std::iter::once(self.source).chain(state)
    }
}

impl Stage {
    fn reads(&self, buffer: usize) -> bool {
        let chain = self.chain.as_ref();
        chain.is_some_and(|chain| chain.sources().any(|source| source == buffer))
            || reads(&self.operations, buffer)
    }

    fn writes(&self) -> impl Iterator<Item = usize> {
        let stores = self
            .operations
            .iter()
            .filter_map(|operation| match operation {
                Pointwise::Store(buffer) | Pointwise::Lstm { cell: buffer, .. } => Some(*buffer),
                _ => None,
            });
        stores.chain(self.chain.iter().map(|chain| chain.sums))
    }
}

fn reads(operations: &[Pointwise], buffer: usize) -> bool {
    let read = |operation: &Pointwise| match operation {
        Pointwise::Load(from) | Pointwise::Add(from) | Pointwise::Lstm { before: from, .. } => {
            *from == buffer
        }
        _ => false,
    };
    operations.iter().any(read)
}

impl ProgramParts {
    /// Bytes of the weights that each pixel uses.
    fn bytes_per_pixel(&self) -> usize {
        let stages = self.stages.iter().filter_map(|stage| {
            let chain = stage.chain.as_ref()?;
            let left = chain.left.as_ref().map_or(0, |(_, left)| left.bytes());
            let left = left + chain.state.as_ref().map_or(0, |(.., state)| state.bytes());
            let groups = stage.groups.iter();
            let read = groups.map(|group| group.tiles.len() * group.inputs * TILE_BYTES);
            Some(left + read.sum::<usize>())
        });
        stages.sum()
    }

    /// Mean bytes of the weights that a drawn pixel uses between two barriers: there is one after
    /// each stage of each colour group, and one after the driver.
    pub(super) fn bytes_between_barriers(&self) -> usize {
        self.bytes_per_pixel() / (self.groups * (self.stages.len() + 1)).max(1)
    }

    /// Number of first stages whose results other pixels or rows read. The stages after
    /// them only compute the output.
    pub(super) fn stages_before_output(&self) -> usize {
        let mut first = self.stages.len();
        while let Some(last) = first.checked_sub(1) {
            let is_read = |buffer: usize| {
                let instructions = self.once.iter().chain(&self.instructions);
                let mut stages = self.stages[..last].iter();
                instructions.into_iter().any(|step| step.reads(buffer))
                    || stages.any(|stage| stage.reads(buffer))
            };
            if self.stages[last].writes().any(is_read) {
                break;
            }
            first = last;
        }
        first
    }
}

/// A network for [`run`](super::run), whose parts fit together.
///
/// # Example
///
/// See [`ProgramParts`].
#[derive(Clone, Debug)]
pub struct Program {
    pub(super) parts: ProgramParts,
}

impl Program {
    /// Makes a program of its parts.
    ///
    /// # Errors
    ///
    /// If the parts do not fit together. The error names the instruction or stage, and
    /// what is wrong with it.
    pub fn new(parts: ProgramParts) -> Result<Self> {
        parts.check()?;
        Ok(Self { parts })
    }

    /// The number of colour groups, and the number of parameters of each group: as many
    /// as a [`Driver`](super::Driver) gets at a time.
    pub fn parameters(&self) -> (usize, usize) {
        let parts = &self.parts;
        let maps = parts.buffers[parts.output].maps;
        (parts.groups, maps / parts.groups)
    }

    /// What images are conditioned on: how many numbers, for each image or for each
    /// position. `None` if they are not conditioned.
    pub fn condition(&self) -> Option<(Extent, usize)> {
        let buffer = &self.parts.buffers[self.parts.condition?];
        Some((buffer.extent, buffer.maps))
    }

    /// Bytes of the weights that are used once per row, and once per pixel.
    pub fn weight_bytes(&self) -> (usize, usize) {
        let parts = &self.parts;
        let instructions =
            parts
                .instructions
                .iter()
                .map(|instruction| match instruction.with_lag().0 {
                    Instruction::Product { weights, .. }
                    | Instruction::Scan(Scan { weights, .. }) => weights.bytes(),
                    _ => 0,
                });
        (instructions.sum(), parts.bytes_per_pixel())
    }
}
