//! A network as the list of operations of its forward pass.

use std::ops::Range;

use candle_core::{Result, Tensor, bail};
use pixelcnn_conv::{ColourGroups, Convolution};

use crate::{Activation, ConditionTerm, GatedBlock, Recurrence};

/// Maps: the image, or the output of an operation of the same network.
///
/// # Example
///
/// See [`Graph`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Maps(usize);

impl Maps {
    /// The output of operation `index`.
    pub fn at(index: usize) -> Self {
        Self(index)
    }

    /// Their index in [`Graph::operations`].
    pub fn index(self) -> usize {
        self.0
    }
}

/// An operation that computes maps from other maps.
///
/// # Example
///
/// See [`Graph`].
#[derive(Clone, Debug)]
pub enum Operation {
    /// The image, scaled to -1..1.
    Image,
    /// The image, scaled to another range: the number of the lowest and of the highest level.
    Rescaled([f64; 2]),
    /// A convolution of maps.
    Convolution(Box<Convolution>, Maps),
    /// Adds the conditioning term to maps.
    Condition(Box<ConditionTerm>, Maps),
    /// The sum of two maps.
    Sum(Maps, Maps),
    /// An embedding of the image's values, with a table of the levels for each channel,
    /// `[channels, levels, maps per channel]`. Values between two levels are
    /// interpolated linearly.
    Embedding(Tensor),
    /// The positive part.
    Relu(Maps),
    /// `x` above zero, else `e^x - 1`.
    Elu(Maps),
    /// `tanh` of the first half of the maps times the sigmoid of the second,
    /// equation 2 of the paper.
    Gate(Maps),
    /// The maps of the row above; in the first row, these numbers, `[maps]`.
    RowAbove(Tensor, Maps),
    /// The hidden states of an LSTM at all pixels, from the sums before its gates.
    Lstm(Box<Recurrence>, Maps),
}

impl Operation {
    /// The maps that it reads.
    pub fn reads(&self) -> Vec<Maps> {
        match self {
            Self::Image => Vec::new(),
            Self::Rescaled(_) | Self::Embedding(_) => vec![Maps(0)],
            Self::Sum(one, other) => vec![*one, *other],
            Self::Convolution(_, maps) | Self::Condition(_, maps) | Self::Lstm(_, maps) => {
                vec![*maps]
            }
            Self::Relu(maps) | Self::Elu(maps) | Self::Gate(maps) | Self::RowAbove(_, maps) => {
                vec![*maps]
            }
        }
    }
}

/// A two-stack block. The forward pass on tensors can compute it faster than by its
/// single operations.
///
/// # Example
///
/// See [`Graph::gated_block`].
#[derive(Clone, Debug)]
pub struct Composite {
    /// Its operations.
    pub operations: Range<usize>,
    /// Its weights.
    pub block: GatedBlock,
    /// The vertical and the horizontal stack before it.
    pub before: [Maps; 2],
    /// The vertical stack after it (except for the last block) and the horizontal
    /// stack after it.
    pub after: (Option<Maps>, Maps),
}

impl Composite {
    /// Whether the fast kernel of blocks can compute it.
    pub(crate) fn has_kernel(&self) -> bool {
        let is_shared = self.before[0] == self.before[1];
        self.block.activation().is_gate() && is_shared != self.block.is_residual()
    }
}

/// The forward pass of a network, written once. Computation, audit and counting all
/// go through these operations in order.
///
/// The operations of the head read only single pixels of its input maps.
///
/// # Example
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use candle_nn::VarBuilder;
/// use pixelcnn_conv::{ColourGroups, Convolution, Mask};
/// use pixelcnn_layers::{Condition, Graph};
///
/// let weights = VarBuilder::zeros(DType::F32, &Device::Cpu);
/// let (image, maps) = (ColourGroups::new(1, 1)?, ColourGroups::new(1, 4)?);
/// let mut graph = Graph::new(image);
/// let first = Convolution::masked(Mask::A, image, maps, 3, weights.pp("first"))?;
/// let first = graph.convolution(first, graph.image());
/// let rectified = graph.relu(first);
/// let logits = Convolution::masked(Mask::B, maps, maps, 1, weights.pp("logits"))?;
/// let logits = graph.convolution(logits, rectified);
/// let graph = graph.with_head(first, logits);
/// let image = Tensor::zeros((2, 1, 5, 6), DType::F32, &Device::Cpu)?;
/// let maps = graph.before_head(&image, &Condition::None)?;
/// assert_eq!(graph.head(&maps)?.dims(), [2, 4, 5, 6]);
/// # Ok::<(), candle_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Graph {
    image: ColourGroups,
    operations: Vec<Operation>,
    /// Number of output maps of each operation.
    maps: Vec<usize>,
    pub(crate) composites: Vec<Composite>,
    head: Maps,
    output: Maps,
}

impl Graph {
    /// A graph with only the image. Its values are predicted group by group: colour by
    /// colour, or all together in a single group.
    pub fn new(image: ColourGroups) -> Self {
        Self {
            image,
            operations: vec![Operation::Image],
            maps: vec![image.maps()],
            composites: Vec::new(),
            head: Maps(0),
            output: Maps(0),
        }
    }

