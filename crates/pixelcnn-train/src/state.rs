//! Everything that the next step of a run needs, in one file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use pixelcnn_models::{Variables, read_tensors, write_tensors};
use serde::{Deserialize, Serialize};

use crate::average::Average;
use crate::optimiser::Optimiser;
use crate::{Result, TrainError};

const WEIGHT: &str = "weight.";
const AVERAGE: &str = "average.";
const SECOND_AVERAGE: &str = "second_average.";
const OPTIMISER: &str = "optimiser.";

/// The numbers of a run between two steps.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Counters {
    /// Updates so far.
    pub step: usize,
    /// Seconds of training so far, over all parts of the run.
    pub seconds: f64,
    /// Lowest validation score so far, in bits/dim.
    pub best: Option<f64>,
    /// Validations since the lowest score.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub without_improvement: usize,
    /// Scores of the batches since the last line of the log, in bits/dim.
    pub recent: Vec<f64>,
    /// Whether the validation of this step still has to be done.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub due: bool,
    /// The run's [`mark`](crate::folder::RunFolder::mark); states of earlier
    /// versions have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
fn is_zero(number: &usize) -> bool {
    *number == 0
}

/// Writes weights (trained and frozen), averages, optimiser
/// and counters to one file, so that they always belong to the same step.
pub(crate) fn save(
    path: &Path,
    (variables, frozen): (&Variables, &BTreeMap<String, Tensor>),
    (average, second): (&Average, Option<&Average>),
    optimiser: &Optimiser,
    counters: &Counters,
) -> Result<()> {
    let mut tensors = BTreeMap::new();
    for (name, variable) in variables {
        tensors.insert(format!("{WEIGHT}{name}"), variable.as_detached_tensor());
    }
    for (name, tensor) in frozen {
        tensors.insert(format!("{WEIGHT}{name}"), tensor.clone());
    }
    for (name, tensor) in average.tensors()? {
        tensors.insert(format!("{AVERAGE}{name}"), tensor);
    }
    if let Some(second) = second {
        for (name, tensor) in second.tensors()? {
            tensors.insert(format!("{SECOND_AVERAGE}{name}"), tensor);
        }
    }
    for (name, tensor) in optimiser.state()? {
        tensors.insert(format!("{OPTIMISER}{name}"), tensor);
    }
    let note = serde_json::to_string(counters).map_err(|error| TrainError::run(path, error))?;
    Ok(write_tensors(path, &tensors, &note)?)
}

/// The content of a file of [`save`].
pub(crate) struct Saved {
    pub weights: BTreeMap<String, Tensor>,
    pub average: BTreeMap<String, Tensor>,
    /// Empty without a second average.
    pub second_average: BTreeMap<String, Tensor>,
    pub optimiser: BTreeMap<String, Tensor>,
    pub counters: Counters,
}

/// Whether all numbers are finite: only then is a number minus itself zero.
fn is_finite(tensor: &Tensor) -> Result<bool> {
    let differences = tensor.sub(tensor)?.sum_all()?.to_dtype(DType::F64)?;
    Ok(differences.to_scalar::<f64>()? == 0.0)
}

pub(crate) fn load(path: &Path, device: &Device) -> Result<Saved> {
    let (tensors, note) = read_tensors(path, device)?;
    let counters = note.as_deref().map(serde_json::from_str::<Counters>);
    let counters = match counters {
        Some(Ok(counters)) => counters,
        Some(Err(error)) => return Err(TrainError::damaged(path, "the state of a run", &error)),
        None => return Err(TrainError::run(path, "not the state of a run: no counters")),
    };
    for (name, tensor) in &tensors {
        // The numbers of the optimiser may have any value that it can continue with.
        if !name.starts_with(OPTIMISER) && !is_finite(tensor)? {
            let why = format!("tensor {name}: a number is infinite or not a number");
            return Err(TrainError::run(path, why));
        }
    }
    let part = |prefix: &str| {
        let names = tensors.iter().filter_map(|(name, tensor)| {
            let name = name.strip_prefix(prefix)?;
            Some((name.to_string(), tensor.clone()))
        });
        names.collect()
    };
    Ok(Saved {
        weights: part(WEIGHT),
        average: part(AVERAGE),
        second_average: part(SECOND_AVERAGE),
        optimiser: part(OPTIMISER),
        counters,
    })
}

/// The file of the state of the run in the folder `out`.
pub(crate) fn state_path(out: &Path) -> PathBuf {
    out.join("last").join("training.safetensors")
}
