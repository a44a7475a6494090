//! Compresses tiles with a model, many at a time.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use pixelcnn_models::{Condition, Model};
use pixelcnn_sample::Engine;
use xxhash_rust::xxh3::xxh3_64;

use crate::drivers::{Decoding, Encoding};
use crate::prediction::{self, TileShape};
use crate::{Area, CodecError, ModelIdentity};

/// How a tile is compressed.
///
/// # Example
///
/// ```
/// assert_ne!(pixelcnn_codec::Method::Model, pixelcnn_codec::Method::Prediction);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// By the model and a range coder.
    Model,
    /// By a prediction from neighbours and zlib, where this is smaller.
    Prediction,
}

impl Method {
    pub(crate) fn code(self) -> usize {
        match self {
            Self::Model => 0,
            Self::Prediction => 1,
        }
    }

    /// The largest number of values of a tile of this many bytes. A file that claims more
    /// would cost much time for nothing.
    pub(crate) fn most_values(self, length: usize) -> usize {
        let (free, of_a_byte) = match self {
            Self::Model => (1 << 16, 1 << 12),
            // zlib makes at most 1032 bytes of one.
            Self::Prediction => (0, 1032),
        };
        length.saturating_mul(of_a_byte).saturating_add(free)
    }

    pub(crate) fn of_code(code: usize) -> Option<Self> {
        [Self::Model, Self::Prediction]
            .into_iter()
            .find(|method| method.code() == code)
    }
}

/// A model that compresses.
///
/// # Example
///
/// ```
/// use candle_core::Device;
/// use pixelcnn_codec::Codec;
/// use pixelcnn_models::{Model, ModelConfig, PixelCnnConfig};
///
/// let config = PixelCnnConfig { blocks: 1, maps: 3, head: 3, ..PixelCnnConfig::cifar10() };
/// let (model, _) = Model::initialise(&ModelConfig::from(config), 1, &Device::Cpu)?;
/// let codec = Codec::new(&model)?;
/// assert_eq!((codec.identity().channels, codec.identity().levels), (3, 256));
/// # Ok::<(), pixelcnn_codec::CodecError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Codec {
    engine: Engine,
    identity: ModelIdentity,
}

/// A compressed tile.
pub(crate) struct Coded {
    pub method: Method,
    pub bytes: Vec<u8>,
    /// Checksum of the values.
    pub checksum: u64,
}

/// A compressed tile in an archive.
pub(crate) struct CodedTile<'a> {
    pub area: Area,
    pub method: Method,
    pub bytes: &'a [u8],
    pub checksum: u64,
}

impl Codec {
    /// A codec with as many threads as there are processors.
    ///
    /// # Errors
    ///
    /// If the model needs a condition, does not predict pixels in order, or has more than 255
    /// channels or 65,536 levels.
    pub fn new(model: &Model) -> Result<Self, CodecError> {
        if model.config().conditioning().is_some() {
            let why = format!(
                "{} needs a condition; a codec needs an unconditional model",
                model.config().name()
            );
            return Err(CodecError::invalid("model", why));
        }
        let engine = Engine::new(model.density()?)?;
        let image = engine.image();
        if image.channels > 255 || image.levels > 1 << 16 {
            let why = format!(
                "at most 255 channels of 65536 levels expected, found {} of {}",
                image.channels, image.levels
            );
            return Err(CodecError::invalid("model", why));
        }
        let identity = ModelIdentity::of(model, &engine)?;
        Ok(Self { engine, identity })
    }

    /// The same codec with another number of threads, which changes no byte.
    pub fn with_threads(self, threads: usize) -> Self {
        Self {
            engine: self.engine.with_threads(threads),
            ..self
        }
    }

    /// The same codec with the name under which the model can be found, which archives will
    /// have.
    ///
    /// # Errors
    ///
    /// If the name is empty or longer than 255 bytes.
    pub fn with_name(mut self, name: &str) -> Result<Self, CodecError> {
        if !(1..=255).contains(&name.len()) {
            let why = format!("1 to 255 bytes expected, found {}", name.len());
            return Err(CodecError::invalid("name of the model", why));
        }
        self.identity.name = Some(name.to_string());
        Ok(self)
    }

