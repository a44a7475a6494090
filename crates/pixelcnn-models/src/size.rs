//! The memory of a model and of a forward pass, computed before it is allocated.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use candle_core::{DType, Device, Result, Shape, Tensor, bail};
use candle_nn::var_builder::SimpleBackend;
use candle_nn::{Init, VarBuilder};
use pixelcnn_layers::{Condition, Graph, Pass};
use pixelcnn_system::{NotEnoughMemory, check_memory, counted};

use crate::{ImageShape, ModelConfig, ModelError};

/// Bytes per weight: the f32, its mask, and temporary memory of the initialisation.
const BYTES: u128 = 12;
/// Counting stops at this many weights, more than any machine can store.
const MOST_WEIGHTS: u128 = 1 << 46;

/// Refuses sizes that do not fit into memory. Small sizes are not checked, because
/// asking the system takes longer than a step of a small network.
pub(crate) fn check_large(
    bytes: u128,
    what: impl FnOnce() -> String,
) -> std::result::Result<(), NotEnoughMemory> {
    const SMALL: u128 = 256 << 20;
    match bytes <= SMALL {
        true => Ok(()),
        false => check_memory(what(), u64::try_from(bytes).unwrap_or(u64::MAX)),
    }
}

/// A source of weights that counts the requested weights; its tensors take
/// no memory.
#[derive(Clone, Default)]
struct Counter(Arc<Mutex<Counted>>);

#[derive(Clone, Default)]
struct Counted {
    weights: u128,
    /// The largest tensor: its weights, name and shape.
    largest: (u128, String, Vec<usize>),
}

impl Counter {
    fn counted(&self) -> MutexGuard<'_, Counted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SimpleBackend for Counter {
    fn get(
        &self,
        shape: Shape,
        name: &str,
        _: Init,
        dtype: DType,
        device: &Device,
    ) -> Result<Tensor> {
        let mut counted = self.counted();
        let weights = shape.dims().iter().map(|side| *side as u128).product();
        counted.weights += weights;
        if weights > counted.largest.0 {
            counted.largest = (weights, name.to_string(), shape.dims().to_vec());
        }
        if counted.weights > MOST_WEIGHTS {
            bail!("more weights than any machine can store");
        }
        Tensor::zeros((), dtype, device)?.broadcast_as(shape)
    }

    fn get_unchecked(&self, name: &str, _: DType, _: &Device) -> Result<Tensor> {
        bail!("parameter {name}: its shape must be given")
    }

    fn contains_tensor(&self, _: &str) -> bool {
        true
    }
}

impl ModelConfig {
    /// Number of weights of the model, including masked ones: the numbers in
    /// its `model.safetensors`. 0 for an invalid configuration. If no machine can store
    /// them, only the weights of its first layers, at least 2^46.
    ///
    /// # Example
    ///
    /// ```
    /// use pixelcnn_models::{GatedPixelCnnConfig, ModelConfig};
    ///
    /// let config = ModelConfig::from(GatedPixelCnnConfig::imagenet32());
    /// assert!(config.weights() > 100_000_000);
    /// ```
    pub fn weights(&self) -> u128 {
        match self.validate() {
            Ok(()) => self.counted().weights,
            Err(_) => 0,
        }
    }

    fn counted(&self) -> Counted {
        let counter = Counter::default();
        let weights = VarBuilder::from_backend(Box::new(counter.clone()), DType::F32, Device::Cpu);
        // An error ends the counting; it occurs again when the model is made.
        let _ = self.ask_for_weights(weights);
        counter.counted().clone()
    }

    /// Refuses a model whose weights do not fit into memory, and names the
    /// largest tensor.
    pub(crate) fn check_memory(&self) -> std::result::Result<(), ModelError> {
        let Counted { weights, largest } = self.counted();
        Ok(check_large(weights.saturating_mul(BYTES), || {
            let (_, name, shape) = largest;
            format!("the model (its largest tensor is {name} of {shape:?})")
        })?)
    }
}

/// Refuses a pass over `b` images `w` wide whose maps and outputs do not fit into memory.
pub(crate) fn check_pass(
    graph: &Graph,
    image: &ImageShape,
    condition: &Condition,
    [b, w]: [usize; 2],
    pass: Pass,
) -> std::result::Result<(), ModelError> {
    let numbers = pass_numbers(graph, image, condition, [b, w], pass);
    Ok(check_large(numbers.saturating_mul(4), || {
        let (images, levels) = (counted(b, "image"), image.levels);
        format!(
            "{images} of {} x {w} with {levels} levels at a time",
            pass.height
        )
    })?)
}

