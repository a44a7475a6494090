//! Muon: steps of inner weights along the orthogonalised momentum.

use candle_core::{Result, Tensor, Var};
use pixelcnn_kernels::{clip_factor, scaled};
use serde::{Deserialize, Serialize};

use crate::optimiser::AdamConfig;

/// The settings of Muon (Jordan et al. 2024). With the gradient `g` of a weight
/// `[out, in, kernel height, kernel width]`, flattened to a matrix of `out` rows, and the
/// learning rate `r`:
///
/// ```text
/// m <- momentum m + g                   u <- orthogonal(g + momentum m)
/// w <- w - r weight_decay w - r sqrt(max(1, rows / columns)) u
/// ```
///
/// `orthogonal` moves all singular values of a matrix close to 1, by `iterations` steps of
/// a Newton-Schulz iteration. All directions then change at the same speed, even those that
/// are rare in the gradient.
///
/// Vectors, and weights with one of the `adam_weights` in their names, change by steps of
/// Adam at `adam_multiplier` times the learning rate.
///
/// Where the momentum is exactly zero, as at masked entries, `u` is set to zero.
///
/// ```
/// use pixelcnn_train::optimiser::OptimiserConfig;
///
/// let config: OptimiserConfig = toml::from_str("kind = 'muon'\nmomentum = 0.9").unwrap();
/// let OptimiserConfig::Muon(config) = config else { panic!() };
/// assert_eq!((config.momentum, config.iterations, config.weight_decay), (0.9, 5, 0.05));
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MuonConfig {
    /// Fraction of the momentum that each step keeps, in `[0, 1)`.
    pub momentum: f64,
    /// Steps of the Newton-Schulz iteration, at least 1.
    pub iterations: usize,
    /// Decay of the weights, multiplied by the learning rate. Without it, matrices grow in long
    /// runs, and some samples end in noise.
    pub weight_decay: f64,
    /// Multiplies the learning rate of the weights that Adam changes.
    pub adam_multiplier: f64,
    /// Weights that Adam changes, by whole words of their names. By default: the first
    /// layer, the last one, the shortcut of the head, embeddings and conditions.
    pub adam_weights: Vec<String>,
    /// The settings of Adam for these weights.
    pub adam: AdamConfig,
}

impl Default for MuonConfig {
    fn default() -> Self {
        let words = [
            "first",
            "logits",
            "mixture",
            "shortcut",
            "embedding",
            "condition",
            "horizontal_condition",
            "vertical_condition",
        ];
        Self {
            momentum: 0.95,
            iterations: 5,
            weight_decay: 0.05,
            adam_multiplier: 0.1,
            adam_weights: words.map(String::from).to_vec(),
            adam: AdamConfig::default(),
        }
    }
}

/// What a step does to a weight of at least two dimensions.
#[derive(Clone, Copy)]
pub(crate) struct MuonChange<'a> {
    pub weight: &'a Var,
    pub gradient: &'a Tensor,
    pub momentum: &'a Var,
    /// The moving average of the weight, and the fraction of it that a step keeps.
    pub average: Option<(&'a Var, f64)>,
    pub learning_rate: f64,
}

impl MuonChange<'_> {
    /// Multiplies the orthogonalised direction.
    fn rate(&self) -> Result<f64> {
        let (rows, columns) = self.weight.flatten_from(1)?.dims2()?;
        Ok(self.learning_rate * (rows as f64 / columns as f64).max(1.0).sqrt())
    }

    /// What weight decay leaves of the weight.
    fn keep(&self, weight_decay: f64) -> f64 {
        1.0 - self.learning_rate * weight_decay
    }
}

impl MuonConfig {
    /// Changes a weight by one step, with the gradient `scale` times its gradient.
    pub(crate) fn step(&self, change: &MuonChange, scale: f64) -> Result<()> {
        let gradient = (change.gradient.detach() * scale)?;
        let old = change.momentum.as_detached_tensor();
        let momentum = ((old * self.momentum)? + &gradient)?;
        change.momentum.set(&momentum)?;
        let direction = (gradient + (&momentum * self.momentum)?)?;
        let moved = orthogonal(&direction.flatten_from(1)?, self.iterations)?;
        let moved = moved.reshape(direction.shape())?;
        // Orthogonal rows have no zeros, but a masked weight must stay zero.
        let moving = momentum.ne(0.0)?.to_dtype(momentum.dtype())?;
        let moved = (moved * moving)?;
        let weight = change.weight;
        let kept = (weight.as_detached_tensor() * change.keep(self.weight_decay))?;
        let new = (kept - (moved * change.rate()?)?)?;
        weight.set(&new)?;
        if let Some((average, keep)) = change.average {
            let difference = (new - average.as_detached_tensor())?;
            let moved = (average.as_detached_tensor() + (difference * (1.0 - keep))?)?;
            average.set(&moved)?;
        }
        Ok(())
    }

