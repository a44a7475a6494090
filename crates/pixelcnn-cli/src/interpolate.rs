//! `pixelcnn interpolate`.

use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Result, bail};
use candle_core::{Device, Tensor};
use pixelcnn_models::Given;
use pixelcnn_sample::{Engine, SampleConfig, interpolate};

use crate::arguments::{DeviceFlag, JsonFlag, ModelFlag, SeedFlag, TemperatureFlag};
use crate::condition::ConditionFlags;
use crate::picture::{Drawing, Grid};
use crate::values::from_one;
use crate::{model, picture, sample};

/// Draws images between two conditions; all images of a row use the same random
/// numbers (figure 5)
///
/// Give the conditions in pairs, one pair per row. h moves from the first to the
/// second in equal steps. The model must be conditioned on a vector h.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    model: ModelFlag,
    #[command(flatten)]
    given: ConditionFlags,
    /// Images per row, including both ends
    #[arg(long, default_value_t = 8, value_name = "N", value_parser = from_one)]
    steps: usize,
    #[command(flatten)]
    seed: SeedFlag,
    #[command(flatten)]
    temperature: TemperatureFlag,
    #[command(flatten)]
    drawing: Drawing,
    #[command(flatten)]
    device: DeviceFlag,
    #[command(flatten)]
    json: JsonFlag,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let (model, _) = arguments.model.load(&arguments.device)?;
    let image = model.config().image();
    let ends = arguments.given.read(&model, &arguments.model.folder()?)?;
    if ends.count % 2 != 0 || matches!(ends.given, Given::Nothing) {
        bail!("pairs of conditions expected, found {}", ends.given);
    }
    let density = model::in_order(&model)?;
    let encoder = density.condition_encoder();
    let vectors = encoder.vectors(&ends.given)?;
    let steps = arguments.steps;
    let config = SampleConfig {
        count: (ends.count / 2).saturating_mul(steps),
        alike: steps,
        seed: arguments.seed.seed,
        temperature: arguments.temperature.temperature,
        ..SampleConfig::new(image)
    };
    config.check(image.channels)?;
    let columns = match ends.originals {
        Some(_) => steps.saturating_add(2),
        None => steps,
    };
    let (drawing, json) = (&arguments.drawing, arguments.json.json);
    let size = (image.height, image.width);
    let shown = (ends.count / 2).saturating_mul(columns);
    let grid = Grid::new(shown, size, columns, drawing.zoom);
    let channel = drawing.check(image.channels, &grid, json)?;
    let start = Instant::now();
    let engine = Engine::new(density)?;
    let images = sample::with_bar(&config, |watch| {
        Ok(interpolate(&engine, encoder, &vectors, &config, watch)?)
    })?;
    let seconds = start.elapsed().as_secs_f64();
    let all = with_originals(&images, ends.originals.as_ref(), steps)?;
    let written = drawing.write(&all, image.levels, columns);
    picture::report(&drawing.out, (config.count, seconds), json, channel)?;
    written.map(|()| ExitCode::SUCCESS)
}

/// If the ends are images, adds them before and after each row.
fn with_originals(images: &Tensor, originals: Option<&Tensor>, steps: usize) -> Result<Tensor> {
    let Some(originals) = originals else {
        return Ok(images.clone());
    };
    let side = |first: u32| -> Result<Tensor> {
        let rows = originals.dim(0)? as u32 / 2;
        let rows = Tensor::arange(0, rows, &Device::Cpu)?.affine(2.0, first.into())?;
        Ok(originals.index_select(&rows, 0)?)
    };
    let (left, right) = (side(0)?, side(1)?);
    picture::rows(&[(&left, 1), (images, steps), (&right, 1)])
}
