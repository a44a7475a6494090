//! Which model an archive needs.

use std::fmt;

use candle_core::{DType, Result};
use pixelcnn_models::{Condition, Model};
use pixelcnn_sample::{Driver, Engine, ValueDistribution, ValueIndex};
use xxhash_rust::xxh3::Xxh3;

use crate::CodecError;

/// The identity of a model: a hash of its weights and of what the engine computes with them.
///
/// The hash is the 128-bit XXH3 of, for each tensor in the order of names: the name, a zero
/// byte, the number of sides and each side as u64, and the numbers as f32; then the weights
/// (u32) that the engine gives to each level of each value of a fixed image of 16 x 16. All
/// numbers are little-endian. These weights depend on the configuration and on the arithmetic
/// of the engine, so two programs with the same hash decode the same values of tiles up to this
/// size. A setting that has an effect in larger tiles only, such as a large dilation, is not
/// seen; the checksums of the tiles then show the difference.
///
/// # Example
///
/// ```
/// # use candle_core::Device;
/// # use pixelcnn_models::{ImageShape, Model, ModelConfig, PixelCnnConfig};
/// use pixelcnn_codec::Codec;
///
/// # let image = ImageShape { channels: 1, height: 4, width: 4, levels: 8 };
/// # let config = PixelCnnConfig { image, blocks: 1, maps: 3, head: 3, ..PixelCnnConfig::cifar10() };
/// # let config = ModelConfig::from(config);
/// let identity = |seed| {
///     let (model, _) = Model::initialise(&config, seed, &Device::Cpu)?;
///     Ok::<_, pixelcnn_codec::CodecError>(Codec::new(&model)?.identity().clone())
/// };
/// assert_eq!(identity(1)?, identity(1)?);
/// assert_ne!(identity(1)?.hash, identity(2)?.hash);
/// # Ok::<(), pixelcnn_codec::CodecError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelIdentity {
    /// The hash.
    pub hash: [u8; 16],
    /// Channels of the images.
    pub channels: usize,
    /// Levels of the values.
    pub levels: usize,
    /// A name under which the model can be found. It does not count when identities are
    /// compared for decoding.
    pub name: Option<String>,
}

impl ModelIdentity {
    /// Whether this model decodes what `other` has compressed.
    pub fn is_same_model(&self, other: &Self) -> bool {
        let of = |identity: &Self| (identity.hash, identity.channels, identity.levels);
        of(self) == of(other)
    }

    /// The hash as hexadecimal digits.
    pub fn hexadecimal(&self) -> String {
        self.hash.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    pub(crate) fn of(model: &Model, engine: &Engine) -> std::result::Result<Self, CodecError> {
        let mut hash = Xxh3::new();
        for (name, tensor) in model.tensors() {
            hash.update(name.as_bytes());
            hash.update(&[0]);
            hash.update(&(tensor.rank() as u64).to_le_bytes());
            for side in tensor.dims() {
                hash.update(&(*side as u64).to_le_bytes());
            }
            let numbers = tensor.to_dtype(DType::F32)?.flatten_all()?;
            for number in numbers.to_vec1::<f32>()? {
                hash.update(&number.to_le_bytes());
            }
        }
        let image = engine.image();
        let mut probe = [Probe {
            levels: image.levels,
            channels: image.channels,
            row: Vec::new(),
            distribution: engine.value_distribution(),
            hash,
        }];
        engine.run((SIDE, SIDE), &Condition::None, &mut probe)?;
        let [probe] = probe;
        Ok(Self {
            hash: probe.hash.digest128().to_le_bytes(),
            channels: image.channels,
            levels: image.levels,
            name: None,
        })
    }
}

impl fmt::Display for ModelIdentity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            channels, levels, ..
        } = self;
        let hash = self.hexadecimal();
        write!(formatter, "{hash} ({channels} x {levels} levels")?;
        match &self.name {
            Some(name) => write!(formatter, ", {})", pixelcnn_system::escaped(name)),
            None => formatter.write_str(")"),
        }
    }
}

/// Side of the fixed image.
const SIDE: usize = 16;

/// Hashes the distributions of the fixed image.
struct Probe {
    levels: usize,
    channels: usize,
    /// `[column, channel]` of the current row.
    row: Vec<u32>,
    distribution: ValueDistribution,
    hash: Xxh3,
}

/// A value of the fixed image: a fixed pattern over all levels.
fn pattern(index: usize, levels: usize) -> u32 {
    let mixed = (index as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    (mixed % levels as u64) as u32
}

impl Driver for Probe {
    fn known(&mut self, row: usize, values: &mut [u32]) -> Result<bool> {
        let first = row * values.len();
        for (index, value) in values.iter_mut().enumerate() {
            *value = pattern(first + index, self.levels);
        }
        self.row = values.to_vec();
        Ok(true)
    }

    fn value(&mut self, index: ValueIndex, parameters: &[f32]) -> Result<u32> {
        let pixel = &self.row[index.column * self.channels..][..self.channels];
        let earlier = &pixel[..index.channel];
        self.distribution.set(parameters, earlier, 1.0)?;
        for weight in self.distribution.frequencies().weights() {
            self.hash.update(&weight.to_le_bytes());
        }
        Ok(pixel[index.channel])
    }
}
