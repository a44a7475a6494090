//! One optimiser step of all parameters.

use candle_core::cuda_backend::WrapErr;
use candle_core::cuda_backend::cudarc::driver::{DeviceRepr, PushKernelArg};
use candle_core::{CudaDevice, CudaStorage, Result, Shape, Storage, Tensor, bail};

use crate::kernel::{Source, blocks_of_threads, kernel};
use crate::table::{Table, address, device_of};

/// In messages.
const UPDATE: &str = "update";

/// The tensors of a parameter, all of one shape, contiguous, and in f32.
#[derive(Clone, Copy, Debug)]
pub struct Parameter<'a> {
    /// The weight; the update changes it.
    pub weight: &'a Tensor,
    /// Its gradient.
    pub gradient: &'a Tensor,
    /// The first moment, if the rule keeps one; the update changes it.
    pub first: Option<&'a Tensor>,
    /// The second moment; the update changes it.
    pub second: &'a Tensor,
    /// The moving average, if there is one; the update changes it.
    pub average: Option<&'a Tensor>,
    /// The learning rate.
    pub learning_rate: f32,
    /// What weight decay leaves of the weight.
    pub keep: f32,
}

/// The constants of a rule, as the kernel takes them.
#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(C)]
pub struct Constants {
    /// 0 for Adam, 1 for RMSProp.
    pub kind: u32,
    /// What is kept of the first moment.
    pub keep_first: f32,
    /// The share of the gradient that is added to it.
    pub add_first: f32,
    /// What is kept of the second moment.
    pub keep_second: f32,
    /// The share of the squared gradient that is added to it.
    pub add_second: f32,
    /// Multiplies Adam's mean.
    pub mean: f32,
    /// Multiplies the root of the second moment.
    pub root: f32,
    /// Added to the divisor.
    pub epsilon: f32,
    /// The share of the weight that is added to the average.
    pub average: f32,
}

// SAFETY: it has the fields of `Rule` in kernels/update.cu, in the same order.
unsafe impl DeviceRepr for Constants {}

/// `Parameter` of kernels/update.cu: addresses, zero where there is nothing.
#[derive(Clone, Copy)]
#[repr(C)]
struct Row {
    weight: u64,
    gradient: u64,
    first: u64,
    second: u64,
    average: u64,
    count: u64,
    learning_rate: f32,
    keep: f32,
}

// SAFETY: it has the fields of `Parameter` in kernels/update.cu, in the same order.
unsafe impl DeviceRepr for Row {}

/// The Euclidean norm of all gradients together, a scalar in f64 on their device, in two
/// launches.
///
/// # Errors
///
/// If there is none, or one is not contiguous, not f32, empty, or not on the device of the
/// first.
///
/// ```
/// use candle_core::{Device, Tensor};
///
/// let gradient = Tensor::new(&[3f32, 4.0], &Device::Cpu)?;
/// assert!(pixelcnn_cuda::norm(&[&gradient]).is_err()); // it is not on a CUDA device
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn norm(gradients: &[&Tensor]) -> Result<Tensor> {
    let device = device_of(UPDATE, gradients.iter().copied())?;
    let row = |gradient: &&Tensor| {
        Ok(Row {
            weight: 0,
            gradient: address(UPDATE, gradient, &device)?,
            first: 0,
            second: 0,
            average: 0,
            count: gradient.elem_count() as u64,
            learning_rate: 0.0,
            keep: 0.0,
        })
    };
    let rows = gradients.iter().map(row).collect::<Result<Vec<_>>>()?;
    let table = table(&rows, &device)?;
    // SAFETY: the kernels write one sum for each block, and the norm.
    let (sums, norm) = unsafe {
        let sums = device.alloc::<f64>(table.blocks as usize)?;
        (sums, device.alloc::<f64>(1)?)
    };
    let function = kernel(&device, Source::Update, "sums_of_squares")?;
    let mut launch = function.builder();
    launch.arg(&table.rows).arg(&table.chunks).arg(&sums);
    // SAFETY: the arguments of `sums_of_squares`; chunks stay within the gradients.
    unsafe { launch.launch(blocks_of_threads(table.blocks)) }.w()?;
    let function = kernel(&device, Source::Update, "norm_of_sums")?;
    let mut launch = function.builder();
    launch.arg(&table.blocks).arg(&sums).arg(&norm);
    // SAFETY: the arguments of `norm_of_sums`, which has one block.
    unsafe { launch.launch(blocks_of_threads(1)) }.w()?;
    let storage = Storage::Cuda(CudaStorage::wrap_cuda_slice(norm, device));
    let none = candle_core::op::BackpropOp::none();
    Ok(Tensor::from_storage(storage, Shape::from(()), none, false))
}

/// Changes all parameters by one step, in one launch. The gradients are scaled so that their
/// `norm`, of [`norm`], is at most `most`. If the norm is not finite, nothing changes.
///
/// # Errors
///
/// If a tensor is not contiguous, not f32 (the norm: f64), or not on the device of the norm, or
/// shapes differ.
pub fn update(
    parameters: &[Parameter],
    norm: &Tensor,
    most: f64,
    constants: Constants,
) -> Result<()> {
    let device = device_of(UPDATE, [norm].into_iter())?;
    let rows = parameters.iter().map(|parameter| row(parameter, &device));
    let table = table(&rows.collect::<Result<Vec<_>>>()?, &device)?;
    let (storage, layout) = norm.storage_and_layout();
    let norm = match &*storage {
        Storage::Cuda(storage) => crate::kernel::numbers::<f64>("update: norm", storage, layout)?,
        _ => bail!("update: the norm is not on a CUDA device"),
    };
    let function = kernel(&device, Source::Update, "update")?;
    let mut launch = function.builder();
    launch.arg(&table.rows).arg(&table.chunks).arg(&norm);
    launch.arg(&most).arg(&constants);
    // SAFETY: the arguments of `update`; all tensors of a row have its number of elements, and
    // no two rows share a tensor that is written, because variables have their own memory.
    unsafe { launch.launch(blocks_of_threads(table.blocks)) }.w()?;
    Ok(())
}

fn table(rows: &[Row], device: &CudaDevice) -> Result<Table<Row>> {
    Table::new(rows, |row| row.count as usize, device)
}

fn row(parameter: &Parameter, device: &CudaDevice) -> Result<Row> {
    let shape = parameter.weight.shape();
    let at = |tensor: &Tensor| match tensor.shape() == shape {
        true => address(UPDATE, tensor, device),
        false => bail!("update: {shape:?} expected, found {:?}", tensor.shape()),
    };
    Ok(Row {
        weight: at(parameter.weight)?,
        gradient: at(parameter.gradient)?,
        first: parameter.first.map_or(Ok(0), at)?,
        second: at(parameter.second)?,
        average: parameter.average.map_or(Ok(0), at)?,
        count: shape.elem_count() as u64,
        learning_rate: parameter.learning_rate,
        keep: parameter.keep,
    })
}
