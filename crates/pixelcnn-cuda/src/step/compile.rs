//! From the operations of a network to the instructions of a step.

mod condition;

use std::collections::BTreeMap;

use candle_core::cuda_backend::cudarc::driver::{CudaSlice, DevicePtr, LaunchConfig};
use candle_core::{CudaDevice, Result, Shape, bail};

use self::condition::is_of_images;
use super::given::Given;
use super::instruction::{Argument, Instruction, Place, Product, Window, launch};
use super::memory::{self, Memory};
use super::table::Tables;
use super::{Precision, Step, StepConvolution, StepLoss, StepOperation, StepPlan};
use super::{address, zeros};
use crate::kernel::{Source, blocks_of_threads, grid, kernel};

/// Numbers that a thread of the kernels takes at a time.
const EIGHT: usize = 8;

/// Threads of the block that sums the nats.
const MANY: u32 = 1024;

/// Values of a block in the kernel of the softmax.
const WARPS: usize = 8;

/// Maps, or their gradient: a row for each pixel; or for each image, what counts for all of its
/// pixels.
#[derive(Clone, Copy, Debug)]
struct Rows {
    place: memory::Place,
    count: usize,
    channels: usize,
    /// Numbers from one row to the next.
    stride: usize,
}

impl Rows {
    fn at(&self) -> Place {
        Place::Memory(self.place.offset)
    }

    fn place(&self) -> Argument {
        Argument::Place(self.at())
    }
}

/// A convolution, with its parameters in the form for products.
#[derive(Clone, Copy, Debug)]
struct Prepared {
    /// Places of the parameters and of their gradients, `[outputs, stride]` each.
    parameters: usize,
    gradient: usize,
    stride: usize,
    inputs: usize,
    outputs: usize,
    /// What it sees; `None` if that is its own pixel.
    window: Option<Window>,
    /// The views of its input, from the forward to the backward pass.
    views: Option<memory::Place>,
}

impl Prepared {
    /// Numbers that an output sees.
    fn seen(&self) -> usize {
        let taps = self.window.map_or(1, |it| it.kernel[0] * it.kernel[1]);
        taps as usize * self.inputs
    }
}

/// Rows with a gradient, and whether they have a part of it already.
type Target = (Rows, bool);

struct Compiler<'a> {
    device: &'a CudaDevice,
    plan: &'a StepPlan,
    memory: Memory,
    /// Images times height times width.
    rows: usize,
    /// The maps of each operation, while they have a place.
    maps: Vec<Option<Rows>>,
    /// Rows and channels of the maps of each operation.
    shapes: Vec<[usize; 2]>,
    /// The addresses of the condition and of its gradient.
    given: [u64; 2],
    /// The last operation of the forward pass that reads each of the maps; none if the backward
    /// pass reads them.
    last_reads: Vec<Option<usize>>,
    /// The places of all rows, which end with a 1.
    ends: BTreeMap<usize, Rows>,
    /// Gradients of maps, from the first part until they were used.
    gradients: Vec<Option<Rows>>,
    /// Convolutions that are computed with the sum that reads them.
    in_sums: Vec<bool>,
    prepared: Vec<Option<Prepared>>,
    /// The maps of the last operation, in f32.
    logits: Option<Rows>,
    instructions: Vec<Instruction>,
}

