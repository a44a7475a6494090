//! The multivariate Gaussian with full covariance: the baseline of table 1.
//!
//! A continuous density has no likelihood for discrete values. So `p` is the
//! density of dequantised values `x + u` with `u` uniform on `[0, 1)^D`.
//! By Jensen's inequality, its expected nats bound the nats of the discrete values:
//!
//! `-ln P(x) = -ln ∫ p(x + u) du <= -∫ ln p(x + u) du`,
//!
//! and the right-hand side has a closed form. With `z = W (x + 1/2 - mean)`,
//! `W` the inverse of the covariance's Cholesky factor and `Var(u_j) = 1/12`:
//!
//! `E_u[(z_i + sum_j W_ij (u_j - 1/2))²] = z_i² + (1/12) sum_j W_ij²`.
//!
//! No random number is needed.

#[cfg(feature = "faer")]
mod fit;
mod source;
#[cfg(test)]
#[cfg(feature = "faer")]
mod tests;

use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use serde::{Deserialize, Serialize};

use crate::{Definition, DensityModel, ImageShape, Kind, ModelError, Score, Task};

pub use source::ImageSource;
pub(crate) use source::parts;

/// Variance of the uniform noise on `[0, 1)` that dequantises one value.
const NOISE_VARIANCE: f64 = 1.0 / 12.0;

/// Images converted to f64 at a time: bounds memory, and keeps products large.
pub(crate) const IMAGES_PER_CHUNK: usize = 1024;

/// The configuration of a [`Gaussian`].
///
/// # Example
///
/// ```
/// use pixelcnn_models::{ImageShape, ModelConfig, GaussianConfig};
///
/// let image = ImageShape { channels: 1, height: 28, width: 28, levels: 2 };
/// assert_eq!(ModelConfig::from(GaussianConfig { image }).name(), "Multivariate Gaussian");
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GaussianConfig {
    /// Channels, height, width and levels.
    pub image: ImageShape,
}

#[typetag::serde(name = "gaussian")]
impl Definition for GaussianConfig {
    fn name(&self) -> &'static str {
        "Multivariate Gaussian"
    }

    fn image(&self) -> ImageShape {
        self.image
    }

    fn build(&self, weights: VarBuilder) -> std::result::Result<Kind, ModelError> {
        let image = self.image;
        let (mean, whitening) = mean_and_whitening(image, &weights)?;
        let (c, h, w) = (image.channels, image.height, image.width);
        let gaussian = Gaussian::from_tensors(c, h, w, mean, whitening)?;
        Ok(Kind::Density(Box::new(DensityModel::gaussian(
            image, gaussian,
        ))))
    }

    fn ask_for_weights(&self, weights: VarBuilder) -> std::result::Result<(), ModelError> {
        mean_and_whitening(self.image, &weights)?;
        Ok(())
    }

    fn score(&self) -> Score {
        Score::Bound
    }

    fn task(&self) -> Task {
        Task::Fit
    }

    fn boxed(&self) -> Box<dyn Definition> {
        Box::new(self.clone())
    }
}

fn mean_and_whitening(
    image: ImageShape,
    weights: &VarBuilder,
) -> candle_core::Result<(Tensor, Tensor)> {
    let size = image.dimensions();
    Ok((
        weights.get(size, "mean")?,
        weights.get((size, size), "whitening")?,
    ))
}

/// A multivariate Gaussian with full covariance over dequantised images.
///
/// The `D = height * width * channels` dimensions are ordered as a PixelCNN
/// orders them: rows from the top, pixels from the left, channels fastest. The
/// whitening matrix is lower triangular in that order, so its row `i` gives the
/// conditional density of value `i` given the values before it, and the nats of
/// a channel compare with those of an autoregressive model.
///
/// Arithmetic is in f64 on the CPU.
///
/// # Example
///
/// ```
/// use candle_core::{Device, Tensor};
/// use pixelcnn_models::Gaussian;
///
/// // Four grey images of 1x2 pixels whose two values go together.
/// let values = Tensor::new(&[[10u8, 12], [90, 91], [200, 197], [50, 52]], &Device::Cpu)?;
/// let values = values.reshape((4, 1, 1, 2))?;
/// let gaussian = Gaussian::fit(&values, &values)?;
/// let nats = gaussian.nats(&values)?.to_vec2::<f64>()?;
/// assert_eq!((nats.len(), nats[0].len()), (4, 1));
/// // Cheaper than two independent values of eight bits.
/// assert!(nats.iter().all(|image| image[0] < 2.0 * 256f64.ln()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Gaussian {
    channels: usize,
    height: usize,
    width: usize,
    mean: Tensor,
    whitening: Tensor,
    /// The part of the expected nats of each dimension that does not depend on the values.
    constant_nats: Tensor,
    shrinkage: Option<f64>,
}