/// Numbers that a pass has in memory at a time.
fn pass_numbers(
    graph: &Graph,
    image: &ImageShape,
    condition: &Condition,
    [b, w]: [usize; 2],
    pass: Pass,
) -> u128 {
    // Images before and after scaling; maps of a condition as given and as the
    // blocks take them.
    let maps = match condition {
        Condition::Map(maps) => maps.dim(1).unwrap_or(0),
        Condition::None | Condition::Vector(_) => 0,
    };
    let given = 8 * image.channels + 2 * maps;
    let column = graph.numbers_held(pass) + given * pass.height;
    b as u128 * w as u128 * column as u128
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Conditioning, GatedPixelCnnConfig, PixelCnnConfig, Reduction, SpatialConfig};
    use pixelcnn_layers::ConditionShape;

    fn gated(maps: usize, conditioning: Option<Conditioning>) -> GatedPixelCnnConfig {
        GatedPixelCnnConfig {
            kernel: 3,
            blocks: 2,
            maps,
            head: 96,
            conditioning,
            ..GatedPixelCnnConfig::imagenet32()
        }
    }

    fn grey() -> ModelConfig {
        let spatial = SpatialConfig {
            maps: 16,
            hidden: 48,
        };
        let reduction = Reduction::Grey {};
        ModelConfig::from(gated(48, Some(Conditioning::Image { reduction, spatial })))
    }

    fn plain() -> ModelConfig {
        ModelConfig::from(PixelCnnConfig {
            blocks: 2,
            maps: 79,
            head: 96,
            ..PixelCnnConfig::cifar10()
        })
    }

    /// Asserts that the estimate for images of `side` is the measured memory, or a little
    /// more.
    fn check(config: &ModelConfig, side: usize, pass: Pass, mebibytes: f64) {
        let weights =
            VarBuilder::from_backend(Box::new(Counter::default()), DType::F32, Device::Cpu);
        let graph = config.network(weights).unwrap();
        let condition = match config.condition_shape() {
            ConditionShape::Map { maps } => {
                let one = Tensor::zeros((), DType::F32, &Device::Cpu).unwrap();
                Condition::Map(one.broadcast_as((1, maps, side, side)).unwrap())
            }
            ConditionShape::None | ConditionShape::Vector { .. } => Condition::None,
        };
        let numbers = pass_numbers(&graph, &config.image(), &condition, [1, side], pass);
        let ratio = 4.0 * numbers as f64 / f64::from(1 << 20) / mebibytes;
        assert!((1.0..1.08).contains(&ratio), "{config:?}: {ratio}");
    }

    /// Peaks of a process that scores a picture of 640 x 640, minus the 31 MiB for one of
    /// 32 x 32.
    #[test]
    fn a_pass_needs_no_more_than_is_asked_for() {
        let pass = Pass {
            height: 640,
            rows: 136,
            gradients: false,
            kernels: true,
        };
        let small = GatedPixelCnnConfig {
            head: 24,
            ..gated(12, None)
        };
        for (config, mebibytes) in [
            (ModelConfig::from(small), 383.0),
            (ModelConfig::from(gated(48, None)), 697.0),
            (ModelConfig::from(gated(96, None)), 1378.0),
            (grey(), 1325.0),
            (plain(), 896.0),
        ] {
            check(&config, 640, pass, mebibytes);
        }
    }

    /// The growth of the peak memory of a training for each 32 x 32 image added to its
    /// batch.
    #[test]
    fn a_training_step_needs_no_more_than_is_asked_for() {
        let pass = Pass {
            height: 32,
            rows: 32,
            gradients: true,
            kernels: true,
        };
        let deeper = GatedPixelCnnConfig {
            blocks: 4,
            head: 48,
            ..gated(48, None)
        };
        for (config, mebibytes) in [
            (ModelConfig::from(deeper), 17.84),
            (grey(), 19.79),
            (plain(), 20.20),
        ] {
            check(&config, 32, pass, mebibytes);
        }
    }
}
