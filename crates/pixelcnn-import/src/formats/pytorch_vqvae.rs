//! The prior of a VQ-VAE: a Gated PixelCNN over a grid of codes, given a class.

use candle_core::Result;
use candle_nn::{Init, VarBuilder};
use pixelcnn_conv::{ColourGroups, Convolution, Mask};
use pixelcnn_layers::{
    Activation, ConditionShape, ConditionTerm, GatedBlock, GatedBlockConfig, Graph, Maps,
};
use pixelcnn_models::{Classes, Conditioning, Definition, ImageShape, ModelConfig, ModelError};
use serde::{Deserialize, Serialize};

use super::{BLOCKS, MAPS, channels, classes, odd, within};
use crate::converter::Converter;
use crate::{ImportError, Settings};

/// What a file does not store.
pub(crate) const SETTINGS: [(&str, &str); 2] = [("height", "8"), ("width", "8")];

/// A Gated PixelCNN whose values are codes: both stacks of the first block read an embedding
/// of each. A block adds one vector per class to the sums of both stacks. The head has no
/// ReLU before its first layer.
///
/// # Example
///
/// ```
/// use pixelcnn_import::PytorchVqvaeConfig;
/// use pixelcnn_models::ModelConfig;
///
/// let text = r#"{"kind": "pytorch-vqvae", "first_kernel": 7, "kernel": 3, "blocks": 14,
///     "maps": 64, "head": 512, "conditioning": {"kind": "class", "classes": 10},
///     "image": {"channels": 1, "height": 8, "width": 8, "levels": 256}}"#;
/// let config: ModelConfig = serde_json::from_str(text)?;
/// assert!(config.get::<PytorchVqvaeConfig>().is_some());
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PytorchVqvaeConfig {
    /// Shape of the grids; one channel.
    pub image: ImageShape,
    /// Side of the first block's kernel, odd, at least 3.
    pub first_kernel: usize,
    /// Side of the kernels of the later blocks, odd, at least 3.
    pub kernel: usize,
    /// Number of blocks after the first, at least 1.
    pub blocks: usize,
    /// Feature maps of each stack, and the length of the embedding.
    pub maps: usize,
    /// Feature maps inside the head.
    pub head: usize,
    /// The classes.
    pub conditioning: Conditioning,
}

impl PytorchVqvaeConfig {
    /// Adds a block; `mask` A for the first.
    fn block(
        &self,
        graph: &mut Graph,
        mask: Mask,
        stacks: [Maps; 2],
        vertical_after: bool,
        weights: VarBuilder,
    ) -> Result<[Maps; 2]> {
        let maps = ColourGroups::new(1, self.maps)?;
        let length = self.classes().map_or(0, Classes::count);
        let condition = ConditionShape::Vector { length };
        let config = GatedBlockConfig {
            mask,
            vertical_after,
            inputs: maps,
            outputs: maps,
            kernel: match mask {
                Mask::A => self.first_kernel,
                Mask::B => self.kernel,
            },
            dilation: 1,
            activation: Activation::Gate,
            vertical_residual: false,
            condition,
        };
        let term = ConditionTerm::new(condition, 2 * self.maps, weights.pp("class"))?;
        let block = GatedBlock::with_terms(&config, [term.clone(), term], weights)?;
        Ok(graph.gated_block(block, stacks))
    }
}

