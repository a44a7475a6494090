//! `pixelcnn bench conv`.

use std::time::Instant;

use anyhow::Result;
use candle_core::{DType, Device, Tensor, Var};
use pixelcnn_kernels::{Padding, convolve, portable};
use serde_json::json;

use super::{Peak, median};
use crate::arguments::JsonFlag;
use crate::output;
use crate::values::from_one;

/// Times single convolutions, forward and backward, and candle's own for comparison
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Input maps
    #[arg(long, value_name = "N", default_value_t = 128, value_parser = from_one)]
    inputs: usize,
    /// Output maps
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = from_one)]
    outputs: usize,
    /// Images, 32x32
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = from_one)]
    batch: usize,
    /// Repetitions of each measurement
    #[arg(long, value_name = "N", default_value_t = 9, value_parser = from_one)]
    repetitions: usize,
    /// Do not time candle's own convolutions, which takes long
    #[arg(long)]
    alone: bool,
    #[command(flatten)]
    json: JsonFlag,
}

const SIDE: usize = 32;
const KERNELS: [(usize, usize); 6] = [(2, 3), (1, 2), (3, 3), (5, 5), (7, 7), (1, 1)];

/// Seconds of a forward pass and of a backward pass.
struct Times {
    forward: f64,
    backward: f64,
}

pub(super) fn run(arguments: &Arguments) -> Result<()> {
    let mut peak = Peak::default();
    let mut results = Vec::new();
    for (height, width) in KERNELS {
        if !output::is_read() {
            break;
        }
        let operation = Operation::new(arguments, height, width)?;
        let ours = operation.times(arguments.repetitions, || peak.measure())?;
        let candle = match arguments.alone {
            true => None,
            false => Some(portable(|| operation.times(1, || 0.0))?),
        };
        let rate = |times: &Times| 3.0 * operation.flop / (times.forward + times.backward);
        let candle = candle.as_ref().map(|times| rate(times) / 1e9);
        let (gflops, share) = (rate(&ours) / 1e9, rate(&ours) / peak.0);
        results.push(json!({
            "kernel": format!("{height}x{width}"),
            "forward_seconds": ours.forward,
            "backward_seconds": ours.backward,
            "gflops": gflops,
            "share_of_peak": share,
            "candle_gflops": candle,
        }));
        if !arguments.json.json {
            let beside = candle.map_or(String::new(), |rate| format!(", candle's own {rate:.0}"));
            output::line(format!(
                "{height}x{width}: {gflops:.0} GFLOP/s ({:.0} % of {:.0}), forward {:.2} ms, \
                 backward {:.2} ms{beside}",
                100.0 * share,
                peak.0 / 1e9,
                1e3 * ours.forward,
                1e3 * ours.backward,
            ))?;
        }
    }
    match arguments.json.json {
        true => output::line(json!({ "peak_gflops": peak.0 / 1e9, "convolutions": results })),
        false => Ok(()),
    }
}

/// A convolution and its input.
struct Operation {
    input: Var,
    weight: Var,
    bias: Var,
    padding: Padding,
    /// Floating-point operations of a forward pass.
    flop: f64,
}

impl Operation {
    fn new(arguments: &Arguments, height: usize, width: usize) -> Result<Self> {
        let (b, i, o) = (arguments.batch, arguments.inputs, arguments.outputs);
        let random = |shape: &[usize]| Var::rand(-1f32, 1.0, shape, &Device::Cpu);
        Ok(Self {
            input: random(&[b, i, SIDE, SIDE])?,
            weight: random(&[o, i, height, width])?,
            bias: Var::zeros(o, DType::F32, &Device::Cpu)?,
            padding: Padding {
                top: height as isize - 1,
                left: width as isize / 2,
                right: (width as isize - 1) / 2,
                bottom: 0,
            },
            flop: 2.0 * (b * i * o * height * width * SIDE * SIDE) as f64,
        })
    }

    fn forward(&self) -> candle_core::Result<Tensor> {
        convolve(&self.input, &self.weight, Some(&self.bias), self.padding, 1)
    }

    /// Medians, after one repetition that is not timed; `between` is called after each.
    fn times(&self, repetitions: usize, mut between: impl FnMut() -> f64) -> Result<Times> {
        let (mut forward, mut backward) = (Vec::new(), Vec::new());
        for repetition in 0..=repetitions {
            let start = Instant::now();
            let output = self.forward()?;
            let middle = Instant::now();
            drop(output.backward()?);
            if repetition > 0 {
                forward.push((middle - start).as_secs_f64());
                backward.push(middle.elapsed().as_secs_f64());
            }
            between();
        }
        Ok(Times {
            forward: median(forward),
            backward: median(backward),
        })
    }
}
