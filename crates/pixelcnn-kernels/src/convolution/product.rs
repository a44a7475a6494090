//! A convolution as a product of its weight and the views of its taps, on a device.
//!
//! candle computes the gradient of a convolution's input on a device with a kernel that is many
//! times slower than a product. Here all three products are those of the device's library. The
//! views are computed again for the gradient: they are as large as the input times the taps.

use candle_core::backend::BackendStorage;
use candle_core::{
    CpuStorage, CudaStorage, CustomOp1, CustomOp2, Layout, Result, Shape, Tensor, WithDType, bail,
};

use super::Geometry;

/// The convolution without a bias.
pub(super) fn product(input: &Tensor, weight: &Tensor, geometry: Geometry) -> Result<Tensor> {
    input
        .contiguous()?
        .apply_op2(&weight.contiguous()?, Product(geometry))
}

struct Product(Geometry);

/// From maps `[b, i, h, w]` to their views `[b, i kh kw, out_h out_w]`.
struct Views(Geometry);

/// From views to the sums of all views of each number of the maps.
struct Sums(Geometry);

impl Geometry {
    fn views_shape(&self) -> Shape {
        (self.batch, self.summed(), self.output_area()).into()
    }

    fn maps_shape(&self) -> Shape {
        (self.batch, self.inputs, self.from.0, self.from.1).into()
    }

    /// Calls `each` with the place of every view that is inside the maps, and the place of the
    /// number it sees.
    fn for_each_view(&self, mut each: impl FnMut(usize, usize)) {
        let (height, width) = self.from;
        let inside = |at: usize, before: isize, size: usize| {
            at.checked_add_signed(-before).filter(|at| *at < size)
        };
        let mut view = 0;
        for map in 0..self.batch * self.inputs {
            for tap in 0..self.kernel.0 * self.kernel.1 {
                let (row, column) = (tap / self.kernel.1, tap % self.kernel.1);
                for at in 0..self.output_area() {
                    let (y, x) = (at / self.to.1, at % self.to.1);
                    let y = inside(y + row * self.dilation, self.before.0, height);
                    let x = inside(x + column * self.dilation, self.before.1, width);
                    if let (Some(y), Some(x)) = (y, x) {
                        each(view, (map * height + y) * width + x);
                    }
                    view += 1;
                }
            }
        }
    }

    #[cfg(feature = "cuda")]
    fn sizes(&self) -> pixelcnn_cuda::ColumnSizes {
        let pair = |(a, b): (usize, usize)| [a as i32, b as i32];
        pixelcnn_cuda::ColumnSizes {
            maps: self.inputs as i32,
            from: pair(self.from),
            kernel: pair(self.kernel),
            to: pair(self.to),
            before: [self.before.0 as i32, self.before.1 as i32],
            dilation: self.dilation as i32,
        }
    }

    /// The product of the weight and the views, `[b, o, out_h, out_w]`.
    fn multiply<S: BackendStorage>(
        &self,
        (views, views_layout): (&S, &Layout),
        (weight, weight_layout): (&S, &Layout),
    ) -> Result<(S, Shape)> {
        let (batch, outputs, taps) = (self.batch, self.outputs, self.summed());
        if !weight_layout.is_contiguous() {
            bail!("convolve: a contiguous weight expected, found {weight_layout:?}");
        }
        // One weight for all images.
        let weight_layout = Layout::new(
            (batch, outputs, taps).into(),
            vec![0, taps, 1],
            weight_layout.start_offset(),
        );
        let sizes = (batch, outputs, self.output_area(), taps);
        let maps = weight.matmul(views, sizes, &weight_layout, views_layout)?;
        Ok((maps, (batch, outputs, self.to.0, self.to.1).into()))
    }
}

impl CustomOp2 for Product {
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
        let (views, shape) = CustomOp1::cpu_fwd(&Views(self.0), input, input_layout)?;
        let views = (&views, &Layout::contiguous(shape));
        self.0.multiply(views, (weight, weight_layout))
    }

    fn cuda_fwd(
        &self,
        input: &CudaStorage,
        input_layout: &Layout,
        weight: &CudaStorage,
        weight_layout: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        let shape = self.0.views_shape();
        if self.0.is_pointwise() {
            let layout = Layout::contiguous_with_offset(shape, input_layout.start_offset());
            return self.0.multiply((input, &layout), (weight, weight_layout));
        }
        let (views, shape) = Views(self.0).cuda_fwd(input, input_layout)?;
        let views = (&views, &Layout::contiguous(shape));
        self.0.multiply(views, (weight, weight_layout))
    }

    fn bwd(
        &self,
        input: &Tensor,
        weight: &Tensor,
        _output: &Tensor,
        incoming: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let geometry = self.0;
        let (batch, outputs, taps) = (geometry.batch, geometry.outputs, geometry.summed());
        let incoming = incoming.contiguous()?;
        let incoming = incoming.reshape((batch, outputs, geometry.output_area()))?;
        let (needs_input, needs_weight) = (input.track_op(), weight.track_op());
        let (input, weight) = (input.detach(), weight.detach());
        let of_input = || {
            let turned = weight.reshape((1, outputs, taps))?.t()?;
            let turned = turned.broadcast_as((batch, taps, outputs))?;
            let views = turned.matmul(&incoming)?;
            match geometry.is_pointwise() {
                true => views.reshape(geometry.maps_shape()),
                false => views.apply_op1_no_bwd(&Sums(geometry)),
            }
        };
        let of_weight = || {
            let views = match geometry.is_pointwise() {
                true => input.reshape(geometry.views_shape())?,
                false => input.apply_op1_no_bwd(&Views(geometry))?,
            };
            let each = incoming.matmul(&views.t()?)?;
            each.sum(0)?.reshape(weight.shape())
        };
        let of_input = needs_input.then(of_input).transpose()?;
        Ok((of_input, needs_weight.then(of_weight).transpose()?))
    }
}

