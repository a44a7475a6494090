//! The encoder of captions: from a text to a vector (the paper's conclusion).

use candle_core::{DType, Error, Result, Tensor, bail};
use candle_nn::{Init, VarBuilder};
use pixelcnn_conv::Convolution;
use serde::{Deserialize, Serialize};

use super::{linear, within};
use crate::ModelError;
use crate::size::check_large;

/// Sizes of the encoder of captions.
///
/// # Example
///
/// ```
/// use pixelcnn_models::CaptionConfig;
///
/// let config = CaptionConfig { vocabulary: 512, embedding: 48, length: 64 };
/// assert_eq!(config.length, 64); // of h
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CaptionConfig {
    /// Number of tokens, including the padding token.
    pub vocabulary: usize,
    /// Length of the embedding of a token.
    pub embedding: usize,
    /// Length of h.
    pub length: usize,
}

impl CaptionConfig {
    pub(super) fn validate(&self) -> std::result::Result<(), ModelError> {
        within("vocabulary", self.vocabulary, 2, 1 << 24)?;
        within("embedding", self.embedding, 1, 65_536)
    }
}

/// Embeddings of tokens, a convolution over each token and its neighbours, the
/// mean over the text, and a linear layer.
#[derive(Clone, Debug)]
pub(super) struct CaptionEncoder {
    embeddings: Tensor,
    neighbours: Convolution,
    linear: Convolution,
}

impl CaptionEncoder {
    /// An encoder with weights `embeddings`, `neighbours` and `linear`.
    pub(super) fn new(config: &CaptionConfig, weights: VarBuilder) -> Result<Self> {
        let CaptionConfig {
            vocabulary,
            embedding,
            length,
        } = *config;
        let bound = 3f64.sqrt();
        let init = Init::Uniform {
            lo: -bound,
            up: bound,
        };
        let shape = (vocabulary, embedding);
        Ok(Self {
            embeddings: weights.get_with_hints(shape, "embeddings", init)?,
            neighbours: Convolution::plain(embedding, embedding, (1, 3), weights.pp("neighbours"))?,
            linear: linear(embedding, length, weights.pp("linear"))?,
        })
    }

    /// Refuses tokens that are not `u32`, or not in the vocabulary.
    pub(super) fn check(&self, tokens: &Tensor) -> Result<()> {
        if tokens.dtype() != DType::U32 {
            let found = tokens.dtype().as_str();
            bail!("condition: tokens are u32, found {found}");
        }
        if tokens.elem_count() == 0 {
            bail!("condition: no tokens");
        }
        let (vocabulary, largest) = (self.embeddings.dim(0)?, tokens.max_all()?);
        match largest.to_scalar::<u32>()? {
            largest if largest as usize >= vocabulary => {
                bail!("condition: tokens below {vocabulary} expected, found {largest}")
            }
            _ => Ok(()),
        }
    }

    /// Tokens `[b, t]`, `u32`, to `[b, d]`; padding (0) changes nothing.
    pub(super) fn forward(&self, tokens: &Tensor) -> Result<Tensor> {
        let (b, t) = tokens.dims2()?;
        // Embedding rows, maps, their neighbours and the results.
        let numbers = [b, t, self.embeddings.dim(1)?, 5];
        let bytes = numbers.iter().fold(4u128, |all, size| all * *size as u128);
        check_large(bytes, || format!("{b} texts of {t} tokens")).map_err(Error::wrap)?;
        let rows = self.embeddings.index_select(&tokens.flatten_all()?, 0)?;
        let maps = rows.reshape((b, t, ()))?.transpose(1, 2)?.unsqueeze(2)?;
        let used = tokens.ne(0u32)?.to_dtype(rows.dtype())?;
        let count = used.sum(1)?.maximum(1.0)?.reshape((b, 1, 1, 1))?;
        let used = used.reshape((b, 1, 1, t))?;
        let maps = maps.broadcast_mul(&used)?;
        let maps = self.neighbours.forward(&maps)?.silu()?;
        let sum = maps.broadcast_mul(&used)?.sum_keepdim(3)?;
        self.linear
            .forward(&sum.broadcast_div(&count)?)?
            .reshape((b, ()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Parameters;
    use candle_core::Device;

    #[test]
    fn padding_changes_nothing_and_the_order_matters() {
        let config = CaptionConfig {
            vocabulary: 9,
            embedding: 5,
            length: 4,
        };
        let weights = Parameters::drawn(1).builder(DType::F32, &Device::Cpu);
        let encoder = CaptionEncoder::new(&config, weights).unwrap();
        let vector = |tokens: &[u32]| {
            let tokens = Tensor::new(tokens, &Device::Cpu).unwrap();
            let tokens = tokens.unsqueeze(0).unwrap();
            let vector = encoder.forward(&tokens).unwrap();
            vector.flatten_all().unwrap().to_vec1::<f32>().unwrap()
        };
        let short = vector(&[3, 5, 8]);
        for (a, b) in short.iter().zip(vector(&[3, 5, 8, 0, 0])) {
            assert!((a - b).abs() < 1e-6, "{a} {b}");
        }
        assert_ne!(short, vector(&[5, 3, 8]));
        assert!(vector(&[0, 0]).iter().all(|value| value.is_finite()));
        let beyond = Tensor::new(&[[9u32]], &Device::Cpu).unwrap();
        let error = encoder.check(&beyond).unwrap_err().to_string();
        assert!(
            error.contains("tokens below 9 expected, found 9"),
            "{error}"
        );
    }
}
