//! How many weights a configuration asks for, before any is made.

use pixelcnn_system::{NotEnoughMemory, check_memory, counted};

use crate::{
    Bottleneck, ConditionShape, Conditioning, GatedPixelCnnConfig, ImageShape, ModelConfig,
    ModelError, PixelCnnConfig, Reduction, SpatialConfig,
};

/// Of a weight in f32, its mask, and what is needed for a moment to draw it.
const BYTES: u128 = 12;

/// Refuses what memory does not hold. What is small is not compared: to ask the
/// system takes longer than a step of a small network.
pub(crate) fn check_large(
    bytes: u128,
    what: impl FnOnce() -> String,
) -> Result<(), NotEnoughMemory> {
    const SMALL: u128 = 256 << 20;
    match bytes <= SMALL {
        true => Ok(()),
        false => check_memory(what(), u64::try_from(bytes).unwrap_or(u64::MAX)),
    }
}

/// Weights of a part of a model, and the settings that they depend on.
type Part = (String, u128);

impl ModelConfig {
    /// How many weights the model has, masked ones among them: the numbers in
    /// its `model.safetensors`. Of a configuration that is refused, none.
    ///
    /// # Example
    ///
    /// ```
    /// use pixelcnn_models::{GatedPixelCnnConfig, ModelConfig};
    ///
    /// let config = ModelConfig::GatedPixelCnn(GatedPixelCnnConfig::imagenet32());
    /// assert!(config.weights() > 100_000_000);
    /// ```
    pub fn weights(&self) -> u128 {
        match self.validate() {
            Ok(()) => self.parts().iter().map(|(_, count)| count).sum(),
            Err(_) => 0,
        }
    }

    /// Refuses a model whose weights do not fit into memory, and names the
    /// settings that most of them come from.
    pub(crate) fn check_memory(&self) -> Result<(), ModelError> {
        let parts = self.parts();
        let largest = parts.iter().max_by_key(|(_, count)| *count);
        let settings = largest.map_or("", |(settings, _)| settings.as_str());
        Ok(check_large(self.weights().saturating_mul(BYTES), || {
            format!("{settings}: the model")
        })?)
    }

    /// Refuses a pass over `b` images of `h x w` whose maps, with the logits of so
    /// many rows at a time, do not fit into memory; `trained` if gradients need
    /// those of every block.
    pub(crate) fn check_pass(
        &self,
        [b, h, w]: [usize; 3],
        rows: usize,
        trained: bool,
    ) -> Result<(), ModelError> {
        let numbers = self.pass_numbers([b, h, w], rows, trained);
        let levels = self.image().levels;
        Ok(check_large(numbers.saturating_mul(4), || {
            let images = counted(b, "image");
            format!("{images} of {h} x {w} with {levels} levels at a time")
        })?)
    }

    /// Numbers that a pass has in memory at once, by what has been measured.
    fn pass_numbers(&self, [b, h, w]: [usize; 3], rows: usize, trained: bool) -> u128 {
        let (stream, head, maps, blocks) = match self {
            Self::PixelCnn(config) => {
                (2 * config.maps, config.head, 5 * config.maps, config.blocks)
            }
            Self::GatedPixelCnn(config) => {
                let maps = match config.condition_shape() {
                    ConditionShape::Map { maps } => 17 * config.maps + 2 * maps,
                    ConditionShape::None | ConditionShape::Vector { .. } => 6 * config.maps,
                };
                (config.maps, config.head, maps, config.blocks)
            }
            _ => (0, 0, 0, 0),
        };
        // Of logits there are gradients too.
        let (kept, copies) = match trained {
            true => (blocks + 1, 2),
            false => (1, 1),
        };
        let image = self.image();
        let row = b as u128 * w as u128;
        let logits = copies * image.channels as u128 * image.levels as u128;
        let at_the_head = logits + 2 * head as u128 + stream as u128;
        let before = maps as u128 * kept as u128 + 8 * image.channels as u128;
        row * (rows.min(h) as u128 * at_the_head + h as u128 * before)
    }