/// Numbers on the CPU that a fixed rule moves.
fn moved<T: WithDType>(
    (storage, layout): (&CpuStorage, &Layout),
    to: &Shape,
    write: impl FnOnce(&[T], &mut [T]),
) -> Result<CpuStorage> {
    let Some((start, end)) = layout.contiguous_offsets() else {
        bail!("convolve: a contiguous tensor expected, found {layout:?}");
    };
    let mut numbers = vec![T::zero(); to.elem_count()];
    write(&storage.as_slice::<T>()?[start..end], &mut numbers);
    Ok(T::to_cpu_storage_owned(numbers))
}

impl CustomOp1 for Views {
    fn name(&self) -> &'static str {
        "convolve: views"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        fn write<T: WithDType>(geometry: &Geometry, maps: &[T], views: &mut [T]) {
            geometry.for_each_view(|view, at| views[view] = maps[at]);
        }
        let (shape, geometry) = (self.0.views_shape(), &self.0);
        let from = (storage, layout);
        let views = match storage {
            CpuStorage::F64(_) => moved::<f64>(from, &shape, |a, b| write(geometry, a, b)),
            _ => moved::<f32>(from, &shape, |a, b| write(geometry, a, b)),
        };
        Ok((views?, shape))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(&self, storage: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
        let views = pixelcnn_cuda::views(storage, layout, self.0.batch, self.0.sizes())?;
        Ok((views, self.0.views_shape()))
    }
}

impl CustomOp1 for Sums {
    fn name(&self) -> &'static str {
        "convolve: sums of views"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        fn write<T: WithDType>(geometry: &Geometry, views: &[T], maps: &mut [T]) {
            geometry.for_each_view(|view, at| maps[at] += views[view]);
        }
        let (shape, geometry) = (self.0.maps_shape(), &self.0);
        let from = (storage, layout);
        let maps = match storage {
            CpuStorage::F64(_) => moved::<f64>(from, &shape, |a, b| write(geometry, a, b)),
            _ => moved::<f32>(from, &shape, |a, b| write(geometry, a, b)),
        };
        Ok((maps?, shape))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(&self, storage: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
        let maps = pixelcnn_cuda::sums_of_views(storage, layout, self.0.batch, self.0.sizes())?;
        Ok((maps, self.0.maps_shape()))
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device, Var};

    use super::super::{Padding, portable::portable};
    use super::*;

    fn wave(shape: &[usize], phase: f64) -> Tensor {
        let count: usize = shape.iter().product();
        let numbers = (0..count).map(|i| ((i * i) as f64 * 0.37 + phase).sin());
        let tensor = Tensor::from_iter(numbers, &Device::Cpu).unwrap();
        tensor.reshape(shape).unwrap()
    }

    /// Values and both gradients, also with padding on one side, cropping, and dilation.
    #[test]
    fn a_product_of_views_is_the_convolution() {
        let padding = |top, bottom, left, right| Padding {
            top,
            bottom,
            left,
            right,
        };
        for (maps, outputs, size, kernel, padding, dilation) in [
            (1, 1, (1, 1), (1, 1), padding(0, 0, 0, 0), 1),
            (4, 6, (5, 3), (1, 1), padding(0, 0, 0, 0), 1),
            (3, 4, (5, 7), (2, 3), padding(2, -1, 1, 1), 1),
            (2, 3, (6, 5), (1, 3), padding(0, 0, 4, 0), 2),
            (2, 2, (4, 3), (3, 2), padding(1, 1, 2, -1), 1),
        ] {
            for dtype in [DType::F64, DType::F32] {
                let new = |shape: &[usize], phase| {
                    let tensor = wave(shape, phase).to_dtype(dtype).unwrap();
                    Var::from_tensor(&tensor).unwrap()
                };
                let input = new(&[2, maps, size.0, size.1], 0.1);
                let weight = new(&[outputs, maps, kernel.0, kernel.1], 0.2);
                let geometry = Geometry::new(&input, &weight, None, padding, dilation).unwrap();
                let both = [
                    product(&input, &weight, geometry).unwrap(),
                    portable(&input, &weight, None, padding, dilation).unwrap(),
                ];
                let [found, expected] = both.map(|maps| {
                    let factor = wave(maps.dims(), 0.3).to_dtype(dtype).unwrap();
                    let loss = (&maps * factor).unwrap().sum_all().unwrap();
                    let gradients = loss.backward().unwrap();
                    let of = |var: &Var| gradients.get(var).unwrap().clone();
                    [maps, of(&input), of(&weight)]
                });
                let allowed = if dtype == DType::F64 { 1e-12 } else { 2e-5 };
                for (found, expected) in found.iter().zip(&expected) {
                    let difference = (found - expected).unwrap().to_dtype(DType::F64).unwrap();
                    let largest = difference.abs().unwrap().max_all().unwrap();
                    let largest = largest.to_scalar::<f64>().unwrap();
                    assert!(
                        largest < allowed,
                        "{size:?} {kernel:?} {dtype:?}: {largest}"
                    );
                }
            }
        }
    }
}
