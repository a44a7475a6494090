//! `pixelcnn bench train`.

use std::time::Instant;

use anyhow::{Result, bail};
use candle_core::{Device, Tensor};
use pixelcnn_models::{Condition, Model, ModelConfig, Variables};
use pixelcnn_train::average::Average;
use pixelcnn_train::clip::{clip_factor, global_norm};
use pixelcnn_train::collect_gradients;
use pixelcnn_train::optimiser::{Optimiser, OptimiserConfig};
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
    let mut network = Network::new(&config, &device)?;
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
    optimiser: Optimiser,
    average: Average,
    /// The loss of the last step, on the device.
    loss: Option<Tensor>,
}

impl Network {
    fn new(config: &ModelConfig, device: &Device) -> Result<Self> {
        let (model, variables) = Model::initialise(config, 1, device)?;
        Ok(Self {
            optimiser: Optimiser::new(&OptimiserConfig::default(), &variables)?,
            average: Average::new(0.999, &variables)?,
            model,
            variables,
            loss: None,
        })
    }

    /// Forward, loss, backward, clipping, update, as in a run: on a GPU without waiting.
    fn step(&mut self, values: &Tensor) -> Result<()> {
        let Some(network) = self.model.network() else {
            bail!("bench: a network expected");
        };
        let loss = network.value_nats(values, &Condition::None)?.mean_all()?;
        let gradients = collect_gradients(&loss.backward()?, &self.variables)?;
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
        self.loss = Some(loss.detach());
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