impl Gaussian {
    /// Fits mean and covariance to `train`, and the shrinkage to `valid`.
    ///
    /// The mean is that of `x + 1/2`. With `S` the sample covariance of `x`
    /// (divisor `n - 1`) plus the noise's `I/12`, the covariance is
    /// `(1 - s) S + s diag(S)`, where the shrinkage `s` is the one of
    /// `10^(-4 + k/3)`, `k = 0..=12` (0.0001, 0.00022, ..., 0.46, 1), that gives the
    /// validation images the fewest expected nats; the smallest such on a tie.
    ///
    /// # Shapes
    ///
    /// `train` is `[n, c, h, w]` with `n >= 2`, `valid` is `[m, c, h, w]` with
    /// `m >= 1`; values are `u8` or `u32`, on any device. Of either 1,024 images are in
    /// memory at a time.
    ///
    /// # Errors
    ///
    /// If a shape or the type of the values is wrong, or candle fails; always without the
    /// feature `faer` of this crate.
    #[cfg_attr(not(feature = "faer"), allow(unused_variables))]
    pub fn fit(train: &dyn ImageSource, valid: &dyn ImageSource) -> Result<Self, ModelError> {
        #[cfg(feature = "faer")]
        return fit::fit(train, valid);
        #[cfg(not(feature = "faer"))]
        return Err(ModelError::invalid(
            "fit of a Gaussian",
            "this program was built without the feature `faer` of pixelcnn-models",
        ));
    }

    /// A Gaussian from its mean and whitening matrix, as [`Self::mean`] and
    /// [`Self::whitening`] gave them; its [`Self::shrinkage`] is unknown.
    ///
    /// # Shapes
    ///
    /// `mean` is `[D]` and `whitening` is `[D, D]` with
    /// `D = height * width * channels`; both are cast to f64.
    ///
    /// # Errors
    ///
    /// If a shape is wrong, a number is not finite, or `whitening` has a non-zero
    /// entry above its diagonal or a diagonal entry that is not positive.
    pub fn from_tensors(
        channels: usize,
        height: usize,
        width: usize,
        mean: Tensor,
        whitening: Tensor,
    ) -> Result<Self, ModelError> {
        let dimensions = dimensions_of(channels, height, width)?;
        expect_shape("mean of the Gaussian", &mean, &[dimensions])?;
        expect_shape(
            "whitening of the Gaussian",
            &whitening,
            &[dimensions, dimensions],
        )?;
        let mean = on_cpu_in_f64(&mean)?;
        let whitening = on_cpu_in_f64(&whitening)?;
        check_mean(&mean.to_vec1()?)?;
        let entries = whitening.flatten_all()?.to_vec1()?;
        check_whitening(&entries, dimensions)?;
        let constant_nats = constant_nats(&entries, dimensions);
        Ok(Self {
            channels,
            height,
            width,
            mean,
            whitening,
            constant_nats: Tensor::new(constant_nats, &Device::Cpu)?,
            shrinkage: None,
        })
    }

    /// Expected nats of each image and channel, summed over its pixels.
    ///
    /// Dimension `i` has
    /// `ln(2 pi) / 2 - ln W_ii + (z_i² + (1/12) sum_j W_ij²) / 2` nats in
    /// expectation over the dequantisation noise, with
    /// `z = W (x + 1/2 - mean)`. By Jensen's inequality,
    /// `-ln P(x) = -ln E_u[p(x + u)] <= -E_u[ln p(x + u)]`: the sum over the
    /// channels is an upper bound of the nats of the discrete image.
    ///
    /// # Shapes
    ///
    /// `values` is `[n, c, h, w]`, `n >= 1`, `u8` or `u32`, on any device; the
    /// result is f64 `[n, c]` on the CPU.
    ///
    /// # Errors
    ///
    /// If the shape or the type of the values is wrong, or candle fails.
    pub fn nats(&self, values: &Tensor) -> Result<Tensor, ModelError> {
        let shape = [self.channels, self.height, self.width];
        let images = check_images("values for the Gaussian", values, 1, Some(shape))?.0;
        let chunks = (0..images)
            .step_by(IMAGES_PER_CHUNK)
            .map(|start| {
                let length = IMAGES_PER_CHUNK.min(images - start);
                self.nats_of_chunk(&values.narrow(0, start, length)?)
            })
            .collect::<Result<Vec<_>, ModelError>>()?;
        Ok(Tensor::cat(&chunks, 0)?)
    }

    /// The weight of `diag(S)` in the covariance that [`Self::fit`] chose;
    /// `None` for a Gaussian made from tensors.
    pub fn shrinkage(&self) -> Option<f64> {
        self.shrinkage
    }

    /// Mean of the dequantised values, f64 `[D]`, in raster order.
    pub fn mean(&self) -> &Tensor {
        &self.mean
    }

