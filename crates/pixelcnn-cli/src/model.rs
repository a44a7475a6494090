//! Loads the model of `--model`.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use candle_core::{DType, Device, Tensor};
use pixelcnn_data::read_npy;
use pixelcnn_models::{DensityModel, Model};
use pixelcnn_train::check_model;

/// The model in a folder: a model directory, or the best model of a run.
pub(crate) fn load(path: &Path, device: &Device) -> Result<Model> {
    let folder = directory(path)?;
    let real = folder.canonicalize()?;
    let of_run = ["best", "last"].iter().any(|name| real.ends_with(name));
    if let Some(run) = real.parent().filter(|_| of_run) {
        check_model(run, &folder)?;
    }
    Ok(Model::load(folder, device)?)
}

/// The model as a distribution that can be sampled pixel by pixel.
pub(crate) fn in_order(model: &Model) -> Result<&DensityModel> {
    match model.network() {
        Some(_) => Ok(model.density()?),
        None => bail!("{} cannot be sampled", model.config().name()),
    }
}

fn directory(path: &Path) -> Result<PathBuf> {
    let shown = path.display();
    let found = path.metadata();
    match found.map(|found| found.is_dir()) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            bail!("{shown}: no such folder; a model directory or a run expected")
        }
        Err(error) => bail!("cannot read {shown}: {error}"),
        Ok(false) => bail!("{shown} is a file: the folder of a model or of a run expected"),
        Ok(true) => {}
    }
    let best = path.join("best");
    match (
        path.join("config.json").exists(),
        best.join("config.json").exists(),
    ) {
        (true, _) => Ok(path.to_path_buf()),
        (false, true) => Ok(best),
        (false, false) if path.join("run.toml").exists() => {
            let best = best.join("config.json");
            match std::fs::metadata(&best) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    bail!("cannot read {}: {error}", best.display())
                }
                _ if path.join("summary.json").exists() => {
                    bail!("{shown}: a finished run whose best/config.json is missing")
                }
                _ => bail!(
                    "{shown}: a run without a model: it has not been validated yet (no \
                     best/config.json)"
                ),
            }
        }
        (false, false) => {
            bail!(
                "{shown}: neither a model directory (no config.json) nor a run (no best/config.json)"
            )
        }
    }
}

/// Values `[n, c, h, w]` of a NumPy file, `u8` or `u32`.
pub(crate) fn read_values(path: &Path) -> Result<Tensor> {
    let values = read_npy(path)?;
    match (values.dtype(), values.rank()) {
        (DType::U8 | DType::U32, 4) => Ok(values),
        (dtype, _) => {
            let sides: Vec<_> = values.dims().iter().map(ToString::to_string).collect();
            bail!(
                "{}: values [n, c, h, w], u8 or u32, expected, found [{}], {}",
                path.display(),
                sides.join(", "),
                dtype.as_str()
            )
        }
    }
}
