//! What a model is given, and the h that it becomes.

use candle_core::{DType, Device, Error, Result, Tensor, bail};
use candle_nn::VarBuilder;
use pixelcnn_layers::Condition;

use super::caption::{CaptionEncoder, checked};
use super::{Bottleneck, CaptionTokenizer, Conditioning, Latent, Reduction, Tower};
use crate::classes::listed;
use crate::{Classes, EmbeddingNetwork, ImageShape, scale};
use pixelcnn_system::counted;

/// What is given.
#[derive(Clone, Debug)]
pub(super) enum Reads {
    Nothing,
    Classes(Classes),
    Vector(usize),
    Map,
    Caption {
        encoder: CaptionEncoder,
        tokenizer: Option<Box<CaptionTokenizer>>,
        length: usize,
    },
    Reduced(Reduction),
    Code {
        tower: Tower,
        bottleneck: Bottleneck,
        length: usize,
    },
    Embedding(EmbeddingNetwork, usize),
}

impl Reads {
    pub fn new(
        conditioning: Option<&Conditioning>,
        image: &ImageShape,
        weights: &VarBuilder,
    ) -> Result<Self> {
        Ok(match conditioning {
            None => Self::Nothing,
            Some(Conditioning::Class { classes }) => Self::Classes(classes.clone()),
            Some(Conditioning::Vector { length, .. }) => Self::Vector(*length),
            Some(Conditioning::Map { .. }) => Self::Map,
            Some(Conditioning::Caption(config)) => Self::Caption {
                encoder: CaptionEncoder::new(config, weights.pp("caption"))?,
                tokenizer: None,
                length: config.length,
            },
            Some(Conditioning::Image { given, .. }) => Self::Reduced(*given),
            Some(Conditioning::Code(config)) => {
                let outputs = match config.bottleneck {
                    Bottleneck::Plain {} => config.length,
                    Bottleneck::Gaussian { .. } => 2 * config.length,
                };
                Self::Code {
                    tower: Tower::new(image, &config.encoder, outputs, weights.pp("code"))?,
                    bottleneck: config.bottleneck,
                    length: config.length,
                }
            }
            Some(Conditioning::Embedding(config)) => {
                let network = EmbeddingNetwork::new(image, config, weights.pp("embedding"))?;
                Self::Embedding(network, config.length)
            }
        })
    }

    /// Number of values of h, 0 where it is no vector.
    pub fn length(&self) -> usize {
        match self {
            Self::Classes(classes) => classes.count(),
            Self::Vector(length)
            | Self::Caption { length, .. }
            | Self::Code { length, .. }
            | Self::Embedding(_, length) => *length,
            Self::Nothing | Self::Map | Self::Reduced(_) => 0,
        }
    }

    /// What [`Reads::vector`] takes for `b` images.
    pub fn takes(&self, image: &ImageShape, b: usize) -> String {
        let given = match self {
            Self::Classes(classes) => {
                format!("{} below {} or ", counted(b, "label"), below(classes))
            }
            Self::Caption { .. } => format!("{b} texts or tokens [{b}, t] or "),
            Self::Code { .. } | Self::Embedding(..) => {
                let ImageShape {
                    channels,
                    height,
                    width,
                    ..
                } = image;
                format!("an image [{b}, {channels}, {height}, {width}] or ")
            }
            Self::Vector(_) | Self::Nothing | Self::Map | Self::Reduced(_) => String::new(),
        };
        format!("{given}a vector [{b}, {}]", self.length())
    }

