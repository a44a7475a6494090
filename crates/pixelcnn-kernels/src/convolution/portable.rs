//! A convolution with candle's own operations.

use candle_core::{Result, Tensor};

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
        true => by_taps(&padded, weight, dilation)?,
        false => padded.contiguous()?.conv2d(weight, 0, 1, dilation, 1)?,
    };
    match bias {
        Some(bias) => output.broadcast_add(&bias.reshape((1, (), 1, 1))?),
        None => Ok(output),
    }
}

/// The sum over taps of one matrix product each. On the CPU, candle's gradient of the input of a
/// convolution is slow, and it computes that of the weight too; products are fast.
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
        None => candle_core::bail!("convolve: a kernel of {rows} x {columns}"),
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
        let weight = Var::from_tensor(&numbers(&[4, 3, 2, 3], 1.3)).unwrap();
        let bias = numbers(&[4], 0.3);
        let results = [weight.as_tensor().clone(), weight.as_detached_tensor()].map(|weight| {
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
