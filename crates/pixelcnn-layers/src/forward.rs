//! The forward pass of a graph on tensors, with gradients.

use std::ops::Range;

use candle_core::{DType, Result, Tensor, bail};
use candle_nn::ops::sigmoid;
use pixelcnn_conv::ColourGroups;
use pixelcnn_kernels::is_fast;

use crate::graph::{Composite, Graph, Maps, Operation};
use crate::{Condition, ConditionTerm, GatedBlock};

/// The value of maps.
#[derive(Clone)]
enum Value {
    Whole(Tensor),
    /// The first or the second half of both stacks, concatenated.
    Half(Tensor, usize),
}

impl Value {
    fn tensor(&self) -> &Tensor {
        match self {
            Self::Whole(tensor) | Self::Half(tensor, _) => tensor,
        }
    }
}

/// The maps that are still needed.
struct Values {
    known: Vec<Option<Value>>,
    /// The last operation that reads each of them.
    last: Vec<usize>,
    /// The operations to compute: a network may have others, whose maps nothing reads.
    needed: Vec<bool>,
}

impl Graph {
    /// The input maps of the head, `[b, maps, h, w]`, for images
    /// `[b, c, h, w]` scaled to -1..1.
    ///
    /// # Errors
    ///
    /// If the images or the condition do not fit.
    pub fn before_head(&self, image: &Tensor, condition: &Condition) -> Result<Tensor> {
        let (head, _) = self.ends();
        let mut values = Values::of(self, &[(self.image(), image)], &[head]);
        values.compute(self, 1..head.index() + 1, condition)?;
        values.read(head)
    }

    /// The output of the network, from the result of [`Graph::before_head`] or some of
    /// its pixels.
    ///
    /// # Errors
    ///
    /// If the maps do not fit.
    pub fn head(&self, maps: &Tensor) -> Result<Tensor> {
        let (head, output) = self.ends();
        let mut values = Values::of(self, &[(head, maps)], &[output]);
        let range = head.index() + 1..output.index() + 1;
        values.compute(self, range, &Condition::None)?;
        values.read(output)
    }
}

impl GatedBlock {
    /// The stacks after the block; the vertical one only if the block computes it.
    ///
    /// # Shapes
    ///
    /// The input is the vertical and the horizontal stack, `[b, p, h, w]` each, and so is
    /// the output. With mask A, the input is the image `[b, c, h, w]`, twice.
    ///
    /// # Errors
    ///
    /// If the maps or the condition do not fit.
    pub fn forward(
        &self,
        [vertical, horizontal]: [&Tensor; 2],
        condition: &Condition,
    ) -> Result<(Option<Tensor>, Tensor)> {
        let mut graph = Graph::new(ColourGroups::new(1, vertical.dim(1)?)?);
        let above = graph.image();
        let row = match vertical.id() == horizontal.id() {
            true => above,
            false => graph.push(Operation::Image, horizontal.dim(1)?),
        };
        let first = graph.operations().len();
        let [below, after] = graph.gated_block(self.clone(), [above, row]);
        let given = [(above, vertical), (row, horizontal)];
        let mut values = Values::of(&graph, &given, &[below, after]);
        values.compute(&graph, first..graph.operations().len(), condition)?;
        let below = self.has_vertical().then(|| values.read(below));
        Ok((below.transpose()?, values.read(after)?))
    }
}

impl Values {
    /// The values of a pass from the `given` maps to the `wanted` maps.
    fn of(graph: &Graph, given: &[(Maps, &Tensor)], wanted: &[Maps]) -> Self {
        let mut known = vec![None; graph.operations().len()];
        for (maps, tensor) in given {
            known[maps.index()] = Some(Value::Whole((*tensor).clone()));
        }
        let given: Vec<_> = given.iter().map(|(maps, _)| *maps).collect();
        Self {
            known,
            last: graph.last_reads(wanted),
            needed: graph.needed(&given, wanted),
        }
    }

