//! The two-stack block of the Gated PixelCNN as one operation.

mod fast;
mod layout;

use candle_core::{Result, Tensor, bail};
use candle_nn::ops::sigmoid;

use crate::path::Path;
use crate::{Padding, convolve};
use fast::TwoStacks;
use layout::Sizes;

/// Where a block stands in the network.
///
/// # Example
///
/// ```
/// use pixelcnn_kernels::Position;
///
/// let stack = [Position::First, Position::Middle, Position::Middle, Position::Last];
/// assert_eq!(stack[0], Position::First);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Position {
    /// Reads the image, which both stacks share; no residual path.
    First,
    /// Reads the stacks of the block before; a residual path in the
    /// horizontal stack.
    Middle,
    /// As `Middle`, but writes the horizontal stack alone: nothing reads its
    /// vertical maps after the link.
    Last,
}

/// A convolution's weight `[o, i, kh, kw]` and bias `[o]`, zero where none is
/// given, with its padding.
#[derive(Clone, Debug)]
pub struct Kernel {
    /// `[o, i, kh, kw]`.
    pub weight: Tensor,
    /// `[o]`.
    pub bias: Option<Tensor>,
    /// Zeros around the input.
    pub padding: Padding,
    /// Distance between taps.
    pub dilation: usize,
}

impl Kernel {
    /// [`convolve`] with this kernel.
    ///
    /// # Errors
    ///
    /// As [`convolve`].
    pub fn convolve(&self, input: &Tensor) -> Result<Tensor> {
        let bias = self.bias.as_ref();
        convolve(input, &self.weight, bias, self.padding, self.dilation)
    }
}

/// One layer of the Gated PixelCNN (figure 2): see [`Block::forward`].
#[derive(Clone, Debug)]
pub struct Block {
    /// `i` maps to `2p`.
    pub vertical: Kernel,
    /// `2p` maps to `2p`, without bias: what it is added to has one.
    pub link: Kernel,
    /// `i` maps to `2p`.
    pub horizontal: Kernel,
    /// `p` maps to `p`.
    pub output: Kernel,
    /// Where the block stands.
    pub position: Position,
}

/// What a condition adds before the gates, each `[b, 2p, 1, 1]` or
/// `[b, 2p, h, w]`.
#[derive(Clone, Debug, Default)]
pub struct ConditionTerms {
    /// To the vertical stack; not read in the last block.
    pub vertical: Option<Tensor>,
    /// To the horizontal stack.
    pub horizontal: Option<Tensor>,
}

impl Block {
    /// Both stacks after the block.
    ///
    /// ```text
    /// v           = vertical convolution of the vertical stack
    /// s           = horizontal convolution of the horizontal stack + link(v)
    /// vertical'   = gate(v + its condition)
    /// horizontal' = horizontal + output(gate(s + its condition))
    /// ```
    ///
    /// without the residual path in the first block, and without `vertical'`
    /// in the last.
    ///
    /// # Shapes
    ///
    /// The stacks, vertical then horizontal, are one tensor `[b, 2p, h, w]`
    /// before and after; before the first block it is the image `[b, c, h, w]`,
    /// after the last one `[b, p, h, w]`.
    ///
    /// # Errors
    ///
    /// If shapes do not fit, or dtypes or devices differ.
    ///
    /// # Example
    ///
    /// ```
    /// use candle_core::{DType, Device, Tensor};
    /// use pixelcnn_kernels::{Block, ConditionTerms, Kernel, Padding, Position};
    ///
    /// let kernel = |shape: [usize; 4], padding| -> candle_core::Result<Kernel> {
    ///     let weight = Tensor::ones(&shape, DType::F32, &Device::Cpu)?;
    ///     Ok(Kernel { weight, bias: None, padding, dilation: 1 })
    /// };
    /// let above = Padding { top: 1, bottom: -1, left: 1, right: 1 };
    /// let block = Block {
    ///     vertical: kernel([8, 3, 1, 3], above)?,
    ///     link: kernel([8, 8, 1, 1], Padding::default())?,
    ///     horizontal: kernel([8, 3, 1, 1], Padding { left: 1, right: -1, ..Padding::default() })?,
    ///     output: kernel([4, 4, 1, 1], Padding::default())?,
    ///     position: Position::First,
    /// };
    /// let image = Tensor::ones((2, 3, 5, 6), DType::F32, &Device::Cpu)?;
    /// let stacks = block.forward(&image, &ConditionTerms::default())?;
    /// assert_eq!(stacks.dims(), [2, 8, 5, 6]);
    /// # Ok::<(), candle_core::Error>(())
    /// ```
    pub fn forward(&self, stacks: &Tensor, conditions: &ConditionTerms) -> Result<Tensor> {
        let sizes = Sizes::new(self, stacks, conditions)?;
        let tensors: Vec<_> = self.tensors().chain(self.terms(conditions)).collect();
        match Path::of("block", ("stacks", stacks), tensors)? {
            Path::Fast(level) => {
                let terms: Vec<_> = self.terms(conditions).map(|(_, term)| term).collect();
                TwoStacks::new(level, sizes).apply(self, stacks, &terms)
            }
            _ => self.portable(stacks, &sizes, conditions),
        }
    }

