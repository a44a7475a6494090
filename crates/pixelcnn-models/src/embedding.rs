//! The embedding network of section 3.3.

use candle_core::{D, DType, Device, Result, Tensor};
use candle_nn::VarBuilder;
use serde::{Deserialize, Serialize};

use crate::condition::ImageEncoder;
use crate::{Definition, ImageEncoderConfig, ImageShape, Kind, ModelError, Score, Task};

/// Sizes and loss of an [`EmbeddingNetwork`](crate::EmbeddingNetwork).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EmbeddingConfig {
    /// Shape of the images.
    pub image: ImageShape,
    /// Length of an embedding.
    pub length: usize,
    /// Feature maps after each halving of height and width.
    #[serde(alias = "encoder")]
    pub encoder_maps: Vec<usize>,
    /// Margin of the triplet loss, in squared distance: a negative that is farther than
    /// the positive by the margin gives no loss.
    pub margin: f64,
}

impl EmbeddingConfig {
    /// The sizes of the network.
    pub fn image_encoder(&self) -> ImageEncoderConfig {
        ImageEncoderConfig {
            length: self.length,
            encoder_maps: self.encoder_maps.clone(),
        }
    }
}

#[typetag::serde(name = "embedding")]
impl Definition for EmbeddingConfig {
    fn name(&self) -> &'static str {
        "Embedding network"
    }

    fn image(&self) -> ImageShape {
        self.image
    }

    fn validate(&self) -> std::result::Result<(), ModelError> {
        if !(self.margin > 0.0 && self.margin <= 4.0) {
            let why = format!("above 0, at most 4 expected, found {}", self.margin);
            return Err(ModelError::invalid("model.margin", why));
        }
        self.image_encoder().validate()
    }

    fn build(&self, weights: VarBuilder) -> std::result::Result<Kind, ModelError> {
        let network = EmbeddingNetwork::new(&self.image, &self.image_encoder(), weights)?;
        Ok(Kind::Embedding(Box::new(network), self.margin))
    }

    fn score(&self) -> Score {
        Score::AreaAboveCurve
    }

    fn task(&self) -> Task {
        Task::Verification
    }

    fn boxed(&self) -> Box<dyn Definition> {
        Box::new(self.clone())
    }
}

/// A convolutional network from an image to a vector of unit norm. It is trained
/// so that images of the same identity are closer than images of different identities
/// (the triplet loss; the paper follows Schroff et al., FaceNet).
///
/// # Example
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use pixelcnn_models::{EmbeddingNetwork, ImageShape, Parameters, ImageEncoderConfig};
///
/// let image = ImageShape { channels: 1, height: 28, width: 23, levels: 256 };
/// let config = ImageEncoderConfig { length: 8, encoder_maps: vec![4, 8] };
/// let weights = Parameters::drawn(0).builder(DType::F32, &Device::Cpu);
/// let network = EmbeddingNetwork::new(&image, &config, weights)?;
/// let images = Tensor::ones((2, 1, 28, 23), DType::U8, &Device::Cpu)?;
/// let embeddings = network.forward(&images)?;
/// assert_eq!(embeddings.dims(), [2, 8]);
/// let length = embeddings.get(0)?.sqr()?.sum_all()?.to_scalar::<f32>()?;
/// assert!((length - 1.0).abs() < 1e-4);
/// # Ok::<(), candle_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct EmbeddingNetwork {
    image_encoder: ImageEncoder,
}

impl EmbeddingNetwork {
    /// A network for images of `image`.
    ///
    /// # Errors
    ///
    /// If the weights do not fit.
    pub fn new(
        image: &ImageShape,
        config: &ImageEncoderConfig,
        weights: VarBuilder,
    ) -> Result<Self> {
        Ok(Self {
            image_encoder: ImageEncoder::new(image, &config.encoder_maps, config.length, weights)?,
        })
    }

    /// Embeddings.
    ///
    /// # Shapes
    ///
    /// Values `[b, c, h, w]` to `[b, d]`.
    ///
    /// # Errors
    ///
    /// If the images do not fit.
    pub fn forward(&self, values: &Tensor) -> Result<Tensor> {
        let vectors = self.image_encoder.forward(values)?;
        // Not zero for a zero vector: its gradient would not be finite.
        let length = vectors.sqr()?.sum_keepdim(D::Minus1)?.affine(1.0, 1e-12)?;
        vectors.broadcast_div(&length.sqrt()?)
    }

    /// The h of models conditioned on embeddings `[b, d]`: multiplied by the square root
    /// of d, because V is initialised for values of unit variance.
    ///
    /// # Errors
    ///
    /// If the embeddings have a wrong rank.
    pub fn condition(embeddings: &Tensor) -> Result<Tensor> {
        let (_, length) = embeddings.dims2()?;
        embeddings.affine((length as f64).sqrt(), 0.0)
    }
}