    fn compute(&mut self, graph: &Graph, range: Range<usize>, condition: &Condition) -> Result<()> {
        if graph.terms().is_empty() && !matches!(condition, Condition::None) {
            bail!("condition: the model expects no condition, found {condition}");
        }
        let mut composites = graph.composites().iter().peekable();
        let mut index = range.start;
        while index < range.end {
            while composites
                .next_if(|it| it.operations.start < index)
                .is_some()
            {}
            let next = composites.next_if(|it| it.operations.start == index);
            if !self.needed[index] {
                index += 1;
                continue;
            }
            let done = match next.filter(|it| it.operations.end <= range.end) {
                Some(composite) if self.by_kernel(composite, condition)? => {
                    composite.operations.end
                }
                _ => {
                    let value = self.operation(&graph.operations()[index], condition)?;
                    self.known[index] = Some(Value::Whole(value));
                    index + 1
                }
            };
            // Tensors for gradients are kept by candle; the others are no longer needed.
            for read in index..done {
                for maps in graph.operations()[read].reads() {
                    if self.last[maps.index()] < done {
                        self.known[maps.index()] = None;
                    }
                }
            }
            index = done;
        }
        Ok(())
    }

    fn operation(&self, operation: &Operation, condition: &Condition) -> Result<Tensor> {
        match operation {
            Operation::Image => bail!("the image is an input and is not computed"),
            Operation::Convolution(convolution, maps) => convolution.forward(&self.read(*maps)?),
            Operation::Condition(term, maps) => conditioned(term, &self.read(*maps)?, condition),
            Operation::Sum(one, other) => self.read(*one)? + self.read(*other)?,
            Operation::Rescaled(range) => rescaled(*range, &self.read(Maps::at(0))?),
            Operation::Embedding(tables) => embedding(tables, &self.read(Maps::at(0))?),
            Operation::Relu(maps) => self.read(*maps)?.relu(),
            Operation::Elu(maps) => self.read(*maps)?.elu(1.0),
            Operation::Gate(maps) => gate(&self.read(*maps)?),
            Operation::RowAbove(first, maps) => row_above(first, &self.read(*maps)?),
            Operation::Lstm(recurrence, maps) => recurrence.forward(&self.read(*maps)?),
        }
    }

    /// Computes a block with its fast kernel, if the kernel supports these maps.
    fn by_kernel(&mut self, composite: &Composite, condition: &Condition) -> Result<bool> {
        let [vertical, horizontal] = composite.before;
        let (above, row) = (self.value(vertical)?, self.value(horizontal)?);
        let is_shared = vertical == horizontal;
        if !is_fast(row.tensor()) || !composite.has_kernel() {
            return Ok(false);
        }
        let stacks = match (above, row) {
            (Value::Half(one, 0), Value::Half(other, 1)) if one.id() == other.id() => one.clone(),
            _ if is_shared => self.read(vertical)?,
            _ => Tensor::cat(&[self.read(vertical)?, self.read(horizontal)?], 1)?,
        };
        let stacks = composite.block.fast(&stacks, condition)?;
        let (vertical, horizontal) = composite.after;
        self.known[horizontal.index()] = Some(match vertical {
            None => Value::Whole(stacks),
            Some(vertical) => {
                self.known[vertical.index()] = Some(Value::Half(stacks.clone(), 0));
                Value::Half(stacks, 1)
            }
        });
        Ok(true)
    }

    fn value(&self, maps: Maps) -> Result<&Value> {
        match &self.known[maps.index()] {
            Some(value) => Ok(value),
            None => bail!("maps {}: read before they are computed", maps.index()),
        }
    }

    fn read(&self, maps: Maps) -> Result<Tensor> {
        match self.value(maps)? {
            Value::Whole(tensor) => Ok(tensor.clone()),
            Value::Half(stacks, half) => {
                let maps = stacks.dim(1)? / 2;
                stacks.narrow(1, half * maps, maps)?.contiguous()
            }
        }
    }
}

