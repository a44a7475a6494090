//! Clipping of the gradients by their global norm.

use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor};

use crate::{Result, TrainError};

/// The Euclidean norm of all gradients as one vector, with the squares summed in f64:
/// a scalar on their device, without waiting for it.
///
/// # Errors
///
/// [`TrainError::Candle`] if a tensor operation fails.
///
/// ```
/// use std::collections::BTreeMap;
/// use candle_core::{Device, Tensor};
/// use pixelcnn_train::clip::global_norm;
///
/// let gradients = BTreeMap::from([
///     ("bias".to_string(), Tensor::new(&[4f32], &Device::Cpu)?),
///     ("weight".to_string(), Tensor::new(&[[3f32, 0.]], &Device::Cpu)?),
/// ]);
/// assert_eq!(global_norm(&gradients)?.to_scalar::<f64>()?, 5.0);
/// # Ok::<(), pixelcnn_train::TrainError>(())
/// ```
pub fn global_norm(gradients: &BTreeMap<String, Tensor>) -> Result<Tensor> {
    let mut sums = gradients.values().map(sum_of_squares);
    let Some(first) = sums.next() else {
        return Ok(Tensor::new(0f64, &Device::Cpu)?);
    };
    let sum = sums.try_fold(first?, |sum, next| Ok::<_, TrainError>((sum + next?)?))?;
    Ok(sum.sqrt()?)
}

fn sum_of_squares(gradient: &Tensor) -> Result<Tensor> {
    let gradient = match gradient.device() {
        // Metal has no f64.
        Device::Metal(_) => gradient.to_device(&Device::Cpu)?,
        Device::Cpu | Device::Cuda(_) => gradient.clone(),
    };
    Ok(gradient.detach().to_dtype(DType::F64)?.sqr()?.sum_all()?)
}

/// Gradients scaled so that their norm is at most `max`, on their device, without waiting
/// for it. As with [`clip_factor`], but for a `norm` that was not copied back. If the norm is
/// not finite, the results are not finite or zero.
///
/// # Errors
///
/// [`TrainError::Candle`] if a tensor operation fails.
///
/// ```
/// use std::collections::BTreeMap;
/// use candle_core::{Device, Tensor};
/// use pixelcnn_train::clip::{clipped, global_norm};
///
/// let gradient = Tensor::new(&[3f32, 4.0], &Device::Cpu)?;
/// let gradients = BTreeMap::from([("weight".to_string(), gradient)]);
/// let half = clipped(&gradients, &global_norm(&gradients)?, 2.5)?;
/// assert_eq!(half["weight"].to_vec1::<f32>()?, [1.5, 2.0]);
/// # Ok::<(), pixelcnn_train::TrainError>(())
/// ```
pub fn clipped(
    gradients: &BTreeMap<String, Tensor>,
    norm: &Tensor,
    max: f64,
) -> Result<BTreeMap<String, Tensor>> {
    let factor = (norm.recip()? * max)?.minimum(1.0)?;
    let scaled = gradients.iter().map(|(name, gradient)| {
        let factor = factor.to_device(gradient.device())?;
        let factor = factor.to_dtype(gradient.dtype())?;
        Ok((name.clone(), gradient.broadcast_mul(&factor)?))
    });
    scaled.collect()
}

/// The factor that scales gradients of norm `norm` to a norm of at most `max`:
/// `max / norm` if the norm is greater, else 1.
///
/// NaN if `norm` is not finite or `max` is not positive.
/// [`Optimiser::step`](crate::optimiser::Optimiser::step) refuses NaN, so that overflowed
/// gradients never reach the weights.
///
/// ```
/// use pixelcnn_train::clip::clip_factor;
///
/// assert_eq!(clip_factor(8.0, 2.0), 0.25);
/// assert_eq!(clip_factor(1.0, 2.0), 1.0);
/// assert!(clip_factor(f64::NAN, 2.0).is_nan());
/// ```
pub fn clip_factor(norm: f64, max: f64) -> f64 {
    if !norm.is_finite() || max.is_nan() || max <= 0.0 {
        return f64::NAN;
    }
    if norm > max { max / norm } else { 1.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gradients(values: &[&[f32]]) -> BTreeMap<String, Tensor> {
        let tensor = |values: &&[f32]| Tensor::new(*values, &Device::Cpu).unwrap();
        let tensors = values.iter().map(tensor).enumerate();
        tensors
            .map(|(index, tensor)| (index.to_string(), tensor))
            .collect()
    }

    fn norm_of(gradients: &BTreeMap<String, Tensor>) -> f64 {
        global_norm(gradients).unwrap().to_scalar::<f64>().unwrap()
    }

    #[test]
    fn the_norm_spans_all_tensors() {
        let norm = norm_of(&gradients(&[&[1., 2.], &[-2.], &[4., 0., 0.]]));
        assert_eq!(norm, 5.0);
        assert_eq!(norm_of(&gradients(&[])), 0.0);
    }

    #[test]
    fn squares_neither_overflow_nor_vanish_in_f32() {
        let norm = norm_of(&gradients(&[&[3e30, 4e30]]));
        assert!((norm / 5e30 - 1.0).abs() < 1e-6, "{norm}");
        let norm = norm_of(&gradients(&[&[3e-30], &[4e-30]]));
        assert!((norm / 5e-30 - 1.0).abs() < 1e-6, "{norm}");
        let many = vec![1f32; 1 << 20];
        let norm = norm_of(&gradients(&[&[1e6], &many]));
        assert!((norm - (1e12 + 1048576f64).sqrt()).abs() < 1e-9, "{norm}");
    }

    #[test]
    fn norms_that_are_not_finite_are_reported() {
        assert!(norm_of(&gradients(&[&[f32::NAN], &[1.]])).is_nan());
        assert_eq!(norm_of(&gradients(&[&[f32::INFINITY]])), f64::INFINITY);
        assert!(clip_factor(f64::INFINITY, 1.0).is_nan());
        assert!(clip_factor(1.0, f64::NAN).is_nan());
        assert!(clip_factor(1.0, 0.0).is_nan());
    }

    #[test]
    fn clipped_gradients_have_the_greatest_norm_allowed() {
        let gradients = gradients(&[&[3., 4.], &[12.]]);
        let whole = global_norm(&gradients).unwrap();
        let clipped_to = |most: f64| norm_of(&clipped(&gradients, &whole, most).unwrap());
        assert!((clipped_to(2.0) - 2.0).abs() < 1e-6);
        assert_eq!(clipped_to(14.0), 13.0);
        assert_eq!(clip_factor(13.0, 2.0), 2.0 / 13.0);
        assert_eq!(clip_factor(2.0, 2.0), 1.0);
        assert_eq!(clip_factor(0.0, 2.0), 1.0);
        assert_eq!(clip_factor(9.0, f64::INFINITY), 1.0);
    }

    #[test]
    fn gradients_that_overflowed_or_are_zero_are_clipped_to_no_more() {
        let of = |values: &[f32]| {
            let gradients = gradients(&[values]);
            let found = clipped(&gradients, &global_norm(&gradients).unwrap(), 1.0);
            found.unwrap()["0"].to_vec1::<f32>().unwrap()
        };
        assert_eq!(of(&[0., 0.]), [0., 0.]);
        assert!(of(&[f32::NAN, 1.])[0].is_nan());
        assert!(of(&[f32::INFINITY, 1.])[0].is_nan());
    }
}
