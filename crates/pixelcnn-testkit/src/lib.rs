//! The table of every layer and model in small sizes, which the generic tests
//! beside it walk: a layer or model that is added here is checked for shapes,
//! causality, gradients, files and names without another line.

/// The README's example runs as a test.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;

pub mod layers;
pub mod models;

use candle_core::{DType, Device, Result, Tensor};
use pixelcnn_models::{Condition, Conditioning};

/// Numbers in -1..1 without a pattern that a kernel could cancel; the same
/// for the same shape and phase.
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

/// A condition of the kind a model expects, for `b` images of `h x w`.
///
/// # Example
///
/// ```
/// use candle_core::DType;
/// use pixelcnn_models::{Condition, Conditioning};
///
/// let kind = Conditioning::Vector { length: 5 };
/// let condition = pixelcnn_testkit::condition(kind, 2, 3, 4, DType::F32)?;
/// let Condition::Vector(vector) = condition else { panic!("a vector was asked for") };
/// assert_eq!(vector.dims(), [2, 5]);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn condition(
    kind: Conditioning,
    b: usize,
    h: usize,
    w: usize,
    dtype: DType,
) -> Result<Condition> {
    Ok(match kind {
        Conditioning::None => Condition::None,
        Conditioning::Vector { length } => {
            Condition::Vector(wave(&[b, length], 0.1)?.to_dtype(dtype)?)
        }
        Conditioning::Map { maps } => Condition::Map(wave(&[b, maps, h, w], 0.2)?.to_dtype(dtype)?),
    })
}