    /// Inverse of the covariance's lower Cholesky factor, f64 `[D, D]`, lower
    /// triangular, rows and columns in raster order.
    pub fn whitening(&self) -> &Tensor {
        &self.whitening
    }

    fn nats_of_chunk(&self, values: &Tensor) -> Result<Tensor, ModelError> {
        let centred = raster_centres(values)?.broadcast_sub(&self.mean)?;
        let z = centred.matmul(&self.whitening.t()?)?;
        let nats = (z.sqr()? * 0.5)?.broadcast_add(&self.constant_nats)?;
        let pixels = self.height * self.width;
        Ok(nats.reshape(((), pixels, self.channels))?.sum(1)?)
    }
}

/// `x + 1/2` of `[n, c, h, w]` values as f64 `[n, h * w * c]` on the CPU.
fn raster_centres(values: &Tensor) -> candle_core::Result<Tensor> {
    let values = values.to_device(&Device::Cpu)?.permute((0, 2, 3, 1))?;
    values.contiguous()?.flatten_from(1)?.to_dtype(DType::F64)? + 0.5
}

fn on_cpu_in_f64(tensor: &Tensor) -> candle_core::Result<Tensor> {
    tensor
        .to_device(&Device::Cpu)?
        .to_dtype(DType::F64)?
        .contiguous()
}

fn constant_nats(whitening: &[f64], dimensions: usize) -> Vec<f64> {
    let half_log_two_pi = 0.5 * (2.0 * std::f64::consts::PI).ln();
    whitening
        .chunks_exact(dimensions)
        .enumerate()
        .map(|(i, row)| {
            let squares: f64 = row[..=i].iter().map(|entry| entry * entry).sum();
            half_log_two_pi - row[i].ln() + 0.5 * NOISE_VARIANCE * squares
        })
        .collect()
}

/// Checks `[n, c, h, w]` integer values; returns `n` and `[c, h, w]`.
fn check_images(
    what: &str,
    values: &Tensor,
    fewest: usize,
    shape: Option<[usize; 3]>,
) -> Result<(usize, [usize; 3]), ModelError> {
    if !matches!(values.dtype(), DType::U8 | DType::U32) {
        return Err(ModelError::Invalid {
            what: what.to_string(),
            why: format!("values are u8 or u32, found {:?}", values.dtype()),
        });
    }
    let expected = match shape {
        Some([c, h, w]) => format!("[n >= {fewest}, {c}, {h}, {w}]"),
        None => format!("[n >= {fewest}, c, h, w]"),
    };
    match *values.dims() {
        [n, c, h, w] if n >= fewest && shape.is_none_or(|shape| shape == [c, h, w]) => {
            Ok((n, [c, h, w]))
        }
        _ => Err(shape_error(what, expected, values)),
    }
}

fn expect_shape(what: &str, tensor: &Tensor, expected: &[usize]) -> Result<(), ModelError> {
    if tensor.dims() == expected {
        return Ok(());
    }
    Err(shape_error(what, format!("{expected:?}"), tensor))
}

fn shape_error(what: &str, expected: String, found: &Tensor) -> ModelError {
    ModelError::Shape {
        what: what.to_string(),
        expected,
        found: format!("{:?}", found.dims()),
    }
}

fn dimensions_of(channels: usize, height: usize, width: usize) -> Result<usize, ModelError> {
    let dimensions = channels
        .checked_mul(height)
        .and_then(|product| product.checked_mul(width))
        .filter(|&product| product > 0);
    dimensions.ok_or_else(|| ModelError::Invalid {
        what: "size of the Gaussian's images".to_string(),
        why: format!(
            "channels, height and width are positive and their product fits a machine word, \
             found {channels} x {height} x {width}"
        ),
    })
}

fn check_mean(mean: &[f64]) -> Result<(), ModelError> {
    match mean.iter().position(|entry| !entry.is_finite()) {
        None => Ok(()),
        Some(i) => Err(ModelError::Invalid {
            what: "mean of the Gaussian".to_string(),
            why: format!("entry {i} must be finite, found {}", mean[i]),
        }),
    }
}

fn check_whitening(entries: &[f64], dimensions: usize) -> Result<(), ModelError> {
    for (i, row) in entries.chunks_exact(dimensions).enumerate() {
        for (j, &entry) in row.iter().enumerate() {
            let rule = match j.cmp(&i) {
                _ if !entry.is_finite() => "finite",
                std::cmp::Ordering::Equal if entry <= 0.0 => "positive (it is on the diagonal)",
                std::cmp::Ordering::Greater if entry != 0.0 => "zero (it is above the diagonal)",
                _ => continue,
            };
            return Err(ModelError::Invalid {
                what: "whitening of the Gaussian".to_string(),
                why: format!("the entry at row {i}, column {j} must be {rule}, found {entry}"),
            });
        }
    }
    Ok(())
}
