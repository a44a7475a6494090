//! Sources of the weights of a network.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use candle_core::{DType, Device, Result, Shape, Tensor, Var, bail};
use candle_nn::var_builder::SimpleBackend;
use candle_nn::{Init, VarBuilder};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::checkpoint::wrong_type;

/// The weights of a network by name, sorted: random initial weights or given ones.
///
/// An initial weight depends only on the seed, its name and its shape, not on
/// the order in which layers are built: ChaCha8 keyed by the seed, with the FNV-1a hash
/// of the name as stream. Only `Init::Uniform` and `Init::Const` are
/// supported; the layers use no others.
///
/// # Example
///
/// ```
/// use candle_core::{DType, Device};
/// use candle_nn::Init;
/// use pixelcnn_models::Parameters;
///
/// let parameters = Parameters::drawn(7);
/// let weights = parameters.builder(DType::F32, &Device::Cpu);
/// let init = Init::Uniform { lo: -0.5, up: 0.5 };
/// let weight = weights.pp("first").get_with_hints((2, 3), "weight", init)?;
/// assert_eq!(weight.dims(), [2, 3]);
/// assert!(parameters.variables().contains_key("first.weight"));
/// # Ok::<(), candle_core::Error>(())
/// ```
#[derive(Clone)]
pub struct Parameters(Arc<Mutex<State>>);

struct State {
    source: Source,
    tensors: BTreeMap<String, Tensor>,
    variables: BTreeMap<String, Var>,
}

enum Source {
    /// Random initial weights, for training.
    Seed(u64),
    /// Given weights, for training.
    Trainable(BTreeMap<String, Tensor>),
    /// Given weights without gradients.
    Fixed(BTreeMap<String, Tensor>),
}

impl Parameters {
    /// Random initial weights from `seed`.
    pub fn drawn(seed: u64) -> Self {
        Self::from_source(Source::Seed(seed))
    }

    /// The given weights, as variables that can be trained.
    pub fn trainable(tensors: BTreeMap<String, Tensor>) -> Self {
        Self::from_source(Source::Trainable(tensors))
    }

    /// The given weights, for inference.
    pub fn fixed(tensors: BTreeMap<String, Tensor>) -> Self {
        Self::from_source(Source::Fixed(tensors))
    }

