//! A network as the engine runs it: what is computed once a row, and what
//! pixel by pixel.

use std::ops::Range;

use super::product::{TILE_BYTES, Weights};

/// Numbers that are kept: maps at each position of some rows.
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
    /// Rows kept: the present one and those above that are still read.
    pub rows: usize,
    /// Columns of zeros on either side.
    pub margin: usize,
    /// Whether there is a number for each column.
    pub extent: Extent,
}

/// What there is a position for.
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

/// Numbers of a buffer that follow each other and are summed over: the maps of
/// one position, or of several side by side.
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
    /// Relative to the present row.
    pub row: isize,
    /// Of the first position, relative to the present column.
    pub column: isize,
    /// How many numbers.
    pub length: usize,
}

/// What is done once for all positions of a row, from rows above.
///
/// # Example
///
/// ```
/// use pixelcnn_kernels::exact::Step;
///
/// let step = Step::Copy { source: 1, target: 0 };
/// assert!(matches!(step, Step::Copy { target: 0, .. }));
/// ```
#[derive(Clone, Debug)]
pub enum Step {
    /// The image's numbers at each position: chains begun for the whole image.
    Copy {
        /// A buffer of [`Extent::Image`].
        source: usize,
        /// A buffer of [`Extent::Row`] with as many maps.
        target: usize,
    },
    /// Begins or continues the chains of the target.
    Product {
        /// What chains begin with, for each lane; without it they go on from
        /// what the target holds.
        bias: Option<Vec<f32>>,
        /// What is summed over.
        source: usize,
        /// In the order of the chain.
        runs: Vec<Run>,
        /// Over all runs.
        weights: Weights,
        /// A buffer with a map for each lane of the weights.
        target: usize,
    },
    /// `tanh(source[m] + term[m]) sigmoid(source[maps + m] + term[maps + m])`.
    Gate {
        /// The sums, at least `2 maps` of them.
        source: usize,
        /// Added before, at each position or for the image.
        term: Option<usize>,
        /// Maps after the gate.
        maps: usize,
        /// A buffer with so many maps.
        target: usize,
    },
}

impl Step {
    /// What is read, and what is written.
    pub(super) fn buffers(&self) -> (Vec<usize>, usize) {
        match self {
            Self::Copy { source, target } | Self::Product { source, target, .. } => {
                (vec![*source], *target)
            }
            Self::Gate {
                source,
                term,
                target,
                ..
            } => (std::iter::once(*source).chain(*term).collect(), *target),
        }
    }

    /// All buffers but a target that sums may lie in.
    pub(super) fn apart_from_sums(&self) -> Vec<usize> {
        let (mut buffers, target) = self.buffers();
        if let Self::Gate { .. } = self {
            buffers.push(target);
        }
        buffers
    }
}

/// What becomes of a stage's sums.
///
/// # Example
///
/// ```
/// use pixelcnn_kernels::exact::Activation;
///
/// assert_ne!(Activation::None, Activation::Gate);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// Lanes are outputs.
    None,
    /// The first eight lanes of a tile are of the tanh half, the other eight
    /// of the sigmoid half of the same eight outputs.
    Gate,
}

/// How a stage's outputs are written.
///
/// # Example
///
/// ```
/// use pixelcnn_kernels::exact::Store;
///
/// assert_ne!(Store::AsIs, Store::Rectified);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Store {
    /// Unchanged.
    AsIs,
    /// Their positive part.
    Rectified,
}

/// The part of a stage that belongs to one colour.
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
    /// How many of the maps at the present position it sees: the first ones.
    pub inputs: usize,
    /// Its outputs.
    pub outputs: Range<usize>,
}

