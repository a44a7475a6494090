//! An optimiser's update of a parameter, in one pass over memory.

use std::cell::RefCell;

use candle_core::{CpuStorage, InplaceOp1, Layout, Result, Storage, Tensor, Var, bail};
use rayon::prelude::*;

use crate::Level;
use crate::lanes::Lanes;
use crate::level::dispatch;
use crate::path::{Path, contiguous};

/// The rule of an optimiser; `g` is the scaled gradient.
///
/// # Example
///
/// ```
/// use pixelcnn_kernels::Rule;
///
/// let rule = Rule::RmsProp { decay: 0.95, momentum: 0.9, epsilon: 1e-8 };
/// assert_ne!(rule, Rule::Adam { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, step: 1 });
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rule {
    /// Adam (Kingma and Ba 2015) at step `t` from 1:
    ///
    /// ```text
    /// m <- beta1 m + (1 - beta1) g          v <- beta2 v + (1 - beta2) g^2
    /// u = (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + epsilon)
    /// ```
    Adam {
        /// Decay of the mean.
        beta1: f64,
        /// Decay of the mean square.
        beta2: f64,
        /// Added to the denominator.
        epsilon: f64,
        /// `t`.
        step: usize,
    },
    /// RMSProp (Tieleman and Hinton 2012):
    ///
    /// ```text
    /// v <- decay v + (1 - decay) g^2
    /// u = m <- momentum m + g / (sqrt(v) + epsilon)
    /// ```
    RmsProp {
        /// Decay of the mean square.
        decay: f64,
        /// Fraction of the last update that is repeated.
        momentum: f64,
        /// Added to the denominator.
        epsilon: f64,
    },
}

/// The settings of a step.
///
/// # Example
///
/// ```
/// use pixelcnn_kernels::{Rule, Update};
///
/// let rule = Rule::RmsProp { decay: 0.95, momentum: 0.0, epsilon: 1e-8 };
/// let step = Update { rule, learning_rate: 1e-3, scale: 1.0, weight_decay: 0.0, ema_decay: 0.999 };
/// assert_eq!(step.learning_rate, 1e-3);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Update {
    /// The optimiser.
    pub rule: Rule,
    /// The learning rate `r`: `w <- w - r u`.
    pub learning_rate: f64,
    /// Factor of the gradient, for
    /// clipping.
    pub scale: f64,
    /// Decoupled weight decay before the update: `w <- w - r weight_decay w`.
    pub weight_decay: f64,
    /// Decay of the average, after the update: `a <- a + (1 - ema_decay) (w - a)`.
    pub ema_decay: f64,
}

/// The state of a parameter, with the shape of its weight; parts may be
/// missing if the step does not use them.
#[derive(Clone, Copy, Debug)]
pub struct Moments<'a> {
    /// `m`: Adam's mean, RMSProp's momentum.
    pub first: Option<&'a Var>,
    /// `v`: the mean square.
    pub second: &'a Var,
    /// The moving average of the weight.
    pub average: Option<&'a Var>,
}

/// Changes a weight, its moments and its average by one step.
///
/// A weight that is zero and whose gradients have all been zero, such as a masked
/// weight, stays exactly zero.
///
/// # Errors
///
/// If shapes, dtypes or devices differ, the rule needs a first moment and there is none, or, on
/// the CPU in f32, two of the tensors share memory.
///
/// # Example
///
/// ```
/// use candle_core::{Device, Var};
/// use pixelcnn_kernels::{Moments, Rule, Update, update};
///
/// let new = |value: f32| Var::new(&[value], &Device::Cpu);
/// let (weight, gradient, second) = (new(1.0)?, new(3.0)?, new(0.0)?);
/// let rule = Rule::RmsProp { decay: 0.0, momentum: 0.0, epsilon: 1e-8 };
/// let step = Update { rule, learning_rate: 0.25, scale: 1.0, weight_decay: 0.0, ema_decay: 0.0 };
/// update(&weight, &gradient, Moments { first: None, second: &second, average: None }, &step)?;
/// assert_eq!(weight.to_vec1::<f32>()?, [0.75]);
/// assert_eq!(second.to_vec1::<f32>()?, [9.0]);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn update(weight: &Var, gradient: &Tensor, moments: Moments, step: &Update) -> Result<()> {
    let needs_first = match step.rule {
        Rule::Adam { .. } => true,
        Rule::RmsProp { momentum, .. } => momentum != 0.0,
    };
    if needs_first && moments.first.is_none() {
        bail!("update: Adam, and RMSProp with momentum, need a first moment");
    }
    let first = moments
        .first
        .map(|first| ("the first moment", first.as_tensor()));
    let average = moments
        .average
        .map(|average| ("the average", average.as_tensor()));
    let second = ("the second moment", moments.second.as_tensor());
    let others = [
        Some(("the gradient", gradient)),
        first,
        Some(second),
        average,
    ];
    let others: Vec<_> = others.into_iter().flatten().collect();
    for (name, other) in &others {
        if other.dims() != weight.dims() {
            let (expected, found) = (weight.dims(), other.dims());
            bail!("update: {name} {expected:?} expected, found {found:?}");
        }
    }
    match Path::choose("update", ("the weight", weight), others)? {
        Path::Portable => portable(weight, gradient, moments, step),
        Path::Fast(level) => fast(weight, gradient, moments, step, level),
    }
}

