//! A network as the engine runs it: what is computed once a row, and what
//! pixel by pixel.

use std::ops::Range;

use candle_core::{Result, bail};

use super::product::{LANES, Weights};

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
/// let step = Step::Fill { target: 0, numbers: vec![0.5; 16] };
/// assert!(matches!(step, Step::Fill { target: 0, .. }));
/// ```
#[derive(Clone, Debug)]
pub enum Step {
    /// The same numbers at each position: where chains begin.
    Fill {
        /// A buffer with as many maps.
        target: usize,
        /// The numbers.
        numbers: Vec<f32>,
    },
    /// The image's numbers at each position.
    Copy {
        /// A buffer of [`Extent::Image`].
        source: usize,
        /// A buffer of [`Extent::Row`] with as many maps.
        target: usize,
    },
    /// Continues the chains of the target.
    Product {
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
    /// Pixels to the left in the row, which every colour sees.
    pub left: Option<(Vec<Run>, Weights)>,
    /// The pixel itself.
    pub centre: Weights,
    /// A buffer that holds where the chains begin, a map for each lane; the
    /// steps have written it.
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
/// An output is one chain: it begins with what a [`Step::Fill`] or
/// [`Step::Copy`] writes, and goes through the products of the steps, the runs
/// to the left, and the maps of its own position that its colour may see.
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
///     Activation, Buffer, Extent, Group, Program, Run, Stage, Step, Weights,
/// };
///
/// let lanes = [Some(0), Some(1)];
/// let buffer = |maps| Buffer { maps, rows: 1, margin: 1, extent: Extent::Row };
/// let stage = Stage {
///     source: 0,
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
///     steps: vec![Step::Fill { target: 1, numbers: vec![0.0; 16] }],
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
    /// Refuses a program whose parts do not fit together.
    ///
    /// # Errors
    ///
    /// The step or stage and what is wrong with it.
    pub fn check(&self) -> Result<()> {
        if self.channels == 0 || self.levels < 2 || self.buffer(0)?.maps != self.channels {
            bail!(
                "program: buffer 0 of {} channels, 2 levels or more expected",
                self.channels
            );
        }
        for (index, buffer) in self.buffers.iter().enumerate() {
            if buffer.maps == 0 || buffer.rows == 0 {
                bail!("program: buffer {index} is empty: {buffer:?}");
            }
            if buffer.extent == Extent::Image && (buffer.rows, buffer.margin) != (1, 0) {
                bail!("program: buffer {index} of an image has rows or a margin");
            }
        }
        if let Some(condition) = self.condition {
            self.buffer(condition)?;
        }
        for step in self.once.iter().chain(&self.steps) {
            self.check_step(step)?;
        }
        for (index, stage) in self.stages.iter().enumerate() {
            self.check_stage(stage, index + 1 == self.stages.len())?;
        }
        match self.stages.is_empty() {
            true => bail!("program: no stage gives logits"),
            false => Ok(()),
        }
    }

    fn buffer(&self, index: usize) -> Result<&Buffer> {
        match self.buffers.get(index) {
            Some(buffer) => Ok(buffer),
            None => bail!("program: there is no buffer {index}"),
        }
    }

    fn expect(&self, what: &str, expected: usize, found: usize) -> Result<()> {
        match expected == found {
            true => Ok(()),
            false => bail!("program: {what}: {expected} expected, found {found}"),
        }
    }

    fn check_step(&self, step: &Step) -> Result<()> {
        match step {
            Step::Fill { target, numbers } => {
                self.expect("maps to fill", self.buffer(*target)?.maps, numbers.len())
            }
            Step::Copy { source, target } => {
                let (from, to) = (self.buffer(*source)?, self.buffer(*target)?);
                if (from.extent, to.extent) != (Extent::Image, Extent::Row) {
                    bail!("program: copies are from an image to a row");
                }
                self.expect("maps to copy", to.maps, from.maps)
            }
            Step::Product {
                source,
                runs,
                weights,
                target,
            } => {
                let (from, to) = (self.buffer(*source)?, self.buffer(*target)?);
                if from.extent != to.extent {
                    bail!(
                        "program: a product from {:?} to {:?}",
                        from.extent,
                        to.extent
                    );
                }
                self.expect("sums of a product", to.maps, weights.tiles() * LANES)?;
                self.check_runs(*source, runs, weights, 0)
            }
            Step::Gate {
                source,
                term,
                maps,
                target,
            } => {
                let from = self.buffer(*source)?;
                if from.maps < 2 * maps || from.extent == Extent::Image {
                    bail!("program: a gate of {maps} maps from {from:?}");
                }
                if let Some(term) = term
                    && self.buffer(*term)?.maps < 2 * maps
                {
                    bail!(
                        "program: a gate of {maps} maps with {:?}",
                        self.buffer(*term)?
                    );
                }
                self.expect("maps of a gate", self.buffer(*target)?.maps, *maps)
            }
        }
    }

    /// `own` is 1 where the present position is not to be read.
    fn check_runs(&self, source: usize, runs: &[Run], weights: &Weights, own: usize) -> Result<()> {
        let from = self.buffer(source)?;
        for run in runs {
            let positions = run.length.div_ceil(from.maps) as isize;
            let last = run.column + positions - 1 + own as isize;
            let margin = from.margin as isize;
            let above = -run.row;
            let most = match own {
                0 => margin,
                _ => 0,
            };
            if run.column < -margin || last > most || above < 0 || above >= from.rows as isize {
                bail!("program: {run:?} is not kept by {from:?}");
            }
        }
        let length = runs.iter().map(|run| run.length).sum();
        self.expect("inputs of a sum", length, weights.length())
    }

    fn check_stage(&self, stage: &Stage, last: bool) -> Result<()> {
        let (source, sums) = (self.buffer(stage.source)?, self.buffer(stage.sums)?);
        if [source.extent, sums.extent] != [Extent::Row; 2] {
            bail!("program: a stage works on rows");
        }
        let tiles = stage.centre.tiles();
        self.expect("sums of a stage", sums.maps, tiles * LANES)?;
        if let Some((runs, weights)) = &stage.left {
            self.expect("tiles to the left", tiles, weights.tiles())?;
            if runs.iter().any(|run| run.row != 0) {
                bail!("program: a stage reads its own row");
            }
            self.check_runs(stage.source, runs, weights, 1)?;
        }
        self.expect("colours of a stage", self.channels, stage.groups.len())?;
        let lanes = match stage.activation {
            Activation::None => LANES,
            Activation::Gate => LANES / 2,
        };
        for group in &stage.groups {
            if group.inputs > stage.centre.length().min(source.maps) || group.tiles.end > tiles {
                bail!("program: {group:?} is beyond the stage");
            }
            if group.outputs.len() > group.tiles.len() * lanes {
                bail!("program: {group:?} has more outputs than lanes");
            }
            let written = stage.targets.iter().map(|(target, _)| *target);
            for buffer in written.chain(stage.residual) {
                let buffer = self.buffer(buffer)?;
                if buffer.extent != Extent::Row || buffer.maps < group.outputs.end {
                    bail!("program: {group:?} does not fit {buffer:?}");
                }
            }
            if last {
                self.expect("logits", self.levels, group.outputs.len())?;
            }
        }
        Ok(())
    }

    /// Bytes of the weights that are used once a row, and once a pixel.
    pub fn weight_bytes(&self) -> (usize, usize) {
        let steps = self.steps.iter().map(|step| match step {
            Step::Product { weights, .. } => weights.bytes(),
            _ => 0,
        });
        let stages = self.stages.iter().map(|stage| {
            let left = stage.left.as_ref().map_or(0, |(_, left)| left.bytes());
            left + stage.centre.bytes()
        });
        (steps.sum(), stages.sum())
    }
}
