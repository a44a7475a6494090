//! Adam, RMSProp and Muon, with a state that can be saved and loaded to the bit.

mod step;

use std::collections::{BTreeMap, BTreeSet};

use candle_core::{DType, Tensor, Var};
use pixelcnn_kernels::Rule;
use serde::{Deserialize, Serialize};

pub use crate::muon::MuonConfig;

use crate::tensors::{Tensors, copies, detached, variables};
use crate::{Result, TrainError};

const FIRST_MOMENT: &str = "first_moment";
const SECOND_MOMENT: &str = "second_moment";
const MOMENTUM: &str = "momentum";

/// The optimiser and its settings.
///
/// ```
/// use pixelcnn_train::optimiser::OptimiserConfig;
///
/// let config: OptimiserConfig = toml::from_str("kind = 'rms-prop'\ndecay = 0.9").unwrap();
/// let OptimiserConfig::RmsProp(config) = config else { panic!() };
/// assert_eq!((config.decay, config.epsilon), (0.9, 1e-8));
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum OptimiserConfig {
    /// Adam with bias correction and decoupled weight decay.
    Adam(AdamConfig),
    /// RMSProp, with or without momentum.
    RmsProp(RmsPropConfig),
    /// Muon for inner weights, Adam for the others.
    Muon(MuonConfig),
}

/// The settings of Adam (Kingma and Ba 2015). With the gradient `g`, the learning rate `r` and
/// the step `t` from 1:
///
/// ```text
/// m <- beta1 m + (1 - beta1) g          v <- beta2 v + (1 - beta2) g^2
/// w <- w - r weight_decay w - r (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + epsilon)
/// ```
///
/// ```
/// use pixelcnn_train::optimiser::AdamConfig;
///
/// let config = AdamConfig { weight_decay: 0.01, ..AdamConfig::default() };
/// assert_eq!((config.beta1, config.beta2), (0.9, 0.999));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdamConfig {
    /// Decay of the mean of the gradient, in `[0, 1)`.
    pub beta1: f64,
    /// Decay of the mean of the squared gradient, in `[0, 1)`.
    pub beta2: f64,
    /// Added to the denominator; positive.
    pub epsilon: f64,
    /// Decay of the weights, decoupled from the gradient (Loshchilov and Hutter 2019) and
    /// multiplied by the learning rate. Tensors of rank 0 and 1, the biases, do not decay.
    pub weight_decay: f64,
}

impl Default for AdamConfig {
    fn default() -> Self {
        Self {
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-8,
            weight_decay: 0.0,
        }
    }
}

/// The settings of RMSProp (Tieleman and Hinton 2012). With the gradient `g` and the learning
/// rate `r`:
///
/// ```text
/// v <- decay v + (1 - decay) g^2        u <- momentum u + g / (sqrt(v) + epsilon)
/// w <- w - r weight_decay w - r u
/// ```
///
/// There is no bias correction: the first steps are longer than the later
/// ones by up to `1 / sqrt(1 - decay)`. A warm-up of the learning rate compensates this.
///
/// ```
/// use pixelcnn_train::optimiser::RmsPropConfig;
///
/// assert_eq!(RmsPropConfig::default().decay, 0.95);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RmsPropConfig {
    /// Decay of the mean of the squared gradient, in `[0, 1)`.
    pub decay: f64,
    /// Added to the denominator; positive.
    pub epsilon: f64,
    /// Fraction of the last update that is repeated, in `[0, 1)`. With 0 there is no buffer.
    pub momentum: f64,
    /// Decay of the weights, as in [`AdamConfig::weight_decay`].
    pub weight_decay: f64,
}

impl Default for RmsPropConfig {
    fn default() -> Self {
        Self {
            decay: 0.95,
            epsilon: 1e-8,
            momentum: 0.0,
            weight_decay: 0.0,
        }
    }
}

impl Default for OptimiserConfig {
    fn default() -> Self {
        Self::Adam(AdamConfig::default())
    }
}

impl OptimiserConfig {
    /// Checks the settings.
    ///
    /// # Errors
    ///
    /// [`TrainError::Invalid`] names the first setting out of range.
    pub fn validate(&self) -> Result<()> {
        if let Self::Muon(config) = self {
            check_fraction("momentum", config.momentum)?;
            check_not_negative("weight_decay", config.weight_decay)?;
            if !(1..=100).contains(&config.iterations) {
                let found = config.iterations;
                return Err(TrainError::invalid("iterations", found, "from 1 to 100"));
            }
            if !(config.adam_multiplier > 0.0 && config.adam_multiplier.is_finite()) {
                let found = config.adam_multiplier;
                return Err(TrainError::invalid("adam_multiplier", found, "positive"));
            }
        }
        let (epsilon, weight_decay) = match self {
            Self::Adam(config) | Self::Muon(MuonConfig { adam: config, .. }) => {
                check_fraction("beta1", config.beta1)?;
                check_fraction("beta2", config.beta2)?;
                (config.epsilon, config.weight_decay)
            }
            Self::RmsProp(config) => {
                check_fraction("decay", config.decay)?;
                check_fraction("momentum", config.momentum)?;
                (config.epsilon, config.weight_decay)
            }
        };
        // Zero after rounding to f32 would divide zero by zero at the masked weights.
        if !(epsilon.is_finite() && epsilon as f32 > 0.0) {
            let allowed = "a positive number that f32 can hold";
            return Err(TrainError::invalid("epsilon", epsilon, allowed));
        }
        check_not_negative("weight_decay", weight_decay)
    }

