//! `pixelcnn bench`.

mod codec;
mod conv;
mod sample;
mod train;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use pixelcnn_kernels::{Level, peak_flops};
use pixelcnn_models::{
    GatedPixelCnnConfig, Model, ModelConfig, Network, PixelRnnConfig, RecurrentLayer,
};

use crate::values::whole;

/// Measures the speed of this machine: a training step, convolutions, sampling, or compression
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand)]
enum What {
    Train(train::Arguments),
    Conv(conv::Arguments),
    Sample(sample::Arguments),
    Codec(codec::Arguments),
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    match &arguments.what {
        What::Train(arguments) => train::run(arguments)?,
        What::Conv(arguments) => conv::run(arguments)?,
        What::Sample(arguments) => sample::run(arguments)?,
        What::Codec(arguments) => codec::run(arguments)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// A kind of recurrent layers.
#[derive(Clone, Copy, clap::ValueEnum)]
enum Recurrent {
    RowLstm,
    DiagonalBilstm,
}

/// The size of the measured network.
#[derive(clap::Args)]
struct NetworkFlags {
    /// Feature maps of each stack, and of the head
    #[arg(long, value_name = "N", default_value_t = 128, value_parser = whole)]
    maps: usize,
    /// Blocks after the first
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = whole)]
    blocks: usize,
    /// Side of the kernels of the later blocks; the first kernel has side 7
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = whole)]
    kernel: usize,
    /// Measure a PixelRNN with layers of this kind instead of a Gated PixelCNN: as many as blocks,
    /// with as many hidden maps, and without a kernel
    #[arg(long, value_name = "LAYER")]
    recurrent: Option<Recurrent>,
}

impl NetworkFlags {
    /// For images of 32x32 RGB.
    fn config(&self) -> Result<ModelConfig> {
        let layer = self.recurrent.map(|recurrent| match recurrent {
            Recurrent::RowLstm => RecurrentLayer::RowLstm,
            Recurrent::DiagonalBilstm => RecurrentLayer::DiagonalBilstm,
        });
        let config = match layer {
            Some(layer) => ModelConfig::from(PixelRnnConfig {
                blocks: self.blocks,
                maps: self.maps,
                head: self.maps,
                ..PixelRnnConfig::cifar10(layer)
            }),
            None => ModelConfig::from(GatedPixelCnnConfig {
                blocks: self.blocks,
                kernel: self.kernel,
                maps: self.maps,
                head: self.maps,
                ..GatedPixelCnnConfig::imagenet32()
            }),
        };
        config.validate()?;
        Ok(config)
    }
}

/// The instruction set that the operations use.
fn instructions() -> &'static str {
    match Level::current() {
        Level::Avx512 => "avx512",
        Level::Avx2 => "avx2",
        Level::Portable => "plain",
    }
}

/// Peak floating-point operations per second of the machine: the maximum of all
/// measurements. The clock changes with the load, so every comparison measures the peak
/// again.
#[derive(Default)]
struct Peak(f64);

impl Peak {
    fn measure(&mut self) -> f64 {
        self.0 = self.0.max(peak_flops(Duration::from_millis(100)));
        self.0
    }
}

/// The median of some times, in seconds.
fn median(mut seconds: Vec<f64>) -> f64 {
    seconds.sort_by(f64::total_cmp);
    seconds.get(seconds.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Multiply-adds for an image, without masked weights.
fn multiply_adds(model: &Model) -> usize {
    let image = model.config().image();
    let count = |network: &Network| network.graph().multiply_adds((image.height, image.width));
    model.network().map_or(0, count)
}

/// Peak memory of the process so far, if the system reports it.
fn peak_memory_mib() -> Option<f64> {
    let bytes = pixelcnn_system::peak_memory()?;
    Some(bytes as f64 / f64::from(1 << 20))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_one() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert!(median(Vec::new()).is_nan());
    }
}