fn conditioned(term: &ConditionTerm, maps: &Tensor, condition: &Condition) -> Result<Tensor> {
    match term.term(maps, condition)? {
        Some(term) => maps.broadcast_add(&term),
        None => Ok(maps.clone()),
    }
}

/// Scales an image from -1..1 to another range.
fn rescaled([lowest, highest]: [f64; 2], image: &Tensor) -> Result<Tensor> {
    let half = (highest - lowest) / 2.0;
    image.affine(half, lowest + half)
}

/// The maps one row further down, below a first row of the given numbers.
fn row_above(first: &Tensor, maps: &Tensor) -> Result<Tensor> {
    let (b, count, h, w) = maps.dims4()?;
    let first = first
        .reshape((1, count, 1, 1))?
        .broadcast_as((b, count, 1, w))?;
    match h {
        1 => first.contiguous(),
        _ => Tensor::cat(&[&first, &maps.narrow(2, 0, h - 1)?], 2)?.contiguous(),
    }
}

/// Embeds an image scaled to -1..1, each channel with its own table; linear between
/// levels, so that there is a gradient with respect to the image.
fn embedding(tables: &Tensor, image: &Tensor) -> Result<Tensor> {
    let (b, channels, h, w) = image.dims4()?;
    let (expected, levels, each) = tables.dims3()?;
    if channels != expected {
        bail!("embedding: {expected} channels expected, found {channels}");
    }
    let half = (levels - 1) as f64 / 2.0;
    let values = image.affine(half, half)?;
    // A level that was rounded when it was scaled to f32 is moved back, so that it has exactly
    // its row of the table; the gradient stays.
    let level = values.detach();
    let rounding = (level.round()? - &level)?;
    let is_small = rounding
        .abs()?
        .le(levels as f64 * f64::from(f32::EPSILON))?;
    let values = (values + rounding.mul(&is_small.to_dtype(image.dtype())?)?)?;
    let below = values.detach().floor()?.clamp(0.0, (levels - 2) as f64)?;
    let rest = (values - &below)?;
    let below = below.to_dtype(DType::U32)?;
    let channel = |channel: usize| {
        let table = tables.get(channel)?;
        let below = below.narrow(1, channel, 1)?.flatten_all()?;
        let rest = rest.narrow(1, channel, 1)?.reshape(((), 1))?;
        let low = table.index_select(&below, 0)?;
        let high = table.index_select(&(below + 1.0)?, 0)?;
        let maps = (&low + (high - &low)?.broadcast_mul(&rest)?)?;
        maps.reshape((b, h, w, each))?.permute((0, 3, 1, 2))
    };
    let maps = (0..channels).map(channel).collect::<Result<Vec<_>>>()?;
    Tensor::cat(&maps, 1)?.contiguous()
}