    /// h of `b` images, if it is a vector; `None` where the condition does not
    /// fit.
    pub fn vector(
        &self,
        condition: &Condition,
        b: usize,
        numbers: &Numbers,
    ) -> Result<Option<Tensor>> {
        Ok(match (self, condition) {
            (_, Condition::Vector(vector)) if vector.dims() == [b, self.length()] => {
                Some(numbers.own(vector)?)
            }
            (Self::Classes(classes), Condition::Labels(labels)) if labels.len() == b => {
                Some(numbers.one_hot(labels, classes)?)
            }
            (Self::Caption { encoder, .. }, Condition::Tokens(tokens)) if matches!(tokens.dims(), [images, _] if *images == b) => {
                Some(encoder.forward(&checked(tokens)?.to_device(&numbers.device)?)?)
            }
            (
                Self::Caption {
                    encoder, tokenizer, ..
                },
                Condition::Text(texts),
            ) if texts.len() == b => {
                let Some(tokenizer) = tokenizer else {
                    bail!("condition: the model has no tokenizer.json and reads tokens alone");
                };
                let tokens = tokenizer.tokens(texts, &numbers.device);
                Some(encoder.forward(&tokens.map_err(Error::wrap)?)?)
            }
            (Self::Code { tower, .. }, Condition::Image(image)) if numbers.fits(image, b) => {
                match self.latent(condition, numbers)? {
                    Some(latent) => Some(latent.mean),
                    None => Some(tower.forward(&numbers.scaled(image)?)?),
                }
            }
            (Self::Embedding(network, _), Condition::Image(image)) if numbers.fits(image, b) => {
                let embedding = network.forward(&numbers.scaled(image)?)?;
                Some(EmbeddingNetwork::condition(&embedding)?.detach())
            }
            _ => None,
        })
    }

    /// The Gaussian over the codes of images; `None` where there is none.
    pub fn latent(&self, condition: &Condition, numbers: &Numbers) -> Result<Option<Latent>> {
        let (
            Self::Code {
                tower,
                bottleneck: Bottleneck::Gaussian { .. },
                length,
            },
            Condition::Image(image),
        ) = (self, condition)
        else {
            return Ok(None);
        };
        if !numbers.fits(image, image.dim(0)?) {
            return Ok(None);
        }
        let both = tower.forward(&numbers.scaled(image)?)?;
        Ok(Some(Latent {
            mean: both.narrow(1, 0, *length)?,
            log_variance: both.narrow(1, *length, *length)?,
        }))
    }
}

/// How the numbers of a model are: of which images, of which type, where.
#[derive(Clone, Debug)]
pub(super) struct Numbers {
    pub image: ImageShape,
    pub dtype: DType,
    pub device: Device,
}

impl Numbers {
    /// Whether these are `b` images of the model's size.
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
    pub fn own(&self, numbers: &Tensor) -> Result<Tensor> {
        // candle's conversions of other types may fail or never return.
        if !matches!(
            numbers.dtype(),
            DType::F32
                | DType::F64
                | DType::F16
                | DType::BF16
                | DType::U8
                | DType::U32
                | DType::I64
        ) {
            let found = numbers.dtype().as_str();
            bail!("condition: bf16, f16, f32, f64, i64, u32 or u8 expected, found {found}");
        }
        numbers.to_device(&self.device)?.to_dtype(self.dtype)
    }

    /// Images of any size and number of channels, as the network reads them.
    pub fn scaled(&self, image: &Tensor) -> Result<Tensor> {
        let shape = ImageShape {
            channels: image.dim(1)?,
            ..self.image
        };
        shape.check(image).map_err(Error::wrap)?;
        let image = image.to_device(&self.device)?;
        scale(&image, self.image.levels, self.dtype)
    }

    fn one_hot(&self, labels: &[u32], known: &Classes) -> Result<Tensor> {
        let classes = known.count();
        if let Some(label) = labels.iter().find(|label| **label as usize >= classes) {
            let expected = format!("labels below {}", below(known));
            bail!("condition: label {label}, the model expects {expected}");
        }
        let mut hot = vec![0f32; labels.len() * classes];
        for (row, label) in hot.chunks_exact_mut(classes).zip(labels) {
            row[*label as usize] = 1.0;
        }
        Tensor::from_vec(hot, (labels.len(), classes), &self.device)?.to_dtype(self.dtype)
    }
}

/// What labels are below, with the names of the classes.
fn below(classes: &Classes) -> String {
    let named = match classes.names() {
        [] => String::new(),
        names => format!(" ({})", listed(names)),
    };
    format!("{}{named}", classes.count())
}
