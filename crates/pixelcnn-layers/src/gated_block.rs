//! The two-stack block of the Gated PixelCNN.

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;
use pixelcnn_conv::{ColourGroups, Convolution, Mask, Rows};
use pixelcnn_kernels::{Block, ConditionTerms};
use serde::{Deserialize, Serialize};

#[cfg(doc)]
use crate::Graph;
use crate::{Condition, ConditionShape, ConditionTerm};

/// What a [`GatedBlock`] applies to the sums of its convolutions.
///
/// # Example
///
/// ```
/// use pixelcnn_layers::Activation;
///
/// assert_eq!(Activation::default(), Activation::Gate);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Activation {
    /// `tanh` of half of the sums times the sigmoid of the other half: equation 2.
    #[default]
    Gate,
    /// The positive part. The convolutions then have half as many outputs.
    Relu,
    /// `x` above zero, else `e^x - 1`; as many outputs as for the positive part.
    Elu,
}

impl Activation {
    /// Whether it is the gate.
    pub fn is_gate(&self) -> bool {
        *self == Self::Gate
    }

    /// The sums that give `outputs`: twice as many for the gate.
    pub fn sums(self, outputs: ColourGroups) -> ColourGroups {
        match self {
            Self::Gate => outputs.repeated(2),
            Self::Relu | Self::Elu => outputs,
        }
    }
}

/// Sizes of a [`GatedBlock`]; see its example.
#[derive(Clone, Copy, Debug)]
pub struct GatedBlockConfig {
    /// A if it reads the image, B if it reads stacks.
    pub mask: Mask,
    /// Whether its vertical output is used; that of the last block is not.
    pub vertical_after: bool,
    /// Input maps: those of the image for the first block, else `outputs`.
    pub inputs: ColourGroups,
    /// Output maps: `p` per stack.
    pub outputs: ColourGroups,
    /// Side `n` of the kernel, odd.
    pub kernel: usize,
    /// Distance between taps; 1 without dilation.
    pub dilation: usize,
    /// What follows the sums of both stacks; the paper has the gate.
    pub activation: Activation,
    /// Whether the vertical stack has a residual path too; the paper has none. A block
    /// that reads the image never has one.
    pub vertical_residual: bool,
    /// The kind and size of the condition.
    pub condition: ConditionShape,
}

/// One layer of the Gated PixelCNN (figure 2), with the conditioning terms of
/// eq. 4 or 5 in both stacks.
///
/// With `v = W_v * vertical` and `u = W_h * horizontal` (`2p` maps each), the
/// conditioning terms `t_v`, `t_h`, and the 1x1 convolutions `link` and
/// `output`:
///
/// ```text
/// vertical'   = gate(v + t_v)
/// horizontal' = horizontal + output(gate(u + link(v) + t_h))
/// ```
///
/// The first block, which reads the image, has no residual path; the last block has no
/// `vertical'`. With `vertical_residual`, `vertical` is added to `vertical'`. With another
/// [`Activation`] than the gate, there are `p` sums. Nothing flows from the horizontal to the vertical
/// stack. The first block leaves out the current row in the
/// vertical stack and uses mask A in the horizontal stack; later
/// blocks include the current row and use mask B. [`Graph::gated_block`] defines the
/// block as single operations.
///
/// # Example
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use candle_nn::{VarBuilder, VarMap};
/// use pixelcnn_conv::{ColourGroups, Mask};
/// use pixelcnn_layers::{Activation, Condition, ConditionShape, GatedBlock, GatedBlockConfig};
///
/// let config = GatedBlockConfig {
///     mask: Mask::A,
///     vertical_after: true,
///     inputs: ColourGroups::new(3, 3)?,
///     outputs: ColourGroups::new(3, 8)?,
///     kernel: 7,
///     dilation: 1,
///     activation: Activation::Gate,
///     vertical_residual: false,
///     condition: ConditionShape::None,
/// };
/// let weights = VarMap::new();
/// let weights = VarBuilder::from_varmap(&weights, DType::F32, &Device::Cpu);
/// let block = GatedBlock::new(&config, weights)?;
/// let image = Tensor::zeros((2, 3, 9, 5), DType::F32, &Device::Cpu)?;
/// let (vertical, horizontal) = block.forward([&image; 2], &Condition::None)?;
/// assert_eq!(horizontal.dims(), [2, 8, 9, 5]);
/// assert!(vertical.is_some());
/// # Ok::<(), candle_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct GatedBlock {
    mask: Mask,
    vertical_after: bool,
    vertical_residual: bool,
    activation: Activation,
    vertical: Convolution,
    link: Convolution,
    horizontal: Convolution,
    output: Convolution,
    vertical_condition: ConditionTerm,
    horizontal_condition: ConditionTerm,
}

impl GatedBlock {
    /// A block with weights `vertical`, `link`, `horizontal`, `output`, and, if it is
    /// conditional, `vertical_condition`, `horizontal_condition`.
    ///
    /// # Errors
    ///
    /// If a size is impossible or the weights do not fit.
    pub fn new(config: &GatedBlockConfig, weights: VarBuilder) -> Result<Self> {
        let sums = config.activation.sums(config.outputs).maps();
        let term = |name: &str| ConditionTerm::new(config.condition, sums, weights.pp(name));
        let vertical = match config.vertical_after {
            false => ConditionTerm::None,
            true => term("vertical_condition")?,
        };
        let terms = [vertical, term("horizontal_condition")?];
        Self::with_terms(config, terms, weights)
    }