    fn parts(&self) -> Vec<Part> {
        match self {
            Self::Uniform(_) => Vec::new(),
            Self::Gaussian(config) => {
                let ImageShape {
                    channels,
                    height,
                    width,
                    ..
                } = config.image;
                let size = config.image.dimensions() as u128;
                let settings = format!("model.image of {channels} x {height} x {width}");
                vec![(settings, size + size * size)]
            }
            Self::PixelCnn(config) => plain(config),
            Self::GatedPixelCnn(config) => gated(config),
            Self::AutoEncoder(config) => vec![
                tower(&config.image, &config.encoder, config.length),
                deconvolution(
                    &config.image,
                    From::Vector(config.length),
                    &SpatialConfig {
                        maps: config.image.channels,
                        hidden: config.hidden,
                    },
                ),
            ],
            Self::Embedding(config) => {
                vec![tower(&config.image, &config.encoder, config.length)]
            }
            Self::Classifier(config) => {
                vec![tower(
                    &config.image,
                    &config.encoder,
                    config.classes.count(),
                )]
            }
        }
    }
}

/// Weights and biases of a convolution.
fn convolution(inputs: usize, outputs: usize, cells: usize) -> u128 {
    let (inputs, outputs, cells) = (inputs as u128, outputs as u128, cells as u128);
    outputs * inputs * cells + outputs
}

fn head(image: &ImageShape, inputs: usize, head: usize) -> Part {
    let levels = image.channels * image.levels;
    let settings = format!("model.head = {head}, model.image.levels = {}", image.levels);
    (
        settings,
        convolution(inputs, head, 1) + convolution(head, levels, 1),
    )
}

fn plain(config: &PixelCnnConfig) -> Vec<Part> {
    let PixelCnnConfig {
        image,
        first_kernel,
        kernel,
        blocks,
        maps,
        ..
    } = config;
    let stream = 2 * maps;
    let block = convolution(stream, *maps, 1)
        + convolution(*maps, *maps, kernel * kernel)
        + convolution(*maps, stream, 1);
    let first = convolution(image.channels, stream, first_kernel * first_kernel);
    vec![
        (
            format!("model.maps = {maps}, model.first_kernel = {first_kernel}"),
            first,
        ),
        (
            format!("model.maps = {maps}, model.blocks = {blocks}, model.kernel = {kernel}"),
            block * *blocks as u128,
        ),
        head(image, stream, config.head),
    ]
}

fn gated(config: &GatedPixelCnnConfig) -> Vec<Part> {
    let GatedPixelCnnConfig {
        image,
        first_kernel,
        kernel,
        blocks,
        maps,
        ..
    } = config;
    let doubled = 2 * maps;
    let block = |inputs: usize, rows: usize, kernel: usize| {
        convolution(inputs, doubled, rows * kernel)
            + convolution(inputs, doubled, kernel / 2 + 1)
            // The link has no bias.
            + convolution(doubled, doubled, 1)
            - doubled as u128
            + convolution(*maps, *maps, 1)
    };
    let condition = match config.condition_shape() {
        ConditionShape::None => 0,
        ConditionShape::Vector { length } => length,
        ConditionShape::Map { maps } => maps,
    };
    // The last block has no vertical term.
    let terms = (2 * blocks + 1) as u128 * doubled as u128 * condition as u128;
    let first = block(image.channels, first_kernel / 2, *first_kernel);
    let later = block(*maps, kernel / 2 + 1, *kernel);
    let mut parts = vec![
        (
            format!("model.maps = {maps}, model.first_kernel = {first_kernel}"),
            first,
        ),
        (
            format!("model.maps = {maps}, model.blocks = {blocks}, model.kernel = {kernel}"),
            later * *blocks as u128,
        ),
        (
            format!("model.maps = {maps}, a condition of {condition} values"),
            terms,
        ),
        head(image, *maps, config.head),
    ];
    if let Some(conditioning) = &config.conditioning {
        parts.extend(encoder(image, conditioning));
    }
    parts
}