/// Makes the program.
pub(super) fn compile(plan: StepPlan, device: &CudaDevice) -> Result<Step> {
    let rows: usize = plan.sizes.iter().product();
    let (count, values) = (plan.operations.len(), rows * plan.channels);
    let Some(StepOperation::Convolution(..)) = plan.operations.last() else {
        bail!("training step: a convolution expected as the last operation");
    };
    if values == 0 {
        bail!("training step: no values in images {:?}", plan.sizes);
    }
    let loss = zeros(&Shape::from(()), device)?;
    // A mean gives each value the same share of the gradient.
    let shares = device.clone_htod(&vec![1.0 / values as f32; values])?;
    let condition = Given::new(&plan, device)?;
    let mut compiler = Compiler {
        device,
        plan: &plan,
        memory: Memory::default(),
        rows,
        maps: vec![None; count],
        shapes: vec![[0, 0]; count],
        given: match &condition {
            Some(condition) => condition.addresses(device)?,
            None => [0, 0],
        },
        last_reads: last_reads(&plan),
        ends: BTreeMap::new(),
        gradients: vec![None; count],
        in_sums: in_sums(&plan),
        prepared: vec![None; count],
        logits: None,
        instructions: Vec::new(),
    };
    for index in 0..count {
        compiler.forward(index)?;
        if let Some(rows) = compiler.maps[index] {
            compiler.shapes[index] = [rows.count, rows.channels];
        }
        compiler.forget(index);
    }
    compiler.loss(address("the loss", &loss, device)?, &shares)?;
    for index in (0..count).rev() {
        compiler.backward(index)?;
    }
    let Compiler {
        memory,
        ends,
        prepared,
        instructions: middle,
        ..
    } = compiler;
    let memory = device.alloc_zeros::<u8>(memory.bytes())?;
    let start = memory.device_ptr(&device.cuda_stream()).0;
    let (tables, gradients) = Tables::new(&plan, device, |index| {
        let it = prepared.get(index)?.as_ref()?;
        let [parameters, gradient] = [it.parameters, it.gradient].map(|it| start + it as u64);
        Some((parameters, gradient, it.stride))
    })?;
    let table = |name: &str, (addresses, blocks): ([u64; 2], u32)| -> Result<Instruction> {
        let arguments = addresses.map(|address| Argument::Place(Place::At(address)));
        let kernel = kernel(device, Source::Step, name)?;
        Ok(Instruction::Kernel(
            kernel,
            blocks_of_threads(blocks),
            arguments.to_vec(),
        ))
    };
    let suffix = suffix(plan.precision);
    let mut instructions = vec![table(&format!("prepare_{suffix}"), tables.prepare(device))?];
    instructions.extend(middle);
    instructions.push(table("gradients_of_weights", tables.gradients(device))?);
    // The rows of maps end alike in all steps.
    for maps in ends.into_values() {
        let arguments = vec![
            Argument::Size(maps.count),
            Argument::Number(maps.channels as u32),
            Argument::Number(maps.stride as u32),
            maps.place(),
        ];
        let kernel = kernel(device, Source::Step, &format!("ends_{suffix}"))?;
        let ends = Instruction::Kernel(kernel, grid(maps.count), arguments);
        launch(&ends, &device.cublas_handle(), [start, 0])?;
    }
    Ok(Step {
        device: device.clone(),
        values: device.alloc_zeros::<u32>(values)?,
        condition,
        plan,
        instructions,
        memory,
        loss,
        gradients,
        _tables: tables,
        _shares: shares,
    })
}

/// Which convolutions of pixels only a sum reads, so that their product can add to the rest of the
/// sum.
fn in_sums(plan: &StepPlan) -> Vec<bool> {
    let operations = &plan.operations;
    let reads = |index: usize| {
        let all = operations.iter();
        all.map(|it| it.reads().iter().filter(|read| **read == index).count())
            .sum::<usize>()
    };
    let mut found = vec![false; operations.len()];
    for operation in operations {
        if let StepOperation::Sum(one, other) = operation {
            for operand in [*one, *other] {
                let is_convolution = matches!(
                    operations.get(operand),
                    Some(StepOperation::Convolution(..))
                );
                if is_convolution && reads(operand) == 1 && !is_of_images(plan, operand) {
                    found[operand] = true;
                }
            }
        }
    }
    found
}

