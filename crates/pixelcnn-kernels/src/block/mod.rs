//! The two-stack block of the Gated PixelCNN as one operation.

mod fast;
mod layout;

use candle_core::{Result, Tensor, bail};

use crate::path::Path;
use crate::{Padding, convolve};
use fast::TwoStacks;
use layout::Sizes;

/// The weight `[o, i, kh, kw]` and the optional bias `[o]` of a convolution, with its
/// padding.
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
    /// `2p` maps to `2p`, without bias, because the horizontal convolution has one.
    pub link: Kernel,
    /// `i` maps to `2p`.
    pub horizontal: Kernel,
    /// `p` maps to `p`.
    pub output: Kernel,
    /// Whether the horizontal stack has a residual path; otherwise both
    /// stacks are the image.
    pub residual: bool,
    /// Whether the vertical stack has a residual path too; only with `residual`.
    pub vertical_residual: bool,
    /// Whether the block has a vertical output.
    pub vertical_after: bool,
}

/// The conditioning terms before the gates, each `[b, 2p, 1, 1]` or
/// `[b, 2p, h, w]`.
#[derive(Clone, Debug, Default)]
pub struct ConditionTerms {
    /// The term of the vertical stack; ignored without a vertical output.
    pub vertical: Option<Tensor>,
    /// The term of the horizontal stack.
    pub horizontal: Option<Tensor>,
}

impl Block {
    /// Both stacks after the block.
    ///
    /// ```text
    /// v           = vertical convolution of the vertical stack
    /// s           = horizontal convolution of the horizontal stack + link(v)
    /// vertical'   = gate(v + its condition), plus vertical with `vertical_residual`
    /// horizontal' = horizontal + output(gate(s + its condition))
    /// ```
    ///
    /// without the horizontal residual path or without `vertical'` if the block does not
    /// have them.
    /// `pixelcnn-layers` defines the block as single operations. This function computes
    /// the same on the CPU in f32 ([`is_fast`](crate::is_fast)), with less
    /// time and memory.
    ///
    /// # Shapes
    ///
    /// Input and output are one tensor `[b, 2p, h, w]` with the vertical and then the
    /// horizontal stack. Without a residual path, the input is the image `[b, c, h, w]`;
    /// without `vertical'`, the output is `[b, p, h, w]`.
    ///
    /// # Errors
    ///
    /// If shapes do not fit, dtypes or devices differ, or the path is not the fast
    /// one.
    ///
    /// # Example
    ///
    /// ```
    /// use candle_core::{DType, Device, Tensor};
    /// use pixelcnn_kernels::{Block, ConditionTerms, Kernel, Padding};
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
    ///     residual: false,
    ///     vertical_residual: false,
    ///     vertical_after: true,
    /// };
    /// let image = Tensor::ones((2, 3, 5, 6), DType::F32, &Device::Cpu)?;
    /// let stacks = block.forward(&image, &ConditionTerms::default())?;
    /// assert_eq!(stacks.dims(), [2, 8, 5, 6]);
    /// # Ok::<(), candle_core::Error>(())
    /// ```
    pub fn forward(&self, stacks: &Tensor, conditions: &ConditionTerms) -> Result<Tensor> {
        let sizes = Sizes::new(self, stacks, conditions)?;
        let tensors: Vec<_> = self.tensors().chain(self.terms(conditions)).collect();
        match Path::choose("block", ("stacks", stacks), tensors)? {
            Path::Fast(level) => {
                let terms: Vec<_> = self.terms(conditions).map(|(_, term)| term).collect();
                TwoStacks::new(level, sizes).apply(self, stacks, &terms)
            }
            Path::Portable => bail!("block: f32 on the CPU expected, outside of `portable`"),
        }
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

    /// The conditioning terms that the block reads, vertical first.
    fn terms<'a>(
        &self,
        conditions: &'a ConditionTerms,
    ) -> impl Iterator<Item = (&'static str, &'a Tensor)> {
        let vertical = conditions.vertical.as_ref();
        let vertical = vertical.filter(|_| self.vertical_after);
        [vertical, conditions.horizontal.as_ref()]
            .into_iter()
            .flatten()
            .map(|term| ("condition", term))
    }
}

#[cfg(test)]
mod tests;