fn encoder(image: &ImageShape, conditioning: &Conditioning) -> Vec<Part> {
    let mut parts = Vec::new();
    match conditioning {
        Conditioning::Caption(config) => {
            let (vocabulary, embedding) = (config.vocabulary, config.embedding);
            let settings =
                format!("model.conditioning.vocabulary = {vocabulary}, embedding = {embedding}");
            let count = vocabulary as u128 * embedding as u128
                + convolution(embedding, embedding, 3)
                + convolution(embedding, config.length, 1);
            parts.push((settings, count));
        }
        Conditioning::Code(config) => {
            let outputs = match config.bottleneck {
                Bottleneck::Plain {} => config.length,
                Bottleneck::Gaussian { .. } => 2 * config.length,
            };
            parts.push(tower(image, &config.encoder, outputs));
        }
        Conditioning::Embedding(config) => {
            parts.push(tower(image, &config.encoder, config.length));
        }
        Conditioning::Class { .. }
        | Conditioning::Vector { .. }
        | Conditioning::Map { .. }
        | Conditioning::Image { .. } => {}
    }
    if let Some(spatial) = conditioning.spatial() {
        let from = match (conditioning, conditioning.length()) {
            (Conditioning::Image { given, .. }, _) => From::Maps(*given),
            (_, length) => From::Vector(length.unwrap_or(1)),
        };
        parts.push(deconvolution(image, from, spatial));
    }
    parts
}

fn tower(image: &ImageShape, encoder: &[usize], outputs: usize) -> Part {
    let (mut inputs, mut height, mut width) = (image.channels, image.height, image.width);
    let mut count = 0;
    for &maps in encoder {
        count += convolution(4 * inputs, maps, 9) + convolution(maps, maps, 9);
        (inputs, height, width) = (maps, height.div_ceil(2), width.div_ceil(2));
    }
    let (
        ImageShape {
            height: h,
            width: w,
            ..
        },
        maps,
    ) = (image, inputs);
    let settings = format!("an encoder of {h} x {w} images, {maps} maps, {outputs} values");
    (
        settings,
        count + convolution(inputs * height * width, outputs, 1),
    )
}

/// What an m(h) begins with.
enum From {
    Vector(usize),
    Maps(Reduction),
}

fn deconvolution(image: &ImageShape, from: From, config: &SpatialConfig) -> Part {
    let SpatialConfig { maps, hidden } = *config;
    let (first, doublings) = match from {
        From::Vector(length) => {
            let times = image.height.max(image.width).div_ceil(4);
            let doublings = times.next_power_of_two().trailing_zeros();
            let small = |side: usize| side.div_ceil(1 << doublings);
            let outputs = hidden * small(image.height) * small(image.width);
            (convolution(length, outputs, 1), doublings)
        }
        From::Maps(given) => {
            let inputs = given.shape(image.channels, (1, 1))[0];
            let doublings = match given {
                Reduction::Grey {} => 0,
                Reduction::Shrunk { factor } => factor.trailing_zeros(),
            };
            (convolution(inputs, hidden, 9), doublings)
        }
    };
    let count = first
        + u128::from(doublings) * convolution(hidden, 4 * hidden, 9)
        + convolution(hidden, maps, 9);
    (format!("spatial maps = {maps}, hidden = {hidden}"), count)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Peaks of a process that scores a picture of 640 x 640.
    #[test]
    fn a_pass_needs_no_more_than_is_asked_for() {
        let gated = |maps, head, conditioning| {
            ModelConfig::GatedPixelCnn(GatedPixelCnnConfig {
                blocks: 2,
                maps,
                head,
                conditioning,
                ..GatedPixelCnnConfig::imagenet32()
            })
        };
        let plain = ModelConfig::PixelCnn(PixelCnnConfig {
            blocks: 2,
            maps: 79,
            head: 96,
            ..PixelCnnConfig::cifar10()
        });
        let grey = Conditioning::Image {
            given: Reduction::Grey {},
            spatial: SpatialConfig {
                maps: 16,
                hidden: 48,
            },
        };
        for (config, rows, mebibytes) in [
            (gated(48, 96, None), 640, 1705),
            (gated(48, 96, None), 136, 729),
            (gated(12, 24, None), 136, 412),
            (gated(48, 96, Some(grey)), 136, 1354),
            (plain.clone(), 640, 1905),
            (plain, 136, 803),
        ] {
            let numbers = config.pass_numbers([1, 640, 640], rows, false);
            let asked = 4.0 * numbers as f64 / f64::from(1 << 20);
            let ratio = asked / f64::from(mebibytes);
            assert!((1.0..1.35).contains(&ratio), "{config:?}: {ratio}");
        }
    }
}