    fn from_source(source: Source) -> Self {
        Self(Arc::new(Mutex::new(State {
            source,
            tensors: BTreeMap::new(),
            variables: BTreeMap::new(),
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The builder that gives these weights to layers.
    pub fn builder(&self, dtype: DType, device: &Device) -> VarBuilder<'static> {
        VarBuilder::from_backend(Box::new(self.clone()), dtype, device.clone())
    }

    /// Every weight requested so far.
    pub fn tensors(&self) -> BTreeMap<String, Tensor> {
        self.state().tensors.clone()
    }

    /// Every weight requested so far, as a variable; empty for fixed weights.
    pub fn variables(&self) -> BTreeMap<String, Var> {
        self.state().variables.clone()
    }

    /// Given weights that no layer has requested.
    pub fn left_over(&self) -> Vec<String> {
        let state = self.state();
        match &state.source {
            Source::Seed(_) => Vec::new(),
            Source::Trainable(given) | Source::Fixed(given) => given.keys().cloned().collect(),
        }
    }
}

impl SimpleBackend for Parameters {
    fn get(
        &self,
        shape: Shape,
        name: &str,
        init: Init,
        dtype: DType,
        device: &Device,
    ) -> Result<Tensor> {
        let mut state = self.state();
        if state.tensors.contains_key(name) {
            bail!("parameter {name}: requested twice");
        }
        // A given tensor is removed, so that one of another type does not stay in memory beside
        // the converted one.
        let tensor = match &mut state.source {
            Source::Seed(seed) => draw(*seed, name, &shape, init)?,
            Source::Trainable(given) | Source::Fixed(given) => {
                match given.entry(name.to_string()) {
                    Entry::Vacant(_) => bail!("tensor {name} {:?} is missing", shape.dims()),
                    Entry::Occupied(entry) if entry.get().shape() == &shape => entry.remove(),
                    Entry::Occupied(entry) => bail!(
                        "tensor {name}: {:?} expected, found {:?}",
                        shape.dims(),
                        entry.get().dims()
                    ),
                }
            }
        };
        let tensor = converted(name, &tensor, dtype)?.to_device(device)?;
        let tensor = match &state.source {
            Source::Fixed(_) => tensor,
            Source::Seed(_) | Source::Trainable(_) => {
                let variable = Var::from_tensor(&tensor)?;
                state.variables.insert(name.to_string(), variable.clone());
                variable.as_tensor().clone()
            }
        };
        state.tensors.insert(name.to_string(), tensor.clone());
        Ok(tensor)
    }

    fn get_unchecked(&self, name: &str, dtype: DType, device: &Device) -> Result<Tensor> {
        match self.state().tensors.get(name) {
            Some(tensor) => tensor.to_dtype(dtype)?.to_device(device),
            None => bail!("parameter {name}: its shape must be given"),
        }
    }

    fn contains_tensor(&self, name: &str) -> bool {
        let state = self.state();
        let is_given = match &state.source {
            Source::Seed(_) => false,
            Source::Trainable(given) | Source::Fixed(given) => given.contains_key(name),
        };
        is_given || state.tensors.contains_key(name)
    }
}

/// Converts a weight to the type of the network, on the CPU, and checks that it is
/// finite in this type.
fn converted(name: &str, tensor: &Tensor, dtype: DType) -> Result<Tensor> {
    // candle's conversions of other types may fail or never return.
    if !matches!(
        tensor.dtype(),
        DType::F32 | DType::F64 | DType::F16 | DType::BF16
    ) {
        let found = tensor.dtype().as_str().to_uppercase();
        bail!("tensor {name}: {}", wrong_type(&found));
    }
    let tensor = tensor.to_device(&Device::Cpu)?.to_dtype(dtype)?;
    // Zero for finite numbers, even if their sum overflows.
    let differences = tensor.detach().sub(&tensor.detach())?.sum_all()?;
    if differences.to_dtype(DType::F64)?.to_scalar::<f64>()? != 0.0 {
        let range = dtype.as_str();
        bail!("tensor {name}: a number is not finite, or too large for {range}");
    }
    Ok(tensor)
}

fn draw(seed: u64, name: &str, shape: &Shape, init: Init) -> Result<Tensor> {
    let (low, high) = match init {
        Init::Const(value) => return Tensor::full(value, shape.clone(), &Device::Cpu),
        Init::Uniform { lo, up } => (lo, up),
        other => bail!("parameter {name}: initialisation {other:?} is not supported"),
    };
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    random.set_stream(hash(name));
    // An f32 in [0, 1) has 24 bits, so the random number is the same on every
    // device and in every dtype.
    let unit =
        |random: &mut ChaCha8Rng| f64::from(random.random::<u32>() >> 8) / f64::from(1 << 24);
    let values = (0..shape.elem_count())
        .map(|_| low + (high - low) * unit(&mut random))
        .collect::<Vec<f64>>();
    Tensor::from_vec(values, shape.clone(), &Device::Cpu)
}

/// FNV-1a, 64 bits.
fn hash(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weight(parameters: &Parameters, name: &str) -> Vec<f32> {
        let weights = parameters.builder(DType::F32, &Device::Cpu);
        let init = Init::Uniform { lo: -1., up: 3. };
        let tensor = weights.get_with_hints((40, 50), name, init).unwrap();
        tensor.flatten_all().unwrap().to_vec1().unwrap()
    }

    #[test]
    fn draws_depend_on_seed_and_name_not_on_order() {
        let (one, two) = (Parameters::drawn(1), Parameters::drawn(1));
        let (a, b) = (weight(&one, "a"), weight(&one, "b"));
        let (b2, a2) = (weight(&two, "b"), weight(&two, "a"));
        assert_eq!((&a, &b), (&a2, &b2));
        assert_ne!(a, b);
        assert_ne!(a, weight(&Parameters::drawn(2), "a"));
    }

    #[test]
    fn nan_and_infinite_weights_are_refused() {
        for number in [f32::NAN, f32::INFINITY] {
            let tensor = Tensor::new(&[1.0, number], &Device::Cpu).unwrap();
            let parameters = Parameters::fixed(BTreeMap::from([("a".to_string(), tensor)]));
            let error = parameters.builder(DType::F32, &Device::Cpu).get(2, "a");
            assert!(error.unwrap_err().to_string().contains("tensor a"));
        }
    }

    #[test]
    fn weights_are_finite_in_the_type_that_they_are_converted_to() {
        let get = |tensor: Tensor, dtype| {
            let parameters = Parameters::fixed(BTreeMap::from([("a".to_string(), tensor)]));
            parameters.builder(dtype, &Device::Cpu).get(2, "a")
        };
        let large = Tensor::new(&[1e300f64, 1.0], &Device::Cpu).unwrap();
        assert!(get(large.clone(), DType::F64).is_ok());
        let error = get(large, DType::F32).unwrap_err().to_string();
        assert!(error.contains("tensor a: a number is not finite, or too large for f32"));
        // The values are finite, but their sum is not.
        let largest = Tensor::new(&[f32::MAX; 2], &Device::Cpu).unwrap();
        assert!(get(largest, DType::F32).is_ok());
        let whole = Tensor::new(&[1u8, 2], &Device::Cpu).unwrap();
        let error = get(whole, DType::F32).unwrap_err().to_string();
        assert!(error.contains("type U8, not BF16"), "{error}");
    }

    #[test]
    fn draws_fill_the_range() {
        let values = weight(&Parameters::drawn(3), "a");
        assert!(values.iter().all(|v| (-1.0..3.0).contains(v)));
        let mean = values.iter().sum::<f32>() / values.len() as f32;
        assert!((mean - 1.0).abs() < 0.1, "{mean}");
    }

    #[test]
    fn a_missing_a_misshapen_and_an_unused_tensor_are_named() {
        let tensor = Tensor::zeros((2, 2), DType::F32, &Device::Cpu).unwrap();
        let given = BTreeMap::from([("a".to_string(), tensor.clone()), ("c".to_string(), tensor)]);
        let parameters = Parameters::fixed(given);
        let weights = parameters.builder(DType::F32, &Device::Cpu);
        let missing = weights.get((2, 2), "b").unwrap_err().to_string();
        assert!(missing.contains("b [2, 2] is missing"), "{missing}");
        let misshapen = weights.get((2, 3), "a").unwrap_err().to_string();
        assert!(misshapen.contains("[2, 3] expected"), "{misshapen}");
        weights.get((2, 2), "a").unwrap();
        assert_eq!(parameters.left_over(), ["c"]);
    }
}