    /// Changes all weights by one step, with gradients that are scaled so that `norm` is at most
    /// `most`. It does not wait for the norm. On a CUDA device in f32, the weights change
    /// together, and nothing changes if the norm is not finite.
    pub(crate) fn clipped_step(
        &self,
        changes: &[MuonChange],
        (norm, most): (&Tensor, f64),
    ) -> Result<()> {
        if changes.is_empty() {
            return Ok(());
        }
        #[cfg(feature = "cuda")]
        if changes.iter().all(|change| on_cuda(change.weight)) {
            return self.together(changes, (norm, most));
        }
        let factor = clip_factor(norm, most)?;
        for change in changes {
            let gradient = &scaled(change.gradient, &factor)?;
            self.step(
                &MuonChange {
                    gradient,
                    ..*change
                },
                1.0,
            )?;
        }
        Ok(())
    }

    #[cfg(feature = "cuda")]
    fn together(&self, changes: &[MuonChange], (norm, most): (&Tensor, f64)) -> Result<()> {
        let gradients = changes.iter().map(|change| change.gradient.contiguous());
        let gradients = gradients.collect::<Result<Vec<_>>>()?;
        let weights = changes.iter().zip(&gradients).map(|(change, gradient)| {
            let average = change.average;
            Ok(pixelcnn_cuda::MuonWeight {
                weight: change.weight,
                gradient,
                momentum: change.momentum,
                average: average.map(|(average, keep)| (average.as_tensor(), (1.0 - keep) as f32)),
                rate: change.rate()? as f32,
                keep: change.keep(self.weight_decay) as f32,
            })
        });
        let settings = pixelcnn_cuda::MuonSettings {
            momentum: self.momentum as f32,
            iterations: self.iterations,
            coefficients: COEFFICIENTS.map(|coefficient| coefficient as f32),
        };
        pixelcnn_cuda::muon(&weights.collect::<Result<Vec<_>>>()?, norm, most, settings)
    }
}

/// Whether the kernels for all weights apply to this one.
#[cfg(feature = "cuda")]
fn on_cuda(weight: &Tensor) -> bool {
    pixelcnn_kernels::is_cuda(weight) && weight.dtype() == candle_core::DType::F32
}

/// The coefficients of x <- a x + b x^3 + c x^5. The fixed point is not exactly 1: singular
/// values end between about 0.7 and 1.2, even those that start at 0.001, after five steps.
const COEFFICIENTS: [f64; 3] = [3.4445, -4.775, 2.0315];

