//! From what is given to what the blocks take.

use candle_core::{DType, Device, Error, Result, Tensor, bail};
use candle_nn::VarBuilder;
use pixelcnn_layers::{Condition, ConditionShape};

use super::caption::{CaptionEncoder, checked};
use super::{
    Bottleneck, CaptionTokenizer, Conditioning, Deconvolution, Latent, Reduction, Source, Tower,
};
use crate::{EmbeddingNetwork, ImageShape, scale};

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
/// let encoder = Encoder::new(Some(&Conditioning::Class { classes: 4 }), image, weights)?;
/// let labels = Condition::Labels(vec![2]);
/// let Condition::Vector(h) = encoder.encode(&labels, (1, 8, 8))? else { unreachable!() };
/// assert_eq!(h.to_vec2::<f32>()?, [[0.0, 0.0, 1.0, 0.0]]);
/// assert!(encoder.encode(&Condition::Labels(vec![4]), (1, 8, 8)).is_err());
/// # Ok::<(), candle_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Encoder {
    image: ImageShape,
    reads: Reads,
    spatial: Option<Deconvolution>,
    /// Maps that the blocks take, 0 where they take none.
    maps: usize,
    tokenizer: Option<CaptionTokenizer>,
    dtype: DType,
    device: Device,
}

/// What is given.
#[derive(Clone, Debug)]
enum Reads {
    Nothing,
    Classes(usize),
    Vector(usize),
    Map,
    Caption(CaptionEncoder, usize),
    Reduced(Reduction),
    Code {
        tower: Tower,
        bottleneck: Bottleneck,
        length: usize,
    },
    Embedding(EmbeddingNetwork, usize),
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
        let reads = match conditioning {
            None => Reads::Nothing,
            Some(Conditioning::Class { classes }) => Reads::Classes(*classes),
            Some(Conditioning::Vector { length, .. }) => Reads::Vector(*length),
            Some(Conditioning::Map { .. }) => Reads::Map,
            Some(Conditioning::Caption(config)) => {
                let encoder = CaptionEncoder::new(config, weights.pp("caption"))?;
                Reads::Caption(encoder, config.length)
            }
            Some(Conditioning::Image { given, .. }) => Reads::Reduced(*given),
            Some(Conditioning::Code(config)) => {
                let outputs = match config.bottleneck {
                    Bottleneck::Plain {} => config.length,
                    Bottleneck::Gaussian { .. } => 2 * config.length,
                };
                Reads::Code {
                    tower: Tower::new(&image, &config.encoder, outputs, weights.pp("code"))?,
                    bottleneck: config.bottleneck,
                    length: config.length,
                }
            }
            Some(Conditioning::Embedding(config)) => {
                let network = EmbeddingNetwork::new(&image, config, weights.pp("embedding"))?;
                Reads::Embedding(network, config.length)
            }
        };
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
            image,
            reads,
            spatial,
            maps: match conditioning.map(Conditioning::shape) {
                Some(ConditionShape::Map { maps }) => maps,
                _ => 0,
            },
            tokenizer: None,
            dtype: weights.dtype(),
            device: weights.device().clone(),
        })
    }

    pub(crate) fn set_tokenizer(&mut self, tokenizer: CaptionTokenizer) {
        self.tokenizer = Some(tokenizer);
    }

    /// What turns texts into tokens, where the model has been given it.
    pub fn tokenizer(&self) -> Option<&CaptionTokenizer> {
        self.tokenizer.as_ref()
    }

    /// What the blocks take for `b` images of `h x w`: of what is given, or
    /// the same, if it is that already.
    ///
    /// # Errors
    ///
    /// If the condition is missing, of another kind, number, length or size
    /// than the model expects, or given to a model that takes none.
    pub fn encode(&self, condition: &Condition, size: (usize, usize, usize)) -> Result<Condition> {
        let (b, h, w) = size;
        let expected = |what: &str| -> Result<Condition> {
            bail!("condition: the model expects {what}, found {condition}")
        };
        let vector = match (&self.reads, condition) {
            (Reads::Nothing, Condition::None) => return Ok(Condition::None),
            (Reads::Nothing, _) => return expected("no condition"),
            (_, Condition::Map(map)) if map.dims() == [b, self.maps, h, w] => {
                return Ok(Condition::Map(self.own(map)?));
            }
            (Reads::Map, _) => {
                return expected(&format!("a map [{b}, {}, {h}, {w}]", self.maps));
            }
            (Reads::Reduced(given), _) => {
                let [c, small_h, small_w] = given.shape(self.image.channels, (h, w));
                match condition {
                    Condition::Image(image) if image.dims() == [b, c, small_h, small_w] => {
                        self.scaled(image)?
                    }
                    _ => {
                        return expected(&format!("an image [{b}, {c}, {small_h}, {small_w}]"));
                    }
                }
            }
            _ => match self.vector(condition, b)? {
                Some(vector) => vector,
                None => return expected(&self.takes(b)),
            },
        };
        match &self.spatial {
            None => Ok(Condition::Vector(vector)),
            Some(spatial) => {
                let maps = spatial.forward(&vector, (h, w))?;
                let (_, _, height, width) = maps.dims4()?;
                if (height, width) != (h, w) {
                    bail!("condition: the model's m(h) is {height} x {width}, not {h} x {w}");
                }
                Ok(Condition::Map(maps))
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
        match (self.length(), self.vector(condition, b)?) {
            (0, _) => bail!("condition: the model's h is no vector"),
            (_, Some(vectors)) => Ok(vectors),
            (_, None) => bail!(
                "condition: the model expects {}, found {condition}",
                self.takes(b)
            ),
        }
    }

    /// h of images, if it is a vector; `None` where the condition does not
    /// fit.
    fn vector(&self, condition: &Condition, b: usize) -> Result<Option<Tensor>> {
        let length = self.length();
        Ok(match (&self.reads, condition) {
            (_, Condition::Vector(vector)) if vector.dims() == [b, length] => {
                Some(self.own(vector)?)
            }
            (Reads::Classes(classes), Condition::Labels(labels)) if labels.len() == b => {
                Some(self.one_hot(labels, *classes)?)
            }
            (Reads::Caption(encoder, _), Condition::Tokens(tokens)) if matches!(tokens.dims(), [images, _] if *images == b) => {
                Some(encoder.forward(&checked(tokens)?.to_device(&self.device)?)?)
            }
            (Reads::Caption(encoder, _), Condition::Text(texts)) if texts.len() == b => {
                let Some(tokenizer) = &self.tokenizer else {
                    bail!("condition: the model has no tokenizer.json and reads tokens alone");
                };
                let tokens = tokenizer.tokens(texts, &self.device).map_err(Error::wrap)?;
                Some(encoder.forward(&tokens)?)
            }
            (Reads::Code { .. }, Condition::Image(image)) if self.fits(image, b) => {
                match self.latent(condition)? {
                    Some(latent) => Some(latent.mean),
                    None => self.code(image)?,
                }
            }
            (Reads::Embedding(network, length), Condition::Image(image)) if self.fits(image, b) => {
                let embedding = network.forward(&self.scaled(image)?)?;
                // Of unit length; V is drawn for values of unit variance.
                Some(embedding.affine((*length as f64).sqrt(), 0.0)?.detach())
            }
            _ => None,
        })
    }

    /// The Gaussian over the codes of images, of a model with such a
    /// bottleneck; `None` of others and where a code itself is given.
    ///
    /// # Errors
    ///
    /// Those of the tensor operations.
    pub fn latent(&self, condition: &Condition) -> Result<Option<Latent>> {
        let (
            Reads::Code {
                bottleneck, length, ..
            },
            Condition::Image(image),
        ) = (&self.reads, condition)
        else {
            return Ok(None);
        };
        if matches!(bottleneck, Bottleneck::Plain {}) || !self.fits(image, image.dim(0)?) {
            return Ok(None);
        }
        let Some(both) = self.code(image)? else {
            return Ok(None);
        };
        Ok(Some(Latent {
            mean: both.narrow(1, 0, *length)?,
            log_variance: both.narrow(1, *length, *length)?,
        }))
    }

    fn code(&self, image: &Tensor) -> Result<Option<Tensor>> {
        match &self.reads {
            Reads::Code { tower, .. } => Ok(Some(tower.forward(&self.scaled(image)?)?)),
            _ => Ok(None),
        }
    }

    /// Number of values of h, 0 where it is no vector.
    fn length(&self) -> usize {
        match &self.reads {
            Reads::Classes(length)
            | Reads::Vector(length)
            | Reads::Caption(_, length)
            | Reads::Code { length, .. }
            | Reads::Embedding(_, length) => *length,
            Reads::Nothing | Reads::Map | Reads::Reduced(_) => 0,
        }
    }

    /// What [`Encoder::vector`] would take for `b` images.
    fn takes(&self, b: usize) -> String {
        let ImageShape {
            channels,
            height,
            width,
            ..
        } = self.image;
        let given = match &self.reads {
            Reads::Classes(classes) => format!("{b} labels below {classes} or "),
            Reads::Caption(..) => format!("{b} texts or tokens [{b}, t] or "),
            Reads::Code { .. } | Reads::Embedding(..) => {
                format!("an image [{b}, {channels}, {height}, {width}] or ")
            }
            Reads::Vector(_) | Reads::Nothing | Reads::Map | Reads::Reduced(_) => String::new(),
        };
        format!("{given}a vector [{b}, {}]", self.length())
    }

    fn fits(&self, image: &Tensor, b: usize) -> bool {
        let ImageShape {
            channels,
            height,
            width,
            ..
        } = self.image;
        image.dims() == [b, channels, height, width]
    }

    /// Numbers in the type and on the device of the weights.
    fn own(&self, numbers: &Tensor) -> Result<Tensor> {
        numbers.to_device(&self.device)?.to_dtype(self.dtype)
    }

    fn scaled(&self, image: &Tensor) -> Result<Tensor> {
        let shape = ImageShape {
            channels: image.dim(1)?,
            ..self.image
        };
        shape.check(image).map_err(Error::wrap)?;
        scale(
            &image.to_device(&self.device)?,
            self.image.levels,
            self.dtype,
        )
    }

    fn one_hot(&self, labels: &[u32], classes: usize) -> Result<Tensor> {
        if let Some(label) = labels.iter().find(|label| **label as usize >= classes) {
            bail!("condition: label {label}, the model expects labels below {classes}");
        }
        let mut hot = vec![0f32; labels.len() * classes];
        for (row, label) in hot.chunks_exact_mut(classes).zip(labels) {
            row[*label as usize] = 1.0;
        }
        Tensor::from_vec(hot, (labels.len(), classes), &self.device)?.to_dtype(self.dtype)
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
