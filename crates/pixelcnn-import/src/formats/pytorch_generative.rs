//! A Gated PixelCNN with factorised kernels and skip connections.

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;
use pixelcnn_conv::{ColourGroups, Convolution, Mask};
use pixelcnn_layers::{Graph, Maps};
use pixelcnn_models::{Definition, ImageShape, ModelConfig, ModelError};
use serde::{Deserialize, Serialize};

use super::{BLOCKS, MAPS, channels, odd, within};
use crate::converter::Converter;
use crate::{ImportError, Settings};

/// What a file does not store.
pub(crate) const SETTINGS: [(&str, &str); 2] = [("height", "28"), ("width", "28")];

/// A Gated PixelCNN whose vertical kernels are a row, then a column of the rows above, and whose
/// vertical stack leaves out its own row in every layer. So it has a blind spot above to the
/// right, like the plain PixelCNN. The head reads the horizontal stack of every layer.
///
/// Values are scaled to 0..1.
///
/// # Example
///
/// ```
/// use pixelcnn_import::PytorchGenerativeConfig;
/// use pixelcnn_models::ModelConfig;
///
/// let text = r#"{"kind": "pytorch-generative", "first_kernel": 7, "kernel": 3, "blocks": 10,
///     "maps": 128, "head": 32,
///     "image": {"channels": 1, "height": 28, "width": 28, "levels": 2}}"#;
/// let config: ModelConfig = serde_json::from_str(text)?;
/// assert!(config.get::<PytorchGenerativeConfig>().is_some());
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PytorchGenerativeConfig {
    /// Shape of the images; one channel.
    pub image: ImageShape,
    /// Side of the first layer's kernel, odd, at least 3.
    pub first_kernel: usize,
    /// Side of the kernels of the later layers, odd, at least 3.
    pub kernel: usize,
    /// Number of layers after the first, at least 1.
    pub blocks: usize,
    /// Feature maps of each stack.
    pub maps: usize,
    /// Feature maps inside the head.
    pub head: usize,
}

/// What follows a layer.
struct Made {
    /// The stacks after it, if there is a later layer.
    stacks: Option<[Maps; 2]>,
    skip: Maps,
}

impl PytorchGenerativeConfig {
    /// Adds a layer. With mask A both stacks are the image, and there is no residual path.
    fn layer(
        &self,
        graph: &mut Graph,
        mask: Mask,
        [vertical, horizontal]: [Maps; 2],
        is_last: bool,
        weights: &VarBuilder,
    ) -> Result<Made> {
        let maps = ColourGroups::new(1, self.maps)?;
        let (from, p, sums) = (graph.maps(vertical), self.maps, 2 * self.maps);
        let kernel = match mask {
            Mask::A => self.first_kernel,
            Mask::B => self.kernel,
        };
        let half = kernel as isize / 2;
        let pixel =
            |from, to, name: &str| Convolution::window(from, to, 0..=0, 0..=0, weights.pp(name));
        let across = Convolution::window(from, p, 0..=0, -half..=half, weights.pp("across"))?;
        let above = Convolution::window(p, sums, -half - 1..=-1, 0..=0, weights.pp("above"))?;
        let row = weights.pp("horizontal");
        let row = match mask {
            Mask::A => Convolution::window(from, sums, 0..=0, -half - 1..=-1, row)?,
            Mask::B => Convolution::horizontal(mask, maps, maps.repeated(2), kernel, 1, row)?,
        };
        let masked = |name: &str| Convolution::masked(Mask::B, maps, maps, 1, weights.pp(name));
        let link = pixel(sums, sums, "link")?;
        let across = graph.convolution(across, vertical);
        let above = graph.convolution(above, across);
        let linked = graph.convolution(link, above);
        let row = graph.convolution(row, horizontal);
        let row = graph.sum(row, linked);
        let gated = graph.gate(row);
        let skip = graph.convolution(masked("skip")?, gated);
        if is_last {
            return Ok(Made { stacks: None, skip });
        }
        let own = graph.convolution(pixel(from, sums, "own")?, vertical);
        let sum = graph.sum(above, own);
        let vertical = graph.gate(sum);
        let output = graph.convolution(masked("output")?, gated);
        let horizontal = match mask {
            Mask::A => output,
            Mask::B => graph.sum(output, horizontal),
        };
        let stacks = Some([vertical, horizontal]);
        Ok(Made { stacks, skip })
    }
}

