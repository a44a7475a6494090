//! From logits to nats and bits/dim.

use std::fmt;

use candle_core::{DType, Device, Result, Tensor, bail};

use crate::{DensityModel, Given, ModelError};

/// The likelihood of a set of images, summed in f64.
///
/// The first images set the size. Images of another size are refused, because their
/// bits/dim are a mean over a different number of dimensions.
///
/// # Example
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use pixelcnn_models::{DensityModel, Given, ImageShape, Likelihood};
///
/// let image = ImageShape { channels: 3, height: 8, width: 8, levels: 256 };
/// let model = DensityModel::uniform(image);
///
/// let mut likelihood = Likelihood::new();
/// for images in [1, 2] {
///     let images = Tensor::zeros((images, 3, 8, 8), DType::U8, &Device::Cpu)?;
///     likelihood.add(&model, &images, &Given::Nothing)?;
/// }
/// assert_eq!(likelihood.images(), 3);
/// assert_eq!(likelihood.to_string(), "8.0000 ± 0.0000 bits/dim");
/// # Ok::<(), pixelcnn_models::ModelError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Likelihood {
    /// Channels, height and width; `None` before the first image.
    size: Option<[usize; 3]>,
    per_image: Vec<f64>,
    per_channel: Vec<f64>,
    divergence: Vec<f64>,
}

impl Likelihood {
    /// The likelihood of no images yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds images `[b, c, h, w]` under a model, given their conditions.
    ///
    /// For a model with a Gaussian bottleneck that is given images, samples a code for
    /// each image and adds its divergence: the sum is a bound. The sample depends on
    /// the number of images added before.
    ///
    /// # Errors
    ///
    /// If the images, their size or the conditions do not fit.
    pub fn add(
        &mut self,
        model: &DensityModel,
        images: &Tensor,
        given: &Given,
    ) -> std::result::Result<(), ModelError> {
        let (b, _, height, width) = images.dims4()?;
        let size = (height, width);
        let rows: Vec<u64> = (self.images() as u64..).take(b).collect();
        let encoder = model.condition_encoder();
        encoder.check(given)?;
        let (condition, divergence) = encoder.encode_drawn(given, size, 0, &rows)?;
        self.add_nats(&model.nats(images, &condition)?, size)?;
        if let Some(divergence) = divergence {
            self.add_divergence(&divergence.sum(1)?)?;
        }
        Ok(())
    }

    /// Adds images of `height x width` by their nats `[b, c]`.
    ///
    /// # Errors
    ///
    /// If the images before had another size.
    pub fn add_nats(&mut self, nats: &Tensor, (height, width): (usize, usize)) -> Result<()> {
        let (_, channels) = nats.dims2()?;
        let [c, h, w] = *self.size.get_or_insert([channels, height, width]);
        if [c, h, w] != [channels, height, width] {
            bail!(
                "likelihood: images of {c} x {h} x {w} expected, as in earlier batches, \
                 found {channels} x {height} x {width}"
            );
        }
        self.per_channel.resize(channels, 0.0);
        let nats = nats.to_device(&Device::Cpu)?.to_dtype(DType::F64)?;
        for image in nats.to_vec2::<f64>()? {
            self.per_image.push(image.iter().sum());
            for (sum, nats) in self.per_channel.iter_mut().zip(&image) {
                *sum += nats;
            }
        }
        Ok(())
    }