    /// The settings of Muon, if Muon and not Adam changes this parameter.
    fn muon(&self, name: &str, rank: usize) -> Option<&MuonConfig> {
        match self {
            Self::Muon(config) if rank > 1 => {
                let by_adam = config.adam_weights.iter().any(|part| is_part(part, name));
                (!by_adam).then_some(config)
            }
            _ => None,
        }
    }

    /// The kinds of tensors that are kept for a parameter.
    fn slots(&self, name: &str, rank: usize) -> &'static [&'static str] {
        if self.muon(name, rank).is_some() {
            return &[MOMENTUM];
        }
        match self {
            Self::Adam(_) | Self::Muon(_) => &[FIRST_MOMENT, SECOND_MOMENT],
            Self::RmsProp(config) if config.momentum == 0.0 => &[SECOND_MOMENT],
            Self::RmsProp(_) => &[MOMENTUM, SECOND_MOMENT],
        }
    }

    /// The kernel's rule for step number `step`, from 1.
    fn rule(&self, step: usize) -> Rule {
        match *self {
            Self::Adam(AdamConfig {
                beta1,
                beta2,
                epsilon,
                ..
            })
            | Self::Muon(MuonConfig {
                adam:
                    AdamConfig {
                        beta1,
                        beta2,
                        epsilon,
                        ..
                    },
                ..
            }) => Rule::Adam {
                beta1,
                beta2,
                epsilon,
                step,
            },
            Self::RmsProp(RmsPropConfig {
                decay,
                momentum,
                epsilon,
                ..
            }) => Rule::RmsProp {
                decay,
                momentum,
                epsilon,
            },
        }
    }

    /// Multiplies the learning rate of the weights that the kernel's rule changes.
    fn multiplier(&self) -> f64 {
        match self {
            Self::Muon(config) => config.adam_multiplier,
            Self::Adam(_) | Self::RmsProp(_) => 1.0,
        }
    }

    fn weight_decay(&self) -> f64 {
        match self {
            Self::Adam(config) | Self::Muon(MuonConfig { adam: config, .. }) => config.weight_decay,
            Self::RmsProp(config) => config.weight_decay,
        }
    }
}

/// An optimiser and its state.
///
/// A weight that is zero and always has gradient zero, such as a masked weight, stays
/// exactly zero.
///
/// ```
/// use std::collections::BTreeMap;
/// use candle_core::{Device, Var};
/// use pixelcnn_train::collect_gradients;
/// use pixelcnn_train::optimiser::{Optimiser, OptimiserConfig};
///
/// let weight = Var::new(&[3.0f32], &Device::Cpu)?;
/// let parameters = BTreeMap::from([("weight".to_string(), weight.clone())]);
/// let mut optimiser = Optimiser::new(&OptimiserConfig::default(), &parameters)?;
/// for _ in 0..100 {
///     let store = weight.sqr()?.sum_all()?.backward()?;
///     optimiser.step(&parameters, &collect_gradients(&store, &parameters)?, 0.1, 1.0, None)?;
/// }
/// assert!(weight.to_vec1::<f32>()?[0].abs() < 0.5);
/// # Ok::<(), pixelcnn_train::TrainError>(())
/// ```
#[derive(Debug)]
pub struct Optimiser {
    config: OptimiserConfig,
    factors: BTreeMap<String, f64>,
    steps: usize,
    state: BTreeMap<String, Var>,
}

impl Optimiser {
    /// An optimiser before its first step.
    ///
    /// # Errors
    ///
    /// [`TrainError::Invalid`] if a setting is out of range, a parameter is neither f32
    /// nor f64, or one of the `adam_weights` is neither a default nor in the name of a parameter.
    pub fn new(config: &OptimiserConfig, parameters: &BTreeMap<String, Var>) -> Result<Self> {
        config.validate()?;
        if let OptimiserConfig::Muon(config) = config {
            let usual = MuonConfig::default().adam_weights;
            for part in config
                .adam_weights
                .iter()
                .filter(|part| !usual.contains(part))
            {
                check_part(part, "training.optimiser.adam_weights", parameters)?;
            }
        }
        for (name, parameter) in parameters {
            if !matches!(parameter.dtype(), DType::F32 | DType::F64) {
                let what = format!("parameter `{name}`");
                let found = parameter.dtype().as_str();
                return Err(TrainError::invalid(&what, found, "f32 or f64"));
            }
        }
        let state = layout(config, &detached(parameters))
            .into_iter()
            .map(|(name, like)| Ok((name, Var::from_tensor(&like.zeros_like()?)?)))
            .collect::<Result<_>>()?;
        Ok(Self {
            config: config.clone(),
            factors: BTreeMap::new(),
            steps: 0,
            state,
        })
    }