/// A matrix with the singular vectors of `matrix` and singular values close to 1; zeros if
/// `matrix` is zero.
fn orthogonal(matrix: &Tensor, iterations: usize) -> Result<Tensor> {
    let [a, b, c] = COEFFICIENTS;
    let (rows, columns) = matrix.dims2()?;
    // Without this division, squares of very large or small numbers would overflow or
    // vanish.
    let largest = matrix
        .abs()?
        .max_all()?
        .maximum(f64::from(f32::MIN_POSITIVE))?;
    let scaled = matrix.broadcast_div(&largest)?;
    // The norm is at least 1 unless the matrix is zero.
    let norm = scaled.sqr()?.sum_all()?.sqrt()?.maximum(1.0)?;
    let mut x = scaled.broadcast_div(&norm)?;
    if rows > columns {
        x = x.t()?.contiguous()?;
    }
    for _ in 0..iterations {
        let square = x.matmul(&x.t()?)?;
        let polynomial = ((&square * b)? + (square.matmul(&square)? * c)?)?;
        x = ((&x * a)? + polynomial.matmul(&x)?)?;
    }
    match rows > columns {
        true => x.t()?.contiguous(),
        false => Ok(x),
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device};

    use super::*;

    fn wave(rows: usize, columns: usize) -> Tensor {
        let numbers = (0..rows * columns).map(|i| ((i * i + 3 * i + 1) as f64 * 0.37).sin());
        Tensor::from_iter(numbers, &Device::Cpu)
            .unwrap()
            .reshape((rows, columns))
            .unwrap()
    }

    /// Singular values are the roots of the eigenvalues of X X^T, which have a closed form
    /// for a matrix of two rows.
    fn singular_values(matrix: &Tensor) -> [f64; 2] {
        let square = matrix.matmul(&matrix.t().unwrap()).unwrap();
        let square = square.to_vec2::<f64>().unwrap();
        let (trace, product) = (
            square[0][0] + square[1][1],
            square[0][0] * square[1][1] - square[0][1] * square[1][0],
        );
        let root = (trace * trace / 4.0 - product).max(0.0).sqrt();
        [(trace / 2.0 - root).sqrt(), (trace / 2.0 + root).sqrt()]
    }

    #[test]
    fn singular_values_come_close_to_one_and_vectors_stay() {
        for scale in [1e-30, 1.0, 1e30] {
            let matrix = (wave(2, 7) * scale).unwrap();
            let found = orthogonal(&matrix, 5).unwrap();
            let values = singular_values(&found);
            assert!(
                values.iter().all(|it| (0.6..1.3).contains(it)),
                "{values:?}"
            );
        }
        // The result for a tall matrix is the transpose.
        let tall = wave(2, 7).t().unwrap().contiguous().unwrap();
        let wide = orthogonal(&wave(2, 7), 5).unwrap();
        let difference = (orthogonal(&tall, 5).unwrap().t().unwrap() - wide).unwrap();
        let difference = difference.abs().unwrap().max_all().unwrap();
        assert!(difference.to_scalar::<f64>().unwrap() < 1e-12);
        let zeros = Tensor::zeros((3, 2), DType::F64, &Device::Cpu).unwrap();
        let sum = orthogonal(&zeros, 5).unwrap().abs().unwrap().sum_all();
        assert_eq!(sum.unwrap().to_scalar::<f64>().unwrap(), 0.0);
    }

    #[test]
    fn a_masked_entry_stays_zero_and_the_rest_moves_by_the_formula() {
        let mask = Tensor::new(&[[1f64, 1.0, 0.0], [1.0, 1.0, 1.0]], &Device::Cpu).unwrap();
        let gradient = (wave(2, 3) * &mask).unwrap();
        let zeros = gradient.zeros_like().unwrap();
        let (weight, momentum) = (
            Var::from_tensor(&zeros).unwrap(),
            Var::from_tensor(&zeros).unwrap(),
        );
        let average = Var::from_tensor(&zeros).unwrap();
        let config = MuonConfig {
            weight_decay: 0.0,
            ..MuonConfig::default()
        };
        for _ in 0..3 {
            let change = MuonChange {
                weight: &weight,
                gradient: &gradient,
                momentum: &momentum,
                average: Some((&average, 0.75)),
                learning_rate: 0.5,
            };
            config.step(&change, 2.0).unwrap();
        }
        let weights = weight.to_vec2::<f64>().unwrap();
        assert_eq!(weights[0][2], 0.0);
        assert!(weights.iter().flatten().filter(|it| **it != 0.0).count() == 5);
        // The direction, and so the change, is the same in each step.
        let change = orthogonal(&gradient, 5).unwrap().to_vec2::<f64>().unwrap();
        assert!((weights[1][1] + 3.0 * 0.5 * change[1][1]).abs() < 1e-12);
        // 2 (1 + 0.95 + 0.95^2) g
        let kept = momentum.to_vec2::<f64>().unwrap()[1][0];
        let first = gradient.to_vec2::<f64>().unwrap()[1][0];
        assert!((kept - 2.0 * 2.8525 * first).abs() < 1e-12);
        // Each step adds a quarter of the difference to the weight after 1, 2 and 3 steps.
        let averaged = average.to_vec2::<f64>().unwrap()[1][1];
        let expected = [1.0, 2.0, 3.0].iter().fold(0.0, |a, w| a + 0.25 * (w - a));
        assert!((averaged - expected * weights[1][1] / 3.0).abs() < 1e-12);
    }
}
