//! The unmasked entries of a kernel.

use std::cmp::Ordering;

use candle_core::{Device, Result, Tensor, bail};
use candle_nn::VarBuilder;

use crate::{ColourGroups, Colours, Mask, Padding, Tap};

/// The unmasked entries of a kernel `[outputs, inputs, rows, columns]`: all of them,
/// or those before the output position.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pattern {
    pub inputs: usize,
    pub outputs: usize,
    pub rows: usize,
    pub columns: usize,
    /// Rows above and columns left of the output position.
    pub above: usize,
    pub left: usize,
    pub dilation: usize,
    /// Standard deviation of the output with initial weights, for inputs of standard
    /// deviation 1.
    pub deviation: f64,
    /// The mask at the centre, if positions after the centre are masked.
    pub centre: Option<Centre>,
}

/// The centre of the kernel: groups of maps, and which groups see which.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Centre {
    mask: Mask,
    inputs: ColourGroups,
    outputs: ColourGroups,
}

impl Centre {
    pub(crate) fn new(mask: Mask, inputs: ColourGroups, outputs: ColourGroups) -> Result<Self> {
        if inputs.channels() != outputs.channels() {
            bail!(
                "masked convolution: {} colour groups of inputs, but {} of outputs",
                inputs.channels(),
                outputs.channels()
            );
        }
        Ok(Self {
            mask,
            inputs,
            outputs,
        })
    }

    /// Number of unmasked pairs of an output and an input.
    fn open(&self) -> usize {
        let of_group = |group: usize| {
            let outputs = self.outputs.before(group + 1) - self.outputs.before(group);
            outputs
                * match self.mask {
                    Mask::A => self.inputs.before(group),
                    Mask::B => self.inputs.before(group + 1),
                }
        };
        (0..self.outputs.channels()).map(of_group).sum()
    }
}

impl Pattern {
    pub(crate) fn shape(&self) -> (usize, usize, usize, usize) {
        (self.outputs, self.inputs, self.rows, self.columns)
    }

    pub(crate) fn entries(&self) -> usize {
        self.outputs * self.inputs * self.rows * self.columns
    }

    /// Number of unmasked entries, computed without listing them, so that a shape that
    /// does not fit into memory is found before it is allocated.
    pub(crate) fn open_entries(&self) -> usize {
        match self.centre {
            None => self.entries(),
            Some(centre) => {
                let before = self.above * self.columns + self.left;
                before * self.inputs * self.outputs + centre.open()
            }
        }
    }

    /// The groups of the outputs; a single group without a mask.
    pub(crate) fn groups(&self) -> ColourGroups {
        match self.centre {
            Some(centre) => centre.outputs,
            None => ColourGroups::single(self.outputs),
        }
    }

    fn cell(&self, row: usize, column: usize) -> Option<Colours> {
        match (&self.centre, (row, column).cmp(&(self.above, self.left))) {
            (None, _) | (Some(_), Ordering::Less) => Some(Colours::All),
            (Some(centre), Ordering::Equal) => Some(Colours::Masked(centre.mask)),
            (Some(_), Ordering::Greater) => None,
        }
    }

    fn cells(&self) -> impl Iterator<Item = (usize, usize, Option<Colours>)> {
        let rows = 0..self.rows;
        let all = rows.flat_map(|row| (0..self.columns).map(move |column| (row, column)));
        all.map(|(row, column)| (row, column, self.cell(row, column)))
    }

    /// Rows and columns up to the last unmasked ones.
    pub(crate) fn live(&self) -> (usize, usize) {
        match (self.centre, self.above) {
            (None, _) => (self.rows, self.columns),
            (Some(_), 0) => (1, self.left + 1),
            (Some(_), above) => (above + 1, self.columns),
        }
    }

    /// The padding that keeps the size of the input: `above` rows on top, and
    /// at the bottom the unmasked rows below the output position.
    pub(crate) fn padding(&self) -> Padding {
        let after = |live: usize, before: usize| live as isize - 1 - before as isize;
        let (rows, columns) = self.live();
        let dilation = self.dilation as isize;
        Padding {
            top: self.above as isize * dilation,
            bottom: after(rows, self.above) * dilation,
            left: self.left as isize * dilation,
            right: after(columns, self.left) * dilation,
        }
    }

    pub(crate) fn taps(&self) -> Vec<Tap> {
        let offset = |index: usize, before: usize| {
            (index as isize - before as isize) * self.dilation as isize
        };
        let tap = |(row, column, colours): (usize, usize, Option<Colours>)| {
            Some(Tap {
                row: offset(row, self.above),
                column: offset(column, self.left),
                colours: colours?,
            })
        };
        self.cells().filter_map(tap).collect()
    }

    /// 1 for each unmasked entry, 0 for the others, with the type and device of the
    /// weight.
    pub(crate) fn mask(&self, weight: &Tensor) -> Result<Tensor> {
        let cells: Vec<_> = self.cells().map(|(_, _, colours)| colours).collect();
        let group =
            |groups: Option<ColourGroups>, map| groups.map_or(0, |groups| groups.group_of(map));
        let (inputs, outputs) = (
            self.centre.map(|it| it.inputs),
            self.centre.map(|it| it.outputs),
        );
        let mut open = Vec::with_capacity(self.entries());
        for output in 0..self.outputs {
            for input in 0..self.inputs {
                let (to, from) = (group(outputs, output), group(inputs, input));
                open.extend(cells.iter().map(|cell| match cell {
                    Some(colours) if colours.sees(to, from) => 1f32,
                    _ => 0.0,
                }));
            }
        }
        let mask = Tensor::from_vec(open, self.shape(), &Device::Cpu)?;
        mask.to_dtype(weight.dtype())?.to_device(weight.device())
    }
}

/// Half of an odd kernel size; an even one is an error that names `weights`.
pub(crate) fn half(kernel: usize, weights: &VarBuilder) -> Result<usize> {
    if kernel.is_multiple_of(2) {
        bail!(
            "convolution {}: odd kernel expected, found {kernel}",
            weights.prefix()
        );
    }
    Ok(kernel / 2)
}
