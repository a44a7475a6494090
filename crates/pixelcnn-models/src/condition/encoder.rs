//! The encoder: from `Given`, what the user gives, to the `Condition` of the blocks.

use candle_core::{DType, Device, Error, Result, Tensor, bail};
use candle_nn::VarBuilder;
use pixelcnn_layers::{Condition, ConditionShape};

use super::caption::CaptionEncoder;
use super::{
    Bottleneck, CaptionTokenizer, Conditioning, Deconvolution, DeconvolutionInput, Given,
    ImageEncoder, Latent,
};
use crate::classes::listed;
use crate::size::check_large;
use crate::{Classes, EmbeddingNetwork, ImageShape, Reduction, normal, scale};

/// Converts what a user gives (labels, texts, images) into the vector or the maps that
/// the blocks of a network take.
///
/// # Example
///
/// ```
/// use candle_core::{DType, Device};
/// use pixelcnn_models::{Condition, Conditioning, ConditionEncoder, Given, ImageShape, Parameters};
///
/// let image = ImageShape { channels: 3, height: 8, width: 8, levels: 256 };
/// let weights = Parameters::drawn(0).builder(DType::F32, &Device::Cpu);
/// let encoder = ConditionEncoder::new(Some(&Conditioning::Class { classes: 4.into() }), image, weights)?;
/// let h = encoder.encode(&Given::Labels(vec![2]), (8, 8))?;
/// let Condition::Vector(h) = h else { unreachable!() };
/// assert_eq!(h.to_vec2::<f32>()?, [[0.0, 0.0, 1.0, 0.0]]);
/// assert!(encoder.encode(&Given::Labels(vec![4]), (8, 8)).is_err());
/// # Ok::<(), candle_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct ConditionEncoder {
    reader: Reader,
    /// Length of h, if it is a vector.
    length: Option<usize>,
    /// m(h) of eq. 5, if there is one.
    spatial: Option<Deconvolution>,
    /// The condition that the blocks take.
    shape: ConditionShape,
    image: ImageShape,
    dtype: DType,
    device: Device,
}

/// The reader of the user's input.
#[derive(Clone, Debug)]
enum Reader {
    Nothing,
    Classes(Classes),
    /// Reads h or s directly.
    Numbers,
    Caption(CaptionEncoder, Option<Box<CaptionTokenizer>>),
    Reduced(Reduction),
    Code(ImageEncoder, Bottleneck),
    Embedding(EmbeddingNetwork),
}

impl ConditionEncoder {
    /// The encoder of a model for images of `image`, with those of the weights `caption`,
    /// `code`, `embedding` and `spatial` that it needs.
    ///
    /// # Errors
    ///
    /// If the weights do not fit.
    pub fn new(
        conditioning: Option<&Conditioning>,
        image: ImageShape,
        weights: VarBuilder,
    ) -> Result<Self> {
        let (dtype, device) = (weights.dtype(), weights.device().clone());
        let Some(conditioning) = conditioning else {
            return Ok(Self::nothing(image));
        };
        let reader = match conditioning {
            Conditioning::Class { classes } => Reader::Classes(classes.clone()),
            Conditioning::Vector { .. } | Conditioning::Map { .. } => Reader::Numbers,
            Conditioning::Caption(config) => {
                Reader::Caption(CaptionEncoder::new(config, weights.pp("caption"))?, None)
            }
            Conditioning::Image { reduction, .. } => Reader::Reduced(*reduction),
            Conditioning::Code(config) => {
                let outputs = match config.bottleneck {
                    Bottleneck::Plain {} => config.length,
                    Bottleneck::Gaussian { .. } => 2 * config.length,
                };
                let image_encoder =
                    ImageEncoder::new(&image, &config.encoder_maps, outputs, weights.pp("code"))?;
                Reader::Code(image_encoder, config.bottleneck)
            }
            Conditioning::Embedding(config) => {
                let weights = weights.pp("embedding");
                Reader::Embedding(EmbeddingNetwork::new(&image, config, weights)?)
            }
        };
        let spatial = conditioning.spatial().map(|spatial| {
            let source = source(conditioning, &image);
            Deconvolution::new(source, &image, spatial, weights.pp("spatial"))
        });
        Ok(Self {
            reader,
            length: conditioning.length(),
            spatial: spatial.transpose()?,
            shape: conditioning.shape(),
            image,
            dtype,
            device,
        })
    }