    /// The channels of the image, and the groups in which they are predicted.
    pub fn image_groups(&self) -> ColourGroups {
        self.image
    }

    /// The image.
    pub fn image(&self) -> Maps {
        Maps(0)
    }

    /// The image, scaled so that the lowest level is `lowest` and the highest one `highest`,
    /// instead of -1 and 1.
    pub fn rescaled(&mut self, lowest: f64, highest: f64) -> Maps {
        let channels = self.image.maps();
        self.push(Operation::Rescaled([lowest, highest]), channels)
    }

    pub(crate) fn push(&mut self, operation: Operation, maps: usize) -> Maps {
        self.operations.push(operation);
        self.maps.push(maps);
        Maps(self.operations.len() - 1)
    }

    /// Number of maps.
    pub fn maps(&self, maps: Maps) -> usize {
        self.maps.get(maps.0).copied().unwrap_or(0)
    }

    /// A convolution of maps.
    pub fn convolution(&mut self, convolution: Convolution, maps: Maps) -> Maps {
        let outputs = convolution.groups().maps();
        self.push(Operation::Convolution(Box::new(convolution), maps), outputs)
    }

    /// Maps plus the conditioning term; the maps themselves if there is no
    /// condition.
    pub fn condition(&mut self, term: ConditionTerm, maps: Maps) -> Maps {
        match term {
            ConditionTerm::None => maps,
            term => self.push(Operation::Condition(Box::new(term), maps), self.maps(maps)),
        }
    }

    /// The sum of two maps.
    pub fn sum(&mut self, one: Maps, other: Maps) -> Maps {
        self.push(Operation::Sum(one, other), self.maps(one))
    }

    /// The positive part.
    pub fn relu(&mut self, maps: Maps) -> Maps {
        self.push(Operation::Relu(maps), self.maps(maps))
    }

    /// `x` above zero, else `e^x - 1`: the exponential linear unit.
    pub fn elu(&mut self, maps: Maps) -> Maps {
        self.push(Operation::Elu(maps), self.maps(maps))
    }

    /// An embedding of the image's values by tables of all levels, `[channels, levels,
    /// maps per channel]`.
    ///
    /// # Errors
    ///
    /// If there is not a table for each channel, or one has fewer than two levels.
    pub fn embedding(&mut self, tables: Tensor) -> Result<Maps> {
        let (channels, levels, each) = tables.dims3()?;
        let expected = self.image.maps();
        if channels != expected || levels < 2 {
            bail!(
                "embedding: a table of at least 2 levels for each of {expected} channels \
                 expected, found {channels} tables of {levels} levels"
            );
        }
        Ok(self.push(Operation::Embedding(tables), channels * each))
    }

    /// `tanh` of the first half times the sigmoid of the second.
    pub fn gate(&mut self, maps: Maps) -> Maps {
        self.push(Operation::Gate(maps), self.maps(maps) / 2)
    }

    /// The maps of the row above. In the first row they are the numbers `first`, `[maps]`,
    /// such as the bias that a convolution would have above the image.
    ///
    /// # Errors
    ///
    /// If there is not a number for each of the maps.
    ///
    /// # Example
    ///
    /// ```
    /// use candle_core::{Device, Tensor};
    /// use pixelcnn_conv::ColourGroups;
    /// use pixelcnn_layers::{Condition, Graph};
    ///
    /// let mut graph = Graph::new(ColourGroups::new(1, 1)?);
    /// let above = graph.row_above(Tensor::new(&[7f32], &Device::Cpu)?, graph.image())?;
    /// let graph = graph.with_head(above, above);
    /// let image = Tensor::new(&[[[[1f32, 2.0], [3.0, 4.0]]]], &Device::Cpu)?;
    /// let maps = graph.before_head(&image, &Condition::None)?;
    /// assert_eq!(maps.flatten_all()?.to_vec1::<f32>()?, [7.0, 7.0, 1.0, 2.0]);
    /// # Ok::<(), candle_core::Error>(())
    /// ```
    pub fn row_above(&mut self, first: Tensor, maps: Maps) -> Result<Maps> {
        let expected = self.maps(maps);
        if first.dims() != [expected] {
            bail!(
                "row above: a number for each of {expected} maps expected, found {:?}",
                first.dims()
            );
        }
        Ok(self.push(Operation::RowAbove(first, maps), expected))
    }

    /// The activation of a block, for sums that
    /// [`Activation::sums`] says.
    pub fn activation(&mut self, activation: Activation, maps: Maps) -> Maps {
        match activation {
            Activation::Gate => self.gate(maps),
            Activation::Relu => self.relu(maps),
            Activation::Elu => self.elu(maps),
        }
    }