    /// Multiplies the learning rate of some weights: `rates` has a factor for each weight
    /// whose name contains the key as whole words between dots. `head` matches
    /// `head.logits.weight`, and `vertical_condition` this term in every block. If several
    /// keys match, the longest one is used.
    ///
    /// # Errors
    ///
    /// [`TrainError::Invalid`] if a factor is not positive and finite, or matches no weight.
    pub fn with_learning_rate_multipliers(
        mut self,
        rates: &BTreeMap<String, f64>,
        parameters: &BTreeMap<String, Var>,
    ) -> Result<Self> {
        for (part, &factor) in rates {
            const SETTING: &str = "training.learning_rate_multipliers";
            if !(factor > 0.0 && factor.is_finite()) {
                let what = format!("{SETTING}: `{part}`");
                return Err(TrainError::invalid(&what, factor, "positive"));
            }
            check_part(part, SETTING, parameters)?;
        }
        for name in parameters.keys() {
            let fitting = rates.iter().filter(|(part, _)| is_part(part, name));
            if let Some((_, &factor)) = fitting.max_by_key(|(part, _)| part.len()) {
                self.factors.insert(name.clone(), factor);
            }
        }
        Ok(self)
    }

    /// The number of steps so far, for the bias correction of Adam.
    pub fn steps(&self) -> usize {
        self.steps
    }

    /// The state of the optimiser, without [`Optimiser::steps`].
    ///
    /// # Shapes
    ///
    /// Copies, which later steps do not change, with the shape of the parameter `NAME`:
    /// `first_moment.NAME` and `second_moment.NAME` (Adam); `second_moment.NAME` and, with
    /// momentum, `momentum.NAME` (RMSProp); `momentum.NAME` for the weights that Muon
    /// changes.
    pub fn state(&self) -> Result<BTreeMap<String, Tensor>> {
        copies("optimiser state", &self.state)
    }

    /// Continues from a state of [`Optimiser::state`] after `steps` steps. The next steps
    /// have the same bits as without the interruption.
    ///
    /// # Errors
    ///
    /// [`TrainError::State`] names the first tensor that is missing, unexpected or has a wrong
    /// shape or element type; the optimiser is then unchanged.
    pub fn load_state(&mut self, state: &BTreeMap<String, Tensor>, steps: usize) -> Result<()> {
        self.state = variables("optimiser state", &detached(&self.state), state)?;
        self.steps = steps;
        Ok(())
    }
}

/// Whether `part` consists of whole words of a weight's name, between dots.
fn is_part(part: &str, name: &str) -> bool {
    format!(".{name}.").contains(&format!(".{part}."))
}

/// Refuses words of a setting that are in the name of no weight.
fn check_part(part: &str, setting: &str, weights: &BTreeMap<String, Var>) -> Result<()> {
    if weights.keys().any(|name| is_part(part, name)) {
        return Ok(());
    }
    let words = weights.keys().flat_map(|name| name.split('.'));
    let words: BTreeSet<_> = words
        .filter(|word| word.parse::<usize>().is_err())
        .collect();
    let words: Vec<_> = words.into_iter().collect();
    Err(TrainError::Invalid {
        what: format!("{setting}: `{part}`"),
        why: format!(
            "no trained weight has this in its name; names have {}",
            words.join(", ")
        ),
    })
}

/// The names of the state tensors, each with a tensor of its shape.
fn layout(config: &OptimiserConfig, weights: &Tensors) -> Tensors {
    let slots = |(name, weight): (&String, &Tensor)| {
        let slots = config.slots(name, weight.rank()).iter();
        let named = slots.map(|slot| (format!("{slot}.{name}"), weight.clone()));
        named.collect::<Vec<_>>()
    };
    weights.iter().flat_map(slots).collect()
}

fn check_fraction(what: &str, value: f64) -> Result<()> {
    if (0.0..1.0).contains(&value) {
        return Ok(());
    }
    Err(TrainError::invalid(what, value, "in [0, 1)"))
}

fn check_not_negative(what: &str, value: f64) -> Result<()> {
    if value.is_finite() && value >= 0.0 {
        return Ok(());
    }
    Err(TrainError::invalid(what, value, "finite and at least 0"))
}

#[cfg(test)]
#[path = "optimiser_tests.rs"]
mod tests;
