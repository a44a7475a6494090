//! `pixelcnn bench train`.

use std::time::Instant;

use anyhow::{Result, bail};
use candle_core::{Device, Tensor};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use pixelcnn_models::{Condition, Model, ModelConfig, Precision, Variables};
use pixelcnn_train::average::Average;
use pixelcnn_train::clip::{clip_factor, global_norm};
use pixelcnn_train::optimiser::{AdamConfig, MuonConfig, Optimiser, OptimiserConfig};
use pixelcnn_train::{Differentiation, Loss};
use serde_json::json;

use super::{NetworkFlags, Peak, instructions, median, multiply_adds, peak_memory_mib};
use crate::arguments::{DeviceFlag, JsonFlag};
use crate::values::from_one;
use crate::{device, output};

/// Times training steps of a network on noise images
#[derive(clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    network: NetworkFlags,
    /// Images per step, 32x32 RGB
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = from_one)]
    batch: usize,
    /// Timed steps, after two that are not timed
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = from_one)]
    steps: usize,
    /// In which types a step computes; other devices than CUDA's have f32 only
    #[arg(long, value_name = "PRECISION", default_value = "f32", value_parser = precision())]
    precision: Precision,
    /// The optimiser, with its default settings
    #[arg(long, value_name = "OPTIMISER", default_value = "adam", value_parser = optimiser())]
    optimiser: OptimiserConfig,
    #[command(flatten)]
    device: DeviceFlag,
    #[command(flatten)]
    json: JsonFlag,
}

pub(super) fn run(arguments: &Arguments) -> Result<()> {
    let config = arguments.network.config()?;
    let batch = arguments.batch;
    let device = device::parse(&arguments.device.device)?;
    let mut peak = Peak::default();
    let mut network = Network::new(&config, arguments, &device)?;
    let values = noise(batch)?;
    let mut seconds = Vec::new();
    for step in 0..arguments.steps + 2 {
        let start = Instant::now();
        network.step(&values)?;
        device.synchronize()?;
        if step >= 2 {
            seconds.push(start.elapsed().as_secs_f64());
            peak.measure();
        }
    }
    let nats = network.loss()?;
    // The peak is that of the CPU.
    let peak = device.is_cpu().then(|| peak.measure());
    let seconds = median(seconds);
    let flops = 6.0 * (multiply_adds(&network.model) * batch) as f64 / seconds;
    let memory = peak_memory_mib();
    let images = batch as f64 / seconds;
    if arguments.json.json {
        return output::line(json!({
            "seconds_per_step": seconds,
            "images_per_second": images,
            "gflops": flops / 1e9,
            "device": device::name(&device),
            "precision": arguments.precision,
            "peak_gflops": peak.map(|peak| peak / 1e9),
            "share_of_peak": peak.map(|peak| flops / peak),
            "peak_memory_mib": memory,
            "parameters": network.model.parameters(),
            "loss": nats,
            "threads": rayon::current_num_threads(),
            "instructions": instructions(),
        }));
    }
    let share = peak.map_or(String::new(), |peak| {
        format!(" of {:.0} ({:.0} %)", peak / 1e9, 100.0 * flops / peak)
    });
    output::line(format!(
        "{seconds:.3} s per step, {images:.1} images/s, {:.0}{share} GFLOP/s, \
         peak memory {:.0} MiB",
        flops / 1e9,
        memory.unwrap_or(f64::NAN),
    ))
}

/// The names of precisions.
fn precision() -> impl TypedValueParser<Value = Precision> {
    PossibleValuesParser::new(Precision::ALL.map(Precision::as_str)).try_map(|name| {
        let found = Precision::ALL.into_iter().find(|it| it.as_str() == name);
        found.ok_or("no precision")
    })
}

/// The names of optimisers.
fn optimiser() -> impl TypedValueParser<Value = OptimiserConfig> {
    PossibleValuesParser::new(["adam", "muon"]).map(|name| match name.as_str() {
        "muon" => OptimiserConfig::Muon(MuonConfig::default()),
        _ => OptimiserConfig::Adam(AdamConfig::default()),
    })
}

/// Values that are the same at every call.
fn noise(batch: usize) -> Result<Tensor> {
    let value = |index: u64| (index.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8;
    let values: Vec<u8> = (0..(batch * 3 * 32 * 32) as u64).map(value).collect();
    Ok(Tensor::from_vec(values, (batch, 3, 32, 32), &Device::Cpu)?)
}

/// Everything that a training step changes.
struct Network {
    model: Model,
    variables: Variables,
    differentiation: Differentiation,
    optimiser: Optimiser,
    average: Average,
    /// The loss of the last step, on the device.
    loss: Option<Tensor>,
}

impl Network {
    fn new(config: &ModelConfig, arguments: &Arguments, device: &Device) -> Result<Self> {
        let (model, variables) = Model::initialise(config, 1, device)?;
        let (sizes, precision) = ([arguments.batch, 32, 32], arguments.precision);
        Ok(Self {
            differentiation: Differentiation::new(&model, sizes, precision, "--precision", device)?,
            optimiser: Optimiser::new(&arguments.optimiser, &variables)?,
            average: Average::new(0.999, &variables)?,
            model,
            variables,
            loss: None,
        })
    }

    /// Forward, loss, backward, clipping, update, as in a run: on a GPU without waiting.
    fn step(&mut self, values: &Tensor) -> Result<()> {
        let loss = Loss::Nats {
            values: values.clone(),
            condition: Condition::None,
            divergence: None,
        };
        let (loss, gradients) =
            self.differentiation
                .loss_and_gradients(&self.model, &self.variables, loss)?;
        let norm = global_norm(&gradients)?;
        let average = Some(&self.average);
        if loss.device().is_cpu() {
            let scale = clip_factor(norm.to_scalar()?, 1.0);
            self.optimiser
                .step(&self.variables, &gradients, 1e-3, scale, average)?;
        } else {
            let clip = (&norm, 1.0);
            self.optimiser
                .clipped_step(&self.variables, &gradients, 1e-3, clip, average)?;
        }
        self.loss = Some(loss);
        Ok(())
    }

    /// The loss of the last step in nats per dimension.
    fn loss(&self) -> Result<f32> {
        match &self.loss {
            Some(loss) => Ok(loss.to_scalar()?),
            None => bail!("bench: no step was made"),
        }
    }
}
