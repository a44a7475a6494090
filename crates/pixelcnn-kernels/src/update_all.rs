//! One optimiser step of all parameters, without waiting for the norm of their gradients.

use candle_core::{DType, Device, Result, Tensor, Var};

use crate::{Moments, Rule, Update, update};

/// A parameter of [`update_all`].
///
/// # Example
///
/// ```
/// use candle_core::{Device, Var};
/// use pixelcnn_kernels::{Moments, Parameter};
///
/// let new = |value: f32| Var::new(&[value], &Device::Cpu);
/// let (weight, gradient, second) = (new(1.0)?, new(3.0)?, new(0.0)?);
/// let parameter = Parameter {
///     weight: &weight,
///     gradient: &gradient,
///     moments: Moments { first: None, second: &second, average: None },
///     learning_rate: 0.25,
///     weight_decay: 0.0,
/// };
/// assert_eq!(parameter.learning_rate, 0.25);
/// # Ok::<(), candle_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Parameter<'a> {
    /// The weight.
    pub weight: &'a Var,
    /// Its gradient.
    pub gradient: &'a Tensor,
    /// Its state.
    pub moments: Moments<'a>,
    /// As [`Update::learning_rate`].
    pub learning_rate: f64,
    /// As [`Update::weight_decay`].
    pub weight_decay: f64,
}

/// The Euclidean norm of all gradients as one vector, with the squares summed in f64: a scalar
/// on their device, without waiting for it. On a CUDA device in f32, two launches compute it.
///
/// # Errors
///
/// If a tensor operation fails.
///
/// # Example
///
/// ```
/// use candle_core::{Device, Tensor};
///
/// let bias = Tensor::new(&[4f32], &Device::Cpu)?;
/// let weight = Tensor::new(&[[3f32, 0.]], &Device::Cpu)?;
/// assert_eq!(pixelcnn_kernels::norm(&[&bias, &weight])?.to_scalar::<f64>()?, 5.0);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn norm(gradients: &[&Tensor]) -> Result<Tensor> {
    #[cfg(feature = "cuda")]
    if !gradients.is_empty() && gradients.iter().all(|gradient| in_one_launch(gradient)) {
        let gradients = contiguous(gradients.iter().copied())?;
        return pixelcnn_cuda::norm(&gradients.iter().collect::<Vec<_>>());
    }
    let mut sums = gradients.iter().map(|gradient| sum_of_squares(gradient));
    let Some(first) = sums.next() else {
        return Tensor::new(0f64, &Device::Cpu);
    };
    let sum = sums.try_fold(first?, |sum, next| sum + next?)?;
    sum.sqrt()
}

fn sum_of_squares(gradient: &Tensor) -> Result<Tensor> {
    let gradient = match gradient.device() {
        // Metal has no f64.
        Device::Metal(_) => gradient.to_device(&Device::Cpu)?,
        Device::Cpu | Device::Cuda(_) => gradient.clone(),
    };
    gradient.detach().to_dtype(DType::F64)?.sqr()?.sum_all()
}