    /// Adds the divergence of the codes, nats `[b]`, to the images that were added
    /// last.
    fn add_divergence(&mut self, nats: &Tensor) -> Result<()> {
        let nats = nats.to_device(&Device::Cpu)?.to_dtype(DType::F64)?;
        let nats = nats.to_vec1::<f64>()?;
        let Some(first) = self.per_image.len().checked_sub(nats.len()) else {
            let images = self.per_image.len();
            bail!("likelihood: {} divergences for {images} images", nats.len());
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

    /// Mean nats of an image; NaN if there is no image.
    pub fn nats_per_image(&self) -> f64 {
        self.per_image.iter().sum::<f64>() / self.images() as f64
    }

    /// Bits per dimension: nats / (c h w ln 2).
    pub fn bits_per_dim(&self) -> f64 {
        self.nats_per_image() / self.nats_per_bit()
    }

    /// The nats of each image, in the order in which they were added, with the divergence of
    /// its code if there is one.
    pub fn nats_of_each(&self) -> &[f64] {
        &self.per_image
    }

    /// The bits/dim of each image, in the same order; their mean is
    /// [`Likelihood::bits_per_dim`].
    ///
    /// ```
    /// use candle_core::{Device, Tensor};
    /// use pixelcnn_models::Likelihood;
    ///
    /// let mut likelihood = Likelihood::new();
    /// let nats = Tensor::new(&[[2f64.ln()], [8f64.ln()]], &Device::Cpu)?;
    /// likelihood.add_nats(&nats, (1, 1))?;
    /// assert_eq!(likelihood.nats_of_each(), [2f64.ln(), 8f64.ln()]);
    /// assert_eq!(likelihood.bits_per_dim_of_each(), [1.0, 3.0]);
    /// # Ok::<(), candle_core::Error>(())
    /// ```
    pub fn bits_per_dim_of_each(&self) -> Vec<f64> {
        let nats = self.per_image.iter();
        nats.map(|nats| nats / self.nats_per_bit()).collect()
    }

    /// Standard error of [`Likelihood::bits_per_dim`] over images; `None` for fewer than
    /// two images.
    pub fn std_err(&self) -> Option<f64> {
        let (count, mean) = (self.images() as f64, self.nats_per_image());
        if count < 2.0 {
            return None;
        }
        let squares: f64 = self.per_image.iter().map(|n| (n - mean).powi(2)).sum();
        Some((squares / (count - 1.0) / count).sqrt() / self.nats_per_bit())
    }

    /// The divergence of codes as part of [`Likelihood::bits_per_dim`],
    /// if it is a bound.
    pub fn divergence_bits_per_dim(&self) -> Option<f64> {
        let sum = self.divergence.iter().sum::<f64>();
        let mean = sum / self.images() as f64;
        (!self.divergence.is_empty()).then(|| mean / self.nats_per_bit())
    }

    /// The bits/dim of `other` on the same images minus those of `self`, and the standard
    /// error of the difference over images; `None` for one image.
    ///
    /// # Errors
    ///
    /// If `other` has a different number or size of images.
    pub fn difference(&self, other: &Self) -> Result<(f64, Option<f64>)> {
        let (found, expected) = (other.images(), self.images());
        if found != expected {
            bail!("likelihood: {expected} images expected for the comparison, found {found}");
        }
        if other.size != self.size {
            bail!("likelihood: images of the same size expected for the comparison");
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
        let bits = self.images() as f64 * self.nats_per_bit() / self.per_channel.len() as f64;
        self.per_channel.iter().map(|nats| nats / bits).collect()
    }

    fn nats_per_bit(&self) -> f64 {
        let sizes = self.size.unwrap_or_default().map(|size| size as f64);
        sizes.iter().product::<f64>() * std::f64::consts::LN_2
    }
}

/// Bits per dimension, with the standard error if there is one.
impl fmt::Display for Likelihood {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:.4}", self.bits_per_dim())?;
        if let Some(std_err) = self.std_err() {
            write!(formatter, " ± {std_err:.4}")?;
        }
        formatter.write_str(" bits/dim")
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
        let (mut own, mut other) = (Likelihood::new(), Likelihood::new());
        own.add_nats(&bits([1.0, 9.0]), (1, 1)).unwrap();
        other.add_nats(&bits([2.0, 10.5]), (1, 1)).unwrap();
        let (difference, error) = own.difference(&other).unwrap();
        assert!((difference - 1.25).abs() < 1e-12 && (error.unwrap() - 0.25).abs() < 1e-12);
        assert_eq!(own.divergence_bits_per_dim(), None);
        own.add_divergence(&bits([2.0, 3.0]).flatten_all().unwrap())
            .unwrap();
        assert!((own.bits_per_dim() - 7.5).abs() < 1e-12);
        assert!((own.divergence_bits_per_dim().unwrap() - 2.5).abs() < 1e-12);
        assert!((own.per_channel()[0] - 5.0).abs() < 1e-12);
    }

    #[test]
    fn standard_error_is_that_of_the_mean() {
        let mut likelihood = Likelihood::new();
        let nats = [1f64, 2.0, 3.0, 6.0].map(|nats| nats * std::f64::consts::LN_2);
        let nats = Tensor::new(&nats, &Device::Cpu).unwrap();
        let nats = nats.unsqueeze(1).unwrap();
        likelihood.add_nats(&nats, (1, 1)).unwrap();
        // Deviations -2, -1, 0, 3: variance 14 / 3, of the mean 14 / 12.
        assert!((likelihood.bits_per_dim() - 3.0).abs() < 1e-12);
        assert!((likelihood.std_err().unwrap() - (14f64 / 12.0).sqrt()).abs() < 1e-12);
    }

    #[test]
    fn one_image_has_no_standard_error_and_other_sizes_are_refused() {
        let nats = |images: usize| Tensor::ones((images, 2), DType::F64, &Device::Cpu).unwrap();
        let mut likelihood = Likelihood::new();
        likelihood.add_nats(&nats(1), (2, 3)).unwrap();
        assert_eq!(likelihood.std_err(), None);
        let text = format!("{:.4} bits/dim", 1.0 / 6.0 / std::f64::consts::LN_2);
        assert_eq!(likelihood.to_string(), text);
        let error = likelihood.add_nats(&nats(1), (3, 2)).unwrap_err();
        let error = error.to_string();
        assert!(
            error.contains("2 x 2 x 3 expected, as in earlier batches, found 2 x 3 x 2"),
            "{error}"
        );
        likelihood.add_nats(&nats(1), (2, 3)).unwrap();
        assert_eq!(likelihood.std_err(), Some(0.0));
    }
}
