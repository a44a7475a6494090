//! A Gated PixelCNN for RGB images with colour masks, skip connections and labels.

mod convert;

use candle_core::{Result, Tensor, bail};
use candle_nn::VarBuilder;
use pixelcnn_conv::{ColourGroups, Convolution, Mask, Rows};
use pixelcnn_layers::{ConditionShape, ConditionTerm, Graph, Maps};
use pixelcnn_models::{Classes, Conditioning, Definition, ImageShape, ModelError};
use serde::{Deserialize, Serialize};

use super::{BLOCKS, MAPS, channels, classes, odd, within};
pub(crate) use convert::convert;

/// What a file does not store.
pub(crate) const SETTINGS: [(&str, &str); 2] = [("height", "32"), ("width", "32")];

/// The colours of an image.
const COLOURS: usize = 3;

/// A Gated PixelCNN whose vertical stack includes its own row in every layer: the link to the
/// horizontal stack reads the row above. In the first row, the link reads the bias of the
/// vertical convolution.
///
/// Maps have the colour groups of [`ColourGroups`]. Before a gate, the groups are counted
/// through both halves, so that the halves belong to different colours if `maps` is not
/// divisible by 3: such a network sees colours that it must not see. The audit finds them, and
/// it cannot be sampled.
///
/// # Example
///
/// ```
/// use pixelcnn_import::AnordertoreclaimConfig;
/// use pixelcnn_models::ModelConfig;
///
/// let text = r#"{"kind": "anordertoreclaim", "first_kernel": 7, "kernel": 7, "blocks": 6,
///     "maps": 30, "head": 10, "conditioning": {"kind": "class", "classes": 10},
///     "image": {"channels": 3, "height": 32, "width": 32, "levels": 2}}"#;
/// let config: ModelConfig = serde_json::from_str(text)?;
/// assert!(config.get::<AnordertoreclaimConfig>().is_some());
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AnordertoreclaimConfig {
    /// Shape of the images; three channels.
    pub image: ImageShape,
    /// Side of the first block's kernel, odd, at least 3.
    pub first_kernel: usize,
    /// Side of the kernels of the later blocks, odd, at least 3.
    pub kernel: usize,
    /// Number of blocks after the first, at least 1.
    pub blocks: usize,
    /// Feature maps of each stack.
    pub maps: usize,
    /// Feature maps inside the head.
    pub head: usize,
    /// The classes.
    pub conditioning: Conditioning,
}

/// What the horizontal stack gives before its output convolution.
struct Block {
    gated: Maps,
    vertical: Maps,
}

impl AnordertoreclaimConfig {
    fn groups(&self) -> Result<ColourGroups> {
        ColourGroups::new(COLOURS, self.maps)
    }

    /// The groups of the maps before a gate.
    fn sums(&self) -> Result<ColourGroups> {
        Ok(self.groups()?.repeated(2).turned(self.maps))
    }

    fn term(&self, maps: usize, weights: VarBuilder) -> Result<ConditionTerm> {
        let length = self.classes().map_or(0, Classes::count);
        ConditionTerm::new(ConditionShape::Vector { length }, maps, weights)
    }