/// Changes all parameters by one step as [`update`] does, with gradients that are scaled so that
/// their `norm`, of [`norm`], is at most `most`. It does not wait for the norm.
///
/// On a CUDA device in f32, all parameters change in one launch, and nothing changes if the norm
/// is not finite. Elsewhere, parameters and moments are then of no use: some are NaN, others may
/// have moved.
///
/// # Errors
///
/// As for [`update`].
///
/// # Example
///
/// ```
/// use candle_core::{Device, Var};
/// use pixelcnn_kernels::{Moments, Parameter, Rule, norm, update_all};
///
/// let new = |value: f32| Var::new(&[value], &Device::Cpu);
/// let (weight, gradient, second) = (new(1.0)?, new(3.0)?, new(0.0)?);
/// let parameter = Parameter {
///     weight: &weight,
///     gradient: &gradient,
///     moments: Moments { first: None, second: &second, average: None },
///     learning_rate: 0.25,
///     weight_decay: 0.0,
/// };
/// let rule = Rule::RmsProp { decay: 0.0, momentum: 0.0, epsilon: 1e-8 };
/// update_all(&[parameter], &norm(&[&gradient])?, 1.5, rule, 0.0)?;
/// assert_eq!(second.to_vec1::<f32>()?, [2.25]);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn update_all(
    parameters: &[Parameter],
    norm: &Tensor,
    most: f64,
    rule: Rule,
    ema_decay: f64,
) -> Result<()> {
    #[cfg(feature = "cuda")]
    if parameters.iter().all(|one| in_one_launch(one.weight)) {
        return launch(parameters, norm, most, rule, ema_decay);
    }
    let factor = clip_factor(norm, most)?;
    for one in parameters {
        let step = Update {
            rule,
            learning_rate: one.learning_rate,
            scale: 1.0,
            weight_decay: one.weight_decay,
            ema_decay,
        };
        let gradient = scaled(one.gradient, &factor)?;
        update(one.weight, &gradient, one.moments, &step)?;
    }
    Ok(())
}

/// The factor that makes a norm at most `most`, where the norm is.
///
/// # Errors
///
/// If a tensor operation fails.
///
/// # Example
///
/// ```
/// use candle_core::{Device, Tensor};
///
/// let norm = Tensor::new(8f64, &Device::Cpu)?;
/// assert_eq!(pixelcnn_kernels::clip_factor(&norm, 2.0)?.to_scalar::<f64>()?, 0.25);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn clip_factor(norm: &Tensor, most: f64) -> Result<Tensor> {
    (norm.recip()? * most)?.minimum(1.0)
}

/// A gradient times a factor of [`clip_factor`].
///
/// # Errors
///
/// If a tensor operation fails.
///
/// # Example
///
/// ```
/// use candle_core::{Device, Tensor};
///
/// let gradient = Tensor::new(&[3f32, 4.0], &Device::Cpu)?;
/// let half = Tensor::new(0.5f64, &Device::Cpu)?;
/// let scaled = pixelcnn_kernels::scaled(&gradient, &half)?;
/// assert_eq!(scaled.to_vec1::<f32>()?, [1.5, 2.0]);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn scaled(gradient: &Tensor, factor: &Tensor) -> Result<Tensor> {
    let factor = factor.to_device(gradient.device())?;
    gradient.broadcast_mul(&factor.to_dtype(gradient.dtype())?)
}

/// Whether the kernels for all parameters apply to this tensor.
#[cfg(feature = "cuda")]
fn in_one_launch(tensor: &Tensor) -> bool {
    crate::is_cuda(tensor) && tensor.dtype() == DType::F32
}

#[cfg(feature = "cuda")]
fn contiguous<'a>(tensors: impl Iterator<Item = &'a Tensor>) -> Result<Vec<Tensor>> {
    tensors.map(Tensor::contiguous).collect()
}

