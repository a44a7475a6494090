//! From the operations of a network to the instructions of a step.

mod backward;
mod condition;
mod lifetimes;
mod loss;

use std::collections::BTreeMap;

use candle_core::cuda_backend::cudarc::driver::{CudaSlice, DevicePtr, LaunchConfig};
use candle_core::{CudaDevice, Result, Shape, bail};

pub(in crate::step) use self::lifetimes::in_sums;
use self::lifetimes::last_reads;
use super::check::check;
use super::given::Given;
use super::instruction::{Argument, Instruction, Place, Product, Window, launch};
use super::memory::{self, Memory};
use super::table::Tables;
use super::zeros;
use super::{Precision, Replay, Step, StepConvolution, StepLoss, StepOperation, StepPlan};
use crate::kernel::{Source, blocks_of_threads, grid, kernel};
use crate::table::address;

/// Numbers that a thread of the kernels takes at a time.
const EIGHT: usize = 8;

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
    check(&plan)?;
    let values = plan.sizes.iter().product::<usize>() * plan.channels;
    let loss = zeros(&Shape::from(()), device)?;
    // A mean gives each value the same share of the gradient.
    let shares = match plan.loss {
        StepLoss::Softmax => None,
        StepLoss::Mixture(_) => Some(device.clone_htod(&vec![1.0 / values as f32; values])?),
    };
    let condition = Given::new(&plan, device)?;
    let given = match &condition {
        Some(condition) => condition.addresses(device)?,
        None => [0, 0],
    };
    let mut compiler = Compiler::new(&plan, given, device);
    let stream = device.cuda_stream();
    let of_shares = shares.as_ref().map(|shares| shares.device_ptr(&stream).0);
    let at_loss = address("training step: the loss", &loss, device)?;
    compiler.both_passes(at_loss, of_shares)?;
    let Compiler {
        memory,
        ends,
        prepared,
        instructions: middle,
        ..
    } = compiler;
    let memory = allocate(&plan, memory.bytes(), device)?;
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
    for maps in ends.into_values() {
        end_rows(&maps, suffix, device, start)?;
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
        replay: Replay::FirstRun,
        _tables: tables,
        _shares: shares,
    })
}

/// Memory for the maps and their gradients.
fn allocate(plan: &StepPlan, bytes: usize, device: &CudaDevice) -> Result<CudaSlice<u8>> {
    match device.alloc_zeros::<u8>(bytes) {
        Ok(memory) => Ok(memory),
        Err(_) => {
            let ([images, height, width], gigabytes) = (plan.sizes, bytes as f64 / 1e9);
            bail!(
                "training step: the device has no {gigabytes:.2} GB for the maps and gradients of \
                 {images} images of {height} x {width}: take a smaller batch"
            )
        }
    }
}

/// Writes the ends of rows, which are the same in all steps.
fn end_rows(maps: &Rows, suffix: &str, device: &CudaDevice, start: u64) -> Result<()> {
    let numbers = [maps.count, maps.channels, maps.stride].map(|it| Argument::Number(it as u32));
    let mut arguments = numbers.to_vec();
    arguments.push(maps.place());
    let kernel = kernel(device, Source::Step, &format!("ends_{suffix}"))?;
    let ends = Instruction::Kernel(kernel, grid(maps.count), arguments);
    launch(&ends, &device.cublas_handle(), [start, 0])
}

fn suffix(precision: Precision) -> &'static str {
    match precision {
        Precision::F32 | Precision::Tf32 => "f32",
        Precision::Bf16 => "bf16",
    }
}

impl<'a> Compiler<'a> {
    /// At the beginning, with the addresses of the condition and of its gradient.
    fn new(plan: &'a StepPlan, given: [u64; 2], device: &'a CudaDevice) -> Self {
        let count = plan.operations.len();
        Self {
            device,
            plan,
            memory: Memory::default(),
            rows: plan.sizes.iter().product(),
            maps: vec![None; count],
            shapes: vec![[0, 0]; count],
            given,
            last_reads: last_reads(plan),
            ends: BTreeMap::new(),
            gradients: vec![None; count],
            in_sums: in_sums(plan),
            prepared: vec![None; count],
            logits: None,
            instructions: Vec::new(),
        }
    }

    /// The instructions of the forward pass, the loss and the backward pass.
    fn both_passes(&mut self, loss: u64, shares: Option<u64>) -> Result<()> {
        let count = self.plan.operations.len();
        for index in 0..count {
            self.forward(index)?;
            if let Some(rows) = self.maps[index] {
                self.shapes[index] = [rows.count, rows.channels];
            }
            self.forget(index);
        }
        self.loss(loss, shares)?;
        for index in (0..count).rev() {
            self.backward(index)?;
        }
        Ok(())
    }

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
            Argument::Number(rows.count as u32),
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
                    return self.logits(&[index], prepared.outputs);
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

    /// The sum of convolutions of this number of outputs, in f32. No convolution reads it.
    fn logits(&mut self, convolutions: &[usize], outputs: usize) -> Result<()> {
        let logits = Rows {
            place: self.memory.take(self.rows * outputs * 4, 0),
            count: self.rows,
            channels: outputs,
            stride: outputs,
        };
        self.logits = Some(logits);
        for (number, convolution) in convolutions.iter().enumerate() {
            self.convolve(*convolution, logits, (true, number > 0))?;
        }
        Ok(())
    }

    fn image(&mut self, index: usize, [lowest, highest]: [f32; 2]) -> Result<()> {
        let to = self.new_rows(self.rows, self.plan.channels);
        self.maps[index] = Some(to);
        let last = self.plan.levels.saturating_sub(1).max(1) as f32;
        let count = self.rows * to.channels;
        let arguments = vec![
            Argument::Number(count as u32),
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
        if index + 1 == self.plan.operations.len() {
            // The check has found no others.
            return self.logits(&own, channels);
        }
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
        let [outputs, inputs, ..] = one.sizes()?;
        let [live_rows, live_columns] = one.live;
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
                    Argument::Number(self.rows as u32),
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
}