    /// The same with these conditioning terms of the vertical and the horizontal sums,
    /// whatever `config.condition` says. Both stacks may share one term. A block without a
    /// vertical output has no vertical term.
    ///
    /// # Errors
    ///
    /// If a size is impossible or the weights do not fit.
    ///
    /// # Example
    ///
    /// ```
    /// use candle_core::{DType, Device};
    /// use candle_nn::VarBuilder;
    /// use pixelcnn_conv::{ColourGroups, Mask};
    /// use pixelcnn_layers::{
    ///     Activation, ConditionShape, ConditionTerm, GatedBlock, GatedBlockConfig,
    /// };
    ///
    /// let weights = VarBuilder::zeros(DType::F32, &Device::Cpu);
    /// let condition = ConditionShape::Vector { length: 10 };
    /// let config = GatedBlockConfig {
    ///     mask: Mask::B,
    ///     vertical_after: true,
    ///     inputs: ColourGroups::new(1, 8)?,
    ///     outputs: ColourGroups::new(1, 8)?,
    ///     kernel: 3,
    ///     dilation: 1,
    ///     activation: Activation::Gate,
    ///     vertical_residual: false,
    ///     condition,
    /// };
    /// let term = ConditionTerm::new(condition, 16, weights.pp("class"))?;
    /// let block = GatedBlock::with_terms(&config, [term.clone(), term], weights)?;
    /// assert_eq!(block.vertical_condition().outputs()?, 16);
    /// # Ok::<(), candle_core::Error>(())
    /// ```
    pub fn with_terms(
        config: &GatedBlockConfig,
        [vertical_condition, horizontal_condition]: [ConditionTerm; 2],
        weights: VarBuilder,
    ) -> Result<Self> {
        let rows = match config.mask {
            Mask::A => Rows::Above,
            Mask::B => Rows::AboveAndOwn,
        };
        let (inputs, outputs) = (config.inputs, config.outputs);
        let sums = config.activation.sums(outputs);
        let (kernel, dilation) = (config.kernel, config.dilation);
        Ok(Self {
            mask: config.mask,
            vertical_after: config.vertical_after,
            vertical_residual: config.vertical_residual && config.mask == Mask::B,
            activation: config.activation,
            vertical: Convolution::vertical(
                inputs.maps(),
                sums.maps(),
                kernel,
                dilation,
                rows,
                weights.pp("vertical"),
            )?,
            link: Convolution::pointwise(sums.maps(), sums.maps(), 1.0, weights.pp("link"))?,
            horizontal: Convolution::horizontal(
                config.mask,
                inputs,
                sums,
                kernel,
                dilation,
                weights.pp("horizontal"),
            )?,
            output: Convolution::masked(Mask::B, outputs, outputs, 1, weights.pp("output"))?,
            vertical_condition: match config.vertical_after {
                false => ConditionTerm::None,
                true => vertical_condition,
            },
            horizontal_condition,
        })
    }

    /// The concatenated stacks after the block, with its fast kernel: [`Block::forward`].
    pub(crate) fn fast(&self, stacks: &Tensor, condition: &Condition) -> Result<Tensor> {
        let block = Block {
            vertical: self.vertical.kernel()?,
            link: self.link.kernel()?,
            horizontal: self.horizontal.kernel()?,
            output: self.output.kernel()?,
            residual: self.is_residual(),
            vertical_residual: self.vertical_residual,
            vertical_after: self.vertical_after,
        };
        let conditions = ConditionTerms {
            vertical: match self.vertical_after {
                false => None,
                true => self.vertical_condition.term(stacks, condition)?,
            },
            horizontal: self.horizontal_condition.term(stacks, condition)?,
        };
        block.forward(stacks, &conditions)
    }

    /// Whether the horizontal stack has a residual path: not in the block that reads
    /// the image.
    pub fn is_residual(&self) -> bool {
        self.mask == Mask::B
    }

    /// Whether the vertical stack has a residual path.
    pub fn is_vertical_residual(&self) -> bool {
        self.vertical_residual
    }

    /// What follows the sums of both stacks.
    pub fn activation(&self) -> Activation {
        self.activation
    }

    /// Whether it has a vertical output: not the last block.
    pub fn has_vertical(&self) -> bool {
        self.vertical_after
    }

    /// The convolution of the vertical stack, to the sums of the activation.
    pub fn vertical(&self) -> &Convolution {
        &self.vertical
    }

    /// The convolution from the vertical sums to the horizontal sums.
    pub fn link(&self) -> &Convolution {
        &self.link
    }

    /// The convolution of the horizontal stack.
    pub fn horizontal(&self) -> &Convolution {
        &self.horizontal
    }

    /// The convolution after the horizontal activation.
    pub fn output(&self) -> &Convolution {
        &self.output
    }

    /// The conditioning term of the vertical sums.
    pub fn vertical_condition(&self) -> &ConditionTerm {
        &self.vertical_condition
    }

    /// The conditioning term of the horizontal sums.
    pub fn horizontal_condition(&self) -> &ConditionTerm {
        &self.horizontal_condition
    }
}
