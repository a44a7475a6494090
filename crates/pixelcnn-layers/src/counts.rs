//! The cost of a network, counted from its operations.

use std::collections::HashSet;

use pixelcnn_conv::Tap;

use crate::ConditionTerm;
use crate::graph::{Composite, Graph, Maps, Operation};

/// A forward pass of a network, for images with a given number of rows.
///
/// # Example
///
/// See [`Graph::numbers_held`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pass {
    /// Rows of the images.
    pub height: usize,
    /// Rows whose output is computed at a time; all of them if gradients are needed.
    pub rows: usize,
    /// Whether tensors are kept for gradients.
    pub gradients: bool,
    /// Whether blocks use their fast kernels.
    pub kernels: bool,
}

/// Operations that are computed together; sizes in maps.
struct OperationGroup {
    /// The index of the last operation.
    last: usize,
    reads: Vec<Maps>,
    makes: Vec<Maps>,
    /// Additional maps that are kept for gradients.
    beside: Vec<usize>,
    /// Temporary maps.
    moment: usize,
}

impl Graph {
    /// Number of weights and biases, without masked ones. A term that several stacks share
    /// counts once.
    ///
    /// # Example
    ///
    /// ```
    /// use candle_core::{DType, Device};
    /// use candle_nn::VarBuilder;
    /// use pixelcnn_conv::{ColourGroups, Convolution, Mask};
    /// use pixelcnn_layers::Graph;
    ///
    /// let weights = VarBuilder::zeros(DType::F32, &Device::Cpu);
    /// let (image, maps) = (ColourGroups::new(1, 1)?, ColourGroups::new(1, 4)?);
    /// let mut graph = Graph::new(image);
    /// let first = Convolution::masked(Mask::A, image, maps, 3, weights)?;
    /// graph.convolution(first, graph.image());
    /// assert_eq!(graph.parameters(), 4 * 4 + 4);
    /// assert_eq!(graph.multiply_adds((32, 32)), 4 * 4 * 32 * 32);
    /// # Ok::<(), candle_core::Error>(())
    /// ```
    pub fn parameters(&self) -> usize {
        let convolutions = self.convolutions().into_iter();
        let mut seen = HashSet::new();
        let terms = self.terms().into_iter();
        let terms = terms.filter(|term| term.weight().is_none_or(|it| seen.insert(it.id())));
        let embeddings = self.operations().iter().map(|operation| match operation {
            Operation::Embedding(tables) => tables.elem_count(),
            _ => 0,
        });
        convolutions.map(|it| it.parameters()).sum::<usize>()
            + terms.map(ConditionTerm::parameters).sum::<usize>()
            + embeddings.sum::<usize>()
            + self
                .recurrences()
                .iter()
                .map(|it| it.parameters())
                .sum::<usize>()
    }

    /// Multiply-adds for an image of `height x width`.
    pub fn multiply_adds(&self, (height, width): (usize, usize)) -> usize {
        let counts = self.operations().iter().map(|operation| match operation {
            Operation::Convolution(convolution, _) => convolution.multiply_adds() * height * width,
            Operation::Condition(term, _) => match &**term {
                ConditionTerm::None => 0,
                ConditionTerm::Vector(weight) => weight.elem_count(),
                ConditionTerm::Map(convolution) => convolution.multiply_adds() * height * width,
            },
            Operation::Lstm(recurrence, _) => recurrence.weight().elem_count() * height * width,
            _ => 0,
        });
        counts.sum()
    }

