//! The Gated PixelCNN of tutorial 12 of the UvA deep-learning course.

use candle_core::Result;
use candle_nn::VarBuilder;
use pixelcnn_conv::{ColourGroups, Convolution, Mask, Rows};
use pixelcnn_layers::{Activation, ConditionShape, GatedBlock, GatedBlockConfig, Graph};
use pixelcnn_models::{Definition, ImageShape, ModelConfig, ModelError};
use serde::{Deserialize, Serialize};

use super::{BLOCKS, DILATIONS, MAPS, channels, invalid, odd, within};
use crate::converter::Converter;
use crate::kernel::Kernel;
use crate::{ImportError, Settings};

/// What a file does not store.
pub(crate) const SETTINGS: [(&str, &str); 3] = [
    ("height", "28"),
    ("width", "28"),
    ("dilations", "1,2,1,4,1,2,1"),
];

/// A Gated PixelCNN for grey images whose first layer is only its two convolutions, without a
/// link between them. The head is one convolution after an ELU. Its blocks are those of
/// figure 2.
///
/// # Example
///
/// ```
/// use pixelcnn_import::UvadlcConfig;
/// use pixelcnn_models::ModelConfig;
///
/// let text = r#"{"kind": "uvadlc", "first_kernel": 3, "kernel": 3, "maps": 64,
///     "dilations": [1, 2, 1, 4, 1, 2, 1],
///     "image": {"channels": 1, "height": 28, "width": 28, "levels": 256}}"#;
/// let config: ModelConfig = serde_json::from_str(text)?;
/// assert_eq!(config.get::<UvadlcConfig>().map(|config| config.maps), Some(64));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UvadlcConfig {
    /// Shape of the images; one channel.
    pub image: ImageShape,
    /// Side of the kernels of the first layer, odd, at least 3.
    pub first_kernel: usize,
    /// Side of the kernels of the blocks, odd, at least 3.
    pub kernel: usize,
    /// Feature maps of each stack.
    pub maps: usize,
    /// The dilation of each block.
    pub dilations: Vec<usize>,
}

#[typetag::serde(name = "uvadlc")]
impl Definition for UvadlcConfig {
    fn name(&self) -> &'static str {
        "Gated PixelCNN (uvadlc)"
    }

    fn image(&self) -> ImageShape {
        self.image
    }

    fn validate(&self) -> std::result::Result<(), ModelError> {
        channels(self.image.channels, 1)?;
        odd("first_kernel", self.first_kernel)?;
        odd("kernel", self.kernel)?;
        within("maps", self.maps, MAPS)?;
        if !BLOCKS.contains(&self.dilations.len()) {
            return Err(invalid("dilations", "at least one block expected"));
        }
        let mut dilations = self.dilations.iter();
        dilations.try_for_each(|dilation| within("dilations", *dilation, DILATIONS))
    }

    /// The network. Weights have names such as `first.vertical.weight`,
    /// `blocks.0.horizontal.bias` and `head.logits.weight`.
    fn network(&self, weights: VarBuilder) -> Result<Graph> {
        let groups = |maps| ColourGroups::new(1, maps);
        let (image, maps) = (groups(1)?, groups(self.maps)?);
        let (kernel, first) = (self.first_kernel, weights.pp("first"));
        let mut graph = Graph::new(image);
        let vertical = first.pp("vertical");
        let vertical = Convolution::vertical(1, self.maps, kernel, 1, Rows::Above, vertical)?;
        let horizontal = first.pp("horizontal");
        let horizontal = Convolution::horizontal(Mask::A, image, maps, kernel, 1, horizontal)?;
        let mut stacks = [
            graph.convolution(vertical, graph.image()),
            graph.convolution(horizontal, graph.image()),
        ];
        for (block, dilation) in self.dilations.iter().enumerate() {
            let config = GatedBlockConfig {
                mask: Mask::B,
                vertical_after: block + 1 < self.dilations.len(),
                inputs: maps,
                outputs: maps,
                kernel: self.kernel,
                dilation: *dilation,
                activation: Activation::Gate,
                vertical_residual: false,
                condition: ConditionShape::None,
            };
            let block = GatedBlock::new(&config, weights.pp("blocks").pp(block))?;
            stacks = graph.gated_block(block, stacks);
        }
        let [_, head] = stacks;
        let logits = groups(self.image.levels)?;
        let logits = Convolution::masked(Mask::B, maps, logits, 1, weights.pp("head.logits"))?;
        let output = graph.elu(head);
        let output = graph.convolution(logits, output);
        Ok(graph.with_head(head, output))
    }

    fn boxed(&self) -> Box<dyn Definition> {
        Box::new(self.clone())
    }
}