    /// The encoder of an unconditional model.
    pub(crate) fn nothing(image: ImageShape) -> Self {
        Self {
            reader: Reader::Nothing,
            length: None,
            spatial: None,
            shape: ConditionShape::None,
            image,
            dtype: DType::F32,
            device: Device::Cpu,
        }
    }

    /// The condition that the blocks take.
    pub fn shape(&self) -> ConditionShape {
        self.shape
    }

    pub(crate) fn set_tokenizer(&mut self, new: CaptionTokenizer) {
        if let Reader::Caption(_, tokenizer) = &mut self.reader {
            *tokenizer = Some(Box::new(new));
        }
    }

    /// The tokenizer, if the model has one.
    pub fn tokenizer(&self) -> Option<&CaptionTokenizer> {
        match &self.reader {
            Reader::Caption(_, tokenizer) => tokenizer.as_deref(),
            _ => None,
        }
    }

    /// Encodes the condition for images of `height x width`.
    ///
    /// # Errors
    ///
    /// If the input is missing, has a wrong kind, length or size, is given to an
    /// unconditional model, has a value or token out of range, or is not
    /// finite.
    pub fn encode(&self, given: &Given, size: (usize, usize)) -> Result<Condition> {
        self.check(given)?;
        if let (Given::Nothing, ConditionShape::None) = (given, self.shape) {
            return Ok(Condition::None);
        }
        if let (Given::Map(map), ConditionShape::Map { maps }) = (given, self.shape)
            && matches!(map.dims(), [_, m, h, w] if [*m, *h, *w] == [maps, size.0, size.1])
        {
            return Ok(Condition::Map(self.own(map)?));
        }
        self.blocks(self.read(given, size)?, size)
    }

    /// The same, image by image, so that the bits of a condition do not depend on the
    /// other images.
    ///
    /// # Errors
    ///
    /// As [`ConditionEncoder::encode`].
    pub fn encode_each(&self, given: &Given, size: (usize, usize)) -> Result<Condition> {
        let images = given.images().unwrap_or(0);
        if images < 2 {
            return self.encode(given, size);
        }
        let (mut vectors, mut maps) = (Vec::new(), Vec::new());
        for image in 0..images {
            match self.encode(&given.one(image)?, size)? {
                Condition::None => {}
                Condition::Vector(vector) => vectors.push(vector),
                Condition::Map(map) => maps.push(map),
            }
        }
        Ok(match maps.is_empty() {
            true => Condition::Vector(Tensor::cat(&vectors, 0)?),
            false => Condition::Map(Tensor::cat(&maps, 0)?),
        })
    }

    /// The same for training. With a Gaussian bottleneck, samples a code for each image
    /// and returns the divergence of each value from the prior in nats, `[b, m]`. Added to
    /// the nats of the images given the code, it gives a bound on the nats of the images.
    /// The sample of an image depends only on `seed` and its number in `rows`. Values and
    /// tokens are not checked, because the images of a batch were checked before.
    ///
    /// # Errors
    ///
    /// If the input does not fit.
    pub fn encode_drawn(
        &self,
        given: &Given,
        size: (usize, usize),
        seed: u64,
        rows: &[u64],
    ) -> Result<(Condition, Option<Tensor>)> {
        let Some(latent) = self.latent(given)? else {
            let condition = match given {
                Given::Image(_) | Given::Tokens(_) => self.blocks(self.read(given, size)?, size)?,
                _ => self.encode(given, size)?,
            };
            return Ok((condition, None));
        };
        let normal = normal(seed, rows, self.length.unwrap_or(0))?;
        let normal = normal.to_device(&self.device)?.to_dtype(self.dtype)?;
        let condition = self.blocks(latent.draw(&normal)?, size)?;
        Ok((condition, Some(latent.divergence()?)))
    }