/// With candle's own operations, for every device and dtype.
fn portable(weight: &Var, gradient: &Tensor, moments: Moments, step: &Update) -> Result<()> {
    let mix = |old: &Var, keep: f64, new: &Tensor, add: f64| -> Result<Tensor> {
        let mixed = ((old.as_detached_tensor() * keep)? + (new * add)?)?;
        old.set(&mixed)?;
        Ok(mixed)
    };
    let gradient = (gradient.detach() * step.scale)?;
    let square = gradient.sqr()?;
    let factors = step.rule.constants();
    let square = mix(
        moments.second,
        factors.keep_second,
        &square,
        factors.add_second,
    )?;
    let root = square.sqrt()?.affine(factors.root, factors.epsilon)?;
    let change = match (step.rule, moments.first) {
        (Rule::Adam { .. }, Some(first)) => {
            let mean = mix(first, factors.keep_first, &gradient, factors.add_first)?;
            ((mean / root)? * factors.mean)?
        }
        (_, Some(first)) => mix(first, factors.keep_first, &(gradient / root)?, 1.0)?,
        (_, None) => (gradient / root)?,
    };
    let old = (weight.as_detached_tensor() * (1.0 - step.learning_rate * step.weight_decay))?;
    let new = (old - (change * step.learning_rate)?)?;
    weight.set(&new)?;
    if let Some(average) = moments.average {
        let difference = (new - average.as_detached_tensor())?;
        let moved = (difference * (1.0 - step.ema_decay))?;
        average.set(&(average.as_detached_tensor() + moved)?)?;
    }
    Ok(())
}

/// The constants of a rule.
#[derive(Clone, Copy)]
pub(crate) struct Factors {
    pub keep_first: f64,
    pub add_first: f64,
    pub keep_second: f64,
    pub add_second: f64,
    pub mean: f64,
    pub root: f64,
    pub epsilon: f64,
}

impl Rule {
    pub(crate) fn constants(self) -> Factors {
        match self {
            Self::Adam {
                beta1,
                beta2,
                epsilon,
                step,
            } => Factors {
                keep_first: beta1,
                add_first: 1.0 - beta1,
                keep_second: beta2,
                add_second: 1.0 - beta2,
                mean: 1.0 / (1.0 - beta1.powf(step as f64)),
                root: 1.0 / (1.0 - beta2.powf(step as f64)).sqrt(),
                epsilon,
            },
            Self::RmsProp {
                decay,
                momentum,
                epsilon,
            } => Factors {
                keep_first: momentum,
                add_first: 1.0,
                keep_second: decay,
                add_second: 1.0 - decay,
                mean: 1.0,
                root: 1.0,
                epsilon,
            },
        }
    }
}

/// Numbers that one thread updates at a time.
const CHUNK: usize = 16_384;

fn fast(
    weight: &Var,
    gradient: &Tensor,
    moments: Moments,
    step: &Update,
    level: Level,
) -> Result<()> {
    let gradient = gradient.contiguous()?;
    let mut tensors = vec![weight.as_tensor(), moments.second.as_tensor()];
    tensors.extend(moments.first.map(Var::as_tensor));
    tensors.extend(moments.average.map(Var::as_tensor));
    check_separate(&gradient, &tensors)?;
    let (storage, layout) = gradient.storage_and_layout();
    let Storage::Cpu(storage) = &*storage else {
        bail!("update: the gradient is not on the CPU");
    };
    let gradient = contiguous("update: gradient", storage, layout)?;
    with_slices(&tensors, Vec::new(), &|slices| {
        let mut slices = slices.into_iter();
        let mut next = |present: bool| {
            let slice = if present { slices.next() } else { None };
            slice.unwrap_or_default().chunks_mut(CHUNK)
        };
        let (weights, mut second) = (next(true), next(true));
        let (mut first, mut average) = (next(moments.first.is_some()), next(true));
        let jobs = weights.zip(gradient.chunks(CHUNK));
        let jobs: Vec<_> = jobs
            .map(|(weight, gradient)| Numbers {
                weight,
                gradient,
                second: second.next().unwrap_or_default(),
                first: first.next().unwrap_or_default(),
                average: average.next().unwrap_or_default(),
            })
            .collect();
        jobs.into_par_iter().for_each(|numbers| {
            dispatch!(level, update_chunk(numbers: Numbers, step: &Update));
        });
    })
}

