//! A training step as a fixed program: forward, loss, and backward.
//!
//! candle's autograd makes a tensor for each operation and adds each gradient to zeros. Here
//! the operations, their gradients and all memory are known before the first step, so that a
//! step allocates nothing.

mod check;
mod compile;
mod given;
mod instruction;
mod memory;
mod table;

use std::fmt;

use candle_core::cuda_backend::WrapErr;
use candle_core::cuda_backend::cudarc::cublas::sys as cublas;
use candle_core::cuda_backend::cudarc::driver::{CudaGraph, CudaSlice, DevicePtr, sys};
use candle_core::{CudaDevice, DType, Device, Error, Result, Shape, Tensor, bail};

use crate::Mixture;
use given::Given;
use instruction::{Instruction, launch};
use table::{Gradients, Tables};

/// How maps and products are computed. Weights, losses, sums and gradients of weights are
/// always f32.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precision {
    /// Everything in f32.
    #[default]
    F32,
    /// Maps in f32, but products of numbers that are rounded to 10 bits of mantissa.
    Tf32,
    /// Maps and the numbers of products in bf16.
    Bf16,
}

/// A convolution whose output has the height and width of its input.
#[derive(Clone, Debug)]
pub struct StepConvolution {
    /// `[out, in, rows, columns]`, or `[out, in]` for single pixels; f32, contiguous, on the device
    /// of the step.
    pub weight: Tensor,
    /// 1 where the weight is used and 0 elsewhere, of the same shape.
    pub mask: Option<Tensor>,
    /// `[out]`.
    pub bias: Option<Tensor>,
    /// Rows and columns before those that are masked everywhere.
    pub live: [usize; 2],
    /// Rows of padding above and columns of padding on the left; may be negative.
    pub before: [isize; 2],
    /// Distance of two taps.
    pub dilation: usize,
}

impl StepConvolution {
    fn is_of_single_pixels(&self) -> bool {
        self.live == [1, 1] && self.before == [0, 0]
    }

    /// Outputs, inputs, rows and columns of the weight.
    fn sizes(&self) -> Result<[usize; 4]> {
        match *self.weight.dims() {
            [outputs, inputs] => Ok([outputs, inputs, 1, 1]),
            _ => Ok(self.weight.dims4()?.into()),
        }
    }
}

/// An operation of a network. Maps are named by the index of the operation that computes them.
#[derive(Clone, Debug)]
pub enum StepOperation {
    /// The values, scaled: the first level becomes `lowest`, the last one `highest`.
    Image {
        /// Number of the first level.
        lowest: f32,
        /// Number of the last level.
        highest: f32,
    },
    /// The condition. A vector, and a convolution of it, has one row for each image; a sum of it
    /// with maps adds this row at every pixel.
    Condition,
    /// A convolution of maps.
    Convolution(StepConvolution, usize),
    /// The gate.
    Gate(usize),
    /// The positive part.
    Relu(usize),
    /// `x` above zero, else `e^x - 1`.
    Elu(usize),
    /// The sum of two maps of as many channels.
    Sum(usize, usize),
}

impl StepOperation {
    /// The operations whose maps it reads.
    fn reads(&self) -> Vec<usize> {
        match self {
            Self::Image { .. } | Self::Condition => Vec::new(),
            Self::Convolution(_, maps) | Self::Gate(maps) | Self::Relu(maps) | Self::Elu(maps) => {
                vec![*maps]
            }
            Self::Sum(one, other) => vec![*one, *other],
        }
    }
}

/// The condition of a network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StepCondition {
    /// Nothing.
    #[default]
    None,
    /// A vector of this length for each image, `[b, length]`.
    Vector(usize),
    /// So many maps of the image's height and width, `[b, maps, h, w]`.
    Map(usize),
}

/// The loss, from the last operation's maps.
#[derive(Clone, Copy, Debug)]
pub enum StepLoss {
    /// Softmax cross-entropy; the maps are the logits of each channel.
    Softmax,
    /// A mixture of logistics for each group of channels.
    Mixture(Mixture),
}