fn gate(maps: &Tensor) -> Result<Tensor> {
    #[cfg(feature = "cuda")]
    if pixelcnn_kernels::is_cuda(maps) {
        return pixelcnn_cuda::gate(maps);
    }
    let half = maps.dim(1)? / 2;
    // candle uses one thread for a view, but several for a copy.
    let values = maps.narrow(1, 0, half)?.contiguous()?;
    let gates = maps.narrow(1, half, half)?.contiguous()?;
    values.tanh()?.mul(&sigmoid(&gates)?)
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device, Var};
    use candle_nn::VarBuilder;
    use candle_nn::var_builder::SimpleBackend;
    use pixelcnn_conv::{Convolution, Mask};

    use super::*;
    use crate::{Activation, ConditionShape, GatedBlockConfig, Pass};

    /// Scaled levels are rounded; with many levels, linear interpolation would notice.
    #[test]
    fn each_level_has_its_row_of_an_embedding_exactly() -> Result<()> {
        let levels = 65_536;
        let rows = (0..levels).map(|level| (level as f32 * 1.7).sin());
        let tables = Tensor::from_iter(rows, &Device::Cpu)?.reshape((1, levels, 1))?;
        let image = Tensor::arange(0f32, levels as f32, &Device::Cpu)?;
        let half = (levels - 1) as f64 / 2.0;
        let image = (image.affine(1.0 / half, -1.0)?).reshape((1, 1, 256, 256))?;
        let image = Var::from_tensor(&image)?;
        let maps = embedding(&tables, &image)?;
        let numbers = |tensor: &Tensor| tensor.flatten_all()?.to_vec1::<f32>();
        let (found, expected) = (numbers(&maps)?, numbers(&tables)?);
        for (level, (found, expected)) in found.iter().zip(&expected).enumerate() {
            assert!(
                (found - expected).abs() <= 1e-6,
                "{level}: {found} {expected}"
            );
        }
        // The gradient is still that of a line between two levels.
        let store = maps.sum_all()?.backward()?;
        let slopes = numbers(store.get(&image).unwrap())?;
        let slope = half as f32 * (expected[101] - expected[100]);
        assert!(
            (slopes[100] / slope - 1.0).abs() < 1e-4,
            "{} {slope}",
            slopes[100]
        );
        Ok(())
    }

    /// Different weights for different names.
    struct Waves;

    impl SimpleBackend for Waves {
        fn get(
            &self,
            shape: candle_core::Shape,
            name: &str,
            _: candle_nn::Init,
            dtype: DType,
            device: &Device,
        ) -> Result<Tensor> {
            let first = name.bytes().map(f64::from).sum::<f64>();
            let numbers = (0..shape.elem_count()).map(|index| 0.3 * (first + index as f64).sin());
            Tensor::from_vec(numbers.collect::<Vec<_>>(), shape, device)?.to_dtype(dtype)
        }

        fn get_unchecked(&self, name: &str, _: DType, _: &Device) -> Result<Tensor> {
            bail!("{name}: no shape")
        }

        fn contains_tensor(&self, _: &str) -> bool {
            true
        }
    }

    fn network(condition: ConditionShape, vertical_residual: bool) -> Graph {
        network_with(Activation::Gate, condition, vertical_residual)
    }

    fn network_with(
        activation: Activation,
        condition: ConditionShape,
        vertical_residual: bool,
    ) -> Graph {
        let weights = VarBuilder::from_backend(Box::new(Waves), DType::F32, Device::Cpu);
        let (image, maps) = (
            ColourGroups::new(3, 3).unwrap(),
            ColourGroups::new(3, 8).unwrap(),
        );
        let mut graph = Graph::new(image);
        let mut stacks = [graph.image(); 2];
        for (index, mask, inputs) in [(0, Mask::A, image), (1, Mask::B, maps), (2, Mask::B, maps)] {
            let config = GatedBlockConfig {
                mask,
                vertical_after: index < 2,
                inputs,
                outputs: maps,
                kernel: 3,
                dilation: 1,
                activation,
                vertical_residual,
                condition,
            };
            let weights = weights.pp(index);
            stacks = graph.gated_block(GatedBlock::new(&config, weights).unwrap(), stacks);
        }
        let [_, horizontal] = stacks;
        let logits = ColourGroups::new(3, 12).unwrap();
        graph
            .with_layers_of_head(
                (horizontal, maps),
                [("hidden", maps), ("logits", logits)],
                weights.pp("head"),
            )
            .unwrap()
    }

    /// A block equals its operations: its kernel gives the same numbers and gradients.
    #[test]
    fn a_block_is_its_operations() {
        let ones = |shape: &[usize]| Tensor::ones(shape, DType::F32, &Device::Cpu).unwrap();
        for (shape, condition, vertical_residual) in [
            (ConditionShape::None, Condition::None, false),
            (ConditionShape::None, Condition::None, true),
            (
                ConditionShape::Vector { length: 2 },
                Condition::Vector(ones(&[2, 2])),
                false,
            ),
            (
                ConditionShape::Map { maps: 2 },
                Condition::Map(ones(&[2, 2, 5, 4])),
                true,
            ),
        ] {
            let graph = network(shape, vertical_residual);
            let mut simple = graph.clone();
            simple.composites.clear();
            let numbers = (0..2 * 3 * 5 * 4).map(|index| (index as f32 * 0.7).cos());
            let image = Tensor::from_vec(numbers.collect(), (2, 3, 5, 4), &Device::Cpu);
            let image = Var::from_tensor(&image.unwrap()).unwrap();
            let [by_kernels, by_operations] = [&graph, &simple].map(|graph| {
                let maps = graph.before_head(&image, &condition).unwrap();
                let output = graph.head(&maps).unwrap();
                let loss = output.sqr().unwrap().sum_all().unwrap();
                let gradient = loss.backward().unwrap().remove(&image).unwrap();
                let parts = [output, gradient].map(|tensor| tensor.flatten_all().unwrap());
                Tensor::cat(&parts, 0).unwrap().to_vec1::<f32>().unwrap()
            });
            for (one, other) in by_kernels.iter().zip(&by_operations) {
                let scale = 1.0 + other.abs();
                assert!((one - other).abs() < 1e-4 * scale, "{one} {other}");
            }
        }
    }

    /// Only what the kernel computes is counted as the kernel's memory.
    #[test]
    fn blocks_without_a_kernel_are_counted_by_operations() {
        for (activation, expected) in [(Activation::Gate, false), (Activation::Relu, true)] {
            let graph = network_with(activation, ConditionShape::None, false);
            let [with, without] = [true, false].map(|kernels| {
                graph.numbers_held(Pass {
                    height: 5,
                    rows: 5,
                    gradients: true,
                    kernels,
                })
            });
            assert_eq!(
                with == without,
                expected,
                "{activation:?}: {with} {without}"
            );
        }
    }

    /// The order in which a network lists its operations does not matter, as long as each comes
    /// after those that it reads.
    #[test]
    fn operations_that_nothing_reads_are_not_computed() {
        let weights = VarBuilder::from_backend(Box::new(Waves), DType::F32, Device::Cpu);
        let groups = ColourGroups::new(1, 4).unwrap();
        let image = ColourGroups::new(1, 1).unwrap();
        let network = |unused: bool| {
            let mut graph = Graph::new(image);
            let first = Convolution::masked(Mask::A, image, groups, 3, weights.pp("first"));
            let first = graph.convolution(first.unwrap(), graph.image());
            let maps = graph.relu(first);
            if unused {
                graph.elu(first);
            }
            graph
                .with_layers_of_head((maps, groups), [("logits", groups)], weights.pp("head"))
                .unwrap()
        };
        let image = Tensor::ones((1, 1, 3, 4), DType::F32, &Device::Cpu).unwrap();
        let [with, without] = [true, false].map(|unused| {
            let graph = network(unused);
            graph.check().unwrap();
            let maps = graph.before_head(&image, &Condition::None).unwrap();
            let output = graph.head(&maps).unwrap().flatten_all().unwrap();
            output.to_vec1::<f32>().unwrap()
        });
        assert_eq!(with, without);
    }

    #[test]
    fn a_network_without_a_condition_refuses_one() {
        let graph = network(ConditionShape::None, false);
        let image = Tensor::zeros((1, 3, 5, 4), DType::F32, &Device::Cpu).unwrap();
        let vector = Tensor::zeros((1, 2), DType::F32, &Device::Cpu).unwrap();
        let error = graph.before_head(&image, &Condition::Vector(vector));
        let error = error.unwrap_err().to_string();
        assert!(
            error.contains("expects no condition, found a vector [1, 2]"),
            "{error}"
        );
    }
}