/// Refuses tensors that share memory: candle would wait for itself for ever.
fn check_separate(gradient: &Tensor, tensors: &[&Tensor]) -> Result<()> {
    let all = tensors.iter().copied().chain([gradient]);
    let mut places: Vec<_> = all
        .map(|tensor| std::ptr::from_ref(&*tensor.storage_and_layout().0).addr())
        .collect();
    places.sort_unstable();
    if places.windows(2).any(|two| two[0] == two[1]) {
        bail!("update: two of weight, gradient, moments and average share memory: copy one");
    }
    Ok(())
}

/// Some of the numbers of a parameter; those that are not kept are empty.
struct Numbers<'a> {
    weight: &'a mut [f32],
    gradient: &'a [f32],
    first: &'a mut [f32],
    second: &'a mut [f32],
    average: &'a mut [f32],
}

#[inline(always)]
fn update_chunk<L: Lanes>(numbers: Numbers, step: &Update) {
    let Numbers {
        weight,
        gradient,
        first,
        second,
        average,
    } = numbers;
    let factors = step.rule.constants();
    let (keep, add) = (factors.keep_second as f32, factors.add_second as f32);
    let (scale, rate) = (step.scale as f32, step.learning_rate as f32);
    let (root, epsilon) = (factors.root as f32, factors.epsilon as f32);
    let weight_keep = (1.0 - step.learning_rate * step.weight_decay) as f32;
    let divided = |gradient: f32, second: f32| gradient / (second.sqrt() * root + epsilon);
    for (second, gradient) in second.iter_mut().zip(gradient) {
        let gradient = gradient * scale;
        *second = *second * keep + gradient * gradient * add;
    }
    let (keep, add) = (factors.keep_first as f32, factors.add_first as f32);
    let mean = factors.mean as f32;
    let both = weight.iter_mut().zip(gradient).zip(&*second);
    match (step.rule, first.is_empty()) {
        (_, true) => {
            for ((weight, gradient), second) in both {
                *weight = *weight * weight_keep - divided(gradient * scale, *second) * rate;
            }
        }
        (Rule::Adam { .. }, false) => {
            for (((weight, gradient), second), first) in both.zip(first) {
                *first = *first * keep + gradient * scale * add;
                *weight = *weight * weight_keep - divided(*first, *second) * mean * rate;
            }
        }
        (Rule::RmsProp { .. }, false) => {
            for (((weight, gradient), second), first) in both.zip(first) {
                *first = *first * keep + divided(gradient * scale, *second);
                *weight = *weight * weight_keep - *first * rate;
            }
        }
    }
    let add = (1.0 - step.ema_decay) as f32;
    for (average, weight) in average.iter_mut().zip(weight) {
        *average += (*weight - *average) * add;
    }
}

/// Runs `work` on the numbers of several tensors at once, after those already
/// in `slices`. No two tensors may share memory.
fn with_slices(
    tensors: &[&Tensor],
    slices: Vec<&mut [f32]>,
    work: &dyn Fn(Vec<&mut [f32]>),
) -> Result<()> {
    match tensors.split_first() {
        None => {
            work(slices);
            Ok(())
        }
        Some((first, rest)) => first.inplace_op1(&Slice {
            rest,
            slices: RefCell::new(slices),
            work,
        }),
    }
}

/// Borrows the numbers of one tensor while the `rest` are borrowed.
struct Slice<'a> {
    rest: &'a [&'a Tensor],
    slices: RefCell<Vec<&'a mut [f32]>>,
    work: &'a dyn Fn(Vec<&mut [f32]>),
}

