//! The Gated PixelCNN.

use candle_core::Result;
use candle_nn::{Init, VarBuilder};
use pixelcnn_conv::{ColourGroups, Convolution, Mask, Rows};
use pixelcnn_layers::{
    Activation, ConditionShape, ConditionTerm, GatedBlock, GatedBlockConfig, Graph, Maps,
};
use serde::{Deserialize, Serialize};

use crate::config::{MOST_DILATION, MOST_MAPS, validate_network};
use crate::{Classes, Conditioning, Definition, Distribution, ImageShape, ModelError};

/// The Gated PixelCNN of section 2: a first block that reads the image, the
/// later blocks of figure 2, and the head.
///
/// # Example
///
/// ```
/// use pixelcnn_models::GatedPixelCnnConfig;
///
/// let config = GatedPixelCnnConfig::imagenet32();
/// assert_eq!((config.blocks, config.maps, config.kernel), (20, 384, 5));
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GatedPixelCnnConfig {
    /// Shape of the images.
    pub image: ImageShape,
    /// Side of the first block's kernel, odd, at least 3.
    pub first_kernel: usize,
    /// Side of the kernels of the later blocks, odd.
    pub kernel: usize,
    /// Number of blocks after the first, at least 1.
    pub blocks: usize,
    /// Feature maps `p` of each stack.
    pub maps: usize,
    /// Feature maps between the two 1x1 convolutions of the head.
    pub head: usize,
    /// The distribution of each value.
    #[serde(default, skip_serializing_if = "Distribution::is_softmax")]
    pub distribution: Distribution,
    /// Dilations of the later blocks, repeated cyclically; the paper has `[1]`.
    #[serde(default = "undilated")]
    pub dilations: Vec<usize>,
    /// What blocks apply to their sums; the paper has the gate.
    #[serde(default, skip_serializing_if = "Activation::is_gate")]
    pub activation: Activation,
    /// Whether the vertical stack has a residual path too; the paper has none.
    #[serde(default, skip_serializing_if = "is_false")]
    pub vertical_residual: bool,
    /// Whether the head also reads the horizontal stack after each earlier block, through
    /// a 1x1 convolution of its own; the paper does not say.
    #[serde(default, skip_serializing_if = "is_false")]
    pub skips: bool,
    /// Whether the first block is only its convolutions, without gates and without
    /// conditioning terms: values then reach the later blocks without passing through a `tanh`.
    #[serde(default, skip_serializing_if = "is_false")]
    pub linear_first: bool,
    /// Whether a block has only one stack, a masked convolution in the place of the two
    /// shifted ones: the network then has the blind spot of figure 1, and shows what its
    /// removal is worth. Without dilations and `vertical_residual`.
    #[serde(default, skip_serializing_if = "is_false")]
    pub one_stack: bool,
    /// Whether the output of the head also has a 1x1 convolution of its input, without a ReLU.
    #[serde(default, skip_serializing_if = "is_false")]
    pub head_shortcut: bool,
    /// If given, the first block does not read the values of the image but an embedding: for
    /// each channel and level, a vector of this length that is trained.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input_embedding: Option<usize>,
    /// The conditioning of the model, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conditioning: Option<Conditioning>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
fn is_false(setting: &bool) -> bool {
    !setting
}

fn undilated() -> Vec<usize> {
    vec![1]
}

impl GatedPixelCnnConfig {
    /// The network of section 3.1 for ImageNet at 32x32: 20 layers of 384
    /// maps, 5x5. The paper does not give the first kernel and the head. Here: 7x7, as
    /// in the network that the paper starts from, and as many maps as in the
    /// stacks.
    pub fn imagenet32() -> Self {
        Self {
            image: ImageShape {
                channels: 3,
                height: 32,
                width: 32,
                levels: 256,
            },
            first_kernel: 7,
            kernel: 5,
            blocks: 20,
            maps: 384,
            head: 384,
            distribution: Distribution::default(),
            dilations: undilated(),
            activation: Activation::Gate,
            vertical_residual: false,
            skips: false,
            linear_first: false,
            one_stack: false,
            head_shortcut: false,
            input_embedding: None,
            conditioning: None,
        }
    }

    /// The condition that the blocks take.
    pub fn condition_shape(&self) -> ConditionShape {
        let conditioning = self.conditioning.as_ref();
        conditioning.map_or(ConditionShape::None, Conditioning::shape)
    }

    /// What the first block reads, and in which groups.
    fn input(
        &self,
        graph: &mut Graph,
        image: ColourGroups,
        weights: &VarBuilder,
    ) -> Result<(Maps, ColourGroups)> {
        let Some(length) = self.input_embedding else {
            return Ok((graph.image(), image));
        };
        let shape = (self.image.channels, self.image.levels, length);
        let init = Init::Uniform { lo: -1.0, up: 1.0 };
        let tables = weights
            .pp("embedding")
            .get_with_hints(shape, "weight", init)?;
        let maps = ColourGroups::new(image.channels(), self.image.channels * length)?;
        Ok((graph.embedding(tables)?, maps))
    }

    /// A block of figure 2, or the same with one masked convolution for both stacks.
    fn block(
        &self,
        graph: &mut Graph,
        config: &GatedBlockConfig,
        stacks: [Maps; 2],
        weights: VarBuilder,
    ) -> Result<[Maps; 2]> {
        if !self.one_stack {
            return Ok(graph.gated_block(GatedBlock::new(config, weights)?, stacks));
        }
        let GatedBlockConfig {
            mask,
            inputs,
            outputs,
            kernel,
            ..
        } = *config;
        let [_, before] = stacks;
        let sums = config.activation.sums(outputs);
        let term = weights.pp("horizontal_condition");
        let term = ConditionTerm::new(config.condition, sums.maps(), term)?;
        let masked = weights.pp("horizontal");
        let masked = Convolution::masked(mask, inputs, sums, kernel, masked)?;
        let output = Convolution::masked(Mask::B, outputs, outputs, 1, weights.pp("output"))?;
        let sums = graph.convolution(masked, before);
        let sums = graph.condition(term, sums);
        let gated = graph.activation(config.activation, sums);
        let mut after = graph.convolution(output, gated);
        if mask == Mask::B {
            after = graph.sum(after, before);
        }
        Ok([after; 2])
    }

    /// The stacks of a block of these sizes that is only its convolutions: both read `input`,
    /// and the vertical sums are added to the horizontal ones through a 1x1 convolution.
    fn linear_block(
        &self,
        graph: &mut Graph,
        config: &GatedBlockConfig,
        input: Maps,
        weights: VarBuilder,
    ) -> Result<[Maps; 2]> {
        let (inputs, outputs, kernel) = (config.inputs, config.outputs, config.kernel);
        if self.one_stack {
            let weights = weights.pp("horizontal");
            let masked = Convolution::masked(config.mask, inputs, outputs, kernel, weights)?;
            return Ok([graph.convolution(masked, input); 2]);
        }
        let vertical = Convolution::vertical(
            inputs.maps(),
            outputs.maps(),
            kernel,
            1,
            Rows::Above,
            weights.pp("vertical"),
        )?;
        let horizontal = Convolution::horizontal(
            config.mask,
            inputs,
            outputs,
            kernel,
            1,
            weights.pp("horizontal"),
        )?;
        let link = Convolution::pointwise(outputs.maps(), outputs.maps(), 1.0, weights.pp("link"))?;
        let vertical = graph.convolution(vertical, input);
        let row = graph.convolution(horizontal, input);
        let linked = graph.convolution(link, vertical);
        Ok([vertical, graph.sum(row, linked)])
    }

    pub(crate) fn dilation(&self, block: usize) -> usize {
        match self.dilations.len() {
            0 => 1,
            length => self.dilations[block % length],
        }
    }
}

#[typetag::serde(name = "gated-pixelcnn")]
impl Definition for GatedPixelCnnConfig {
    fn name(&self) -> &'static str {
        "Gated PixelCNN"
    }

    fn image(&self) -> ImageShape {
        self.image
    }

    fn validate(&self) -> std::result::Result<(), ModelError> {
        let (kernels, maps) = ([self.first_kernel, self.kernel], [self.maps, self.head]);
        validate_network(&self.image, kernels, maps, self.blocks)?;
        let possible = |dilation: &usize| (1..=MOST_DILATION).contains(dilation);
        if self.dilations.is_empty() || !self.dilations.iter().all(possible) {
            let why = format!("at least one expected, each from 1 to {MOST_DILATION}");
            return Err(ModelError::invalid("model.dilations", why));
        }
        if self.one_stack && self.dilations.iter().any(|dilation| *dilation != 1) {
            let why = format!("only 1 expected with one_stack, found {:?}", self.dilations);
            return Err(ModelError::invalid("model.dilations", why));
        }
        if self.one_stack && self.vertical_residual {
            let why = "false expected with one_stack, which has no vertical stack, found true";
            return Err(ModelError::invalid("model.vertical_residual", why));
        }
        let most = MOST_MAPS / self.image.channels;
        match self.input_embedding {
            Some(length) if !(1..=most).contains(&length) => {
                let why = format!("a length from 1 to {most} expected, found {length}");
                Err(ModelError::invalid("model.input_embedding", why))
            }
            _ => Ok(()),
        }
    }

    /// The network: a first block with mask A on the image, `blocks` with mask B (each as
    /// in figure 2), and the head. Weights have names such as
    /// `first.vertical.weight`, `blocks.0.output.bias`, `blocks.0.skip.weight` and
    /// `embedding.weight`.
    fn network(&self, weights: VarBuilder) -> Result<Graph> {
        let image = self.distribution.groups(&self.image)?;
        let groups = |maps| ColourGroups::new(image.channels(), maps);
        let outputs = self.distribution.outputs(&self.image)?;
        let (maps, head) = (groups(self.maps)?, groups(self.head)?);
        let mut graph = Graph::new(image);
        let (input, inputs) = self.input(&mut graph, image, &weights)?;
        let mut config = GatedBlockConfig {
            mask: Mask::A,
            vertical_after: true,
            inputs,
            outputs: maps,
            kernel: self.first_kernel,
            dilation: 1,
            activation: self.activation,
            vertical_residual: self.vertical_residual,
            condition: self.condition_shape(),
        };
        let first = weights.pp("first");
        let mut stacks = match self.linear_first {
            false => self.block(&mut graph, &config, [input; 2], first)?,
            true => self.linear_block(&mut graph, &config, input, first)?,
        };
        let mut skipped = Vec::new();
        (config.mask, config.inputs, config.kernel) = (Mask::B, maps, self.kernel);
        for block in 0..self.blocks {
            config.vertical_after = block + 1 < self.blocks;
            config.dilation = self.dilation(block);
            let weights = weights.pp("blocks").pp(block);
            if self.skips {
                let skip = Convolution::masked(Mask::B, maps, maps, 1, weights.pp("skip"))?;
                skipped.push(graph.convolution(skip, stacks[1]));
            }
            stacks = self.block(&mut graph, &config, stacks, weights)?;
        }
        let [_, horizontal] = stacks;
        let read = skipped.into_iter();
        let horizontal = read.fold(horizontal, |sum, maps| graph.sum(sum, maps));
        let layers = [("hidden", head), (self.distribution.layer(), outputs)];
        let weights = weights.pp("head");
        let graph = graph.with_layers_of_head((horizontal, maps), layers, weights.clone())?;
        match self.head_shortcut {
            false => Ok(graph),
            true => graph.with_shortcut_of_head((maps, outputs), weights.pp("shortcut")),
        }
    }

    fn conditioning(&self) -> Option<&Conditioning> {
        self.conditioning.as_ref()
    }

    fn classes_mut(&mut self) -> Option<&mut Classes> {
        self.conditioning.as_mut()?.classes_mut()
    }

    fn distribution(&self) -> Distribution {
        self.distribution
    }

    fn boxed(&self) -> Box<dyn Definition> {
        Box::new(self.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_of_two_stacks_are_refused_with_one() {
        let one = GatedPixelCnnConfig {
            one_stack: true,
            ..GatedPixelCnnConfig::imagenet32()
        };
        one.validate().unwrap();
        let refused = |config: GatedPixelCnnConfig, part: &str| {
            let error = config.validate().unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        };
        let dilated = GatedPixelCnnConfig {
            dilations: vec![1, 2],
            ..one.clone()
        };
        refused(
            dilated,
            "model.dilations: only 1 expected with one_stack, found [1, 2]",
        );
        let residual = GatedPixelCnnConfig {
            vertical_residual: true,
            ..one
        };
        refused(
            residual,
            "model.vertical_residual: false expected with one_stack",
        );
    }
}
