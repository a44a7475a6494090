//! From the graph of a network to the plan of its training step.

use candle_core::{Result, TensorId, bail};
use pixelcnn_conv::Convolution;
use pixelcnn_cuda::{StepCondition, StepConvolution, StepLoss, StepOperation, StepPlan};
use pixelcnn_layers::{ConditionShape, ConditionTerm, Graph, Maps, Operation};

use crate::{Network, Precision};

/// The plan of a network, with the operations that its output needs; `None` if one has no
/// instructions.
pub(super) fn plan(
    network: &Network,
    sizes: [usize; 3],
    precision: Precision,
) -> Result<Option<StepPlan>> {
    let graph = network.graph();
    let needed = needed(graph);
    let mut planned = Planned {
        places: vec![0; needed.len()],
        ..Planned::default()
    };
    for (index, operation) in graph.operations().iter().enumerate() {
        if needed[index] && !planned.add(index, operation)? {
            return Ok(None);
        }
    }
    let operations = planned.operations;
    let image = network.image();
    let plan = StepPlan {
        sizes,
        channels: image.channels,
        levels: image.levels,
        condition: planned.condition,
        operations,
        loss: match network.distribution().mixture(&image) {
            None => StepLoss::Softmax,
            Some(mixture) => StepLoss::Mixture(mixture.sizes_on_cuda()),
        },
        precision: match precision {
            Precision::F32 => pixelcnn_cuda::Precision::F32,
            Precision::Tf32 => pixelcnn_cuda::Precision::Tf32,
            Precision::Bf16 => pixelcnn_cuda::Precision::Bf16,
        },
    };
    Ok(plan.ends_in_convolutions().then_some(plan))
}

/// The operations that the output needs.
fn needed(graph: &Graph) -> Vec<bool> {
    let mut needed = vec![false; graph.operations().len()];
    let mut waiting = vec![graph.ends().1];
    while let Some(maps) = waiting.pop() {
        if !std::mem::replace(&mut needed[maps.index()], true) {
            waiting.extend(graph.operations()[maps.index()].reads());
        }
    }
    needed
}

/// The plan so far.
#[derive(Default)]
struct Planned {
    operations: Vec<StepOperation>,
    /// The places of the graph's operations among them.
    places: Vec<usize>,
    condition: StepCondition,
    /// The place of the condition.
    given: Option<usize>,
    /// The weights of its convolutions.
    weights: Vec<TensorId>,
    /// The places of conditioning terms by their weights: both stacks may share one.
    terms: Vec<(TensorId, usize)>,
}

impl Planned {
    fn at(&self, maps: Maps) -> usize {
        self.places[maps.index()]
    }

    /// Adds an operation, and returns its place.
    fn push(&mut self, operation: StepOperation) -> usize {
        self.operations.push(operation);
        self.operations.len() - 1
    }

    /// Adds an operation of the graph; `false` if it has no instructions.
    fn add(&mut self, index: usize, operation: &Operation) -> Result<bool> {
        let next = match operation {
            Operation::Image => StepOperation::Image {
                lowest: -1.0,
                highest: 1.0,
            },
            Operation::Rescaled([lowest, highest]) => StepOperation::Image {
                lowest: *lowest as f32,
                highest: *highest as f32,
            },
            Operation::Convolution(one, maps) => {
                // A gradient is that of one operation.
                if self.weights.contains(&one.weight().id()) {
                    return Ok(false);
                }
                self.weights.push(one.weight().id());
                StepOperation::Convolution(convolution(one)?, self.at(*maps))
            }
            Operation::Condition(term, maps) => {
                StepOperation::Sum(self.at(*maps), self.term(term)?)
            }
            Operation::Gate(maps) => StepOperation::Gate(self.at(*maps)),
            Operation::Relu(maps) => StepOperation::Relu(self.at(*maps)),
            Operation::Elu(maps) => StepOperation::Elu(self.at(*maps)),
            Operation::Sum(one, other) => StepOperation::Sum(self.at(*one), self.at(*other)),
            Operation::Embedding(_) | Operation::RowAbove(..) | Operation::Lstm(..) => {
                return Ok(false);
            }
        };
        self.places[index] = self.push(next);
        Ok(true)
    }

    /// The place of a conditioning term: a convolution of the condition.
    fn term(&mut self, term: &ConditionTerm) -> Result<usize> {
        let condition = match term.shape()? {
            ConditionShape::None => StepCondition::None,
            ConditionShape::Vector { length } => StepCondition::Vector(length),
            ConditionShape::Map { maps } => StepCondition::Map(maps),
        };
        let one = match term {
            ConditionTerm::None => bail!("training step: an empty conditioning term"),
            ConditionTerm::Vector(weight) => StepConvolution {
                weight: weight.clone(),
                mask: None,
                bias: None,
                live: [1, 1],
                before: [0, 0],
                dilation: 1,
            },
            ConditionTerm::Map(one) => convolution(one)?,
        };
        let id = one.weight.id();
        if let Some((_, place)) = self.terms.iter().find(|(known, _)| *known == id) {
            return Ok(*place);
        }
        let given = match self.given {
            None => self.push(StepOperation::Condition),
            Some(_) if self.condition != condition => {
                let other = self.condition;
                bail!("training step: terms of {other:?} and of {condition:?}");
            }
            Some(given) => given,
        };
        (self.given, self.condition) = (Some(given), condition);
        let place = self.push(StepOperation::Convolution(one, given));
        self.terms.push((id, place));
        Ok(place)
    }
}

fn convolution(one: &Convolution) -> Result<StepConvolution> {
    let ((rows, columns), padding) = (one.live(), one.padding());
    Ok(StepConvolution {
        weight: one.weight().clone(),
        mask: one.mask()?,
        bias: one.bias().cloned(),
        live: [rows, columns],
        before: [padding.top, padding.left],
        dilation: one.dilation(),
    })
}
