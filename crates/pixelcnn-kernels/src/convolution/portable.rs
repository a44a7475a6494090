//! A convolution with candle's own operations.

use candle_core::op::BackpropOp;
use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Storage, Tensor, bail};

use super::Padding;

/// A convolution for every device and dtype.
pub(super) fn portable(
    input: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    padding: Padding,
    dilation: usize,
) -> Result<Tensor> {
    let added = |side: isize| side.max(0) as usize;
    let cropped = |side: isize| (-side).max(0) as usize;
    let mut padded = input.clone();
    for (dimension, before, after) in [
        (2, padding.top, padding.bottom),
        (3, padding.left, padding.right),
    ] {
        padded = padded.pad_with_zeros(dimension, added(before), added(after))?;
        let length = padded.dim(dimension)? - cropped(before) - cropped(after);
        padded = padded.narrow(dimension, cropped(before), length)?;
    }
    let only_input = input.track_op() && !weight.track_op();
    let output = match only_input && input.device().is_cpu() {
        true => padded.force_contiguous()?.apply_op1(FixedWeight {
            weight: weight.clone(),
            dilation,
        })?,
        false => padded.contiguous()?.conv2d(weight, 0, 1, dilation, 1)?,
    };
    match bias {
        Some(bias) => output.broadcast_add(&bias.reshape((1, (), 1, 1))?),
        None => Ok(output),
    }
}

/// A convolution on the CPU whose weight gets no gradient. With candle's own operations, each
/// pass back would also compute the gradient of the weight.
struct FixedWeight {
    weight: Tensor,
    dilation: usize,
}

impl CustomOp1 for FixedWeight {
    fn name(&self) -> &'static str {
        "convolution with a fixed weight"
    }

    fn cpu_fwd(&self, input: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        if layout.start_offset() != 0 || !layout.is_contiguous() {
            bail!("convolve: a contiguous tensor expected, found {layout:?}");
        }
        let (input, none) = (Storage::Cpu(input.clone()), BackpropOp::none());
        let input = Tensor::from_storage(input, layout.shape(), none, false);
        let output = by_taps(&input, &self.weight, self.dilation)?.force_contiguous()?;
        let (storage, _) = output.storage_and_layout();
        match &*storage {
            Storage::Cpu(storage) => Ok((storage.clone(), output.shape().clone())),
            _ => bail!("convolve: a tensor on the CPU expected"),
        }
    }

    /// The convolution of the incoming gradient, padded on all sides, with the turned kernel.
    fn bwd(&self, _input: &Tensor, _output: &Tensor, incoming: &Tensor) -> Result<Option<Tensor>> {
        let (_, _, rows, columns) = self.weight.dims4()?;
        let [above, beside] = [rows, columns].map(|side| (side - 1) * self.dilation);
        let padded = incoming
            .pad_with_zeros(2, above, above)?
            .pad_with_zeros(3, beside, beside)?;
        // The weight may be a part of a larger kernel; `flip` takes whole tensors only.
        let turned = self.weight.contiguous()?.flip(&[2, 3])?;
        let turned = turned.transpose(0, 1)?.contiguous()?;
        Ok(Some(by_taps(&padded, &turned, self.dilation)?))
    }
}

/// The sum over taps of one matrix product each.
fn by_taps(padded: &Tensor, weight: &Tensor, dilation: usize) -> Result<Tensor> {
    let (b, inputs, height, width) = padded.dims4()?;
    let (outputs, _, rows, columns) = weight.dims4()?;
    let height = height - (rows - 1) * dilation;
    let width = width - (columns - 1) * dilation;
    let mut sum: Option<Tensor> = None;
    for row in 0..rows {
        for column in 0..columns {
            let tap = weight.narrow(2, row, 1)?.narrow(3, column, 1)?;
            let tap = tap.reshape((1, outputs, inputs))?;
            let tap = tap.broadcast_as((b, outputs, inputs))?.contiguous()?;
            let part = padded
                .narrow(2, row * dilation, height)?
                .narrow(3, column * dilation, width)?
                .reshape((b, inputs, height * width))?;
            let product = tap.matmul(&part)?;
            sum = Some(match sum {
                Some(sum) => (sum + product)?,
                None => product,
            });
        }
    }
    match sum {
        Some(sum) => sum.reshape((b, outputs, height, width)),
        None => bail!("convolve: a kernel of {rows} x {columns}"),
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Var};

    use super::*;

    fn numbers(shape: &[usize], factor: f64) -> Tensor {
        let count = shape.iter().product::<usize>();
        let numbers = (0..count).map(|index| (index as f64 * factor).sin());
        Tensor::from_vec(numbers.collect(), shape, &Device::Cpu).unwrap()
    }

    /// The products of a fixed weight give the values and gradients of a trained one.
    #[test]
    fn a_fixed_weight_gives_the_same_numbers() {
        let padding = Padding {
            top: 4,
            bottom: -1,
            left: 2,
            right: 2,
        };
        let input = Var::from_tensor(&numbers(&[2, 3, 5, 6], 0.7)).unwrap();
        let weight = Var::from_tensor(&numbers(&[4, 3, 3, 3], 1.3)).unwrap();
        let bias = numbers(&[4], 0.3);
        let results = [weight.as_tensor().clone(), weight.as_detached_tensor()].map(|weight| {
            // The open rows of a masked kernel, as `Convolution::kernel` gives them.
            let weight = weight.narrow(2, 0, 2).unwrap();
            let output = portable(&input, &weight, Some(&bias), padding, 2).unwrap();
            let loss = output.sqr().unwrap().sum_all().unwrap();
            let gradient = loss.backward().unwrap().remove(&input).unwrap();
            let all = [output, gradient].map(|it| it.flatten_all().unwrap());
            Tensor::cat(&all, 0).unwrap().to_vec1::<f64>().unwrap()
        });
        for (one, other) in results[0].iter().zip(&results[1]) {
            assert!((one - other).abs() < 1e-12, "{one} {other}");
        }
    }
}
