//! Clipping of the gradients by their global norm.

use std::collections::BTreeMap;

use candle_core::Tensor;

use crate::Result;

/// The Euclidean norm of all gradients as one vector, with the squares summed in f64:
/// a scalar on their device, without waiting for it; 0 without gradients.
///
/// # Errors
///
/// [`TrainError::Candle`](crate::TrainError::Candle) if a tensor operation fails.
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
    let gradients: Vec<_> = gradients.values().collect();
    Ok(pixelcnn_kernels::norm(&gradients)?)
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
    use candle_core::Device;

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
    fn the_factor_gives_the_greatest_norm_allowed() {
        assert_eq!(clip_factor(13.0, 2.0), 2.0 / 13.0);
        assert_eq!(clip_factor(2.0, 2.0), 1.0);
        assert_eq!(clip_factor(0.0, 2.0), 1.0);
        assert_eq!(clip_factor(9.0, f64::INFINITY), 1.0);
    }
}
