//! Flags of the commands that draw images of one size.

use std::path::PathBuf;

use anyhow::Result;
use pixelcnn_models::DensityModel;
use pixelcnn_sample::{Engine, SampleConfig};
use pixelcnn_system::counted;

use crate::arguments::{SeedFlag, TemperatureFlag};
use crate::output::Target;
use crate::values::{from_one, share};

/// How images are drawn, and the outputs without a grid.
#[derive(clap::Args)]
pub(crate) struct DrawFlags {
    #[command(flatten)]
    seed: SeedFlag,
    #[command(flatten)]
    temperature: TemperatureFlag,
    /// Draw only from the likeliest values that together have this probability
    #[arg(long, default_value_t = 1.0, value_name = "P", value_parser = share)]
    top_p: f64,
    /// Write each drawn image as a PNG into this folder, as soon as it is finished, without
    /// zoom
    #[arg(long, value_name = "DIR")]
    pub out_dir: Option<PathBuf>,
    /// Write the values [n, c, h, w] of the drawn images as a NumPy file, of uint8 for up to
    /// 256 levels and uint32 for more
    #[arg(long, value_name = "FILE")]
    pub npy: Option<Target>,
    /// Number of threads; the images do not depend on it. Threads that share an image of a
    /// large network wait for each other many times per pixel: beside other programs, 1 can
    /// be much faster [default: number of processors]
    #[arg(long, value_name = "N", value_parser = from_one)]
    threads: Option<usize>,
}

impl DrawFlags {
    /// How to draw images of a size.
    pub(crate) fn config(&self, count: usize, (height, width): (usize, usize)) -> SampleConfig {
        SampleConfig {
            count,
            alike: 1,
            seed: self.seed.seed,
            height,
            width,
            temperature: self.temperature.temperature,
            top_p: self.top_p,
        }
    }

    /// The engine of a model, with the requested number of threads.
    pub(crate) fn engine(&self, density: &DensityModel) -> Result<Engine> {
        let engine = Engine::new(density)?;
        Ok(match self.threads {
            None => engine,
            Some(threads) => engine.with_threads(at_most_processors(threads)),
        })
    }
}

/// More threads than processors would only wait for each other.
pub(crate) fn at_most_processors(threads: usize) -> usize {
    let processors = std::thread::available_parallelism().map_or(threads, usize::from);
    if threads > processors {
        tracing::warn!(
            "--threads {threads}: only {} are used, one per processor",
            counted(processors, "thread")
        );
    }
    threads.min(processors)
}