    /// How far the output sees: rows up, columns left and columns right; `None` if a recurrence
    /// sees as far as the image goes.
    ///
    /// # Example
    ///
    /// ```
    /// use candle_core::{DType, Device};
    /// use candle_nn::VarBuilder;
    /// use pixelcnn_conv::{ColourGroups, Convolution, Mask};
    /// use pixelcnn_layers::Graph;
    ///
    /// let weights = VarBuilder::zeros(DType::F32, &Device::Cpu);
    /// let (image, maps) = (ColourGroups::new(1, 1)?, ColourGroups::new(1, 4)?);
    /// let mut graph = Graph::new(image);
    /// let first = Convolution::masked(Mask::A, image, maps, 7, weights)?;
    /// let first = graph.convolution(first, graph.image());
    /// assert_eq!(graph.with_head(first, first).reach(), Some([3, 3, 3]));
    /// # Ok::<(), candle_core::Error>(())
    /// ```
    pub fn reach(&self) -> Option<[usize; 3]> {
        if !self.recurrences().is_empty() {
            return None;
        }
        let mut all: Vec<[usize; 3]> = Vec::new();
        for operation in self.operations() {
            let read = operation.reads().into_iter();
            let read = read.filter_map(|maps| all.get(maps.index()).copied());
            let mut reach = read.fold([0; 3], |one, other| {
                [0, 1, 2].map(|side| one[side].max(other[side]))
            });
            if let Operation::RowAbove(..) = operation {
                reach[0] += 1;
            }
            if let Operation::Convolution(convolution, _) = operation {
                let taps = convolution.taps();
                for (side, distance) in [
                    |tap: &Tap| -tap.row,
                    |tap: &Tap| -tap.column,
                    |tap: &Tap| tap.column,
                ]
                .into_iter()
                .enumerate()
                {
                    let most = taps.iter().map(distance).max().unwrap_or(0);
                    reach[side] = reach[side].saturating_add_signed(most);
                }
            }
            all.push(reach);
        }
        let (_, output) = self.ends();
        Some(all.get(output.index()).copied().unwrap_or_default())
    }

    /// Most numbers that a pass has in memory at a time, per column of the
    /// images; without the images and the condition.
    ///
    /// # Example
    ///
    /// ```
    /// use candle_core::{DType, Device};
    /// use candle_nn::VarBuilder;
    /// use pixelcnn_conv::{ColourGroups, Convolution, Mask};
    /// use pixelcnn_layers::{Graph, Pass};
    ///
    /// let weights = VarBuilder::zeros(DType::F32, &Device::Cpu);
    /// let groups = |maps| ColourGroups::new(1, maps);
    /// let mut graph = Graph::new(groups(1)?);
    /// let first = Convolution::masked(Mask::A, groups(1)?, groups(4)?, 3, weights.pp("first"))?;
    /// let first = graph.convolution(first, graph.image());
    /// let layers = [("hidden", groups(6)?), ("logits", groups(256)?)];
    /// let graph = graph.with_layers_of_head((first, groups(4)?), layers, weights.pp("head"))?;
    ///
    /// let pass = Pass { height: 32, rows: 32, gradients: false, kernels: true };
    /// // Four maps, six that are rectified, and behind these the logits.
    /// assert_eq!(graph.numbers_held(pass), 32 * (4 + 4 + 6 + 6 + 256));
    /// let pass = Pass { gradients: true, ..pass };
    /// // All maps, and the gradient of the logits while it is added to zeros.
    /// assert_eq!(graph.numbers_held(pass), 32 * (4 + 4 + 6 + 6 + 256 + 3 * 256));
    /// # Ok::<(), candle_core::Error>(())
    /// ```
    pub fn numbers_held(&self, pass: Pass) -> usize {
        let count = |maps: &Maps| self.maps(*maps);
        let (head, output) = self.ends();
        let [height, rows] = [pass.height, pass.rows.min(pass.height)];
        let groups = self.groups(pass.kernels);
        if pass.gradients {
            return height * kept(&groups, &count);
        }
        let (before, after): (Vec<OperationGroup>, Vec<OperationGroup>) = groups
            .into_iter()
            .partition(|step| step.last <= head.index());
        let mut memory = Memory::default();
        self.go(
            &before,
            head,
            |maps| height * count(maps),
            height,
            &mut memory,
        );
        if rows < height {
            memory.take(rows * count(&head));
        }
        self.go(&after, output, |maps| rows * count(maps), rows, &mut memory);
        memory.most
    }

