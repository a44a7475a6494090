//! `pixelcnn bench sample`.

use std::time::{Duration, Instant};

use anyhow::Result;
use candle_core::{Device, Tensor};
use pixelcnn_kernels::peak_bandwidth;
use pixelcnn_models::{Condition, Model};
use pixelcnn_sample::{Engine, SampleConfig, nll_map, sample};
use serde_json::{Value, json};

use super::{NetworkFlags, Peak, instructions, median, multiply_adds, peak_memory_mib};
use crate::arguments::JsonFlag;
use crate::output;
use crate::values::from_one;

/// Times sampling from a Gated PixelCNN with random weights
#[derive(clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    network: NetworkFlags,
    /// Images drawn together, 32x32 RGB; several numbers are timed one by one
    #[arg(
        long,
        value_name = "N,N",
        value_delimiter = ',',
        default_value = "1,16,64",
        value_parser = from_one
    )]
    batch: Vec<usize>,
    /// Repetitions of each measurement, after one that is not timed
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = from_one)]
    repetitions: usize,
    #[command(flatten)]
    json: JsonFlag,
}

/// The cost of an image.
struct Cost {
    what: String,
    seconds: f64,
    share_of_peak: f64,
    /// Share of the memory bandwidth for reading weights, with one image at a time.
    share_of_bandwidth: Option<f64>,
}

pub(super) fn run(arguments: &Arguments) -> Result<()> {
    let config = arguments.network.config()?;
    let (model, _) = Model::initialise(&config, 1, &Device::Cpu)?;
    let engine = Engine::new(model.density()?)?;
    let image = engine.image();
    let mut peak = Peak::default();
    let flop = 2.0 * multiply_adds(&model) as f64;
    let mut costs = Vec::new();
    for batch in arguments.batch.iter().copied() {
        let config = SampleConfig {
            count: batch,
            ..SampleConfig::new(image)
        };
        let seconds = times(arguments.repetitions, batch, || {
            sample(&engine, &config, &Condition::None, &|_, _, _| ())
        })?;
        costs.push(Cost {
            what: format!("drawn, {batch} together"),
            seconds,
            share_of_peak: flop / seconds / peak.measure(),
            share_of_bandwidth: (batch == 1).then(|| bandwidth_share(&engine, seconds)),
        });
    }
    let memory = peak_memory_mib();
    for batch in arguments.batch.iter().copied() {
        let values = Tensor::rand(0f32, 256.0, (batch, 3, 32, 32), &Device::Cpu)?;
        let values = values.to_dtype(candle_core::DType::U8)?;
        let seconds = times(arguments.repetitions, batch, || {
            nll_map(&engine, &values, &Condition::None)
        })?;
        costs.push(Cost {
            what: format!("known, {batch} together"),
            seconds,
            share_of_peak: flop / seconds / peak.measure(),
            share_of_bandwidth: None,
        });
    }
    report(arguments, &costs, (flop, peak.0, memory))
}

/// Median seconds per image.
fn times<T, E>(
    repetitions: usize,
    images: usize,
    work: impl Fn() -> std::result::Result<T, E>,
) -> std::result::Result<f64, E> {
    let mut seconds = Vec::new();
    for repetition in 0..=repetitions {
        let start = Instant::now();
        work()?;
        if repetition > 0 {
            seconds.push(start.elapsed().as_secs_f64() / images as f64);
        }
    }
    Ok(median(seconds))
}

/// The share of the bandwidth for repeatedly reading a buffer of the same size.
fn bandwidth_share(engine: &Engine, seconds: f64) -> f64 {
    let (row, pixel) = engine.weight_bytes();
    let (height, width) = (engine.image().height, engine.image().width);
    let read = (row * height + pixel * height * width) as f64;
    read / seconds / peak_bandwidth(pixel, Duration::from_millis(500))
}

fn report(
    arguments: &Arguments,
    costs: &[Cost],
    (flop, peak, memory): (f64, f64, Option<f64>),
) -> Result<()> {
    if arguments.json.json {
        let costs: Vec<Value> = costs
            .iter()
            .map(|cost| {
                json!({
                    "what": cost.what,
                    "seconds_per_image": cost.seconds,
                    "share_of_peak": cost.share_of_peak,
                    "share_of_bandwidth": cost.share_of_bandwidth,
                })
            })
            .collect();
        return output::line(json!({
            "images": costs,
            "gflop_per_image": flop / 1e9,
            "peak_gflops": peak / 1e9,
            "peak_memory_mib": memory,
            "instructions": instructions(),
        }));
    }
    for cost in costs {
        let bandwidth = cost.share_of_bandwidth.map_or(String::new(), |share| {
            format!(
                ", weights read at {:.0} % of the memory bandwidth",
                100.0 * share
            )
        });
        output::line(format!(
            "{}: {:.4} s per image ({:.0} % of {:.0} GFLOP/s{bandwidth})",
            cost.what,
            cost.seconds,
            100.0 * cost.share_of_peak,
            peak / 1e9,
        ))?;
    }
    output::line(format!(
        "an image takes {:.2} GFLOP; peak memory {:.0} MiB",
        flop / 1e9,
        memory.unwrap_or(f64::NAN)
    ))
}