    /// The identity of the model.
    pub fn identity(&self) -> &ModelIdentity {
        &self.identity
    }

    /// Bytes of the frequencies of this many tiles. Those of a tile exist while it is computed.
    pub(crate) fn frequency_bytes(&self, tiles: usize) -> u64 {
        let together = tiles.min(self.engine.most_together()) as u64;
        // Of each level the logit and the weight, four bytes each, and a sum of eight bytes.
        together.saturating_mul(16 * (self.identity.levels as u64 + 1))
    }

    pub(crate) fn shape(&self, area: &Area) -> TileShape {
        TileShape {
            height: area.height,
            width: area.width,
            channels: self.identity.channels,
            levels: self.identity.levels,
        }
    }

    /// Compresses tiles, each with its values `[row, column, channel]`.
    pub(crate) fn encode(&self, tiles: &[(Area, Vec<u16>)]) -> Result<Vec<Coded>, CodecError> {
        let by_model = self.by_model(tiles)?.into_iter();
        let coded = by_model
            .zip(tiles)
            .map(|(bytes, (area, values))| smaller(bytes, values, self.shape(area)));
        coded.collect()
    }

    /// The tiles as the model compresses them.
    fn by_model(&self, tiles: &[(Area, Vec<u16>)]) -> Result<Vec<Vec<u8>>, CodecError> {
        let mut all = vec![Vec::new(); tiles.len()];
        let shapes = tiles.iter().map(|(area, _)| self.shape(area));
        for (shape, members) in same_shapes(shapes) {
            let driver = |tile: &usize| {
                let size = (shape.width, shape.channels);
                Encoding::new(&tiles[*tile].1, size, self.engine.value_distribution())
            };
            let mut drivers: Vec<_> = members.iter().map(driver).collect();
            let size = (shape.height, shape.width);
            self.engine.run(size, &Condition::None, &mut drivers)?;
            for (tile, driver) in members.into_iter().zip(drivers) {
                all[tile] = driver.finish();
            }
        }
        Ok(all)
    }

    /// The values `[row, column, channel]` of tiles, or why there are none.
    pub(crate) fn decode(
        &self,
        tiles: &[CodedTile<'_>],
    ) -> Result<Vec<Result<Vec<u16>, String>>, CodecError> {
        let damaged = || Err("its bytes are damaged".to_string());
        let mut all: Vec<_> = tiles.iter().map(|_| damaged()).collect();
        let mut keep = |tile: usize, values: Option<Vec<u16>>| {
            if let Some(values) = values.filter(|values| checksum(values) == tiles[tile].checksum) {
                all[tile] = Ok(values);
            }
        };
        let shapes = tiles.iter().map(|tile| self.shape(&tile.area));
        for (shape, members) in same_shapes(shapes) {
            let sound = &AtomicUsize::new(0);
            let (mut of_model, mut drivers) = (Vec::new(), Vec::new());
            for tile in members {
                let CodedTile { method, bytes, .. } = tiles[tile];
                match method {
                    Method::Prediction => keep(tile, prediction::decompress(bytes, shape)),
                    Method::Model => {
                        let distribution = self.engine.value_distribution();
                        let driver = Decoding::new(bytes, shape.values(), distribution, sound);
                        of_model.extend(driver.is_some().then_some(tile));
                        drivers.extend(driver);
                    }
                }
            }
            if !drivers.is_empty() {
                let size = (shape.height, shape.width);
                let run = self.engine.run(size, &Condition::None, &mut drivers);
                // A run whose tiles are all damaged has ended early.
                run.or_else(|error| match sound.load(Ordering::Relaxed) {
                    0 => Ok(()),
                    _ => Err(error),
                })?;
            }
            for (tile, driver) in of_model.into_iter().zip(drivers) {
                keep(tile, driver.finish());
            }
        }
        Ok(all)
    }
}

/// The tiles of each shape, because the engine computes images of the same size together.
fn same_shapes(shapes: impl Iterator<Item = TileShape>) -> BTreeMap<TileShape, Vec<usize>> {
    let mut groups: BTreeMap<TileShape, Vec<usize>> = BTreeMap::new();
    for (tile, shape) in shapes.enumerate() {
        groups.entry(shape).or_default().push(tile);
    }
    groups
}

/// What the model made, or the prediction's bytes if they are fewer.
fn smaller(bytes: Vec<u8>, values: &[u16], shape: TileShape) -> Result<Coded, CodecError> {
    let predicted = prediction::compress(values, shape)?;
    let is_allowed = shape.values() <= Method::Model.most_values(bytes.len());
    let (method, bytes) = match predicted.len() < bytes.len() || !is_allowed {
        true => (Method::Prediction, predicted),
        false => (Method::Model, bytes),
    };
    let checksum = checksum(values);
    Ok(Coded {
        method,
        bytes,
        checksum,
    })
}

/// The 64-bit XXH3 of values, two bytes each, the lower byte first.
pub(crate) fn checksum(values: &[u16]) -> u64 {
    let bytes: Vec<u8> = values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect();
    xxh3_64(&bytes)
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device, Tensor};
    use pixelcnn_data::{DataSpec, Split, load};
    use pixelcnn_models::{Distribution, GatedPixelCnnConfig, ImageShape, ModelConfig};
    use pixelcnn_sample::nll_map;