#[typetag::serde(name = "pytorch-generative")]
impl Definition for PytorchGenerativeConfig {
    fn name(&self) -> &'static str {
        "Gated PixelCNN (pytorch-generative)"
    }

    fn image(&self) -> ImageShape {
        self.image
    }

    fn validate(&self) -> std::result::Result<(), ModelError> {
        channels(self.image.channels, 1)?;
        odd("first_kernel", self.first_kernel)?;
        odd("kernel", self.kernel)?;
        within("blocks", self.blocks, BLOCKS)?;
        within("maps", self.maps, MAPS)?;
        within("head", self.head, MAPS)
    }

    /// The network. Weights have names such as `first.across.weight`, `blocks.0.above.weight`,
    /// `blocks.0.skip.weight` and `head.hidden.weight`.
    fn network(&self, weights: VarBuilder) -> Result<Graph> {
        let groups = |maps| ColourGroups::new(1, maps);
        let mut graph = Graph::new(groups(1)?);
        let input = graph.rescaled(0.0, 1.0);
        let first = weights.pp("first");
        let mut made = self.layer(&mut graph, Mask::A, [input; 2], false, &first)?;
        let mut head = made.skip;
        for block in 0..self.blocks {
            let Some(stacks) = made.stacks else { break };
            let (last, weights) = (block + 1 == self.blocks, weights.pp("blocks").pp(block));
            made = self.layer(&mut graph, Mask::B, stacks, last, &weights)?;
            head = graph.sum(head, made.skip);
        }
        let layers = [
            ("hidden", groups(self.head)?),
            ("logits", groups(self.image.levels)?),
        ];
        graph.with_layers_of_head((head, groups(self.maps)?), layers, weights.pp("head"))
    }

    fn boxed(&self) -> Box<dyn Definition> {
        Box::new(self.clone())
    }
}

/// The tensors and the configuration of a file.
pub(crate) fn convert(
    converter: &mut Converter,
    settings: &Settings,
) -> std::result::Result<ModelConfig, ImportError> {
    converter.buffers(&["_c", "_h", "_w"]);
    let [maps, colours, _, first_kernel] = converter.shape("_input._vstack_1xN.weight")?;
    if colours != 1 {
        let why = format!(
            "tensor _input._vstack_1xN.weight: one channel expected, found {colours}: without \
             colour masks, models of several channels are not read"
        );
        return Err(converter.wrong(why));
    }
    let [.., kernel] = converter.shape::<4>("_gated_layers.0._vstack_1xN.weight")?;
    let [head, ..] = converter.shape::<4>("_head.1.weight")?;
    let [outputs, ..] = converter.shape::<4>("_head.3.weight")?;
    let config = PytorchGenerativeConfig {
        image: ImageShape {
            channels: 1,
            height: settings.number("height", 28)?,
            width: settings.number("width", 28)?,
            levels: outputs.max(2),
        },
        first_kernel,
        kernel,
        blocks: converter.layers(|i| format!("_gated_layers.{i}._vstack_1xN.weight")),
        maps,
        head,
    };
    config.validate()?;
    let last = config.blocks - 1;
    for name in ["_vstack_1x1", "_hstack_residual"] {
        converter.without_effect(&format!("_gated_layers.{last}.{name}"));
    }
    convert_layer(
        converter,
        ("_input", "first"),
        [1, maps, first_kernel],
        false,
    )?;
    for block in 0..config.blocks {
        let (from, to) = (format!("_gated_layers.{block}"), format!("blocks.{block}"));
        convert_layer(converter, (&from, &to), [maps, maps, kernel], block == last)?;
    }
    converter.convolution("_head.1", "head.hidden", [head, maps, 1, 1])?;
    let weight = converter.take("_head.3.weight", &[outputs, head, 1, 1])?;
    let bias = converter.take("_head.3.bias", &[outputs])?;
    let [weight, bias] = match outputs {
        1 => [with_zeros(&weight)?, with_zeros(&bias)?],
        _ => [weight, bias],
    };
    converter.put("head.logits.weight", weight);
    converter.put("head.logits.bias", bias);
    Ok(ModelConfig::from(config))
}

/// The log-odds of level 1 are the second of two logits; the first is 0.
fn with_zeros(log_odds: &Tensor) -> Result<Tensor> {
    Tensor::cat(&[&log_odds.zeros_like()?, log_odds], 0)
}

fn convert_layer(
    converter: &mut Converter,
    (from, to): (&str, &str),
    [inputs, maps, kernel]: [usize; 3],
    is_last: bool,
) -> std::result::Result<(), ImportError> {
    let (half, sums) = (kernel / 2, 2 * maps);
    for (theirs, ours, shape) in [
        ("_vstack_1xN", "across", [maps, inputs, 1, kernel]),
        ("_vstack_Nx1", "above", [sums, maps, half + 1, 1]),
        ("_vstack_1x1", "own", [sums, inputs, 1, 1]),
        ("_link", "link", [sums, sums, 1, 1]),
        ("_hstack_1xN", "horizontal", [sums, inputs, 1, half + 1]),
        ("_hstack_skip", "skip", [maps, maps, 1, 1]),
        ("_hstack_residual", "output", [maps, maps, 1, 1]),
    ] {
        if !is_last || !matches!(ours, "own" | "output") {
            let (from, to) = (format!("{from}.{theirs}"), format!("{to}.{ours}"));
            converter.convolution(&from, &to, shape)?;
        }
    }
    Ok(())
}
