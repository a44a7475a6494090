//! The audit of a network's receptive field: compares the values that each output
//! sees with the values that it must see.
//!
//! The audit compares three sets of offsets for every output channel:
//!
//! - **expected**: what the taps of the network's operations reach, one after the other
//!   ([`field()`]), for any weights;
//! - **reached**: where the gradient of the network with absolute weights
//!   and without non-linearities is positive, that is, where a path exists;
//! - **leaks**: where gradients of the real network on random images are not
//!   zero at or after the predicted value; they must be exactly zero there.
//!
//! Everything runs in f64 on the CPU, on an image in which the whole field of a pixel has room. A
//! recurrent network sees as far as the image goes; its three sets are those of an image of the
//! model's size, of sides from 9 to 32.

mod field;
mod paths;
mod probe;

use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor};
use pixelcnn_conv::ColourGroups;
use pixelcnn_layers::{Condition, ConditionShape, Graph, Pass};

use crate::size::check_large;
use crate::{ModelConfig, ModelError, Network, Parameters};
pub use field::{Field, Frame, Offset, field};

/// A fault found by an audit.
///
/// # Example
///
/// ```
/// use pixelcnn_models::audit::{Fault, Finding, Offset};
///
/// let finding = Finding {
///     fault: Fault::Leak,
///     output: 0,
///     input: Offset { row: 0, column: 1, channel: 2 },
/// };
/// assert_eq!(
///     finding.to_string(),
///     "leak: output channel 0 sees channel 2 at row +0, column +1"
/// );
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The kind of fault.
    pub fault: Fault,
    /// Channel of the output.
    pub output: usize,
    /// The input, relative to the pixel of the output; if the outputs of many
    /// pixels were tested together, relative to the first pixel after them.
    pub input: Offset,
}

/// A kind of fault of a receptive field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// An output depends on a later pixel.
    Leak,
    /// An output depends on the same or a later colour of its own pixel.
    ColourOrder,
    /// An output does not see a value that it should see.
    BlindSpot,
    /// An output sees an earlier value that it should not see.
    Outside,
}

impl Fault {
    /// The fault in a word or two.
    pub fn name(self) -> &'static str {
        match self {
            Self::Leak => "leak",
            Self::ColourOrder => "colour order",
            Self::BlindSpot => "blind spot",
            Self::Outside => "outside",
        }
    }
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Offset {
            row,
            column,
            channel,
        } = self.input;
        let verb = match self.fault {
            Fault::BlindSpot => "does not see",
            Fault::Leak | Fault::ColourOrder | Fault::Outside => "sees",
        };
        write!(
            f,
            "{}: output channel {} {verb} channel {channel} at row {row:+}, column {column:+}",
            self.fault.name(),
            self.output,
        )
    }
}

/// The result of an audit.
#[derive(Clone, Debug)]
pub struct Report {
    /// The values that each output channel must see.
    pub analytic: Vec<Field>,
    /// The values that each output channel reaches.
    pub reached: Vec<Field>,
    /// All faults; empty for a correct network.
    pub findings: Vec<Finding>,
    /// Pixels inside the bounding box of the analytic field that the architecture
    /// does not see by design: the blind spot of the plain PixelCNN, the gaps of
    /// dilated kernels.
    pub blind_by_design: usize,
    /// Number of computed gradients of the real network.
    pub gradients: usize,
}

/// A network from images `[1, c, h, w]` to logits `[1, c, levels, h, w]`, f64.
pub type Forward<'a> = dyn Fn(&Tensor) -> candle_core::Result<Tensor> + 'a;

/// Audits the network of `config` with the weights `tensors`.
///
/// # Errors
///
/// If the model does not predict pixels in order, the weights do not fit, or the field
/// is too large to be computed value by value. Faults of the network are not errors;
/// they are the findings of the report.
///
/// # Example
///
/// ```
/// use candle_core::Device;
/// use pixelcnn_models::{Model, ModelConfig, PixelCnnConfig, audit::audit};
///
/// let config = PixelCnnConfig {
///     first_kernel: 3, blocks: 1, maps: 3, head: 3, ..PixelCnnConfig::cifar10()
/// };
/// let config = ModelConfig::from(config);
/// let (model, _) = Model::initialise(&config, 1, &Device::Cpu)?;
/// let report = audit(&config, model.tensors())?;
/// assert!(report.findings.is_empty());
/// assert_eq!(report.blind_by_design, 1); // row -1, column +2
/// # Ok::<(), pixelcnn_models::ModelError>(())
/// ```
pub fn audit(
    config: &ModelConfig,
    tensors: &BTreeMap<String, Tensor>,
) -> Result<Report, ModelError> {
    let real = network(config, tensors, |_, tensor| Ok(tensor.clone()))?;
    let image = config.image();
    let frame = Frame::of(real.graph(), (image.height, image.width));
    let analytic = field(real.graph(), &frame)?;
    let (height, width) = (frame.height, frame.width);
    check_audit(config, real.graph(), (height, width))?;
    let linear = network(config, tensors, |name, tensor| {
        match name.ends_with("bias") {
            true => tensor.zeros_like(),
            false => tensor.abs(),
        }
    })?;
    let condition = ones(config, height, width)?;
    let groups = real.graph().image_groups();
    compare(
        frame,
        analytic,
        &|image| of_channels(&real.forward(image, &condition)?, groups),
        &|image| {
            let (b, _, h, w) = image.dims4()?;
            let outputs = paths::output(linear.graph(), image)?;
            of_channels(&outputs.reshape((b, groups.channels(), (), h, w))?, groups)
        },
    )
}