/// What a [`Step`] computes.
#[derive(Clone, Debug)]
pub struct StepPlan {
    /// Images, height and width.
    pub sizes: [usize; 3],
    /// Channels of an image.
    pub channels: usize,
    /// Levels of a value.
    pub levels: usize,
    /// The condition.
    pub condition: StepCondition,
    /// The operations; each reads earlier ones. The last one, a convolution or the sum of two that
    /// nothing else reads, gives the parameters of the distribution.
    pub operations: Vec<StepOperation>,
    /// The loss.
    pub loss: StepLoss,
    /// The precision.
    pub precision: Precision,
}

impl StepPlan {
    /// Whether the last operation is a convolution, or the sum of two that nothing else reads.
    pub fn ends_in_convolutions(&self) -> bool {
        match self.operations.last() {
            Some(StepOperation::Convolution(..)) => true,
            Some(StepOperation::Sum(one, other)) => {
                let in_sums = compile::in_sums(self);
                [one, other]
                    .iter()
                    .all(|it| in_sums.get(**it) == Some(&true))
            }
            _ => false,
        }
    }
}

/// A training step of a network on a CUDA device: the mean of the nats of all values, and the
/// gradients of all weights and biases, and of the condition if there is one.
///
/// A step allocates nothing but the scalar that it returns, and does not wait for it. In `f32`, the
/// results are those of candle's operations up to the order of sums.
///
/// ```
/// use pixelcnn_cuda::{Precision, Step, StepCondition, StepLoss, StepOperation, StepPlan};
///
/// let plan = StepPlan {
///     sizes: [16, 32, 32],
///     channels: 3,
///     levels: 256,
///     condition: StepCondition::None,
///     operations: vec![StepOperation::Image { lowest: -1.0, highest: 1.0 }],
///     loss: StepLoss::Softmax,
///     precision: Precision::Bf16,
/// };
/// assert!(!plan.ends_in_convolutions());
/// // It needs a CUDA device, and a convolution as the last operation.
/// assert!(Step::new(plan, &candle_core::Device::Cpu).is_err());
/// ```
pub struct Step {
    device: CudaDevice,
    plan: StepPlan,
    instructions: Vec<Instruction>,
    /// All maps and their gradients.
    memory: CudaSlice<u8>,
    /// The values, with the channels of a pixel side by side.
    values: CudaSlice<u32>,
    /// The condition, if there is one.
    condition: Option<Given>,
    loss: Tensor,
    gradients: Gradients,
    replay: Replay,
    // What instructions address besides.
    _tables: Tables,
    _shares: Option<CudaSlice<f32>>,
}

impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Step")
            .field("sizes", &self.plan.sizes)
            .field("precision", &self.plan.precision)
            .field("instructions", &self.instructions.len())
            .field("bytes", &self.bytes())
            .finish_non_exhaustive()
    }
}

/// How a run starts its instructions.
enum Replay {
    FirstRun,
    SecondRun,
    /// All at once, which takes the processor less time.
    Graph(Graph),
}

struct Graph(CudaGraph);

// SAFETY: the driver allows a graph in any thread as long as no two use it at a time. Only
// `Step::run` uses it, which has the step for itself.
unsafe impl Send for Graph {}
// SAFETY: as for `Send`; a shared reference does nothing with the graph.
unsafe impl Sync for Graph {}

impl Step {
    /// The program for a plan.
    ///
    /// # Errors
    ///
    /// If the device is not a CUDA device, a tensor does not fit, or memory is short.
    pub fn new(plan: StepPlan, device: &Device) -> Result<Self> {
        let Device::Cuda(device) = device else {
            bail!(
                "training step: a CUDA device expected, found {:?}",
                device.location()
            );
        };
        if device
            .cuda_stream()
            .context()
            .is_managing_stream_synchronization()
        {
            bail!("training step: a device of `pixelcnn_cuda::device` expected, without events");
        }
        // Without it, parts of long sums may be rounded to the type of the result.
        let mode = cublas::cublasMath_t::CUBLAS_MATH_DISALLOW_REDUCED_PRECISION_REDUCTION;
        let blas = device.cublas_handle();
        // SAFETY: the handle is that of the device, which is alive.
        let set = unsafe { cublas::cublasSetMathMode(*blas.handle(), mode) };
        set.result().map_err(Error::wrap)?;
        compile::compile(plan, device)
    }

