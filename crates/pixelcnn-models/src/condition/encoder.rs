//! From what is given to what the blocks take.

use candle_core::{DType, Result, Tensor, bail};
use candle_nn::VarBuilder;
use pixelcnn_layers::{Condition, ConditionShape};

use super::reads::{Numbers, Reads};
use super::{CaptionTokenizer, Conditioning, Deconvolution, Latent, Reduction, Source};
use crate::ImageShape;

/// What turns a condition as it is given (labels, texts, images) into the
/// vector or map of a network's blocks.
///
/// # Example
///
/// ```
/// use candle_core::{DType, Device};
/// use pixelcnn_models::{Condition, Conditioning, Encoder, ImageShape, Parameters};
///
/// let image = ImageShape { channels: 3, height: 8, width: 8, levels: 256 };
/// let weights = Parameters::drawn(0).builder(DType::F32, &Device::Cpu);
/// let encoder = Encoder::new(Some(&Conditioning::Class { classes: 4.into() }), image, weights)?;
/// let labels = Condition::Labels(vec![2]);
/// let Condition::Vector(h) = encoder.encode(&labels, (1, 8, 8))? else { unreachable!() };
/// assert_eq!(h.to_vec2::<f32>()?, [[0.0, 0.0, 1.0, 0.0]]);
/// assert!(encoder.encode(&Condition::Labels(vec![4]), (1, 8, 8)).is_err());
/// # Ok::<(), candle_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Encoder {
    reads: Reads,
    spatial: Option<Deconvolution>,
    /// Maps that the blocks take, 0 where they take none.
    maps: usize,
    numbers: Numbers,
}

impl Encoder {
    /// The encoder of a model for images of `image`, with weights `caption`,
    /// `code`, `embedding` and `spatial`, whichever it has.
    ///
    /// # Errors
    ///
    /// If the weights do not fit.
    pub fn new(
        conditioning: Option<&Conditioning>,
        image: ImageShape,
        weights: VarBuilder,
    ) -> Result<Self> {
        let reads = Reads::new(conditioning, &image, &weights)?;
        let spatial = match conditioning.and_then(|conditioning| {
            let spatial = conditioning.spatial()?;
            Some((source(conditioning, &image), spatial))
        }) {
            None => None,
            Some((source, spatial)) => {
                let weights = weights.pp("spatial");
                Some(Deconvolution::new(source, &image, spatial, weights)?)
            }
        };
        Ok(Self {
            reads,
            spatial,
            maps: match conditioning.map(Conditioning::shape) {
                Some(ConditionShape::Map { maps }) => maps,
                _ => 0,
            },
            numbers: Numbers {
                image,
                dtype: weights.dtype(),
                device: weights.device().clone(),
            },
        })
    }

    pub(crate) fn set_tokenizer(&mut self, new: CaptionTokenizer) {
        if let Reads::Caption { tokenizer, .. } = &mut self.reads {
            *tokenizer = Some(Box::new(new));
        }
    }

    /// What turns texts into tokens, where the model has been given it.
    pub fn tokenizer(&self) -> Option<&CaptionTokenizer> {
        match &self.reads {
            Reads::Caption { tokenizer, .. } => tokenizer.as_deref(),
            _ => None,
        }
    }

    /// What the blocks take for `b` images of `h x w`: of what is given, or
    /// the same, if it is that already.
    ///
    /// # Errors
    ///
    /// If the condition is missing, of another kind, number, length or size
    /// than the model expects, given to a model that takes none, or not finite.
    pub fn encode(&self, condition: &Condition, size: (usize, usize, usize)) -> Result<Condition> {
        let (b, h, w) = size;
        let expected = |what: &str| -> Result<Condition> {
            bail!("condition: the model expects {what}, found {condition}")
        };
        let vector = match (&self.reads, condition) {
            (Reads::Nothing, Condition::None) => return Ok(Condition::None),
            (Reads::Nothing, _) => return expected("no condition"),
            (_, Condition::Map(map)) if map.dims() == [b, self.maps, h, w] => {
                return Ok(Condition::Map(finite(self.numbers.own(map)?)?));
            }
            (Reads::Map, _) => {
                return expected(&format!("a map [{b}, {}, {h}, {w}]", self.maps));
            }
            (Reads::Reduced(given), _) => {
                let [c, small_h, small_w] = given.shape(self.numbers.image.channels, (h, w));
                match condition {
                    Condition::Image(image) if image.dims() == [b, c, small_h, small_w] => {
                        self.numbers.scaled(image)?
                    }
                    _ => {
                        return expected(&format!("an image [{b}, {c}, {small_h}, {small_w}]"));
                    }
                }
            }
            _ => match self.reads.vector(condition, b, &self.numbers)? {
                Some(vector) => vector,
                None => return expected(&self.reads.takes(&self.numbers.image, b)),
            },
        };
        match &self.spatial {
            None => Ok(Condition::Vector(finite(vector)?)),
            Some(spatial) => {
                let maps = spatial.forward(&vector, (h, w))?;
                Ok(Condition::Map(finite(maps)?))
            }
        }
    }

    /// h of images, of a model whose h is a vector: before m(h), if there is
    /// one.
    ///
    /// # Shapes
    ///
    /// `[b, d]`.
    ///
    /// # Errors
    ///
    /// If the condition does not fit, or h is no vector.
    pub fn vectors(&self, condition: &Condition) -> Result<Tensor> {
        let b = condition.images().unwrap_or(0);
        let vectors = self.reads.vector(condition, b, &self.numbers)?;
        match (self.reads.length(), vectors) {
            (0, _) => bail!("condition: the model's h is no vector"),
            (_, Some(vectors)) => Ok(vectors),
            (_, None) => bail!(
                "condition: the model expects {}, found {condition}",
                self.reads.takes(&self.numbers.image, b)
            ),
        }
    }

    /// The Gaussian over the codes of images, of a model with such a
    /// bottleneck; `None` of others and where a code itself is given.
    ///
    /// # Errors
    ///
    /// Those of the tensor operations.
    pub fn latent(&self, condition: &Condition) -> Result<Option<Latent>> {
        self.reads.latent(condition, &self.numbers)
    }
}

/// What the blocks take, which must be numbers.
fn finite(condition: Tensor) -> Result<Tensor> {
    let sum = condition.detach().sum_all()?.to_dtype(DType::F32)?;
    match sum.to_scalar::<f32>()?.is_finite() {
        true => Ok(condition),
        false => bail!("condition: numbers that are not finite"),
    }
}

/// What m(h) starts from.
fn source(conditioning: &Conditioning, image: &ImageShape) -> Source {
    match (conditioning, conditioning.length()) {
        (Conditioning::Image { given, .. }, _) => Source::Maps {
            maps: given.shape(image.channels, (1, 1))[0],
            factor: match given {
                Reduction::Grey {} => 1,
                Reduction::Shrunk { factor } => *factor,
            },
        },
        (_, length) => Source::Vector(length.unwrap_or(1)),
    }
}
