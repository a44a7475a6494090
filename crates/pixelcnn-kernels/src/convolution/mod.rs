//! The one convolution function.

mod forward;
mod geometry;
mod portable;
mod product;
mod weight_gradient;
mod weights;

use candle_core::{CpuStorage, CustomOp2, CustomOp3, Layout, Result, Shape, Tensor};

pub use geometry::Padding;

use crate::Level;
use crate::memory::{Target, written};
use crate::path::{Path, contiguous, is_cuda};
pub(crate) use forward::{Begin, Term, convolutions};
pub(crate) use geometry::Geometry;
use portable::portable;
pub(crate) use weight_gradient::weight_gradient;
pub(crate) use weights::Weights;

/// 2-D convolution (cross-correlation, as in every deep learning library) of
/// stride 1.
///
/// Output `(o, y, x)` is `bias[o]` plus the sum over input maps `i` and taps
/// `(r, s)` of `weight[o, i, r, s] * padded[i, y + r * dilation, x + s * dilation]`.
///
/// The fast path sums over taps, then input maps, in one chain
/// that starts with the bias. Runs of zero weights, such as masked weights,
/// are skipped: an input that is not finite has no effect there.
///
/// # Shapes
///
/// `input [b, i, h, w]`, `weight [o, i, kh, kw]`, `bias [o]`; the result is
/// `[b, o, h + top + bottom - (kh - 1) dilation, w + left + right - (kw - 1) dilation]`.
///
/// # Errors
///
/// If a tensor has a wrong rank, maps or bias do not fit, a size or the
/// dilation is zero, the output is empty, or dtypes or devices
/// differ.
///
/// # Example
///
/// ```
/// use candle_core::{Device, Tensor};
/// use pixelcnn_kernels::{Padding, convolve};
///
/// let image = Tensor::arange(0f32, 6., &Device::Cpu)?.reshape((1, 1, 2, 3))?;
/// let weight = Tensor::new(&[[[[1f32], [1.]]]], &Device::Cpu)?; // a row and the next
/// let padding = Padding { top: 1, ..Padding::default() };
/// let sums = convolve(&image, &weight, None, padding, 1)?;
/// assert_eq!(sums.flatten_all()?.to_vec1::<f32>()?, [0., 1., 2., 3., 5., 7.]);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn convolve(
    input: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    padding: Padding,
    dilation: usize,
) -> Result<Tensor> {
    let geometry = Geometry::new(input, weight, bias, padding, dilation)?;
    let others = [Some(("weight", weight)), bias.map(|bias| ("bias", bias))];
    let others = others.into_iter().flatten();
    match Path::choose("convolve", ("input", input), others)? {
        Path::Portable if is_cuda(input) => {
            let maps = product::product(input, weight, geometry)?;
            match bias {
                Some(bias) => maps.broadcast_add(&bias.reshape((1, (), 1, 1))?),
                None => Ok(maps),
            }
        }
        Path::Portable => portable(input, weight, bias, padding, dilation),
        Path::Fast(level) => {
            let operation = Convolve { geometry, level };
            let (input, weight) = (input.contiguous()?, weight.contiguous()?);
            match bias {
                Some(bias) => input.apply_op3(&weight, &bias.contiguous()?, operation),
                None => input.apply_op2(&weight, operation),
            }
        }
    }
}

#[derive(Clone, Copy)]
struct Convolve {
    geometry: Geometry,
    level: Level,
}

impl Convolve {
    fn outputs(&self, input: &[f32], weight: &[f32], bias: Option<&[f32]>) -> (CpuStorage, Shape) {
        let geometry = &self.geometry;
        let weights = Weights::forward(geometry, weight, self.level.rows());
        let (height, width) = geometry.to;
        let shape = Shape::from((geometry.batch, geometry.outputs, height, width));
        // SAFETY: `convolutions` writes every output.
        let output = unsafe {
            written(shape.elem_count(), |output| {
                let input = geometry.input(input);
                let term = Term {
                    geometry,
                    input,
                    weights: &weights,
                };
                let begin = Begin {
                    bias,
                    ..Begin::default()
                };
                let stride = geometry.outputs * geometry.output_area();
                convolutions(self.level, &[term], begin, Target::new(output, stride));
            })
        };
        (CpuStorage::F32(output), shape)
    }

    fn input_gradient(&self, incoming: &Tensor, weight: &Tensor) -> Result<Tensor> {
        incoming.apply_op2_no_bwd(weight, &InputGradient(*self))
    }

