//! The values that a network sees, measured by gradients.

use std::cmp::Ordering;

use candle_core::{DType, Device, Tensor, Var};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::field::{Field, Offset, reach};
use super::{Fault, Finding, Forward};
use crate::ModelError;

/// Pixels around the field, to detect values outside it.
const MARGIN: usize = 2;
/// Number of random images for gradients.
const IMAGES: u64 = 2;

/// The image on which a network is tested, and the position.
pub(super) struct Frame {
    channels: usize,
    height: usize,
    width: usize,
    /// The pixel whose whole field, with margin, is inside the image.
    row: usize,
    column: usize,
}

impl Frame {
    pub(super) fn around(fields: &[Field]) -> Self {
        let (rows, columns) = reach(fields);
        Self {
            channels: fields.len(),
            height: rows + 1 + 2 * MARGIN,
            width: 2 * (columns + MARGIN) + 1,
            row: rows + MARGIN,
            column: columns + MARGIN,
        }
    }

    /// Height and width of the image.
    pub(super) fn size(&self) -> (usize, usize) {
        (self.height, self.width)
    }

    pub(super) fn gradients(&self) -> usize {
        IMAGES as usize * self.cuts_and_outputs().count() * 2
    }

    /// Pixels at which the order is split in two: the pixel with its whole field,
    /// and the corners, where padding could cause a leak.
    fn cuts(&self) -> [(usize, usize); 4] {
        let (bottom, right) = (self.height - 1, self.width - 1);
        [(self.row, self.column), (0, 0), (1, right), (bottom, right)]
    }

    fn cuts_and_outputs(&self) -> impl Iterator<Item = ((usize, usize), usize)> {
        let channels = self.channels;
        let cuts = self.cuts().into_iter();
        cuts.flat_map(move |cut| (0..channels).map(move |output| (cut, output)))
    }

    fn shape(&self) -> (usize, usize, usize, usize) {
        (1, self.channels, self.height, self.width)
    }

    /// 1 for the outputs of one channel at the chosen pixels, else 0.
    fn outputs(
        &self,
        channel: usize,
        chosen: impl Fn((usize, usize)) -> bool,
    ) -> Result<Tensor, ModelError> {
        let (height, width) = (self.height, self.width);
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
                row: (index / self.width % self.height) as isize - row as isize,
                column: (index % self.width) as isize - column as isize,
                channel: index / self.width / self.height,
            })
            .collect())
    }
}

/// The field of each output channel, from the gradient of a linear network.
pub(super) fn reached(linear: &Forward, frame: &Frame) -> Result<Vec<Field>, ModelError> {
    let image = Var::zeros(frame.shape(), DType::F64, &Device::Cpu)?;
    let logits = linear(&image)?;
    let pixel = logits.narrow(3, frame.row, 1)?.narrow(4, frame.column, 1)?;
    let mut fields = Vec::with_capacity(frame.channels);
    for channel in 0..frame.channels {
        let gradients = pixel.narrow(1, channel, 1)?.sum_all()?.backward()?;
        fields.push(match gradients.get(&image) {
            Some(gradient) => frame.offsets(gradient, (frame.row, frame.column))?,
            None => Field::new(),
        });
    }
    Ok(fields)
}

/// Finds inputs that change an output at or before them; there must be none. For
/// each split of the order, tests the outputs of all pixels before it together,
/// then those of the pixel itself.
pub(super) fn leaks(network: &Forward, frame: &Frame) -> Result<Vec<Finding>, ModelError> {
    let mut findings = Vec::new();
    for seed in 0..IMAGES {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let (b, c, h, w) = frame.shape();
        let image = Var::from_tensor(&noise(&mut random, &[b, c, h, w])?)?;
        let logits = network(&image)?;
        // Random weights, so that gradients of different logits do not cancel.
        let weighted = (&logits * noise(&mut random, logits.dims())?)?;
        let weighted = weighted.sum_keepdim(2)?.squeeze(2)?;
        for (cut, output) in frame.cuts_and_outputs() {
            for (asked, first_late) in [(Ordering::Less, 0), (Ordering::Equal, output)] {
                let chosen = frame.outputs(output, |pixel| pixel.cmp(&cut) == asked)?;
                let gradients = (&weighted * &chosen)?.sum_all()?.backward()?;
                let Some(gradient) = gradients.get(&image) else {
                    continue;
                };
                let first_late = Offset {
                    row: 0,
                    column: 0,
                    channel: first_late,
                };
                let seen = frame.offsets(gradient, cut)?;
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