    /// Figure 2 of the paper, from the vertical and the horizontal stack to both. This
    /// defines a [`GatedBlock`].
    ///
    /// # Example
    ///
    /// ```
    /// use candle_core::{DType, Device};
    /// use candle_nn::VarBuilder;
    /// use pixelcnn_conv::{ColourGroups, Mask};
    /// use pixelcnn_layers::{Activation, ConditionShape, GatedBlock, GatedBlockConfig, Graph};
    ///
    /// let weights = VarBuilder::zeros(DType::F32, &Device::Cpu);
    /// let config = GatedBlockConfig {
    ///     mask: Mask::A,
    ///     vertical_after: true,
    ///     inputs: ColourGroups::new(1, 1)?,
    ///     outputs: ColourGroups::new(1, 8)?,
    ///     kernel: 7,
    ///     dilation: 1,
    ///     activation: Activation::Gate,
    ///     vertical_residual: false,
    ///     condition: ConditionShape::None,
    /// };
    /// let mut graph = Graph::new(config.inputs);
    /// let image = graph.image();
    /// let block = GatedBlock::new(&config, weights)?;
    /// let [vertical, horizontal] = graph.gated_block(block, [image, image]);
    /// assert_ne!(vertical, horizontal);
    /// # Ok::<(), candle_core::Error>(())
    /// ```
    pub fn gated_block(&mut self, block: GatedBlock, stacks: [Maps; 2]) -> [Maps; 2] {
        let [before, row_before] = stacks;
        let first = self.operations.len();
        let sums = self.convolution(block.vertical().clone(), before);
        let row = self.convolution(block.horizontal().clone(), row_before);
        let linked = self.convolution(block.link().clone(), sums);
        let row = self.sum(row, linked);
        let row = self.condition(block.horizontal_condition().clone(), row);
        let gated = self.activation(block.activation(), row);
        let mut horizontal = self.convolution(block.output().clone(), gated);
        if block.is_residual() {
            horizontal = self.sum(horizontal, row_before);
        }
        let vertical = block.has_vertical().then(|| {
            let sums = self.condition(block.vertical_condition().clone(), sums);
            let gated = self.activation(block.activation(), sums);
            match block.is_vertical_residual() {
                true => self.sum(gated, before),
                false => gated,
            }
        });
        self.composites.push(Composite {
            operations: first..self.operations.len(),
            block,
            before: stacks,
            after: (vertical, horizontal),
        });
        // Nothing reads the vertical stack after the last block.
        [vertical.unwrap_or(horizontal), horizontal]
    }

    /// The complete network, with the input maps of the head and the
    /// output.
    pub fn with_head(self, head: Maps, output: Maps) -> Self {
        Self {
            head,
            output,
            ..self
        }
    }

    /// All operations; each reads only the image and the outputs of earlier operations.
    pub fn operations(&self) -> &[Operation] {
        &self.operations
    }

    /// The two-stack blocks, in order.
    pub fn composites(&self) -> &[Composite] {
        &self.composites
    }

    /// The input and the output of the head.
    pub fn ends(&self) -> (Maps, Maps) {
        (self.head, self.output)
    }

    /// Which operations the `wanted` maps need, among those after the `given` maps.
    pub(crate) fn needed(&self, given: &[Maps], wanted: &[Maps]) -> Vec<bool> {
        let mut needed = vec![false; self.operations.len()];
        let mut waiting = wanted.to_vec();
        while let Some(maps) = waiting.pop() {
            if !given.contains(&maps) && !std::mem::replace(&mut needed[maps.0], true) {
                waiting.extend(self.operations[maps.0].reads());
            }
        }
        needed
    }

    /// For each maps, the last operation that reads them on the way to the `wanted`
    /// maps. After it they can be dropped. The wanted maps are never dropped.
    pub fn last_reads(&self, wanted: &[Maps]) -> Vec<usize> {
        let mut last = vec![0; self.operations.len()];
        let end = wanted.iter().map(|maps| maps.0 + 1).max().unwrap_or(0);
        for (index, operation) in self.operations.iter().enumerate().take(end) {
            for maps in operation.reads() {
                last[maps.0] = index;
            }
        }
        for maps in wanted {
            last[maps.0] = usize::MAX;
        }
        last
    }

    /// Every convolution, except those of conditions.
    pub fn convolutions(&self) -> Vec<&Convolution> {
        let operations = self.operations.iter();
        let convolutions = operations.filter_map(|operation| match operation {
            Operation::Convolution(convolution, _) => Some(&**convolution),
            _ => None,
        });
        convolutions.collect()
    }

    /// Every recurrence.
    pub fn recurrences(&self) -> Vec<&Recurrence> {
        let operations = self.operations.iter();
        let recurrences = operations.filter_map(|operation| match operation {
            Operation::Lstm(recurrence, _) => Some(&**recurrence),
            _ => None,
        });
        recurrences.collect()
    }

    /// Every conditioning term.
    pub fn terms(&self) -> Vec<&ConditionTerm> {
        let operations = self.operations.iter();
        let terms = operations.filter_map(|operation| match operation {
            Operation::Condition(term, _) => Some(&**term),
            _ => None,
        });
        terms.collect()
    }
}