    /// The vector h of images, before m(h) if there is one. The model's h must be a vector.
    ///
    /// # Shapes
    ///
    /// `[b, d]`.
    ///
    /// # Errors
    ///
    /// If the input does not fit, or h is not a vector.
    pub fn vectors(&self, given: &Given) -> Result<Tensor> {
        if self.length.is_none() {
            bail!("condition: h of the model is not a vector");
        }
        self.check(given)?;
        self.read(given, (self.image.height, self.image.width))
    }

    /// The Gaussian over the codes of images, for a model with a Gaussian bottleneck;
    /// `None` for other models, and if a code itself is given.
    ///
    /// # Errors
    ///
    /// If the images have a wrong size.
    pub fn latent(&self, given: &Given) -> Result<Option<Latent>> {
        let (
            Reader::Code(image_encoder, Bottleneck::Gaussian { .. }),
            Given::Image(image),
            Some(length),
        ) = (&self.reader, given, self.length)
        else {
            return Ok(None);
        };
        if !self.is_whole(image) {
            return self.refused(given, (self.image.height, self.image.width));
        }
        let both = image_encoder.forward(image)?;
        Ok(Some(Latent {
            mean: both.narrow(1, 0, length)?,
            log_variance: both.narrow(1, length, length)?,
        }))
    }

    /// Refuses values, tokens and numbers out of range, for any reader. If they are on a
    /// device, they are copied back.
    pub(crate) fn check(&self, given: &Given) -> Result<()> {
        match (given, &self.reader) {
            (Given::Image(image), _) if image.rank() == 4 && image.elem_count() > 0 => {
                let channels = image.dim(1)?;
                let shape = ImageShape {
                    channels,
                    ..self.image
                };
                shape.check(image).map_err(Error::wrap)
            }
            (Given::Tokens(tokens), Reader::Caption(encoder, _)) => encoder.check(tokens),
            (Given::Vector(numbers) | Given::Map(numbers), _) => {
                // Zero if all are finite, however large.
                let zero = (self.typed(numbers)? * 0.0)?.sum_all()?;
                match zero.to_dtype(DType::F32)?.to_scalar::<f32>()? == 0.0 {
                    true => Ok(()),
                    false => bail!("condition: numbers that are not finite"),
                }
            }
            _ => Ok(()),
        }
    }

    /// h, or the input image of m.
    fn read(&self, given: &Given, size: (usize, usize)) -> Result<Tensor> {
        match (&self.reader, given) {
            (_, Given::Vector(vector))
                if vector.rank() == 2 && Some(vector.dim(1)?) == self.length =>
            {
                self.own(vector)
            }
            (Reader::Classes(classes), Given::Labels(labels)) => self.one_hot(labels, classes),
            (Reader::Caption(encoder, _), Given::Tokens(tokens)) if tokens.rank() == 2 => {
                encoder.forward(&tokens.to_device(&self.device)?)
            }
            (Reader::Caption(encoder, tokenizer), Given::Text(texts)) => {
                let Some(tokenizer) = tokenizer else {
                    bail!("condition: the model has no tokenizer.json and reads only tokens");
                };
                let tokens = tokenizer.tokens(texts, &self.device);
                encoder.forward(&tokens.map_err(Error::wrap)?)
            }
            (Reader::Reduced(reduction), Given::Image(image))
                if image.rank() == 4
                    && image.dims()[1..] == reduction.shape(self.image.channels, size) =>
            {
                self.scaled(image)
            }
            (Reader::Code(image_encoder, _), Given::Image(image)) if self.is_whole(image) => {
                let code = image_encoder.forward(image)?;
                // The means of a Gaussian come first, then its variances.
                code.narrow(1, 0, self.length.unwrap_or(0))
            }
            (Reader::Embedding(network), Given::Image(image)) if self.is_whole(image) => {
                let embedding = network.forward(image)?;
                Ok(EmbeddingNetwork::condition(&embedding)?.detach())
            }
            _ => self.refused(given, size),
        }
    }

    /// The condition of the blocks, computed from h.
    fn blocks(&self, h: Tensor, size: (usize, usize)) -> Result<Condition> {
        Ok(match &self.spatial {
            None => Condition::Vector(h),
            Some(spatial) => Condition::Map(spatial.forward(&h, size)?),
        })
    }