    fn groups(&self, kernels: bool) -> Vec<OperationGroup> {
        let composites = self.composites().iter();
        let mut composites = composites
            .filter(|composite| kernels && composite.has_kernel())
            .peekable();
        let mut groups = Vec::new();
        let mut index = 1;
        while let Some(operation) = self.operations().get(index) {
            let step = match composites.next_if(|it| it.operations.start == index) {
                Some(composite) => of_kernel(composite),
                None => OperationGroup {
                    last: index,
                    reads: operation.reads(),
                    makes: vec![Maps::at(index)],
                    beside: beside(operation, self.maps(Maps::at(index))),
                    moment: 0,
                },
            };
            index = step.last + 1;
            groups.push(step);
        }
        groups
    }

    /// For a pass without gradients, which drops maps after their last use.
    fn go(
        &self,
        groups: &[OperationGroup],
        wanted: Maps,
        size: impl Fn(&Maps) -> usize,
        rows: usize,
        memory: &mut Memory,
    ) {
        let last = self.last_reads(&[wanted]);
        let mut places = vec![None; last.len()];
        for step in groups {
            let beside = step.beside.iter().chain([&step.moment]);
            let beside: Vec<_> = beside.map(|maps| memory.take(rows * maps)).collect();
            for maps in &step.makes {
                places[maps.index()] = Some(memory.take(size(maps)));
            }
            let done = step.reads.iter().map(|maps| maps.index());
            let done = done.filter(|maps| last[*maps] <= step.last);
            let done = done.filter_map(|maps| places[maps].take());
            beside
                .into_iter()
                .chain(done)
                .for_each(|place| memory.free(place));
        }
    }
}

/// Models memory in which each tensor takes the lowest free addresses, like
/// `pixelcnn_kernels::RegionAllocator`: a gap between two tensors may be too small to
/// be used again.
#[derive(Default)]
struct Memory {
    /// Start and end of each tensor, in order.
    taken: Vec<(usize, usize)>,
    most: usize,
}

impl Memory {
    /// Allocates a tensor of a size and returns its start.
    fn take(&mut self, size: usize) -> usize {
        let (mut place, mut index) = (0, 0);
        while let Some((start, end)) = self.taken.get(index) {
            if place + size <= *start {
                break;
            }
            (place, index) = (*end, index + 1);
        }
        self.taken.insert(index, (place, place + size));
        self.most = self.most.max(place + size);
        place
    }

    fn free(&mut self, place: usize) {
        let found = self.taken.iter().position(|(start, _)| *start == place);
        found.map(|index| self.taken.remove(index));
    }
}

/// For a pass that keeps everything for gradients: the largest gradient, the zeros to which
/// candle adds it, and their sum.
fn kept(groups: &[OperationGroup], count: &impl Fn(&Maps) -> usize) -> usize {
    let (mut all, mut largest) = (0, 0);
    for step in groups {
        let made = step.makes.iter().map(count).sum::<usize>();
        all += made + step.beside.iter().sum::<usize>();
        largest = largest.max(made);
    }
    all + 3 * largest
}

/// Additional maps of an operation with `maps` output maps: the term of a condition
/// with maps, or both halves before a gate, their tanh and their sigmoid, or the gates and states
/// of an LSTM, or both rows of an embedding's table, their difference, its product with the rest,
/// and the sum.
fn beside(operation: &Operation, maps: usize) -> Vec<usize> {
    match operation {
        Operation::Condition(term, _) if is_map(term) => vec![maps],
        Operation::Gate(_) => vec![maps; 4],
        Operation::Lstm(..) => vec![maps; 6],
        Operation::Embedding(_) => vec![maps; 5],
        _ => Vec::new(),
    }
}

/// For a block: both sums, the terms of a condition with maps (separate and
/// concatenated), and the gated maps.
fn of_kernel(composite: &Composite) -> OperationGroup {
    let block = &composite.block;
    let (sums, gated) = (block.link().groups().maps(), block.output().groups().maps());
    let terms = [block.vertical_condition(), block.horizontal_condition()];
    let terms = 2 * terms.into_iter().filter(|term| is_map(term)).count();
    let (vertical, horizontal) = composite.after;
    OperationGroup {
        last: composite.operations.end - 1,
        reads: composite.before.to_vec(),
        makes: vertical.into_iter().chain([horizontal]).collect(),
        beside: vec![sums; 2 + terms],
        moment: gated,
    }
}

fn is_map(term: &ConditionTerm) -> bool {
    matches!(term, ConditionTerm::Map(_))
}