    /// Images, height and width.
    pub fn sizes(&self) -> [usize; 3] {
        self.plan.sizes
    }

    /// Bytes of maps and gradients.
    pub fn bytes(&self) -> usize {
        self.memory.num_bytes()
    }

    /// Computes the mean nats of `values [b, c, h, w]` given a condition, in the shape of
    /// [`StepCondition`], f32, on any device; and all gradients. The result is a scalar on the
    /// device, which later runs do not change.
    ///
    /// # Errors
    ///
    /// If the values or the condition have another shape, or a launch fails.
    pub fn run(&mut self, values: &Tensor, condition: Option<&Tensor>) -> Result<Tensor> {
        let [b, h, w] = self.plan.sizes;
        let expected = [b, self.plan.channels, h, w];
        if values.dims() != expected {
            let found = values.dims();
            bail!("training step: values {expected:?} expected, found {found:?}");
        }
        match (&mut self.condition, condition) {
            (None, None) => {}
            (Some(own), Some(condition)) => own.set(condition, &self.device)?,
            (None, Some(found)) => bail!(
                "training step: no condition expected, found {:?}",
                found.dims()
            ),
            (Some(own), None) => {
                let expected = own.shape();
                bail!("training step: a condition {expected:?} expected, found none");
            }
        }
        if !values.dtype().is_int() {
            let found = values.dtype().as_str();
            bail!("training step: values of an integer type expected, found {found}");
        }
        let values = values.to_device(&Device::Cpu)?.to_dtype(DType::U32)?;
        let values = values.permute((0, 2, 3, 1))?.flatten_all()?;
        self.device
            .memcpy_htod(&values.to_vec1::<u32>()?, &mut self.values)?;
        match &self.replay {
            Replay::Graph(graph) => graph.0.launch().w()?,
            // cuBLAS takes memory at its first products, which a capture does not allow.
            Replay::FirstRun => {
                self.launch()?;
                self.replay = Replay::SecondRun;
            }
            Replay::SecondRun => {
                let graph = self.capture()?;
                graph.0.launch().w()?;
                self.replay = Replay::Graph(graph);
            }
        }
        // The next run writes into the same memory.
        self.loss.copy()
    }

    fn launch(&self) -> Result<()> {
        let stream = self.device.cuda_stream();
        let (memory, _order) = self.memory.device_ptr(&stream);
        let (values, _order) = self.values.device_ptr(&stream);
        let blas = self.device.cublas_handle();
        let mut instructions = self.instructions.iter();
        instructions.try_for_each(|it| launch(it, &blas, [memory, values]))
    }

    /// All instructions as one graph.
    fn capture(&self) -> Result<Graph> {
        let stream = self.device.cuda_stream();
        let mode = sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
        stream.begin_capture(mode).w()?;
        let launched = self.launch();
        // A capture must end even after an error.
        let graph = stream.end_capture(sys::CUgraphInstantiate_flags(0)).w();
        launched?;
        match graph? {
            Some(graph) => Ok(Graph(graph)),
            None => bail!("training step: the driver gave no graph"),
        }
    }

    /// The gradient of the condition, f32, of the last run; the next one overwrites it. `None` if
    /// there is no condition.
    pub fn condition_gradient(&self) -> Option<&Tensor> {
        Some(self.condition.as_ref()?.gradient())
    }

    /// The gradient of a weight or bias, of the last run; the next one overwrites it.
    pub fn gradient(&self, parameter: &Tensor) -> Option<&Tensor> {
        let found = self.gradients.iter().find(|(id, _)| *id == parameter.id());
        found.map(|(_, gradient)| gradient)
    }
}

/// A new tensor of zeros, with memory of its own.
fn zeros(shape: &Shape, device: &CudaDevice) -> Result<Tensor> {
    Tensor::zeros(shape, DType::F32, &Device::Cuda(device.clone()))
}
