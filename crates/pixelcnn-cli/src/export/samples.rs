//! The picture of samples in an exported folder.

use std::path::Path;

use anyhow::Result;
use pixelcnn_models::{Classes, Condition, Given, Model};
use pixelcnn_sample::{Engine, SampleConfig, sample};

use crate::arguments::ZoomFlag;
use crate::condition::Conditions;
use crate::output::Target;
use crate::picture::{Grid, GridWriter, values_of};
use crate::sample::with_bar;

/// Images of an unconditional model, or of one condition.
const IMAGES: usize = 16;
const COLUMNS: usize = 8;
/// Most conditions.
const MOST: usize = 64;

/// Draws samples into a picture; returns false if the model cannot be sampled or its
/// condition is not given. Of a class-conditional model, each class is drawn.
pub(super) fn draw(
    model: &Model,
    given: Option<Conditions>,
    seed: u64,
    path: &Path,
) -> Result<bool> {
    let config = model.config();
    let image = config.image();
    if model.network().is_none() || !matches!(image.channels, 1 | 3) {
        tracing::info!("no picture: {} cannot be drawn", config.name());
        return Ok(false);
    }
    let given = match (given, config.conditioning(), config.classes()) {
        (Some(given), ..) => given.given,
        (None, None, _) => Given::Nothing,
        (None, Some(_), Some(classes)) => every(classes),
        (None, Some(_), None) => {
            tracing::warn!(
                "no picture: the model needs a condition: give it as for `pixelcnn sample`"
            );
            return Ok(false);
        }
    };
    let conditions = given.images().unwrap_or(1);
    let count = IMAGES.div_ceil(conditions) * conditions;
    let density = model.density()?;
    let size = (image.height, image.width);
    let condition = density.condition_encoder().encode_each(&given, size)?;
    let condition = match &condition {
        Condition::None => Condition::None,
        each => each.select(&(0..count).map(|at| at % conditions).collect::<Vec<_>>())?,
    };
    let drawing = SampleConfig {
        count,
        seed,
        ..SampleConfig::new(image)
    };
    let engine = match Engine::new(density) {
        Ok(engine) => engine,
        // An imported network may see colours that are drawn later.
        Err(error) => {
            tracing::warn!("no picture: {error}");
            return Ok(false);
        }
    };
    let images = with_bar(&drawing, |watch| {
        Ok(sample(&engine, &drawing, &condition, watch)?)
    })?;
    // Each condition has its column if they fit.
    let columns = match conditions {
        2..=IMAGES => conditions,
        _ => COLUMNS,
    };
    let grid = Grid::new(count, size, columns, ZoomFlag { zoom: None });
    let target = Target::File(path.to_path_buf());
    let mut writer = GridWriter::create(&target, grid, (image.channels, image.levels))?;
    for index in 0..count {
        writer.image(&values_of(&images.get(index)?)?)?;
    }
    writer.finish()?;
    Ok(true)
}

/// Every class, up to a limit.
fn every(classes: &Classes) -> Given {
    let most = classes.count().min(MOST) as u32;
    Given::Labels((0..most).collect())
}
