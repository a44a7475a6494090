//! Clipping of the gradients by their global norm.

use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor};

use crate::Result;

/// The Euclidean norm of all the gradients taken as one vector, with the squares summed in f64.
///
/// # Errors
///
/// [`TrainError::Candle`](crate::TrainError::Candle) where a tensor operation fails.
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
/// assert_eq!(global_norm(&gradients)?, 5.0);
/// # Ok::<(), pixelcnn_train::TrainError>(())
/// ```
pub fn global_norm(gradients: &BTreeMap<String, Tensor>) -> Result<f64> {
    let sums = gradients
        .values()
        .map(sum_of_squares)
        .collect::<Result<Vec<_>>>()?;
    if sums.is_empty() {
        return Ok(0.0);
    }
    // Read back once: each transfer from a GPU waits for the work queued before it.
    let sums = Tensor::stack(&sums, 0)?.to_vec1::<f64>()?;
    Ok(sums.iter().sum::<f64>().sqrt())
}

fn sum_of_squares(gradient: &Tensor) -> Result<Tensor> {
    let gradient = match gradient.device() {
        // Metal has no f64.
        Device::Metal(_) => gradient.to_device(&Device::Cpu)?,
        Device::Cpu | Device::Cuda(_) => gradient.clone(),
    };
    Ok(gradient.detach().to_dtype(DType::F64)?.sqr()?.sum_all()?)
}

/// What gradients of norm `norm` are multiplied by so that their norm is at most `max`:
/// `max / norm` where the norm is greater, and 1 elsewhere.
///
/// NaN where `norm` is not finite or `max` is not positive:
/// [`Optimiser::step`](crate::optimiser::Optimiser::step) refuses it, so that gradients that
/// overflowed never reach the weights.
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

    #[test]
    fn the_norm_spans_all_tensors() {
        let norm = global_norm(&gradients(&[&[1., 2.], &[-2.], &[4., 0., 0.]])).unwrap();
        assert_eq!(norm, 5.0);
        assert_eq!(global_norm(&gradients(&[])).unwrap(), 0.0);
    }

    #[test]
    fn squares_neither_overflow_nor_vanish_in_f32() {
        let norm = global_norm(&gradients(&[&[3e30, 4e30]])).unwrap();
        assert!((norm / 5e30 - 1.0).abs() < 1e-6, "{norm}");
        let norm = global_norm(&gradients(&[&[3e-30], &[4e-30]])).unwrap();
        assert!((norm / 5e-30 - 1.0).abs() < 1e-6, "{norm}");
        let many = vec![1f32; 1 << 20];
        let norm = global_norm(&gradients(&[&[1e6], &many])).unwrap();
        assert!((norm - (1e12 + 1048576f64).sqrt()).abs() < 1e-9, "{norm}");
    }

    #[test]
    fn norms_that_are_not_finite_are_reported() {
        assert!(
            global_norm(&gradients(&[&[f32::NAN], &[1.]]))
                .unwrap()
                .is_nan()
        );
        assert_eq!(
            global_norm(&gradients(&[&[f32::INFINITY]])).unwrap(),
            f64::INFINITY
        );
        assert!(clip_factor(f64::INFINITY, 1.0).is_nan());
        assert!(clip_factor(1.0, f64::NAN).is_nan());
        assert!(clip_factor(1.0, 0.0).is_nan());
    }

    #[test]
    fn clipped_gradients_have_the_greatest_norm_allowed() {
        let gradients = gradients(&[&[3., 4.], &[12.]]);
        let factor = clip_factor(global_norm(&gradients).unwrap(), 2.0);
        let clipped = gradients
            .into_iter()
            .map(|(name, gradient)| (name, (gradient * factor).unwrap()))
            .collect();
        assert!((global_norm(&clipped).unwrap() - 2.0).abs() < 1e-6);
        assert_eq!(clip_factor(2.0, 2.0), 1.0);
        assert_eq!(clip_factor(0.0, 2.0), 1.0);
        assert_eq!(clip_factor(9.0, f64::INFINITY), 1.0);
    }
}