    /// Whether these are images of the model's size.
    fn is_whole(&self, image: &Tensor) -> bool {
        let ImageShape {
            channels,
            height,
            width,
            ..
        } = self.image;
        matches!(image.dims(), [_, c, h, w] if [*c, *h, *w] == [channels, height, width])
    }

    /// An error that says what the model expects.
    fn refused<T>(&self, given: &Given, (h, w): (usize, usize)) -> Result<T> {
        let ImageShape {
            channels,
            height,
            width,
            ..
        } = self.image;
        let named = match &self.reader {
            Reader::Nothing => "no condition".to_string(),
            Reader::Classes(classes) => format!("labels below {}", below(classes)),
            Reader::Numbers => String::new(),
            Reader::Caption(..) => "texts, tokens [b, t]".to_string(),
            Reader::Reduced(reduction) => {
                let [c, h, w] = reduction.shape(channels, (h, w));
                format!("an image [b, {c}, {h}, {w}]")
            }
            Reader::Code(..) | Reader::Embedding(_) => {
                format!("an image [b, {channels}, {height}, {width}]")
            }
        };
        let vector = self.length.map(|length| format!("a vector [b, {length}]"));
        let map = match self.shape {
            ConditionShape::Map { maps } => Some(format!("a map [b, {maps}, {h}, {w}]")),
            ConditionShape::None | ConditionShape::Vector { .. } => None,
        };
        let all = [Some(named), vector, map].into_iter().flatten();
        let all: Vec<_> = all.filter(|one| !one.is_empty()).collect();
        bail!(
            "condition: the model expects {}, found {given}",
            all.join(" or ")
        )
    }

    /// Numbers with the type and device of the weights.
    fn own(&self, numbers: &Tensor) -> Result<Tensor> {
        self.typed(numbers)?.to_device(&self.device)
    }

    /// Numbers with the type of the weights, on their own device.
    fn typed(&self, numbers: &Tensor) -> Result<Tensor> {
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
        check_numbers(numbers.elem_count(), "the given numbers")?;
        numbers.to_dtype(self.dtype)
    }

    /// Images, scaled as the network's input.
    fn scaled(&self, image: &Tensor) -> Result<Tensor> {
        let shape = ImageShape {
            channels: image.dim(1)?,
            ..self.image
        };
        shape.check_shape(image).map_err(Error::wrap)?;
        check_numbers(image.elem_count(), "the given images")?;
        scale(
            &image.to_device(&self.device)?,
            self.image.levels,
            self.dtype,
        )
    }

    fn one_hot(&self, labels: &[u32], known: &Classes) -> Result<Tensor> {
        let classes = known.count();
        if let Some(label) = labels.iter().find(|label| **label as usize >= classes) {
            let expected = format!("labels below {}", below(known));
            bail!("condition: label {label}, the model expects {expected}");
        }
        let count = labels.len().saturating_mul(classes);
        check_numbers(count, "a one-hot vector per label")?;
        let mut hot = vec![0f32; count];
        for (row, label) in hot.chunks_exact_mut(classes).zip(labels) {
            row[*label as usize] = 1.0;
        }
        Tensor::from_vec(hot, (labels.len(), classes), &self.device)?.to_dtype(self.dtype)
    }
}

/// Checks that this many numbers, and their copy, fit into memory.
fn check_numbers(count: usize, what: &str) -> Result<()> {
    check_large(8 * count as u128, || what.to_string()).map_err(Error::wrap)
}

/// The limit of labels, with the names of the classes.
fn below(classes: &Classes) -> String {
    let named = match classes.names() {
        [] => String::new(),
        names => format!(" ({})", listed(names)),
    };
    format!("{}{named}", classes.count())
}

/// The input of m(h).
fn source(conditioning: &Conditioning, image: &ImageShape) -> DeconvolutionInput {
    match (conditioning, conditioning.length()) {
        (Conditioning::Image { reduction, .. }, _) => DeconvolutionInput::Maps {
            maps: reduction.shape(image.channels, (1, 1))[0],
            factor: match reduction {
                Reduction::Grey {} => 1,
                Reduction::Shrunk { factor } => *factor,
            },
        },
        (_, length) => DeconvolutionInput::Vector(length.unwrap_or(1)),
    }
}