/// Audits any network on the image and at the pixel of `frame`, from the expected fields of its
/// output channels, the network itself, and the same network made linear, with absolute weights.
///
/// # Errors
///
/// If a network fails. Faults of the networks are the findings of the report.
///
/// # Example
///
/// ```
/// use candle_core::Tensor;
/// use pixelcnn_models::audit::{Fault, Field, Frame, compare};
///
/// // A "network" that sees the very value it is to predict.
/// let identity = |image: &Tensor| image.unsqueeze(2);
/// let fields = vec![Field::new()];
/// let report = compare(Frame::around(&fields), fields, &identity, &identity)?;
/// assert_eq!(report.findings[0].fault, Fault::ColourOrder);
/// # Ok::<(), pixelcnn_models::ModelError>(())
/// ```
pub fn compare(
    frame: Frame,
    analytic: Vec<Field>,
    real: &Forward,
    linear: &Forward,
) -> Result<Report, ModelError> {
    let probe = probe::Probe {
        frame,
        channels: analytic.len(),
    };
    let reached = probe::reached(linear, &probe)?;
    let mut findings = probe::leaks(real, &probe)?;
    for (output, (reached, analytic)) in reached.iter().zip(&analytic).enumerate() {
        let finding = |fault, input: &Offset| Finding {
            fault,
            output,
            input: *input,
        };
        let missing = analytic.difference(reached);
        findings.extend(missing.map(|input| finding(Fault::BlindSpot, input)));
        let extra = reached.difference(analytic);
        findings.extend(extra.map(|input| finding(probe::fault_of(output, input), input)));
    }
    findings.sort_by_key(|finding| (finding.fault, finding.output, finding.input));
    findings.dedup();
    Ok(Report {
        blind_by_design: field::blind_pixels(&analytic, &frame),
        analytic,
        reached,
        findings,
        gradients: probe.gradients(),
    })
}

/// The outputs of each channel, `[b, c, parameters, h, w]`, from those of groups of
/// channels.
fn of_channels(outputs: &Tensor, groups: ColourGroups) -> candle_core::Result<Tensor> {
    if groups.channels() == groups.maps() {
        return Ok(outputs.clone());
    }
    let of: Vec<u32> = (0..groups.maps())
        .map(|channel| groups.group_of(channel) as u32)
        .collect();
    let of = Tensor::from_vec(of, groups.maps(), outputs.device())?;
    outputs.index_select(&of, 1)
}

/// Checks that the network, twice, and the gradients of every map and logit at every
/// pixel fit into memory.
fn check_audit(
    config: &ModelConfig,
    graph: &Graph,
    (height, width): (usize, usize),
) -> Result<(), ModelError> {
    let pass = Pass {
        height,
        rows: height,
        gradients: true,
        kernels: false,
    };
    // Logits are also multiplied by weights.
    let logits = 4 * height * graph.maps(graph.ends().1);
    let pixels = width as u128 * (graph.numbers_held(pass) + logits) as u128;
    let numbers = 4 * config.weights() + pixels;
    let levels = config.image().levels;
    Ok(check_large(
        numbers.saturating_mul(size_of::<f64>() as u128),
        || {
            format!(
                "the audit with model.image.levels = {levels} and a receptive field of {height} x {width}"
            )
        },
    )?)
}

/// The network of `config` in f64 with its weights changed by `change`.
fn network(
    config: &ModelConfig,
    tensors: &BTreeMap<String, Tensor>,
    change: impl Fn(&str, &Tensor) -> candle_core::Result<Tensor>,
) -> Result<Network, ModelError> {
    // The encoder is left out; the blocks get a condition directly. Only the image needs a gradient:
    // weights in training are audited like those of a file.
    let tensors = tensors
        .iter()
        .filter(|(name, _)| !name.starts_with("condition."))
        .map(|(name, tensor)| {
            let tensor = tensor.detach().to_dtype(DType::F64)?;
            Ok((name.clone(), change(name, &tensor)?))
        })
        .collect::<candle_core::Result<_>>()?;
    let weights = Parameters::fixed(tensors).builder(DType::F64, &Device::Cpu);
    let graph = config.network(weights)?;
    Ok(Network::new(graph, config.image(), config.distribution())?)
}

/// A condition of ones, if the network takes one.
fn ones(config: &ModelConfig, height: usize, width: usize) -> candle_core::Result<Condition> {
    let ones = |shape: &[usize]| Tensor::ones(shape, DType::F64, &Device::Cpu);
    Ok(match config.condition_shape() {
        ConditionShape::None => Condition::None,
        ConditionShape::Vector { length } => Condition::Vector(ones(&[1, length])?),
        ConditionShape::Map { maps } => Condition::Map(ones(&[1, maps, height, width])?),
    })
}