#[typetag::serde(name = "pytorch-vqvae")]
impl Definition for PytorchVqvaeConfig {
    fn name(&self) -> &'static str {
        "Gated PixelCNN (pytorch-vqvae)"
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
        within("head", self.head, MAPS)?;
        classes(&self.conditioning).map(|_| ())
    }

    /// The network. Weights have names such as `embedding.weight`, `first.vertical.weight`,
    /// `blocks.0.class.weight` and `head.hidden.weight`.
    fn network(&self, weights: VarBuilder) -> Result<Graph> {
        let groups = |maps| ColourGroups::new(1, maps);
        let (maps, hidden) = (groups(self.maps)?, groups(self.head)?);
        let mut graph = Graph::new(groups(1)?);
        let tables = weights.pp("embedding").get_with_hints(
            (1, self.image.levels, self.maps),
            "weight",
            Init::Uniform { lo: -1.0, up: 1.0 },
        )?;
        let input = graph.embedding(tables)?;
        let mut stacks = self.block(&mut graph, Mask::A, [input; 2], true, weights.pp("first"))?;
        for block in 0..self.blocks {
            let (last, weights) = (block + 1 == self.blocks, weights.pp("blocks").pp(block));
            stacks = self.block(&mut graph, Mask::B, stacks, !last, weights)?;
        }
        let [_, head] = stacks;
        let weights = weights.pp("head");
        let layer = Convolution::masked(Mask::B, maps, hidden, 1, weights.pp("hidden"))?;
        let output = graph.convolution(layer, head);
        let output = graph.relu(output);
        let logits = groups(self.image.levels)?;
        let layer = Convolution::masked(Mask::B, hidden, logits, 1, weights.pp("logits"))?;
        let output = graph.convolution(layer, output);
        Ok(graph.with_head(head, output))
    }

    fn conditioning(&self) -> Option<&Conditioning> {
        Some(&self.conditioning)
    }

    fn classes_mut(&mut self) -> Option<&mut Classes> {
        self.conditioning.classes_mut()
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
    let [levels, maps] = converter.shape("embedding.weight")?;
    let [.., first_kernel] = converter.shape::<4>("layers.0.vert_stack.weight")?;
    let [.., kernel] = converter.shape::<4>("layers.1.vert_stack.weight")?;
    let [count, _] = converter.shape("layers.0.class_cond_embedding.weight")?;
    let [head, ..] = converter.shape::<4>("output_conv.0.weight")?;
    let layers = converter.layers(|i| format!("layers.{i}.vert_stack.weight"));
    let config = PytorchVqvaeConfig {
        image: ImageShape {
            channels: 1,
            height: settings.number("height", 8)?,
            width: settings.number("width", 8)?,
            levels,
        },
        first_kernel,
        kernel,
        blocks: layers - 1,
        maps,
        head,
        conditioning: Conditioning::Class {
            classes: count.into(),
        },
    };
    config.validate()?;
    let embedding = converter.take("embedding.weight", &[levels, maps])?;
    converter.put("embedding.weight", embedding.unsqueeze(0)?);
    for layer in 0..layers {
        let to = match layer {
            0 => "first".to_string(),
            layer => format!("blocks.{}", layer - 1),
        };
        let kernel = if layer == 0 { first_kernel } else { kernel };
        convert_block(converter, layer, &to, [maps, kernel, count])?;
    }
    converter.convolution("output_conv.0", "head.hidden", [head, maps, 1, 1])?;
    converter.convolution("output_conv.2", "head.logits", [levels, head, 1, 1])?;
    Ok(ModelConfig::from(config))
}

/// The bias of the link is added to that of the horizontal convolution, whose sums it is added
/// to. The first vertical kernel does not read its own row.
fn convert_block(
    converter: &mut Converter,
    layer: usize,
    to: &str,
    [maps, kernel, classes]: [usize; 3],
) -> std::result::Result<(), ImportError> {
    let from = format!("layers.{layer}");
    let (half, sums) = (kernel / 2, 2 * maps);
    let rows = if layer == 0 { half } else { half + 1 };
    let name = format!("{from}.vert_stack");
    let kernel = converter.part(&name, [sums, maps, half + 1, kernel], 0..rows, 0..kernel)?;
    let bias = converter.take(&format!("{name}.bias"), &[sums])?;
    converter.put_kernel(&format!("{to}.vertical"), kernel);
    converter.put(format!("{to}.vertical.bias"), bias);
    let (name, link) = (
        format!("{from}.horiz_stack"),
        format!("{from}.vert_to_horiz"),
    );
    let kernel = converter.kernel(&name, [sums, maps, 1, half + 1])?;
    let bias = converter.take(&format!("{name}.bias"), &[sums])?;
    let bias = (bias + converter.take(&format!("{link}.bias"), &[sums])?)?;
    converter.put_kernel(&format!("{to}.horizontal"), kernel);
    converter.put(format!("{to}.horizontal.bias"), bias);
    let link = converter.kernel(&link, [sums, sums, 1, 1])?;
    converter.put_kernel(&format!("{to}.link"), link);
    let class = converter.take(
        &format!("{from}.class_cond_embedding.weight"),
        &[classes, sums],
    )?;
    converter.put(format!("{to}.class.weight"), class.t()?.contiguous()?);
    converter.convolution(
        &format!("{from}.horiz_resid"),
        &format!("{to}.output"),
        [maps, maps, 1, 1],
    )
}
