//! Muon's step of all its weights.

mod product;
mod stacks;

use candle_core::cuda_backend::WrapErr;
use candle_core::cuda_backend::cudarc::driver::{
    CudaSlice, CudaView, DevicePtr, DeviceRepr, PushKernelArg,
};
use candle_core::{CudaDevice, Result, Storage, Tensor, bail};

use crate::kernel::{Source, blocks_of_threads, kernel};
use crate::product::{Product, multiply};
use crate::table::{CHUNK, Table, address, device_of};
use stacks::{Stack, Stacks};

/// In messages.
const MUON: &str = "muon";

/// The tensors of a weight that Muon changes, all of one shape with at least two dimensions,
/// contiguous, and in f32. The first dimension has the rows of a matrix, the others its columns.
#[derive(Clone, Copy, Debug)]
pub struct MuonWeight<'a> {
    /// The weight; the step changes it.
    pub weight: &'a Tensor,
    /// Its gradient.
    pub gradient: &'a Tensor,
    /// Its momentum; the step changes it.
    pub momentum: &'a Tensor,
    /// The moving average, if there is one, and the share of the weight that is added to it; the
    /// step changes it.
    pub average: Option<(&'a Tensor, f32)>,
    /// Multiplies the orthogonalised direction.
    pub rate: f32,
    /// What weight decay leaves of the weight.
    pub keep: f32,
}

/// What all weights of a step of Muon have in common.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MuonSettings {
    /// What is kept of the momentum.
    pub momentum: f32,
    /// Steps of the Newton-Schulz iteration.
    pub iterations: usize,
    /// The coefficients of x, x^3 and x^5 in a step of this iteration.
    pub coefficients: [f32; 3],
}

/// `MuonWeight` of kernels/muon.cu: addresses, zero where there is nothing.
#[derive(Clone, Copy)]
#[repr(C)]
struct Row {
    weight: u64,
    gradient: u64,
    momentum: u64,
    average: u64,
    offset: u64,
    count: u32,
    first_chunk: u32,
    chunks: u32,
    rate: f32,
    keep: f32,
    share: f32,
}

// SAFETY: it has the fields of `MuonWeight` in kernels/muon.cu, in the same order.
unsafe impl DeviceRepr for Row {}

/// `MuonSquares` of kernels/muon.cu.
#[derive(Clone, Copy)]
#[repr(C)]
struct Squares {
    offset: u64,
    count: u32,
    side: u32,
}

// SAFETY: it has the fields of `MuonSquares` in kernels/muon.cu, in the same order.
unsafe impl DeviceRepr for Squares {}

/// Changes all weights by one step. The gradients are scaled so that their `norm`, of
/// [`norm`](crate::norm), is at most `most`. If the norm is not finite, nothing changes. Nothing
/// waits for the device.
///
/// Matrices of the same size are multiplied together: there are three products for each size and
/// iteration, one more launch for each iteration, and three for the step.
///
/// # Errors
///
/// If a tensor is not contiguous, not f32 (the norm: f64), or not on the device of the norm, if
/// shapes differ or have one dimension, or if there is not enough memory for two copies of the
/// weights.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use pixelcnn_cuda::{MuonSettings, muon};
///
/// let norm = Tensor::new(1f64, &Device::Cpu)?;
/// let settings = MuonSettings { momentum: 0.9, iterations: 5, coefficients: [1.5, -0.5, 0.0] };
/// assert!(muon(&[], &norm, 1.0, settings).is_err()); // it is not on a CUDA device
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn muon(
    weights: &[MuonWeight],
    norm: &Tensor,
    most: f64,
    settings: MuonSettings,
) -> Result<()> {
    let device = device_of(MUON, [norm].into_iter())?;
    let sizes = weights.iter().map(|one| size(one.weight));
    let stacks = Stacks::new(&sizes.collect::<Result<Vec<_>>>()?);
    if stacks.all.is_empty() {
        return Ok(());
    }
    let rows = rows(weights, &stacks.offsets, &device)?;
    let squares = stacks.all.iter().map(squares).collect::<Result<Vec<_>>>()?;
    let (storage, layout) = norm.storage_and_layout();
    let norm = match &*storage {
        Storage::Cuda(storage) => crate::kernel::numbers::<f64>("muon: norm", storage, layout)?,
        _ => bail!("muon: the norm is not on a CUDA device"),
    };
    let step = Step {
        rows: Table::new(&rows, |row| row.count as usize, &device)?,
        squares: Table::new(&squares, |one| one.count as usize, &device)?,
        // SAFETY: kernels and products write everything before they read it; if the norm is not
        // finite, nothing in it reaches a weight.
        memory: unsafe { device.alloc::<f32>(2 * (stacks.matrices + stacks.squares))? },
        device,
        stacks,
        norm,
    };
    step.run(most, settings)
}

/// Rows and columns of a weight.
fn size(weight: &Tensor) -> Result<[usize; 2]> {
    let count = weight.elem_count();
    match weight.dims() {
        [rows, _, ..] if (1..=i32::MAX as usize).contains(&count) => Ok([*rows, count / rows]),
        found => bail!(
            "muon: a matrix of 1 to {} numbers expected, found {found:?}",
            i32::MAX
        ),
    }
}