#[cfg(feature = "cuda")]
fn launch(
    parameters: &[Parameter],
    norm: &Tensor,
    most: f64,
    rule: Rule,
    ema_decay: f64,
) -> Result<()> {
    if parameters.is_empty() {
        return Ok(());
    }
    let gradients = contiguous(parameters.iter().map(|one| one.gradient))?;
    let all = parameters.iter().zip(&gradients);
    let all = all.map(|(one, gradient)| pixelcnn_cuda::Parameter {
        weight: one.weight.as_tensor(),
        gradient,
        first: one.moments.first.map(Var::as_tensor),
        second: one.moments.second.as_tensor(),
        average: one.moments.average.map(Var::as_tensor),
        learning_rate: one.learning_rate as f32,
        keep: (1.0 - one.learning_rate * one.weight_decay) as f32,
    });
    let constants = rule.constants();
    let constants = pixelcnn_cuda::Constants {
        kind: match rule {
            Rule::Adam { .. } => 0,
            Rule::RmsProp { .. } => 1,
        },
        keep_first: constants.keep_first as f32,
        add_first: constants.add_first as f32,
        keep_second: constants.keep_second as f32,
        add_second: constants.add_second as f32,
        mean: constants.mean as f32,
        root: constants.root as f32,
        epsilon: constants.epsilon as f32,
        average: (1.0 - ema_decay) as f32,
    };
    pixelcnn_cuda::update(&all.collect::<Vec<_>>(), norm, most, constants)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(values: &[f32]) -> Tensor {
        Tensor::new(values, &Device::Cpu).unwrap()
    }

    #[test]
    fn scaled_gradients_have_the_greatest_norm_allowed() {
        let gradients = [tensor(&[3., 4.]), tensor(&[12.])];
        let norm_of = |gradients: &[Tensor]| {
            let norm = norm(&gradients.iter().collect::<Vec<_>>()).unwrap();
            norm.to_scalar::<f64>().unwrap()
        };
        let clipped_to = |most: f64| {
            let norm = norm(&[&gradients[0], &gradients[1]]).unwrap();
            let factor = clip_factor(&norm, most).unwrap();
            norm_of(&[0, 1].map(|index: usize| scaled(&gradients[index], &factor).unwrap()))
        };
        assert!((clipped_to(2.0) - 2.0).abs() < 1e-6);
        assert_eq!(clipped_to(14.0), 13.0);
    }

    #[test]
    fn gradients_that_overflowed_or_are_zero_are_scaled_to_no_more() {
        let of = |values: &[f32]| {
            let gradient = tensor(values);
            let factor = clip_factor(&norm(&[&gradient]).unwrap(), 1.0).unwrap();
            let found = scaled(&gradient, &factor).unwrap();
            found.to_vec1::<f32>().unwrap()
        };
        assert_eq!(of(&[0., 0.]), [0., 0.]);
        assert!(of(&[f32::NAN, 1.])[0].is_nan());
        assert!(of(&[f32::INFINITY, 1.])[0].is_nan());
    }

    /// Weights, moments and averages are those of single updates with the factor.
    #[test]
    fn all_parameters_change_as_one_by_one() {
        let rule = Rule::Adam {
            beta1: 0.9,
            beta2: 0.99,
            epsilon: 1e-8,
            step: 2,
        };
        let gradients = [tensor(&[3., 4.]), tensor(&[12.])];
        let most = 6.5; // of 13
        let run = |together: bool| {
            let new = |index: usize, value: f32| {
                let values = (gradients[index].affine(0.01, f64::from(value))).unwrap();
                Var::from_tensor(&values).unwrap()
            };
            let all: Vec<[Var; 4]> = (0..2)
                .map(|index| [1.0, 0.1, 0.2, 0.9].map(|value| new(index, value)))
                .collect();
            let parameters: Vec<Parameter> = (all.iter().zip(&gradients))
                .map(|([weight, first, second, average], gradient)| Parameter {
                    weight,
                    gradient,
                    moments: Moments {
                        first: Some(first),
                        second,
                        average: Some(average),
                    },
                    learning_rate: 0.1,
                    weight_decay: 0.5,
                })
                .collect();
            if together {
                let norm = norm(&[&gradients[0], &gradients[1]]).unwrap();
                update_all(&parameters, &norm, most, rule, 0.9).unwrap();
            } else {
                for one in &parameters {
                    let step = Update {
                        rule,
                        learning_rate: one.learning_rate,
                        scale: 0.5,
                        weight_decay: one.weight_decay,
                        ema_decay: 0.9,
                    };
                    update(one.weight, one.gradient, one.moments, &step).unwrap();
                }
            }
            let numbers = all
                .iter()
                .flatten()
                .map(|var| var.to_vec1::<f32>().unwrap());
            numbers.collect::<Vec<_>>()
        };
        assert_eq!(run(true), run(false));
    }
}