/// What is done for each pixel, one colour after the other.
///
/// [`Program`] says what holds of it.
///
/// # Example
///
/// ```
/// use pixelcnn_kernels::exact::{Activation, Group, Stage, Weights};
///
/// // One colour, one map in, one logit out.
/// let stage = Stage {
///     source: 0,
///     bias: Some(vec![0.5; 16]),
///     left: None,
///     centre: Weights::pack(1, &[Some(0)], |_, _| 1.0),
///     sums: 1,
///     groups: vec![Group { tiles: 0..1, inputs: 1, outputs: 0..1 }],
///     activation: Activation::None,
///     residual: None,
///     targets: Vec::new(),
/// };
/// assert_eq!(stage.groups.len(), 1);
/// ```
#[derive(Clone, Debug)]
pub struct Stage {
    /// What the sums are over.
    pub source: usize,
    /// What chains begin with, for each lane; without it they go on from what
    /// steps have left in the sums.
    pub bias: Option<Vec<f32>>,
    /// Pixels to the left in the row, which every colour sees.
    pub left: Option<(Vec<Run>, Weights)>,
    /// The pixel itself.
    pub centre: Weights,
    /// A buffer with a map for each lane.
    pub sums: usize,
    /// One for each channel of the image, in order.
    pub groups: Vec<Group>,
    /// What becomes of the sums.
    pub activation: Activation,
    /// Added to the outputs.
    pub residual: Option<usize>,
    /// Where outputs are written.
    pub targets: Vec<(usize, Store)>,
}

/// A network, row by row and pixel by pixel.
///
/// An output is one chain: it begins with a bias, and goes through the products
/// of the steps, the runs to the left, and the maps of its own position that
/// its colour may see.
///
/// The sums of the last stage are the logits, `levels` of each channel.
///
/// # Example
///
/// A single channel of two levels, whose logits are its left neighbour's value
/// times 0 and times 5:
///
/// ```
/// use pixelcnn_kernels::exact::{
///     Activation, Buffer, Extent, Group, Program, Run, Stage, Weights,
/// };
///
/// let lanes = [Some(0), Some(1)];
/// let buffer = |maps| Buffer { maps, rows: 1, margin: 1, extent: Extent::Row };
/// let stage = Stage {
///     source: 0,
///     bias: Some(vec![0.0; 16]),
///     left: Some((
///         vec![Run { row: 0, column: -1, length: 1 }],
///         Weights::pack(1, &lanes, |output, _| 5.0 * output as f32),
///     )),
///     centre: Weights::pack(0, &lanes, |_, _| 0.0),
///     sums: 1,
///     groups: vec![Group { tiles: 0..1, inputs: 0, outputs: 0..2 }],
///     activation: Activation::None,
///     residual: None,
///     targets: Vec::new(),
/// };
/// let program = Program {
///     channels: 1,
///     levels: 2,
///     buffers: vec![buffer(1), buffer(16)],
///     condition: None,
///     once: Vec::new(),
///     steps: Vec::new(),
///     stages: vec![stage],
/// };
/// program.check()?;
/// # Ok::<(), candle_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Program {
    /// Channels of the image, which is buffer 0.
    pub channels: usize,
    /// Values of a channel.
    pub levels: usize,
    /// What is kept.
    pub buffers: Vec<Buffer>,
    /// The buffer of what the image is conditioned on: of [`Extent::Image`]
    /// for a vector, of [`Extent::Row`] for maps.
    pub condition: Option<usize>,
    /// Done once an image.
    pub once: Vec<Step>,
    /// Done once a row.
    pub steps: Vec<Step>,
    /// Done for each pixel.
    pub stages: Vec<Stage>,
}

impl Program {
    /// Bytes of the weights that are used once a row, and once a pixel.
    pub fn weight_bytes(&self) -> (usize, usize) {
        let steps = self.steps.iter().map(|step| match step {
            Step::Product { weights, .. } => weights.bytes(),
            _ => 0,
        });
        let stages = self.stages.iter().map(|stage| {
            let left = stage.left.as_ref().map_or(0, |(_, left)| left.bytes());
            let groups = stage.groups.iter();
            let read = groups.map(|group| group.tiles.len() * group.inputs * TILE_BYTES);
            left + read.sum::<usize>()
        });
        (steps.sum(), stages.sum())
    }
}