fn rows(weights: &[MuonWeight], offsets: &[usize], device: &CudaDevice) -> Result<Vec<Row>> {
    let mut first_chunk = 0;
    let mut row = |(one, offset): (&MuonWeight, &usize)| {
        let shape = one.weight.shape();
        let at = |tensor: &Tensor| match tensor.shape() == shape {
            true => address(MUON, tensor, device),
            false => bail!("muon: {shape:?} expected, found {:?}", tensor.shape()),
        };
        let chunks = shape.elem_count().div_ceil(CHUNK) as u32;
        let row = Row {
            weight: at(one.weight)?,
            gradient: at(one.gradient)?,
            momentum: at(one.momentum)?,
            average: one.average.map_or(Ok(0), |(average, _)| at(average))?,
            offset: *offset as u64,
            count: shape.elem_count() as u32,
            first_chunk,
            chunks,
            rate: one.rate,
            keep: one.keep,
            share: one.average.map_or(0.0, |(_, share)| share),
        };
        first_chunk += chunks;
        Ok(row)
    };
    weights.iter().zip(offsets).map(&mut row).collect()
}

fn squares(stack: &Stack) -> Result<Squares> {
    let count = stack.count * stack.side().pow(2);
    match u32::try_from(count) {
        Ok(count) => Ok(Squares {
            offset: stack.squares as u64,
            count,
            side: stack.side() as u32,
        }),
        Err(_) => bail!(
            "muon: at most {} numbers in squares expected, found {count}",
            u32::MAX
        ),
    }
}

/// What the launches of a step use.
struct Step<'a> {
    device: CudaDevice,
    rows: Table<Row>,
    squares: Table<Squares>,
    stacks: Stacks,
    /// Two regions of matrices, then one of squares and one of polynomials.
    memory: CudaSlice<f32>,
    norm: CudaView<'a, f64>,
}

impl Step<'_> {
    fn run(&self, most: f64, settings: MuonSettings) -> Result<()> {
        let [matrices, squares] = [self.stacks.matrices, self.stacks.squares];
        let stream = self.device.cuda_stream();
        let (start, _order) = self.memory.device_ptr(&stream);
        let at = |offset: usize| start + (offset * size_of::<f32>()) as u64;
        let [mut from, mut to] = [at(0), at(matrices)];
        let squares = [at(2 * matrices), at(2 * matrices + squares)];
        self.directions(most, settings.momentum, from)?;
        for _ in 0..settings.iterations {
            self.iterate([from, to], squares, settings.coefficients)?;
            (from, to) = (to, from);
        }
        let function = kernel(&self.device, Source::Muon, "muon_changes")?;
        let mut launch = function.builder();
        launch.arg(&self.rows.rows).arg(&self.rows.chunks);
        launch.arg(&self.norm).arg(&from);
        // SAFETY: the arguments of `muon_changes`; all tensors of a row have its number of
        // elements, and no two rows share a tensor that is written, because variables have their
        // own memory.
        unsafe { launch.launch(blocks_of_threads(self.rows.blocks)) }.w()?;
        Ok(())
    }

    /// Momenta, and the normalised matrices.
    fn directions(&self, most: f64, momentum: f32, matrices: u64) -> Result<()> {
        let (rows, config) = (&self.rows, blocks_of_threads(self.rows.blocks));
        // SAFETY: `muon_directions` writes a sum for each block, unless no kernel reads them.
        let sums = unsafe { self.device.alloc::<f64>(rows.blocks as usize)? };
        let function = kernel(&self.device, Source::Muon, "muon_directions")?;
        let mut launch = function.builder();
        launch.arg(&rows.rows).arg(&rows.chunks).arg(&self.norm);
        launch.arg(&most).arg(&momentum).arg(&matrices).arg(&sums);
        // SAFETY: the arguments of `muon_directions`; as for `muon_changes`.
        unsafe { launch.launch(config) }.w()?;
        let function = kernel(&self.device, Source::Muon, "muon_normalised")?;
        let mut launch = function.builder();
        launch.arg(&rows.rows).arg(&rows.chunks).arg(&self.norm);
        launch.arg(&sums).arg(&matrices);
        // SAFETY: the arguments of `muon_normalised`; rows name the sums of their chunks.
        unsafe { launch.launch(config) }.w()?;
        Ok(())
    }

    /// `to = (a I + b S + c S S) from` with the squares S of `from`; from the right if matrices
    /// have more rows than columns.
    fn iterate(
        &self,
        [from, to]: [u64; 2],
        [squares, polynomials]: [u64; 2],
        [a, b, c]: [f32; 3],
    ) -> Result<()> {
        let blas = self.device.cublas_handle();
        // SAFETY: `run` made the addresses of regions in which the stacks are; `size` has checked
        // the numbers of a matrix.
        let multiply = |product: &Product| unsafe { multiply(product, &blas) };
        for stack in &self.stacks.all {
            multiply(&stack.square(from, squares))?;
        }
        let function = kernel(&self.device, Source::Muon, "muon_polynomials")?;
        let mut launch = function.builder();
        launch.arg(&self.squares.rows).arg(&self.squares.chunks);
        launch.arg(&a).arg(&b).arg(&squares).arg(&polynomials);
        // SAFETY: the arguments of `muon_polynomials`; the squares of a row are in both regions.
        unsafe { launch.launch(blocks_of_threads(self.squares.blocks)) }.w()?;
        for stack in &self.stacks.all {
            multiply(&stack.polynomial(c, squares, polynomials))?;
            multiply(&stack.product(polynomials, from, to))?;
        }
        Ok(())
    }
}