    /// Both stacks up to their gates, from the stacks before. With mask A, these are the image,
    /// the link has no mask, and there is no class.
    fn block(
        &self,
        graph: &mut Graph,
        mask: Mask,
        [vertical, horizontal]: [Maps; 2],
        weights: &VarBuilder,
    ) -> Result<Block> {
        let (inputs, sums) = match mask {
            Mask::A => (ColourGroups::new(COLOURS, COLOURS)?, self.sums()?),
            Mask::B => (self.groups()?, self.sums()?),
        };
        let kernel = match mask {
            Mask::A => self.first_kernel,
            Mask::B => self.kernel,
        };
        let (from, to) = (inputs.maps(), sums.maps());
        let rows = Rows::AboveAndOwn;
        let above = Convolution::vertical(from, to, kernel, 1, rows, weights.pp("vertical"))?;
        let own = Convolution::window(from, to, 0..=0, 0..=0, weights.pp("own"))?;
        let row = Convolution::horizontal(mask, inputs, sums, kernel, 1, weights.pp("horizontal"))?;
        let (link, term) = match mask {
            Mask::A => (
                Convolution::window(to, to, 0..=0, 0..=0, weights.pp("link"))?,
                ConditionTerm::None,
            ),
            Mask::B => (
                Convolution::masked(Mask::B, sums, sums, 1, weights.pp("link"))?,
                self.term(to, weights.pp("class"))?,
            ),
        };
        let first_row = bias(&above)?;
        let above = graph.convolution(above, vertical);
        let own = graph.convolution(own, vertical);
        let sums = graph.sum(above, own);
        let sums = graph.condition(term.clone(), sums);
        let above = graph.row_above(first_row, sums)?;
        let linked = graph.convolution(link, above);
        let row = graph.convolution(row, horizontal);
        let row = graph.sum(row, linked);
        let row = graph.condition(term, row);
        Ok(Block {
            gated: graph.gate(row),
            vertical: sums,
        })
    }
}

fn bias(convolution: &Convolution) -> Result<Tensor> {
    match convolution.bias() {
        Some(bias) => Ok(bias.clone()),
        None => bail!("{}: a bias expected", convolution.name()),
    }
}

#[typetag::serde(name = "anordertoreclaim")]
impl Definition for AnordertoreclaimConfig {
    fn name(&self) -> &'static str {
        "Gated PixelCNN (anordertoreclaim)"
    }

    fn image(&self) -> ImageShape {
        self.image
    }

    fn validate(&self) -> std::result::Result<(), ModelError> {
        channels(self.image.channels, COLOURS)?;
        odd("first_kernel", self.first_kernel)?;
        odd("kernel", self.kernel)?;
        within("blocks", self.blocks, BLOCKS)?;
        within("maps", self.maps, COLOURS..=*MAPS.end())?;
        within("head", self.head, COLOURS..=*MAPS.end())?;
        classes(&self.conditioning).map(|_| ())
    }

    /// The network. Weights have names such as `first.vertical.weight`, `blocks.0.own.weight`,
    /// `blocks.0.class.weight`, `blocks.0.skip.weight` and `head.class.weight`.
    fn network(&self, weights: VarBuilder) -> Result<Graph> {
        let image = ColourGroups::new(COLOURS, COLOURS)?;
        let maps = self.groups()?;
        let mut graph = Graph::new(image);
        let input = graph.rescaled(0.0, 1.0);
        let first = weights.pp("first");
        let made = self.block(&mut graph, Mask::A, [input; 2], &first)?;
        let output = Convolution::masked(Mask::A, maps, maps, 1, first.pp("output"))?;
        let mut stacks = [
            graph.gate(made.vertical),
            graph.convolution(output, made.gated),
        ];
        let mut skipped = None;
        for block in 0..self.blocks {
            let weights = weights.pp("blocks").pp(block);
            let made = self.block(&mut graph, Mask::B, stacks, &weights)?;
            let skip = Convolution::masked(Mask::B, maps, maps, 1, weights.pp("skip"))?;
            let skip = graph.convolution(skip, made.gated);
            skipped = Some(match skipped {
                None => skip,
                Some(before) => graph.sum(before, skip),
            });
            if block + 1 < self.blocks {
                let output = Convolution::masked(Mask::B, maps, maps, 1, weights.pp("output"))?;
                let output = graph.convolution(output, made.gated);
                let vertical = graph.gate(made.vertical);
                stacks = [graph.sum(stacks[0], vertical), graph.sum(stacks[1], output)];
            }
        }
        let Some(skipped) = skipped else {
            bail!("at least one block expected");
        };
        let weights = weights.pp("head");
        let head = graph.condition(self.term(self.maps, weights.pp("class"))?, skipped);
        let hidden = ColourGroups::new(COLOURS, self.head)?;
        let logits = ColourGroups::new(COLOURS, COLOURS * self.image.levels)?;
        let layers = [("hidden", hidden), ("logits", logits)];
        graph.with_layers_of_head((head, maps), layers, weights)
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
