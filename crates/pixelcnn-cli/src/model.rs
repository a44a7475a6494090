//! Loads the model of `--model`.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use candle_core::{DType, Device, Tensor};
use pixelcnn_data::read_npy;
use pixelcnn_models::{DensityModel, Model, find_model_with};
use pixelcnn_train::check_model;

use crate::loading;

/// The help of `--model`.
pub(crate) const HELP: &str = "The name of a model that comes with the source (`pixelcnn models`), a model directory, \
     the folder of a run, or hf:OWNER/NAME[@REVISION] of the Hugging Face hub";

/// The model directory of a name, with a progress bar for downloads.
pub(crate) fn find(name: &Path) -> Result<PathBuf> {
    Ok(find_model_with(name, loading::downloads())?)
}

/// The model of a name: one that comes with the source, a model directory, the best model of
/// a run, or one of the hub.
pub(crate) fn load(name: &Path, device: &Device) -> Result<Model> {
    let folder = find(name)?;
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