/// The last operation of the forward pass that reads each of the maps. A convolution of a sum
/// reads when the sum is computed. `None` where the backward pass reads the maps: its formulas
/// need the sums before a gate, the outputs of other units, and the input of a convolution of
/// single pixels; other convolutions keep their views.
fn last_reads(plan: &StepPlan) -> Vec<Option<usize>> {
    let (operations, in_sums) = (&plan.operations, in_sums(plan));
    let mut last: Vec<_> = (0..operations.len()).map(Some).collect();
    for (index, operation) in operations.iter().enumerate() {
        let read_later = match operation {
            StepOperation::Gate(_) => true,
            StepOperation::Convolution(one, _) => one.is_of_single_pixels(),
            _ => false,
        };
        let reads_now = match operation {
            StepOperation::Sum(one, other) => {
                let own = [one, other].into_iter().filter(|it| in_sums[**it]);
                let own = own.flat_map(|it| operations[*it].reads());
                [*one, *other].into_iter().chain(own).collect()
            }
            _ => operation.reads(),
        };
        for maps in reads_now {
            last[maps] = last[maps].map(|_| index);
        }
        for maps in operation.reads().into_iter().filter(|_| read_later) {
            last[maps] = None;
        }
        if matches!(operation, StepOperation::Relu(_) | StepOperation::Elu(_)) {
            last[index] = None;
        }
    }
    last
}

fn suffix(precision: Precision) -> &'static str {
    match precision {
        Precision::F32 | Precision::Tf32 => "f32",
        Precision::Bf16 => "bf16",
    }
}

