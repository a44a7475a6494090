//! The table of every layer and model in small sizes, for the generic tests. A new
//! layer or model in the table is automatically checked for shapes, causality,
//! gradients, files and names.

/// The README's example runs as a test.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;

pub mod foreign;
pub mod layers;
pub mod models;
pub mod odd;

use candle_core::{DType, Device, Result, Tensor};
use pixelcnn_models::{
    Condition, ConditionShape, Conditioning, Given, Model, ModelConfig, ModelError,
};

/// Numbers in -1..1 without a pattern that a kernel could cancel; the same for the same
/// shape and phase.
///
/// # Example
///
/// ```
/// let maps = pixelcnn_testkit::wave(&[1, 2, 3, 3], 0.5)?;
/// assert_eq!(maps.dims(), [1, 2, 3, 3]);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn wave(shape: &[usize], phase: f64) -> Result<Tensor> {
    let count: usize = shape.iter().product();
    let value = |index: usize| (index as f64 * 12.9898 + phase).sin() * 43_758.545;
    let values: Vec<f64> = (0..count).map(|i| value(i).fract()).collect();
    Tensor::from_vec(values, shape, &Device::Cpu)
}

/// Values below `levels` without a pattern, `u32`.
///
/// # Example
///
/// ```
/// let values = pixelcnn_testkit::values(&[1, 1, 4, 4], 16)?;
/// assert!(values.max_all()?.to_scalar::<u32>()? < 16);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn values(shape: &[usize], levels: usize) -> Result<Tensor> {
    let unit = wave(shape, 0.25)?.affine(0.5, 0.5)?;
    (unit * levels as f64)?
        .floor()?
        .clamp(0.0, (levels - 1) as f64)?
        .to_dtype(DType::U32)
}

/// A condition of this shape for the blocks, for `b` images of `h x w`.
///
/// # Example
///
/// ```
/// use candle_core::DType;
/// use pixelcnn_models::{Condition, ConditionShape};
///
/// let shape = ConditionShape::Vector { length: 5 };
/// let condition = pixelcnn_testkit::condition(shape, 2, 3, 4, DType::F32)?;
/// let Condition::Vector(vector) = condition else { panic!("a vector was asked for") };
/// assert_eq!(vector.dims(), [2, 5]);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn condition(
    shape: ConditionShape,
    b: usize,
    h: usize,
    w: usize,
    dtype: DType,
) -> Result<Condition> {
    Ok(match shape {
        ConditionShape::None => Condition::None,
        ConditionShape::Vector { length } => {
            Condition::Vector(wave(&[b, length], 0.1)?.to_dtype(dtype)?)
        }
        ConditionShape::Map { maps } => {
            Condition::Map(wave(&[b, maps, h, w], 0.2)?.to_dtype(dtype)?)
        }
    })
}

/// A condition for the model of `config` as a user gives it (labels, tokens, images), for
/// `b` images of `h x w`.
///
/// # Example
///
/// ```
/// use pixelcnn_models::{Given, ModelConfig};
///
/// let case = pixelcnn_testkit::models::networks().into_iter().find(|case| case.name.contains("class"));
/// let given = pixelcnn_testkit::given(&case.unwrap().config, 2, 3, 4)?;
/// assert!(matches!(given, Given::Labels(labels) if labels.len() == 2));
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn given(config: &ModelConfig, b: usize, h: usize, w: usize) -> Result<Given> {
    let image = config.image();
    let numbers = |shape: &[usize], phase: f64| wave(shape, phase)?.to_dtype(DType::F32);
    Ok(match config.conditioning() {
        None => Given::Nothing,
        Some(Conditioning::Class { classes }) => Given::Labels(
            (0..b)
                .map(|index| (index % classes.count()) as u32)
                .collect(),
        ),
        Some(Conditioning::Vector { length, .. }) => Given::Vector(numbers(&[b, *length], 0.1)?),
        Some(Conditioning::Map { maps }) => Given::Map(numbers(&[b, *maps, h, w], 0.2)?),
        Some(Conditioning::Caption(config)) => Given::Tokens(values(&[b, 5], config.vocabulary)?),
        Some(Conditioning::Image { reduction, .. }) => {
            let [c, h, w] = reduction.shape(image.channels, (h, w));
            Given::Image(values(&[b, c, h, w], image.levels)?)
        }
        Some(Conditioning::Code(_) | Conditioning::Embedding(_)) => {
            let shape = [b, image.channels, image.height, image.width];
            Given::Image(values(&shape, image.levels)?)
        }
    })
}

/// The same condition, encoded for the blocks of a model.
///
/// # Example
///
/// ```
/// use candle_core::Device;
/// use pixelcnn_models::{Condition, Model};
///
/// let case = &pixelcnn_testkit::models::networks()[0];
/// let (model, _) = Model::initialise(&case.config, 1, &Device::Cpu)?;
/// assert!(matches!(pixelcnn_testkit::encoded(&model, 2, 3, 4)?, Condition::None));
/// # Ok::<(), pixelcnn_models::ModelError>(())
/// ```
pub fn encoded(
    model: &Model,
    b: usize,
    h: usize,
    w: usize,
) -> std::result::Result<Condition, ModelError> {
    let given = given(model.config(), b, h, w)?;
    Ok(model
        .density()?
        .condition_encoder()
        .encode(&given, (h, w))?)
}

/// `(h, w)`, or the size of the model's images if a map m(h) of a vector fixes it.
///
/// # Example
///
/// ```
/// let case = &pixelcnn_testkit::models::networks()[0];
/// assert_eq!(pixelcnn_testkit::size(&case.config, (1, 9)), (1, 9));
/// ```
pub fn size(config: &ModelConfig, size: (usize, usize)) -> (usize, usize) {
    let conditioning = config.conditioning();
    let spatial = conditioning.and_then(Conditioning::spatial);
    match (spatial, conditioning.and_then(Conditioning::length)) {
        (Some(_), Some(_)) => (config.image().height, config.image().width),
        _ => size,
    }
}