    /// In candle's own operations, for every device and dtype.
    fn portable(
        &self,
        stacks: &Tensor,
        sizes: &Sizes,
        conditions: &ConditionTerms,
    ) -> Result<Tensor> {
        let (above, row) = match self.position {
            Position::First => (stacks.clone(), stacks.clone()),
            _ => (
                stacks.narrow(1, 0, sizes.inputs)?.contiguous()?,
                stacks.narrow(1, sizes.inputs, sizes.inputs)?.contiguous()?,
            ),
        };
        let rows_above = self.vertical.convolve(&above)?;
        let row_so_far = (self.horizontal.convolve(&row)? + self.link.convolve(&rows_above)?)?;
        let gated = self.gated(&row_so_far, conditions.horizontal.as_ref())?;
        let mut horizontal = self.output.convolve(&gated)?;
        if self.position != Position::First {
            horizontal = (horizontal + row)?;
        }
        if self.position == Position::Last {
            return Ok(horizontal);
        }
        let vertical = self.gated(&rows_above, conditions.vertical.as_ref())?;
        Tensor::cat(&[&vertical, &horizontal], 1)
    }

    fn gated(&self, maps: &Tensor, condition: Option<&Tensor>) -> Result<Tensor> {
        let sum = match condition {
            Some(condition) => maps.broadcast_add(condition)?,
            None => maps.clone(),
        };
        // candle works on a view in one thread, on a copy in several.
        let half = sum.dim(1)? / 2;
        let values = sum.narrow(1, 0, half)?.contiguous()?;
        let gates = sum.narrow(1, half, half)?.contiguous()?;
        values.tanh()?.mul(&sigmoid(&gates)?)
    }

    fn kernels(&self) -> [(&'static str, &Kernel); 4] {
        [
            ("vertical", &self.vertical),
            ("link", &self.link),
            ("horizontal", &self.horizontal),
            ("output", &self.output),
        ]
    }

    fn tensors(&self) -> impl Iterator<Item = (&'static str, &Tensor)> {
        let kernels = self.kernels().into_iter();
        kernels.flat_map(|(name, kernel)| {
            let tensors = [Some(&kernel.weight), kernel.bias.as_ref()];
            tensors
                .into_iter()
                .flatten()
                .map(move |tensor| (name, tensor))
        })
    }

    /// The condition's terms that the block reads, vertical first.
    fn terms<'a>(
        &self,
        conditions: &'a ConditionTerms,
    ) -> impl Iterator<Item = (&'static str, &'a Tensor)> {
        let vertical = conditions.vertical.as_ref();
        let vertical = vertical.filter(|_| self.position != Position::Last);
        [vertical, conditions.horizontal.as_ref()]
            .into_iter()
            .flatten()
            .map(|term| ("condition", term))
    }
}

/// Both stacks of one tensor: vertical, horizontal.
///
/// # Errors
///
/// If the number of maps is odd.
pub fn split_stacks(stacks: &Tensor) -> Result<(Tensor, Tensor)> {
    let maps = stacks.dim(1)?;
    if !maps.is_multiple_of(2) {
        bail!("stacks: an even number of maps expected, found {maps}");
    }
    Ok((
        stacks.narrow(1, 0, maps / 2)?,
        stacks.narrow(1, maps / 2, maps / 2)?,
    ))
}

#[cfg(test)]
mod tests;