impl Compiler<'_> {
    /// Bytes of a number of the maps.
    fn width(&self) -> usize {
        match self.plan.precision {
            Precision::F32 | Precision::Tf32 => 4,
            Precision::Bf16 => 2,
        }
    }

    /// A new place for maps or their gradient, with space for the end of each row.
    fn new_rows(&mut self, count: usize, channels: usize) -> Rows {
        let stride = (channels + 1).next_multiple_of(EIGHT);
        let bytes = count * stride * self.width();
        let rows = Rows {
            place: self.memory.take(bytes, channels),
            count,
            channels,
            stride,
        };
        // Places are rounded up, so that one may serve two counts.
        let ends = self.ends.entry(rows.place.offset).or_insert(rows);
        ends.count = ends.count.max(count);
        rows
    }

    /// Gives back the maps that nothing reads after this operation.
    fn forget(&mut self, index: usize) {
        for maps in 0..=index {
            if self.last_reads[maps] == Some(index)
                && let Some(rows) = self.maps[maps].take()
            {
                self.memory.give(rows.place);
            }
        }
    }

    fn maps(&self, index: usize) -> Result<Rows> {
        match self.maps.get(index).copied().flatten() {
            Some(rows) => Ok(rows),
            None => bail!("training step: operation {index} is read before it is computed"),
        }
    }

    /// The name of a kernel for the type of the maps.
    fn typed(&self, name: &str) -> String {
        format!("{name}_{}", suffix(self.plan.precision))
    }

    fn kernel(
        &mut self,
        source: Source,
        name: &str,
        config: LaunchConfig,
        arguments: Vec<Argument>,
    ) -> Result<()> {
        let kernel = kernel(self.device, source, name)?;
        self.instructions
            .push(Instruction::Kernel(kernel, config, arguments));
        Ok(())
    }

    /// A kernel whose threads take parts of rows like `rows`: the arguments are the number of
    /// rows, their channels, a stride for each place, then `rest`.
    fn of_rows(
        &mut self,
        name: &str,
        rows: Rows,
        strides: &[usize],
        rest: &[Argument],
    ) -> Result<()> {
        let mut arguments = vec![
            Argument::Size(rows.count),
            Argument::Number(rows.channels as u32),
        ];
        arguments.extend(strides.iter().map(|it| Argument::Number(*it as u32)));
        arguments.extend(rest);
        let grid = grid(rows.count * rows.channels.div_ceil(EIGHT));
        self.kernel(Source::Step, &self.typed(name), grid, arguments)
    }

    fn forward(&mut self, index: usize) -> Result<()> {
        let plan = self.plan;
        match &plan.operations[index] {
            StepOperation::Image { lowest, highest } => self.image(index, [*lowest, *highest]),
            StepOperation::Condition => self.condition(index),
            StepOperation::Convolution(one, input) => {
                let from = self.maps(*input)?;
                let prepared = self.prepare(one, from)?;
                self.prepared[index] = Some(prepared);
                if self.in_sums[index] {
                    return Ok(());
                }
                if index + 1 == plan.operations.len() {
                    // Logits are f32, and no convolution reads them.
                    let bytes = self.rows * prepared.outputs * 4;
                    let logits = Rows {
                        place: self.memory.take(bytes, 0),
                        count: self.rows,
                        channels: prepared.outputs,
                        stride: prepared.outputs,
                    };
                    self.logits = Some(logits);
                    return self.convolve(index, logits, (true, false));
                }
                let to = self.new_rows(from.count, prepared.outputs);
                self.convolve(index, to, (false, false))?;
                self.maps[index] = Some(to);
                Ok(())
            }
            StepOperation::Gate(input) => {
                let from = self.maps(*input)?;
                let to = self.new_rows(from.count, from.channels / 2);
                self.maps[index] = Some(to);
                self.of_rows(
                    "row_gate",
                    to,
                    &[from.stride, to.stride],
                    &[from.place(), to.place()],
                )
            }
            StepOperation::Relu(input) => self.unit(index, *input, 0),
            StepOperation::Elu(input) => self.unit(index, *input, 1),
            StepOperation::Sum(one, other) => self.sum(index, [*one, *other]),
        }
    }

    fn image(&mut self, index: usize, [lowest, highest]: [f32; 2]) -> Result<()> {
        let to = self.new_rows(self.rows, self.plan.channels);
        self.maps[index] = Some(to);
        let last = self.plan.levels.saturating_sub(1).max(1) as f32;
        let count = self.rows * to.channels;
        let arguments = vec![
            Argument::Size(count),
            Argument::Number(to.channels as u32),
            Argument::Number(to.stride as u32),
            Argument::Place(Place::Values),
            Argument::Real(lowest),
            Argument::Real((highest - lowest) / last),
            to.place(),
        ];
        self.kernel(Source::Step, &self.typed("image"), grid(count), arguments)
    }

    fn unit(&mut self, index: usize, input: usize, kind: u32) -> Result<()> {
        let from = self.maps(input)?;
        let to = self.new_rows(from.count, from.channels);
        self.maps[index] = Some(to);
        self.of_rows(
            "row_unit",
            to,
            &[from.stride, to.stride],
            &[Argument::Number(kind), from.place(), to.place()],
        )
    }

    /// Operands of a sum that are convolutions of its own, and the others, those with a row for
    /// each image first.
    fn operands(&self, operands: [usize; 2]) -> [Vec<usize>; 2] {
        let (own, mut others): (_, Vec<_>) = operands.into_iter().partition(|it| self.in_sums[*it]);
        others.sort_by_key(|it| self.shapes[*it][0]);
        [own, others]
    }

    fn sum(&mut self, index: usize, operands: [usize; 2]) -> Result<()> {
        let [own, others] = self.operands(operands);
        let shapes = others.iter().map(|it| self.shapes[*it]);
        let own_shape = match own.first() {
            Some(own) => Some([self.rows, self.prepared(*own)?.outputs]),
            None => None,
        };
        let Some([count, channels]) = shapes.chain(own_shape).max() else {
            bail!("training step: a sum of nothing");
        };
        let to = self.new_rows(count, channels);
        self.maps[index] = Some(to);
        if let [first, rest @ ..] = &others[..] {
            let first = self.maps(*first)?;
            let second = rest.first().map(|it| self.maps(*it)).transpose()?;
            self.add(first, second, to)?;
        }
        let mut adds = !others.is_empty();
        for convolution in own {
            self.convolve(convolution, to, (false, adds))?;
            adds = true;
        }
        Ok(())
    }

    /// The sum of two maps, or a copy.
    fn add(&mut self, one: Rows, other: Option<Rows>, to: Rows) -> Result<()> {
        match other {
            _ if one.count < to.count => return self.add_images(other, one, to),
            Some(other) if other.count < to.count => return self.add_images(Some(one), other, to),
            _ => {}
        }
        let (stride, place) = match other {
            Some(other) => (other.stride, other.place()),
            None => (one.stride, Argument::Place(Place::At(0))),
        };
        self.of_rows(
            "row_sum",
            to,
            &[one.stride, stride, to.stride],
            &[one.place(), place, to.place()],
        )
    }

    fn prepare(&mut self, one: &StepConvolution, from: Rows) -> Result<Prepared> {
        let [outputs, inputs, rows, columns] = one.sizes()?;
        let [live_rows, live_columns] = one.live;
        let fits = inputs == from.channels
            && (from.count == self.rows || one.is_of_single_pixels())
            && (1..=rows).contains(&live_rows)
            && (1..=columns).contains(&live_columns);
        if !fits {
            bail!(
                "training step: a convolution {:?} of {live_rows} x {live_columns} does not fit \
                 {} maps",
                one.weight.shape(),
                from.channels
            );
        }
        let [_, height, width] = self.plan.sizes;
        let stride = (live_rows * live_columns * inputs + 1).next_multiple_of(EIGHT);
        let window = Window {
            size: [height, width].map(|it| it as i32),
            kernel: [live_rows, live_columns].map(|it| it as i32),
            before: one.before.map(|it| it as i32),
            dilation: one.dilation as i32,
            maps: inputs as u32,
            stride: from.stride as u32,
            view_stride: stride as u32,
        };
        let width = self.width();
        Ok(Prepared {
            parameters: self.memory.take(outputs * stride * width, 0).offset,
            gradient: self.memory.take(outputs * stride * 4, 0).offset,
            stride,
            inputs,
            outputs,
            window: (!one.is_of_single_pixels()).then_some(window),
            views: None,
        })
    }

    fn prepared(&self, index: usize) -> Result<Prepared> {
        match self.prepared.get(index).copied().flatten() {
            Some(prepared) => Ok(prepared),
            None => bail!("training step: operation {index} is no convolution"),
        }
    }

    /// The operation whose maps a convolution reads.
    fn input(&self, index: usize) -> Result<usize> {
        match self.plan.operations.get(index) {
            Some(StepOperation::Convolution(_, input)) => Ok(*input),
            _ => bail!("training step: operation {index} is no convolution"),
        }
    }

    /// The factor of a convolution's products: its input, or the views of it.
    fn factor(&mut self, index: usize) -> Result<Place> {
        let convolution = self.prepared(index)?;
        match (convolution.window, convolution.views) {
            (_, Some(views)) => Ok(Place::Memory(views.offset)),
            (None, None) => Ok(self.maps(self.input(index)?)?.at()),
            (Some(window), None) => {
                let from = self.maps(self.input(index)?)?;
                let bytes = self.rows * convolution.stride * self.width();
                let views = self.memory.take(bytes, 0);
                self.prepared[index] = Some(Prepared {
                    views: Some(views),
                    ..convolution
                });
                let views = Place::Memory(views.offset);
                let arguments = vec![
                    Argument::Size(self.rows),
                    Argument::Window(window),
                    from.place(),
                    Argument::Place(views),
                ];
                let grid = grid(self.rows * convolution.stride / EIGHT);
                self.kernel(Source::Step, &self.typed("row_views"), grid, arguments)?;
                Ok(views)
            }
        }
    }

    fn product(&mut self, product: Product) {
        self.instructions.push(Instruction::Product(product));
    }

    /// A convolution with its bias, into f32 if `wide`, added to what is there if `adds`.
    fn convolve(&mut self, index: usize, to: Rows, (wide, adds): (bool, bool)) -> Result<()> {
        let factor = self.factor(index)?;
        let convolution = self.prepared(index)?;
        let stride = convolution.stride;
        self.product(Product {
            transposed: [true, false],
            sizes: [convolution.outputs, to.count, stride],
            factors: [
                (Place::Memory(convolution.parameters), stride),
                (factor, stride),
            ],
            result: (to.at(), to.stride),
            wide,
            adds,
            precision: self.plan.precision,
        });
        Ok(())
    }

    /// Nats and their mean, and the gradient of the last operation's maps.
    fn loss(&mut self, mean: u64, shares: &CudaSlice<f32>) -> Result<()> {
        let last = self.plan.operations.len() - 1;
        let Some(logits) = self.logits else {
            bail!("training step: no logits");
        };
        let (rows, channels) = (self.rows, self.plan.channels);
        let values = rows * channels;
        let share = 1.0 / values as f32;
        let nats = Place::Memory(self.memory.take(values * 4, 0).offset);
        let gradient = self.new_rows(rows, logits.channels);
        match self.plan.loss {
            StepLoss::Softmax => {
                if logits.channels != channels * self.plan.levels {
                    let expected = channels * self.plan.levels;
                    bail!(
                        "training step: {expected} logits expected, found {}",
                        logits.channels
                    );
                }
                let arguments = vec![
                    Argument::Size(values),
                    Argument::Number(self.plan.levels as u32),
                    Argument::Number(channels as u32),
                    Argument::Number(gradient.stride as u32),
                    logits.place(),
                    Argument::Place(Place::Values),
                    Argument::Real(share),
                    Argument::Place(nats),
                    gradient.place(),
                ];
                let blocks = blocks_of_threads(values.div_ceil(WARPS).min(1 << 20) as u32);
                self.kernel(Source::Step, &self.typed("softmax"), blocks, arguments)?;
            }
            StepLoss::Mixture(mixture) => {
                // Pixels have one mixture for all channels, or one for each.
                let count = values / mixture.channels as usize;
                let place = self.memory.take(logits.place.bytes, 0);
                let wide = Place::Memory(place.offset);
                let shares = shares.device_ptr(&self.device.cuda_stream()).0;
                let sizes = [
                    Argument::Size(count),
                    Argument::Size(1),
                    Argument::Mixture(mixture),
                    logits.place(),
                    Argument::Place(Place::Values),
                ];
                let mut forward = sizes.to_vec();
                forward.push(Argument::Place(nats));
                self.kernel(Source::Mixture, "mixture_f32", grid(count), forward)?;
                let mut backward = sizes.to_vec();
                backward.push(Argument::Place(Place::At(shares)));
                backward.push(Argument::Place(wide));
                self.kernel(
                    Source::Mixture,
                    "mixture_gradient_f32",
                    grid(count),
                    backward,
                )?;
                let rounded = vec![
                    Argument::Size(rows),
                    Argument::Number(logits.channels as u32),
                    Argument::Number(gradient.stride as u32),
                    Argument::Place(wide),
                    gradient.place(),
                ];
                let grid = grid(rows * logits.channels);
                self.kernel(Source::Step, &self.typed("row_rounded"), grid, rounded)?;
                self.memory.give(place);
            }
        }
        self.gradients[last] = Some(gradient);
        let arguments = vec![
            Argument::Size(values),
            Argument::Place(nats),
            Argument::Real(share),
            Argument::Place(Place::At(mean)),
        ];
        let block = LaunchConfig {
            grid_dim: (1, 1, 1),
            block_dim: (MANY, 1, 1),
            shared_mem_bytes: 0,
        };
        self.kernel(Source::Step, "scaled_sum", block, arguments)
    }

    /// Where the gradient of maps is collected.
    fn target(&mut self, maps: usize) -> Result<Target> {
        if let Some(rows) = self.gradients[maps] {
            return Ok((rows, true));
        }
        let [count, channels] = self.shapes[maps];
        let rows = self.new_rows(count, channels);
        self.gradients[maps] = Some(rows);
        Ok((rows, false))
    }

    /// Passes the gradient of an operation's maps on to what it read.
    fn backward(&mut self, index: usize) -> Result<()> {
        // Without a gradient, nothing read the maps, or a sum has done it.
        let Some(incoming) = self.gradients[index].take() else {
            return Ok(());
        };
        match self.plan.operations[index] {
            StepOperation::Image { .. } => {}
            StepOperation::Condition => self.through_condition(incoming)?,
            StepOperation::Convolution(..) => self.through_convolution(index, incoming)?,
            StepOperation::Gate(input) => {
                let from = self.maps(input)?;
                let (to, adds) = self.target(input)?;
                self.of_rows(
                    "row_gate_gradient",
                    incoming,
                    &[from.stride, incoming.stride, to.stride],
                    &[
                        from.place(),
                        incoming.place(),
                        Argument::Number(adds.into()),
                        to.place(),
                    ],
                )?;
            }
            StepOperation::Relu(input) => self.through_unit(index, input, incoming, 0)?,
            StepOperation::Elu(input) => self.through_unit(index, input, incoming, 1)?,
            StepOperation::Sum(one, other) => {
                let [own, others] = self.operands([one, other]);
                for convolution in own {
                    self.through_convolution(convolution, incoming)?;
                }
                for (number, other) in others.iter().enumerate() {
                    if self.shapes[*other][0] < incoming.count {
                        self.through_images(*other, incoming)?;
                        continue;
                    }
                    let is_last = number + 1 == others.len();
                    if is_last && self.gradients[*other].is_none() {
                        // The same numbers are the gradient of the last operand.
                        self.gradients[*other] = Some(incoming);
                        return Ok(());
                    }
                    let (to, adds) = self.target(*other)?;
                    self.add(incoming, adds.then_some(to), to)?;
                }
            }
        }
        self.memory.give(incoming.place);
        Ok(())
    }

    fn through_unit(
        &mut self,
        index: usize,
        input: usize,
        incoming: Rows,
        kind: u32,
    ) -> Result<()> {
        let outputs = self.maps(index)?;
        let (to, adds) = self.target(input)?;
        self.of_rows(
            "row_unit_gradient",
            incoming,
            &[outputs.stride, incoming.stride, to.stride],
            &[
                Argument::Number(kind),
                outputs.place(),
                incoming.place(),
                Argument::Number(adds.into()),
                to.place(),
            ],
        )
    }

    /// The gradients of a convolution's parameters and of its input.
    fn through_convolution(&mut self, index: usize, incoming: Rows) -> Result<()> {
        let factor = self.factor(index)?;
        let convolution = self.prepared(index)?;
        let (stride, outputs) = (convolution.stride, convolution.outputs);
        let of_outputs = (incoming.at(), incoming.stride);
        self.product(Product {
            transposed: [false, true],
            sizes: [stride, outputs, incoming.count],
            factors: [(factor, stride), of_outputs],
            result: (Place::Memory(convolution.gradient), stride),
            wide: true,
            adds: false,
            precision: self.plan.precision,
        });
        let input = self.input(index)?;
        if !matches!(self.plan.operations[input], StepOperation::Image { .. }) {
            let (to, adds) = self.target(input)?;
            // The place of the views is free for their gradient.
            let (result, adds_there) = match convolution.window {
                None => ((to.at(), to.stride), adds),
                Some(_) => ((factor, stride), false),
            };
            self.product(Product {
                transposed: [false, false],
                sizes: [convolution.seen(), incoming.count, outputs],
                factors: [(Place::Memory(convolution.parameters), stride), of_outputs],
                result,
                wide: false,
                adds: adds_there,
                precision: self.plan.precision,
            });
            if let Some(window) = convolution.window {
                let arguments = vec![
                    Argument::Size(self.rows),
                    Argument::Window(window),
                    Argument::Place(factor),
                    Argument::Number(to.stride as u32),
                    Argument::Number(adds.into()),
                    to.place(),
                ];
                let grid = grid(self.rows * convolution.inputs.div_ceil(EIGHT));
                let name = self.typed("sums_of_row_views");
                self.kernel(Source::Step, &name, grid, arguments)?;
            }
        }
        if let Some(views) = convolution.views {
            self.memory.give(views);
        }
        Ok(())
    }
}
