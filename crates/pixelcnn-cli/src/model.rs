//! The model that an argument names.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use candle_core::{DType, Device, Tensor};
use pixelcnn_data::read_npy;
use pixelcnn_models::Model;

/// The model in a folder: a model directory, or the best one of a run.
pub fn load(path: &Path, device: &Device) -> Result<Model> {
    Ok(Model::load(directory(path)?, device)?)
}

fn directory(path: &Path) -> Result<PathBuf> {
    let best = path.join("best");
    match (
        path.join("config.json").exists(),
        best.join("config.json").exists(),
    ) {
        (true, _) => Ok(path.to_path_buf()),
        (false, true) => Ok(best),
        (false, false) => bail!(
            "{}: neither a model directory (no config.json) nor a run (no best/config.json)",
            path.display()
        ),
    }
}

/// Values `[n, c, h, w]` of a NumPy file, `u8` or `u32`.
pub fn read_values(path: &Path) -> Result<Tensor> {
    let values = read_npy(path)?;
    match (values.dtype(), values.rank()) {
        (DType::U8 | DType::U32, 4) => Ok(values),
        (dtype, _) => bail!(
            "{}: values [n, c, h, w], u8 or u32, expected, found {:?} {dtype:?}",
            path.display(),
            values.dims()
        ),
    }
}