    use super::*;

    /// A small network for photographs, whose weights are multiplied by `sharpness`: above 1 it
    /// is surer of what it says.
    fn model(distribution: Distribution, sharpness: f64) -> Model {
        let config = ModelConfig::from(GatedPixelCnnConfig {
            image: ImageShape {
                channels: 3,
                height: 32,
                width: 32,
                levels: 256,
            },
            first_kernel: 3,
            kernel: 3,
            blocks: 1,
            maps: 12,
            head: 12,
            distribution,
            ..GatedPixelCnnConfig::imagenet32()
        });
        let (model, _) = Model::initialise(&config, 3, &Device::Cpu).unwrap();
        let sharper = |tensor: &Tensor| (tensor * sharpness).unwrap();
        let tensors = model.tensors().iter();
        let tensors = tensors.map(|(name, tensor)| (name.clone(), sharper(tensor)));
        Model::from_tensors(&config, tensors.collect(), DType::F32, &Device::Cpu).unwrap()
    }

    /// At most 0.3 % and 16 bytes more than the model says.
    #[test]
    fn tiles_have_hardly_more_bytes_than_the_model_says() {
        let photos = load(&DataSpec::Photos32).unwrap();
        let indices: Vec<usize> = (0..24).map(|index| 20 * index).collect();
        let test = photos.images(Split::Test).unwrap();
        let images = test.gather(&indices, &Device::Cpu).unwrap();
        let tile = |index: usize| {
            let values = images.get(index).unwrap().permute((1, 2, 0)).unwrap();
            let values = values.flatten_all().unwrap().to_vec1::<u8>().unwrap();
            let values = values.into_iter().map(u16::from).collect();
            (Area::whole(32, 32), values)
        };
        let tiles: Vec<_> = (0..indices.len()).map(tile).collect();
        let mixture = Distribution::LogisticMixture {
            components: 3,
            coupled: true,
        };
        for (distribution, sharpness) in [
            (Distribution::default(), 1.0),
            (Distribution::default(), 2.5),
            (mixture, 1.0),
        ] {
            let codec = Codec::new(&model(distribution, sharpness)).unwrap();
            let bits = nll_map(&codec.engine, &images, &Condition::None).unwrap();
            let bits = bits.flatten_from(1).unwrap().sum(1).unwrap();
            let bits = bits.to_vec1::<f64>().unwrap();
            let coded = codec.by_model(&tiles).unwrap();
            for (bytes, bits) in coded.iter().zip(bits) {
                let (found, expected) = (bytes.len() as f64, bits / 8.0);
                assert!(
                    found <= 1.003 * expected + 16.0,
                    "{found} for {expected} bytes"
                );
                // Values that the model all but excludes need fewer bits than it says.
                if sharpness == 1.0 {
                    assert!(found >= 0.997 * expected, "{found} for {expected} bytes");
                }
            }
        }
    }

