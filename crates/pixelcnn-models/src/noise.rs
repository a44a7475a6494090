//! Standard normal numbers.

use candle_core::{Device, Result, Tensor};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// A row of standard normal numbers for each of `rows`; it depends only on the
/// seed and the number of the row.
///
/// # Shapes
///
/// `[rows, length]`, f32, on the CPU.
///
/// # Errors
///
/// If a tensor operation fails.
///
/// # Example
///
/// ```
/// use pixelcnn_models::normal;
///
/// let both = normal(7, &[3, 5], 2)?.to_vec2::<f32>()?;
/// assert_eq!(both[1], normal(7, &[5], 2)?.to_vec2::<f32>()?[0]);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn normal(seed: u64, rows: &[u64], length: usize) -> Result<Tensor> {
    let mut numbers = Vec::with_capacity(rows.len() * length);
    for row in rows {
        // The first half of the key is the seed. In the keys of initial weights, zeros or
        // a hash follow.
        let mut key = [0; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        key[8..14].copy_from_slice(b"normal");
        let mut random = ChaCha8Rng::from_seed(key);
        random.set_stream(*row);
        numbers.extend((0..length).map(|_| one(&mut random) as f32));
    }
    Tensor::from_vec(numbers, (rows.len(), length), &Device::Cpu)
}

/// The Box-Muller transform of two uniform numbers.
fn one(random: &mut ChaCha8Rng) -> f64 {
    let mut unit = || (random.random::<u32>() as f64 + 0.5) / 4_294_967_296.0;
    let (radius, angle) = (unit(), unit());
    (-2.0 * radius.ln()).sqrt() * (std::f64::consts::TAU * angle).cos()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_those_of_the_standard_normal() {
        let rows: Vec<u64> = (0..100).collect();
        let numbers = normal(1, &rows, 400).unwrap().flatten_all().unwrap();
        let numbers = numbers.to_vec1::<f32>().unwrap();
        let moment = |power: i32| {
            let sum: f64 = numbers.iter().map(|x| f64::from(*x).powi(power)).sum();
            sum / numbers.len() as f64
        };
        // Five standard deviations of each moment of 40,000 numbers.
        assert!(moment(1).abs() < 0.025, "{}", moment(1));
        assert!((moment(2) - 1.0).abs() < 0.036, "{}", moment(2));
        assert!((moment(4) - 3.0).abs() < 0.25, "{}", moment(4));
    }
}