    /// The gradients of weight and bias.
    fn weight_gradient(&self, input: &Tensor, incoming: &Tensor) -> Result<(Tensor, Tensor)> {
        let both = input.apply_op2_no_bwd(incoming, &WeightGradient(*self))?;
        let (outputs, inputs) = (self.geometry.outputs, self.geometry.inputs);
        let (height, width) = self.geometry.kernel;
        let count = inputs * height * width;
        let weight = both.narrow(1, 0, count)?;
        let weight = weight.reshape((outputs, inputs, height, width))?;
        Ok((weight, both.narrow(1, count, 1)?.flatten_all()?))
    }
}

impl CustomOp2 for Convolve {
    fn name(&self) -> &'static str {
        "convolve"
    }

    fn cpu_fwd(
        &self,
        input: &CpuStorage,
        input_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let input = contiguous("convolve: input", input, input_layout)?;
        let weight = contiguous("convolve: weight", weight, weight_layout)?;
        Ok(self.outputs(input, weight, None))
    }

    fn bwd(
        &self,
        input: &Tensor,
        weight: &Tensor,
        _output: &Tensor,
        incoming: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let incoming = incoming.contiguous()?;
        let of_input = input
            .track_op()
            .then(|| self.input_gradient(&incoming, weight));
        let of_weight = match weight.track_op() {
            true => Some(self.weight_gradient(input, &incoming)?.0),
            false => None,
        };
        Ok((of_input.transpose()?, of_weight))
    }
}

impl CustomOp3 for Convolve {
    fn name(&self) -> &'static str {
        "convolve"
    }

    fn cpu_fwd(
        &self,
        input: &CpuStorage,
        input_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
        bias: &CpuStorage,
        bias_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let input = contiguous("convolve: input", input, input_layout)?;
        let weight = contiguous("convolve: weight", weight, weight_layout)?;
        let bias = contiguous("convolve: bias", bias, bias_layout)?;
        Ok(self.outputs(input, weight, Some(bias)))
    }

    fn bwd(
        &self,
        input: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
        _output: &Tensor,
        incoming: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let incoming = incoming.contiguous()?;
        let of_input = input
            .track_op()
            .then(|| self.input_gradient(&incoming, weight));
        let of_input = of_input.transpose()?;
        if !weight.track_op() && !bias.track_op() {
            return Ok((of_input, None, None));
        }
        let (of_weight, of_bias) = self.weight_gradient(input, &incoming)?;
        Ok((of_input, Some(of_weight), Some(of_bias)))
    }
}

/// The gradient of the input, from the incoming gradient and the weight.
struct InputGradient(Convolve);

impl CustomOp2 for InputGradient {
    fn name(&self) -> &'static str {
        "convolve: gradient of the input"
    }

    fn cpu_fwd(
        &self,
        incoming: &CpuStorage,
        incoming_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let incoming = contiguous("convolve: gradient", incoming, incoming_layout)?;
        let weight = contiguous("convolve: weight", weight, weight_layout)?;
        let level = self.0.level;
        let geometry = &self.0.geometry.transposed();
        let weights = Weights::backward(geometry, weight, level.rows());
        let (height, width) = geometry.to;
        let shape = Shape::from((geometry.batch, geometry.outputs, height, width));
        // SAFETY: `convolutions` writes every output.
        let output = unsafe {
            written(shape.elem_count(), |output| {
                let term = Term {
                    geometry,
                    input: geometry.input(incoming),
                    weights: &weights,
                };
                let stride = geometry.outputs * geometry.output_area();
                let output = Target::new(output, stride);
                convolutions(level, &[term], Begin::default(), output);
            })
        };
        Ok((CpuStorage::F32(output), shape))
    }
}

/// The gradient of weight and bias, from the input and the incoming gradient:
/// `[o, i kh kw + 1]`, with the bias in the last column.
struct WeightGradient(Convolve);

impl CustomOp2 for WeightGradient {
    fn name(&self) -> &'static str {
        "convolve: gradient of the weight"
    }

    fn cpu_fwd(
        &self,
        input: &CpuStorage,
        input_layout: &Layout,
        incoming: &CpuStorage,
        incoming_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let input = contiguous("convolve: input", input, input_layout)?;
        let incoming = contiguous("convolve: gradient", incoming, incoming_layout)?;
        let geometry = &self.0.geometry;
        let (input, incoming) = (geometry.input(input), geometry.output(incoming));
        let gradient = weight_gradient(self.0.level, geometry, input, incoming);
        let columns = geometry.inputs * geometry.taps() + 1;
        Ok((
            CpuStorage::F32(gradient),
            (geometry.outputs, columns).into(),
        ))
    }
}

#[cfg(test)]
mod tests;