/// The triplet loss over all pairs of a batch: for an anchor a, a positive p of
/// the same label and a negative n of another label, `max(0, |a - p|^2 - |a - n|^2 +
/// margin)`, averaged over the pairs (a, p). The negative is semi-hard: the
/// closest one that is farther than the positive, or the farthest one if there is
/// none. A batch without a triplet, which may occur by chance, has loss and
/// gradient zero.
///
/// # Shapes
///
/// Embeddings `[b, d]` of unit length to a scalar.
///
/// # Errors
///
/// If a tensor operation fails.
///
/// # Example
///
/// ```
/// use candle_core::{Device, Tensor};
/// use pixelcnn_models::triplet_loss;
///
/// // Two of one label at the same place, one of another opposite.
/// let apart = Tensor::new(&[[1f32, 0.0], [1.0, 0.0], [-1.0, 0.0]], &Device::Cpu)?;
/// let loss = triplet_loss(&apart, &[7, 7, 9], 0.2)?;
/// assert_eq!(loss.to_scalar::<f32>()?, 0.0);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn triplet_loss(embeddings: &Tensor, labels: &[u32], margin: f64) -> Result<Tensor> {
    let (b, _) = embeddings.dims2()?;
    if labels.len() != b {
        candle_core::bail!(
            "triplets: a label for each of {b} images expected, found {}",
            labels.len()
        );
    }
    // For vectors of unit norm: |a - b|^2 = 2 - 2 a b.
    let distances = embeddings.matmul(&embeddings.t()?)?.affine(-2.0, 2.0)?;
    // Not every device has f64.
    let numbers = distances
        .to_device(&Device::Cpu)?
        .to_dtype(DType::F64)?
        .to_vec2::<f64>()?;
    let (mut positives, mut negatives) = (Vec::new(), Vec::new());
    for anchor in 0..b {
        let other = |image: &usize| labels[*image] != labels[anchor];
        let same = |image: &usize| *image != anchor && labels[*image] == labels[anchor];
        for positive in (0..b).filter(same) {
            let negative = semi_hard(&numbers[anchor], positive, (0..b).filter(other));
            if let Some(negative) = negative {
                positives.push((anchor * b + positive) as u32);
                negatives.push((anchor * b + negative) as u32);
            }
        }
    }
    if positives.is_empty() {
        return (&distances * distances.zeros_like()?)?.sum_all();
    }
    let distances = distances.flatten_all()?;
    let chosen = |pairs: Vec<u32>| {
        let count = pairs.len();
        distances.index_select(&Tensor::from_vec(pairs, count, distances.device())?, 0)
    };
    let difference = (chosen(positives)? - chosen(negatives)?)?;
    difference.affine(1.0, margin)?.relu()?.mean_all()
}

fn semi_hard(
    distances: &[f64],
    positive: usize,
    negatives: impl Iterator<Item = usize>,
) -> Option<usize> {
    let near = distances[positive];
    let by_distance = |a: &usize, b: &usize| distances[*a].total_cmp(&distances[*b]);
    let (beyond, within): (Vec<_>, Vec<_>) = negatives.partition(|n| distances[*n] > near);
    let closest = beyond.into_iter().min_by(by_distance);
    closest.or_else(|| within.into_iter().max_by(by_distance))
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Var;

    #[test]
    fn the_negative_is_the_closest_beyond_the_positive() {
        let distances = [0.0, 0.5, 0.4, 0.6, 0.9];
        assert_eq!(semi_hard(&distances, 1, [2, 4, 3].into_iter()), Some(3));
        assert_eq!(semi_hard(&distances, 4, [1, 2, 3].into_iter()), Some(3));
        assert_eq!(semi_hard(&distances, 1, [].into_iter()), None);
    }

    #[test]
    fn the_loss_is_that_of_its_definition() {
        let angle = |degrees: f32| [degrees.to_radians().cos(), degrees.to_radians().sin()];
        let vectors = [angle(0.0), angle(60.0), angle(90.0)];
        let embeddings = Tensor::new(&vectors, &Device::Cpu).unwrap();
        let loss = triplet_loss(&embeddings, &[0, 0, 1], 1.5).unwrap();
        // |a - p|^2 = 1. The negative of the first is at 2. The second has no negative
        // beyond its positive; its closest is at 2 - sqrt(3).
        let expected = ((1.0 - 2.0 + 1.5) + (1.0 - (2.0 - 3f32.sqrt()) + 1.5)) / 2.0;
        let found = loss.to_scalar::<f32>().unwrap();
        assert!((found - expected).abs() < 1e-5, "{found} {expected}");
    }

    #[test]
    fn a_batch_without_a_triplet_costs_nothing() {
        let embeddings = Var::new(&[[1f32, 0.0], [0.6, 0.8], [0.0, 1.0]], &Device::Cpu).unwrap();
        for labels in [[0, 1, 2], [0, 0, 0]] {
            let loss = triplet_loss(&embeddings, &labels, 0.2).unwrap();
            assert_eq!(loss.to_scalar::<f32>().unwrap(), 0.0);
            let gradients = loss.backward().unwrap();
            let gradient = gradients.get(&embeddings).unwrap().abs().unwrap();
            assert_eq!(gradient.sum_all().unwrap().to_scalar::<f32>().unwrap(), 0.0);
        }
    }
}
