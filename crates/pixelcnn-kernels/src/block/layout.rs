//! The checked sizes of a block, and its parameters in one row.

use candle_core::{Result, Tensor, bail};

use super::{Block, ConditionTerms, Kernel};
use crate::convolution::Geometry;

/// All sizes of a block.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    pub batch: usize,
    /// Maps of each stack before the block.
    pub inputs: usize,
    /// Maps of each stack after the block, `p`.
    pub maps: usize,
    pub height: usize,
    pub width: usize,
    pub residual: bool,
    pub vertical_residual: bool,
    pub vertical_after: bool,
    /// The geometries of the kernels: vertical, link, horizontal, output.
    pub geometries: [Geometry; 4],
    /// Whether each kernel has a bias.
    pub biases: [bool; 4],
    pub condition: Condition,
}

/// The kind of conditioning term, the same for both stacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Condition {
    None,
    /// A number for each map.
    Numbers,
    /// Maps.
    Maps,
}

impl Sizes {
    pub(super) fn new(block: &Block, stacks: &Tensor, conditions: &ConditionTerms) -> Result<Self> {
        let (batch, all, height, width) = stacks.dims4()?;
        let inputs = match block.residual {
            false => all,
            true if all.is_multiple_of(2) => all / 2,
            true => bail!("block: an even number of maps per stack expected, found {all}"),
        };
        if block.vertical_residual && !block.residual {
            bail!("block: a vertical residual path expected only beside the horizontal one");
        }
        if block.link.bias.is_some() {
            bail!(
                "block: a link without bias expected, because the horizontal convolution has one"
            );
        }
        let maps = block.output.weight.dim(0)?;
        let geometry = |name: &str, kernel: &Kernel, from: usize, to: usize| {
            let input = Tensor::zeros((), stacks.dtype(), stacks.device())?;
            let input = input.broadcast_as((batch, from, height, width))?;
            let (weight, bias) = (&kernel.weight, kernel.bias.as_ref());
            let geometry = Geometry::new(&input, weight, bias, kernel.padding, kernel.dilation)?;
            if geometry.outputs != to || geometry.to != (height, width) {
                bail!(
                    "block: {name}: {to} maps of {height} x {width} expected, found {} of {:?}",
                    geometry.outputs,
                    geometry.to
                );
            }
            Ok(geometry)
        };
        Ok(Self {
            batch,
            inputs,
            maps,
            height,
            width,
            residual: block.residual,
            vertical_residual: block.vertical_residual,
            vertical_after: block.vertical_after,
            geometries: [
                geometry("vertical", &block.vertical, inputs, 2 * maps)?,
                geometry("link", &block.link, 2 * maps, 2 * maps)?,
                geometry("horizontal", &block.horizontal, inputs, 2 * maps)?,
                geometry("output", &block.output, maps, maps)?,
            ],
            biases: block.kernels().map(|(_, kernel)| kernel.bias.is_some()),
            condition: condition(block, conditions, (batch, 2 * maps, height, width))?,
        })
        .and_then(|sizes: Self| match block.residual && inputs != maps {
            true => bail!("block: {maps} maps per stack expected, found {inputs}"),
            false => Ok(sizes),
        })
    }

    pub(super) fn area(&self) -> usize {
        self.height * self.width
    }

    /// Maps of both stacks after the block.
    pub(super) fn outputs(&self) -> usize {
        match self.vertical_after {
            false => self.maps,
            true => 2 * self.maps,
        }
    }

    /// Splits one row into the parameters of the four kernels, weight and bias.
    pub(super) fn split<'a>(&self, row: &'a [f32]) -> [(&'a [f32], Option<&'a [f32]>); 4] {
        let mut rest = row;
        let mut next = |length: usize| {
            let (part, after) = rest.split_at(length);
            rest = after;
            part
        };
        let mut index = 0;
        self.geometries.map(|geometry| {
            let weight = next(geometry.summed() * geometry.outputs);
            let bias = self.biases[index].then(|| next(geometry.outputs));
            index += 1;
            (weight, bias)
        })
    }

    /// Joins the gradients of the four kernels, each `[o, weights of an output and
    /// its bias]`, into a row like that of the parameters.
    pub(super) fn join(&self, gradients: [Vec<f32>; 4]) -> Vec<f32> {
        let mut row = Vec::new();
        let kernels = self.geometries.iter().zip(&gradients);
        for ((geometry, gradient), has_bias) in kernels.zip(self.biases) {
            let length = geometry.summed() + 1;
            let outputs = gradient.chunks_exact(length);
            for output in outputs.clone() {
                row.extend_from_slice(&output[..length - 1]);
            }
            if has_bias {
                row.extend(outputs.map(|output| output[length - 1]));
            }
        }
        row
    }
}

fn condition(
    block: &Block,
    conditions: &ConditionTerms,
    (b, doubled, h, w): (usize, usize, usize, usize),
) -> Result<Condition> {
    let mut found = None;
    for (_, term) in block.terms(conditions) {
        let kind = match term.dims() {
            dims if dims == [b, doubled, 1, 1] => Condition::Numbers,
            dims if dims == [b, doubled, h, w] => Condition::Maps,
            dims => bail!(
                "block: a condition {:?} or {:?} expected, found {dims:?}",
                [b, doubled, 1, 1],
                [b, doubled, h, w]
            ),
        };
        if found.is_some_and(|found| found != kind) {
            bail!("block: one condition has a number per map, but the other has maps");
        }
        found = Some(kind);
    }
    let expected = 1 + usize::from(block.vertical_after);
    let count = block.terms(conditions).count();
    if count != 0 && count != expected {
        bail!("block: a condition for both stacks expected, found one");
    }
    Ok(found.unwrap_or(Condition::None))
}
