//! From logits to nats and bits/dim.

use candle_core::{DType, Device, Result, Tensor, bail};

/// The likelihood of a set of images, summed in f64.
///
/// # Example
///
/// ```
/// use candle_core::{Device, Tensor};
/// use pixelcnn_models::Likelihood;
///
/// let mut likelihood = Likelihood::new(3, 4); // RGB, four pixels
/// let nats = Tensor::new(&[[4f64, 8., 12.], [8., 8., 8.]], &Device::Cpu)?;
/// likelihood.add(&nats)?;
/// assert_eq!(likelihood.images(), 2);
/// assert_eq!(likelihood.nats_per_image(), 24.0);
/// let nats_per_dim = likelihood.bits_per_dim() * std::f64::consts::LN_2;
/// assert!((nats_per_dim - 2.0).abs() < 1e-12);
/// # Ok::<(), candle_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Likelihood {
    pixels: usize,
    per_image: Vec<f64>,
    per_channel: Vec<f64>,
    divergence: Vec<f64>,
}

impl Likelihood {
    /// Of no image yet; images have `channels` channels of `pixels` pixels.
    pub fn new(channels: usize, pixels: usize) -> Self {
        Self {
            pixels,
            per_image: Vec::new(),
            per_channel: vec![0.0; channels],
            divergence: Vec::new(),
        }
    }

    /// Adds images by their nats `[b, c]`.
    ///
    /// # Errors
    ///
    /// If the number of channels is another.
    pub fn add(&mut self, nats: &Tensor) -> Result<()> {
        for image in nats.to_dtype(DType::F64)?.to_vec2::<f64>()? {
            if image.len() != self.per_channel.len() {
                let channels = self.per_channel.len();
                bail!(
                    "likelihood: {channels} channels expected, found {}",
                    image.len()
                );
            }
            self.per_image.push(image.iter().sum());
            for (sum, nats) in self.per_channel.iter_mut().zip(&image) {
                *sum += nats;
            }
        }
        Ok(())
    }

    /// Adds to the images that were added last the nats `[b]` of the divergence
    /// of their codes: the sum is a bound.
    ///
    /// # Errors
    ///
    /// If there are more than images.
    pub fn add_divergence(&mut self, nats: &Tensor) -> Result<()> {
        let nats = nats.to_device(&Device::Cpu)?.to_dtype(DType::F64)?;
        let nats = nats.to_vec1::<f64>()?;
        let Some(first) = self.per_image.len().checked_sub(nats.len()) else {
            let images = self.per_image.len();
            bail!("likelihood: {} divergences of {images} images", nats.len());
        };
        for (sum, nats) in self.per_image[first..].iter_mut().zip(&nats) {
            *sum += nats;
        }
        self.divergence.extend(nats);
        Ok(())
    }

    /// Number of images.
    pub fn images(&self) -> usize {
        self.per_image.len()
    }

    /// Mean nats of an image.
    pub fn nats_per_image(&self) -> f64 {
        self.per_image.iter().sum::<f64>() / self.images() as f64
    }

    /// Bits per dimension: nats / (c h w ln 2).
    pub fn bits_per_dim(&self) -> f64 {
        self.nats_per_image() / self.nats_per_bit()
    }

    /// Standard error of [`Likelihood::bits_per_dim`] over images; 0 for one.
    pub fn std_err(&self) -> f64 {
        let (count, mean) = (self.images() as f64, self.nats_per_image());
        if count < 2.0 {
            return 0.0;
        }
        let squares: f64 = self.per_image.iter().map(|n| (n - mean).powi(2)).sum();
        (squares / (count - 1.0) / count).sqrt() / self.nats_per_bit()
    }

    /// The part of [`Likelihood::bits_per_dim`] that is the divergence of codes,
    /// if it is a bound.
    pub fn divergence_bits_per_dim(&self) -> Option<f64> {
        let sum = self.divergence.iter().sum::<f64>();
        let mean = sum / self.images() as f64;
        (!self.divergence.is_empty()).then(|| mean / self.nats_per_bit())
    }

    /// How many bits/dim more `other` has of the same images, and the standard
    /// error of that difference over images.
    ///
    /// # Errors
    ///
    /// If `other` has another number of images.
    pub fn difference(&self, other: &Self) -> Result<(f64, f64)> {
        let (found, expected) = (other.images(), self.images());
        if found != expected {
            bail!("likelihood: {expected} images to compare with, found {found}");
        }
        let pairs = other.per_image.iter().zip(&self.per_image);
        let paired = Self {
            per_image: pairs.map(|(other, own)| other - own).collect(),
            ..self.clone()
        };
        Ok((paired.bits_per_dim(), paired.std_err()))
    }

    /// Bits per dimension of each channel, without the divergence of codes; the
    /// mean of the channels is [`Likelihood::bits_per_dim`].
    pub fn per_channel(&self) -> Vec<f64> {
        let bits = self.images() as f64 * self.pixels as f64 * std::f64::consts::LN_2;
        self.per_channel.iter().map(|nats| nats / bits).collect()
    }

    fn nats_per_bit(&self) -> f64 {
        (self.per_channel.len() * self.pixels) as f64 * std::f64::consts::LN_2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_is_paired_and_a_divergence_counts() {
        let bits = |bits: [f64; 2]| {
            let nats = bits.map(|bits| [bits * std::f64::consts::LN_2]);
            Tensor::new(&nats, &Device::Cpu).unwrap()
        };
        let (mut own, mut other) = (Likelihood::new(1, 1), Likelihood::new(1, 1));
        own.add(&bits([1.0, 9.0])).unwrap();
        other.add(&bits([2.0, 10.5])).unwrap();
        let (difference, error) = own.difference(&other).unwrap();
        assert!((difference - 1.25).abs() < 1e-12 && (error - 0.25).abs() < 1e-12);
        assert_eq!(own.divergence_bits_per_dim(), None);
        own.add_divergence(&bits([2.0, 3.0]).flatten_all().unwrap())
            .unwrap();
        assert!((own.bits_per_dim() - 7.5).abs() < 1e-12);
        assert!((own.divergence_bits_per_dim().unwrap() - 2.5).abs() < 1e-12);
        assert!((own.per_channel()[0] - 5.0).abs() < 1e-12);
    }

    #[test]
    fn standard_error_is_that_of_the_mean() {
        let mut likelihood = Likelihood::new(1, 1);
        let nats = [1f64, 2.0, 3.0, 6.0].map(|nats| nats * std::f64::consts::LN_2);
        likelihood
            .add(
                &Tensor::new(&nats, &Device::Cpu)
                    .unwrap()
                    .unsqueeze(1)
                    .unwrap(),
            )
            .unwrap();
        // Deviations -2, -1, 0, 3: variance 14 / 3, of the mean 14 / 12.
        assert!((likelihood.bits_per_dim() - 3.0).abs() < 1e-12);
        assert!((likelihood.std_err() - (14f64 / 12.0).sqrt()).abs() < 1e-12);
    }
}
