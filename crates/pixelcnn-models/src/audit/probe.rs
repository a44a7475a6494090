//! The values that a network sees, measured by gradients.

use std::cmp::Ordering;

use candle_core::{DType, Device, Tensor, Var};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::field::{Field, Frame, Offset};
use super::{Fault, Finding, Forward};
use crate::ModelError;

/// Number of random images for gradients.
const IMAGES: u64 = 2;

/// The frame of a network with so many channels.
pub(super) struct Probe {
    pub frame: Frame,
    pub channels: usize,
}

impl Probe {
    pub(super) fn gradients(&self) -> usize {
        IMAGES as usize * self.cuts_and_outputs().count() * 2
    }

    /// Pixels at which the order is split in two: the pixel with its whole field,
    /// and the corners, where padding could cause a leak.
    fn cuts(&self) -> [(usize, usize); 4] {
        let Frame {
            height,
            width,
            row,
            column,
        } = self.frame;
        let (bottom, right) = (height - 1, width - 1);
        [(row, column), (0, 0), (1, right), (bottom, right)]
    }

    fn cuts_and_outputs(&self) -> impl Iterator<Item = ((usize, usize), usize)> {
        let channels = self.channels;
        let cuts = self.cuts().into_iter();
        cuts.flat_map(move |cut| (0..channels).map(move |output| (cut, output)))
    }

    fn shape(&self) -> (usize, usize, usize, usize) {
        (1, self.channels, self.frame.height, self.frame.width)
    }

    /// 1 for the outputs of one channel at the chosen pixels, else 0.
    fn outputs(
        &self,
        channel: usize,
        chosen: impl Fn((usize, usize)) -> bool,
    ) -> Result<Tensor, ModelError> {
        let (height, width) = (self.frame.height, self.frame.width);
        let values: Vec<f64> = (0..self.channels * height * width)
            .map(|index| {
                let pixel = (index / width % height, index % width);
                let here = index / width / height == channel && chosen(pixel);
                f64::from(u8::from(here))
            })
            .collect();
        Ok(Tensor::from_vec(values, self.shape(), &Device::Cpu)?)
    }

    /// The non-zero entries of the gradient, relative to the pixel `(row, column)`.
    fn offsets(
        &self,
        gradient: &Tensor,
        (row, column): (usize, usize),
    ) -> Result<Field, ModelError> {
        let values = gradient.flatten_all()?.to_vec1::<f64>()?;
        let non_zero = values
            .iter()
            .enumerate()
            .filter(|(_, value)| **value != 0.0);
        Ok(non_zero
            .map(|(index, _)| Offset {
                row: (index / self.frame.width % self.frame.height) as isize - row as isize,
                column: (index % self.frame.width) as isize - column as isize,
                channel: index / self.frame.width / self.frame.height,
            })
            .collect())
    }
}

/// The field of each output channel, from the gradient of a linear network.
pub(super) fn reached(linear: &Forward, probe: &Probe) -> Result<Vec<Field>, ModelError> {
    let Frame { row, column, .. } = probe.frame;
    let image = Var::zeros(probe.shape(), DType::F64, &Device::Cpu)?;
    let logits = linear(&image)?;
    let pixel = logits.narrow(3, row, 1)?.narrow(4, column, 1)?;
    let mut fields = Vec::with_capacity(probe.channels);
    for channel in 0..probe.channels {
        let gradients = pixel.narrow(1, channel, 1)?.sum_all()?.backward()?;
        fields.push(match gradients.get(&image) {
            Some(gradient) => probe.offsets(gradient, (row, column))?,
            None => Field::new(),
        });
    }
    Ok(fields)
}

/// Finds inputs that change an output at or before them; there must be none. For
/// each split of the order, tests the outputs of all pixels before it together,
/// then those of the pixel itself.
pub(super) fn leaks(network: &Forward, probe: &Probe) -> Result<Vec<Finding>, ModelError> {
    let mut findings = Vec::new();
    for seed in 0..IMAGES {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let (b, c, h, w) = probe.shape();
        let image = Var::from_tensor(&noise(&mut random, &[b, c, h, w])?)?;
        let logits = network(&image)?;
        // Random weights, so that gradients of different logits do not cancel.
        let weighted = (&logits * noise(&mut random, logits.dims())?)?;
        let weighted = weighted.sum_keepdim(2)?.squeeze(2)?;
        for (cut, output) in probe.cuts_and_outputs() {
            for (asked, first_late) in [(Ordering::Less, 0), (Ordering::Equal, output)] {
                let chosen = probe.outputs(output, |pixel| pixel.cmp(&cut) == asked)?;
                let gradients = (&weighted * &chosen)?.sum_all()?.backward()?;
                let Some(gradient) = gradients.get(&image) else {
                    continue;
                };
                let first_late = Offset {
                    row: 0,
                    column: 0,
                    channel: first_late,
                };
                let seen = probe.offsets(gradient, cut)?;
                findings.extend(seen.range(first_late..).map(|input| Finding {
                    fault: match asked {
                        Ordering::Less => Fault::Leak,
                        _ => fault_of(output, input),
                    },
                    output,
                    input: *input,
                }));
            }
        }
    }
    Ok(findings)
}

/// The kind of fault if output channel `output` sees `input`.
pub(super) fn fault_of(output: usize, input: &Offset) -> Fault {
    match (input.row, input.column) {
        (0, 0) if input.channel >= output => Fault::ColourOrder,
        pixel if pixel > (0, 0) => Fault::Leak,
        _ => Fault::Outside,
    }
}

fn noise(random: &mut ChaCha8Rng, shape: &[usize]) -> candle_core::Result<Tensor> {
    let count = shape.iter().product();
    let values: Vec<f64> = (0..count).map(|_| random.random_range(-1.0..1.0)).collect();
    Tensor::from_vec(values, shape, &Device::Cpu)
}