impl InplaceOp1 for Slice<'_> {
    fn name(&self) -> &'static str {
        "update"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> Result<()> {
        let (CpuStorage::F32(values), Some((start, end))) = (storage, layout.contiguous_offsets())
        else {
            bail!("update: a contiguous f32 tensor expected, found {layout:?}");
        };
        let mut slices = self.slices.take();
        slices.push(&mut values[start..end]);
        with_slices(self.rest, slices, self.work)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::portable as by_candle;
    use candle_core::{DType, Device};
    use proptest::prelude::*;

    const ADAM: Rule = Rule::Adam {
        beta1: 0.9,
        beta2: 0.999,
        epsilon: 1e-8,
        step: 3,
    };

    fn rms_prop(momentum: f64) -> Rule {
        Rule::RmsProp {
            decay: 0.95,
            momentum,
            epsilon: 1e-6,
        }
    }

    fn step(rule: Rule) -> Update {
        Update {
            rule,
            learning_rate: 0.05,
            scale: 0.5,
            weight_decay: 0.01,
            ema_decay: 0.9,
        }
    }

    fn variable(count: usize, phase: f64, dtype: DType) -> Var {
        let values = (0..count).map(|i| (i as f64 * 0.37 + phase).sin().abs());
        let tensor = Tensor::from_iter(values, &Device::Cpu).unwrap();
        Var::from_tensor(&tensor.to_dtype(dtype).unwrap()).unwrap()
    }

    /// Weight, moments and average after two steps, in f64.
    fn steps(rule: Rule, first: bool, count: usize, dtype: DType) -> Vec<f64> {
        let new = |phase: f64| variable(count, phase, dtype);
        let (weight, gradient) = (new(0.0), new(1.0));
        let (mean, second, average) = (new(2.0), new(3.0), new(4.0));
        let moments = Moments {
            first: first.then_some(&mean),
            second: &second,
            average: Some(&average),
        };
        for _ in 0..2 {
            update(&weight, &gradient, moments, &step(rule)).unwrap();
        }
        let all = [weight, mean, second, average];
        let all = all.iter().flat_map(|variable| {
            let values = variable.to_dtype(DType::F64).unwrap();
            values.to_vec1::<f64>().unwrap()
        });
        all.collect()
    }

    /// candle would wait for itself for ever.
    #[test]
    fn tensors_that_share_memory_are_refused() {
        let new = |phase: f64| variable(4, phase, DType::F32);
        let (weight, gradient, second) = (new(0.0), new(1.0), new(2.0));
        let moments = |average| Moments {
            first: None,
            second: &second,
            average,
        };
        let step = step(rms_prop(0.0));
        let (shared, other) = (weight.clone(), new(3.0));
        for (gradient, average) in [
            (&gradient, &shared),
            (&weight, &other),
            (&gradient, &second),
        ] {
            let error = update(&weight, gradient, moments(Some(average)), &step).unwrap_err();
            assert!(error.to_string().contains("share memory"), "{error}");
        }
        update(&weight, &gradient, moments(None), &step).unwrap();
    }

    #[test]
    fn fast_equals_portable_at_every_level() {
        // One value, a part of a vector, and more than a chunk.
        for count in [1, 5, 40_000] {
            for (rule, first) in [(ADAM, true), (rms_prop(0.9), true), (rms_prop(0.0), false)] {
                let exact = steps(rule, first, count, DType::F64);
                let slow = by_candle(|| steps(rule, first, count, DType::F32));
                let levels = Level::available().iter();
                let fast =
                    levels.map(|level| level.scope(|| steps(rule, first, count, DType::F32)));
                for found in fast.chain([slow]) {
                    for (found, exact) in found.iter().zip(&exact) {
                        assert!(
                            (found - exact).abs() < 2e-6,
                            "{rule:?}: {found} not {exact}"
                        );
                    }
                }
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn fast_equals_portable_over_random_lengths(count in 1usize..40_000) {
            let exact = steps(ADAM, true, count, DType::F64);
            for level in Level::available() {
                let found = level.scope(|| steps(ADAM, true, count, DType::F32));
                let pairs = found.iter().zip(&exact);
                prop_assert!(pairs.into_iter().all(|(a, b)| (a - b).abs() < 2e-6), "{level:?}");
            }
        }
    }

    #[test]
    fn a_masked_weight_stays_exactly_zero() {
        let zeros = || Var::zeros(3, DType::F32, &Device::Cpu).unwrap();
        let (weight, first, second) = (zeros(), zeros(), zeros());
        let moments = Moments {
            first: Some(&first),
            second: &second,
            average: None,
        };
        update(&weight, &zeros(), moments, &step(ADAM)).unwrap();
        let bits = |value: f32| value.to_bits();
        let weight: Vec<u32> = weight.to_vec1().unwrap().into_iter().map(bits).collect();
        assert_eq!(weight, [0; 3]);
    }

    #[test]
    fn arguments_that_do_not_fit_are_named() {
        let new = |count: usize| variable(count, 0.0, DType::F32);
        let (weight, second, other) = (new(3), new(3), new(4));
        let message = |gradient: &Tensor, moments: Moments| {
            let result = update(&weight, gradient, moments, &step(ADAM));
            result.unwrap_err().to_string()
        };
        let moments = |first, average| Moments {
            first,
            second: &second,
            average,
        };
        let first = new(3);
        assert!(message(&other, moments(Some(&first), None)).contains("the gradient [3] expected"));
        assert!(message(&new(3), moments(None, None)).contains("first moment"));
        let found = message(&new(3), moments(Some(&first), Some(&other)));
        assert!(found.contains("the average"), "{found}");
    }
}