/// The tensors and the configuration of a file. The bias of the link is added to that of the
/// horizontal convolution, whose sums it is added to.
pub(crate) fn convert(
    converter: &mut Converter,
    settings: &Settings,
) -> std::result::Result<ModelConfig, ImportError> {
    let [maps, colours, first_kernel, _] = converter.shape("conv_vstack.conv.weight")?;
    if colours != 1 {
        let why = format!("tensor conv_vstack.conv.weight: one channel expected, found {colours}");
        return Err(converter.wrong(why));
    }
    let [.., kernel] = converter.shape::<4>("conv_layers.0.conv_vert.conv.weight")?;
    let [levels, ..] = converter.shape::<4>("conv_out.weight")?;
    let blocks = converter.layers(|i| format!("conv_layers.{i}.conv_vert.conv.weight"));
    let config = UvadlcConfig {
        image: ImageShape {
            channels: 1,
            height: settings.number("height", 28)?,
            width: settings.number("width", 28)?,
            levels,
        },
        first_kernel,
        kernel,
        maps,
        dilations: dilations(settings, blocks)?,
    };
    config.validate()?;
    let half = first_kernel / 2;
    let (k, side) = (first_kernel, 0..first_kernel);
    let from = "conv_vstack.conv";
    let kernel_above = converter.part(from, [maps, 1, k, k], 0..half, side)?;
    put(converter, from, "first.vertical", kernel_above)?;
    let from = "conv_hstack.conv";
    let kernel_left = converter.part(from, [maps, 1, 1, k], 0..1, 0..half + 1)?;
    put(converter, from, "first.horizontal", kernel_left)?;
    for block in 0..blocks {
        convert_block(converter, block, maps, kernel)?;
    }
    converter.convolution("conv_out", "head.logits", [levels, maps, 1, 1])?;
    Ok(ModelConfig::from(config))
}

/// Stores a kernel, and the bias as it is.
fn put(
    converter: &mut Converter,
    from: &str,
    to: &str,
    kernel: Kernel,
) -> std::result::Result<(), ImportError> {
    let bias = converter.take(&format!("{from}.bias"), &[kernel.weight.dim(0)?])?;
    converter.put_kernel(to, kernel);
    converter.put(format!("{to}.bias"), bias);
    Ok(())
}

fn convert_block(
    converter: &mut Converter,
    block: usize,
    maps: usize,
    k: usize,
) -> std::result::Result<(), ImportError> {
    let (from, to) = (format!("conv_layers.{block}"), format!("blocks.{block}"));
    let (half, sums) = (k / 2, 2 * maps);
    let name = format!("{from}.conv_vert.conv");
    let kernel = converter.part(&name, [sums, maps, k, k], 0..half + 1, 0..k)?;
    put(converter, &name, &format!("{to}.vertical"), kernel)?;
    let name = format!("{from}.conv_horiz.conv");
    let kernel = converter.part(&name, [sums, maps, 1, k], 0..1, 0..half + 1)?;
    let link = format!("{from}.conv_vert_to_horiz");
    let bias = converter.take(&format!("{name}.bias"), &[sums])?;
    let bias = (bias + converter.take(&format!("{link}.bias"), &[sums])?)?;
    converter.put_kernel(&format!("{to}.horizontal"), kernel);
    converter.put(format!("{to}.horizontal.bias"), bias);
    let link = converter.kernel(&link, [sums, sums, 1, 1])?;
    converter.put_kernel(&format!("{to}.link"), link);
    let (from, to) = (format!("{from}.conv_horiz_1x1"), format!("{to}.output"));
    converter.convolution(&from, &to, [maps, maps, 1, 1])
}

/// The dilations of the setting, or those of the tutorial if there are as many blocks.
fn dilations(settings: &Settings, blocks: usize) -> std::result::Result<Vec<usize>, ImportError> {
    const TUTORIAL: [usize; 7] = [1, 2, 1, 4, 1, 2, 1];
    let given = settings.list("dilations")?;
    let dilations = given.unwrap_or_else(|| TUTORIAL.to_vec());
    match dilations.len() == blocks {
        true => Ok(dilations),
        false => {
            let found = dilations.len();
            let why = format!("one number for each of {blocks} layers expected, found {found}");
            Err(ImportError::setting("dilations", why))
        }
    }
}