    /// Values of another checksum are not given, whichever method has decoded them. Damaged
    /// tiles are no error, also if there is no sound one, and cost no other tile. Bytes that the
    /// decoder does not reach are damage too, although the values are right.
    #[test]
    fn damaged_tiles_are_reported_and_sound_ones_decoded() {
        let codec = Codec::new(&model(Distribution::default(), 1.0)).unwrap();
        let area = Area::whole(4, 6);
        let values: Vec<u16> = (0..72).map(|index| index * 31 % 256).collect();
        let coded = codec.by_model(&[(area, values.clone())]).unwrap();
        let bytes = &coded[0];
        // The decoder reads up to one word ahead, so a single one may be taken for the end.
        let longer = [&bytes[..], &[0; 8]].concat();
        let predicted = prediction::compress(&values, codec.shape(&area)).unwrap();
        let checksum = checksum(&values);
        let tile = |method, bytes, checksum| CodedTile {
            area,
            method,
            bytes,
            checksum,
        };
        let sound = tile(Method::Model, bytes, checksum);
        let damaged = [
            tile(Method::Model, bytes, checksum ^ 1),
            tile(Method::Prediction, &predicted, checksum ^ 1),
            tile(Method::Model, &bytes[..4], checksum),
            tile(Method::Model, &bytes[..bytes.len() - 1], checksum),
            tile(Method::Model, &bytes[..8], checksum),
            tile(Method::Model, &[], checksum),
            tile(Method::Model, &longer, checksum),
            tile(Method::Model, &longer[..bytes.len() + 1], checksum),
            tile(Method::Prediction, &[], checksum),
        ];
        for tile in &damaged {
            let alone = codec.decode(std::slice::from_ref(tile)).unwrap();
            assert_eq!(alone, [Err("its bytes are damaged".to_string())]);
        }
        let all: Vec<_> = damaged.into_iter().chain([sound]).collect();
        let decoded = codec.decode(&all).unwrap();
        let (sound, damaged) = decoded.split_last().unwrap();
        assert!(damaged.iter().all(Result::is_err));
        assert_eq!(sound.as_ref(), Ok(&values));
    }

    #[test]
    fn the_frequencies_of_the_tiles_that_run_together_are_counted() {
        let codec = Codec::new(&model(Distribution::default(), 1.0)).unwrap();
        let codec = codec.with_threads(2);
        assert_eq!(codec.frequency_bytes(1), 16 * 257);
        assert_eq!(codec.frequency_bytes(64), 64 * 16 * 257);
        assert_eq!(codec.frequency_bytes(usize::MAX), 64 * 16 * 257);
    }

    /// The smaller form is kept, unless a reader would refuse so many values of so few bytes.
    #[test]
    fn a_tile_is_stored_in_the_smaller_form() {
        let shape = |side| TileShape {
            height: side,
            width: side,
            channels: 1,
            levels: 256,
        };
        let method = |by_model: usize, values: &[u16], side| {
            let coded = smaller(vec![7; by_model], values, shape(side)).unwrap();
            (coded.method, coded.bytes.len())
        };
        let noise: Vec<u16> = (0..4096).map(|index| index * 7919 % 251).collect();
        let predicted = prediction::compress(&noise, shape(64)).unwrap().len();
        let (model, prediction) = (Method::Model, Method::Prediction);
        assert_eq!(method(predicted, &noise, 64), (model, predicted));
        assert_eq!(method(predicted + 1, &noise, 64), (prediction, predicted));
        let flat = vec![9; 512 * 512];
        let predicted = prediction::compress(&flat, shape(512)).unwrap().len();
        assert_eq!(method(8, &flat, 512), (prediction, predicted));
        assert_eq!(method(60, &flat, 512), (model, 60));
    }
}
