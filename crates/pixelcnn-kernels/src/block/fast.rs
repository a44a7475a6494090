//! The block on the CPU in f32: one operation forward, one backward, so that only
//! the stacks go through candle's autograd.

use std::sync::{Mutex, PoisonError};

use candle_core::{
    CpuStorage, CustomOp3, DType, Device, Layout, Result, Shape, Storage, Tensor, bail,
};
use rayon::prelude::*;

use super::Block;
use super::layout::{Condition, Sizes};
use crate::Level;
use crate::convolution::{Begin, Term, Weights, convolutions, weight_gradient};
use crate::gate::{self, Summand};
use crate::memory::{Maps, Target, written};
use crate::path::contiguous;

/// The block as an operation on the stacks, the parameters in one row, and the
/// concatenated conditioning terms.
pub(super) struct TwoStacks {
    level: Level,
    sizes: Sizes,
    /// Kept by the forward pass for the backward pass: the vertical and the
    /// horizontal maps before their gates, `2p` each, without the condition.
    kept: Mutex<Option<[Vec<f32>; 2]>>,
}

/// Indices of the kernels.
const VERTICAL: usize = 0;
const LINK: usize = 1;
const HORIZONTAL: usize = 2;
const OUTPUT: usize = 3;

/// The numbers that both passes read.
struct Operands<'a> {
    stacks: &'a [f32],
    /// Weight and bias of each kernel.
    kernels: [(&'a [f32], Option<&'a [f32]>); 4],
    conditions: &'a [f32],
}

impl TwoStacks {
    pub(super) fn new(level: Level, sizes: Sizes) -> Self {
        Self {
            level,
            sizes,
            kept: Mutex::new(None),
        }
    }

    pub(super) fn apply(self, block: &Block, stacks: &Tensor, terms: &[&Tensor]) -> Result<Tensor> {
        let row: Vec<_> = block
            .tensors()
            .map(|(_, tensor)| tensor.flatten_all())
            .collect::<Result<_>>()?;
        let row = Tensor::cat(&row, 0)?;
        let conditions = match terms {
            [] => Tensor::zeros(1, DType::F32, &Device::Cpu)?,
            terms => Tensor::cat(terms, 1)?,
        };
        let stacks = stacks.contiguous()?;
        stacks.apply_op3(&row, &conditions.contiguous()?, self)
    }

    fn operands<'a>(
        &self,
        stacks: (&'a CpuStorage, &Layout),
        row: (&'a CpuStorage, &Layout),
        conditions: (&'a CpuStorage, &Layout),
    ) -> Result<Operands<'a>> {
        let row = contiguous("block: parameters", row.0, row.1)?;
        Ok(Operands {
            stacks: contiguous("block: stacks", stacks.0, stacks.1)?,
            kernels: self.sizes.split(row),
            conditions: contiguous("block: conditions", conditions.0, conditions.1)?,
        })
    }

    /// The vertical and the horizontal stack, which share the image.
    fn inputs<'a>(&self, stacks: &'a [f32]) -> [Maps<'a>; 2] {
        let (inputs, area) = (self.sizes.inputs, self.sizes.area());
        match self.sizes.residual {
            false => [self.whole(stacks, inputs); 2],
            true => {
                let both = self.whole(stacks, 2 * inputs);
                [both, both.from(inputs, area)]
            }
        }
    }

    /// `maps` consecutive maps of each image.
    fn whole<'a>(&self, values: &'a [f32], maps: usize) -> Maps<'a> {
        let stride = maps * self.sizes.area();
        Maps { values, stride }
    }

    /// A new tensor of `maps` maps.
    ///
    /// # Safety
    ///
    /// `fill` writes all of it.
    unsafe fn new_maps(&self, maps: usize, fill: impl FnOnce(Target)) -> Vec<f32> {
        let stride = maps * self.sizes.area();
        // SAFETY: the caller guarantees it.
        unsafe {
            written(self.sizes.batch * stride, |values| {
                fill(Target::new(values, stride));
            })
        }
    }

    /// The gate of the vertical (0) or horizontal (1) maps.
    fn gate<'a>(&self, maps: &'a [f32], stack: usize, conditions: &'a [f32]) -> gate::Gate<'a> {
        let doubled = 2 * self.sizes.maps;
        // Without a vertical output there is only the horizontal part.
        let parts = 1 + usize::from(self.sizes.vertical_after);
        let part = stack.min(parts - 1);
        let condition = match self.sizes.condition {
            Condition::None => None,
            Condition::Numbers => Some(Summand::Numbers {
                values: &conditions[part * doubled..],
                stride: parts * doubled,
            }),
            Condition::Maps => {
                let all = self.whole(conditions, parts * doubled);
                Some(Summand::Maps(all.from(part * doubled, self.sizes.area())))
            }
        };
        gate::Gate {
            level: self.level,
            sizes: gate::Sizes {
                batch: self.sizes.batch,
                maps: self.sizes.maps,
                area: self.sizes.area(),
            },
            maps: self.whole(maps, doubled),
            condition,
        }
    }

    /// The sum of the outputs of some kernels.
    fn sum(&self, operands: &Operands, kernels: &[(usize, Maps)], begin: Begin, to: Target) {
        let weights: Vec<_> = kernels
            .iter()
            .map(|(kernel, _)| {
                let geometry = &self.sizes.geometries[*kernel];
                Weights::forward(geometry, operands.kernels[*kernel].0, self.level.rows())
            })
            .collect();
        let terms: Vec<_> = kernels
            .iter()
            .zip(&weights)
            .map(|((kernel, input), weights)| Term {
                geometry: &self.sizes.geometries[*kernel],
                input: *input,
                weights,
            })
            .collect();
        convolutions(self.level, &terms, begin, to);
    }

    /// The gradient of the input of a kernel, from that of its output.
    fn back(&self, operands: &Operands, (kernel, from): (usize, Maps), begin: Begin, to: Target) {
        let geometry = &self.sizes.geometries[kernel].transposed();
        let weights = operands.kernels[kernel].0;
        let term = Term {
            geometry,
            input: from,
            weights: &Weights::backward(geometry, weights, self.level.rows()),
        };
        convolutions(self.level, &[term], begin, to);
    }

    /// The gradient of a kernel, from its input and the gradient of its output.
    fn of_kernel(&self, kernel: usize, input: Maps, from: Maps) -> Vec<f32> {
        weight_gradient(self.level, &self.sizes.geometries[kernel], input, from)
    }

    /// The output, and the values that the backward pass needs.
    fn forward(&self, operands: &Operands) -> (Vec<f32>, [Vec<f32>; 2]) {
        let maps = self.sizes.maps;
        let [above, row] = self.inputs(operands.stacks);
        let begin = |kernel: usize| Begin {
            bias: operands.kernels[kernel].1,
            ..Begin::default()
        };
        // SAFETY: `sum` writes everything, here and below.
        let rows_above = unsafe {
            self.new_maps(2 * maps, |to| {
                self.sum(operands, &[(VERTICAL, above)], begin(VERTICAL), to);
            })
        };
        // SAFETY: see above.
        let row_so_far = unsafe {
            self.new_maps(2 * maps, |to| {
                let link = (LINK, self.whole(&rows_above, 2 * maps));
                self.sum(operands, &[link, (HORIZONTAL, row)], begin(HORIZONTAL), to);
            })
        };
        let gate = self.gate(&row_so_far, 1, operands.conditions);
        // SAFETY: `apply` writes every map.
        let gated = unsafe { self.new_maps(maps, |to| gate.apply(to, None)) };
        // SAFETY: the gate writes the vertical maps, where there are any,
        // `sum` the horizontal ones.
        let output = unsafe {
            self.new_maps(self.sizes.outputs(), |to| {
                let horizontal = match self.sizes.vertical_after {
                    false => to,
                    true => {
                        let residual = self.sizes.vertical_residual.then_some(above);
                        let gate = self.gate(&rows_above, 0, operands.conditions);
                        gate.apply(to, residual);
                        to.from(maps, self.sizes.area())
                    }
                };
                let begin = Begin {
                    maps: self.sizes.residual.then_some(row),
                    ..begin(OUTPUT)
                };
                let gated = (OUTPUT, self.whole(&gated, maps));
                self.sum(operands, &[gated], begin, horizontal);
            })
        };
        (output, [rows_above, row_so_far])
    }

    /// The values kept by the forward pass; a second backward pass computes them again.
    fn take_kept(&self, operands: &Operands) -> [Vec<f32>; 2] {
        let kept = self
            .kept
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        kept.unwrap_or_else(|| self.forward(operands).1)
    }

    fn backward(&self, operands: &Operands, incoming: &[f32], tracked: bool) -> Gradients {
        let [rows_above, row_so_far] = self.take_kept(operands);
        let maps = self.sizes.maps;
        let incoming = self.whole(incoming, self.sizes.outputs());
        let (of_vertical, of_horizontal) = match self.sizes.vertical_after {
            false => (None, incoming),
            true => (Some(incoming), incoming.from(maps, self.sizes.area())),
        };
        let [above, row] = self.inputs(operands.stacks);
        let (of_row_so_far, output) = self.through_output(operands, row_so_far, of_horizontal);
        let from = self.whole(&of_row_so_far, 2 * maps);
        let horizontal = self.of_kernel(HORIZONTAL, row, from);
        let link = self.of_kernel(LINK, self.whole(&rows_above, 2 * maps), from);
        let (of_rows_above, of_condition) =
            self.through_link(operands, &rows_above, of_vertical, from);
        drop(rows_above);
        let below = self.whole(&of_rows_above, 2 * maps);
        let vertical = self.of_kernel(VERTICAL, above, below);
        Gradients {
            stacks: tracked
                .then(|| self.to_stacks(operands, [below, from], (of_vertical, of_horizontal))),
            row: self.sizes.join([vertical, link, horizontal, output]),
            conditions: [of_condition, Some(of_row_so_far)],
        }
    }

    /// The gradients of the horizontal sum and of the output kernel, from that of the
    /// horizontal maps.
    fn through_output(
        &self,
        operands: &Operands,
        row_so_far: Vec<f32>,
        incoming: Maps,
    ) -> (Vec<f32>, Vec<f32>) {
        let maps = self.sizes.maps;
        // SAFETY: `back` writes everything.
        let of_gated = unsafe {
            self.new_maps(maps, |to| {
                self.back(operands, (OUTPUT, incoming), Begin::default(), to);
            })
        };
        let gate = self.gate(&row_so_far, 1, operands.conditions);
        let mut gated = Vec::new();
        // SAFETY: the gate writes both.
        let of_row_so_far = unsafe {
            self.new_maps(2 * maps, |to| {
                gated = self.new_maps(maps, |gated| {
                    gate.gradient(self.whole(&of_gated, maps), to, Some(gated));
                });
            })
        };
        let output = self.of_kernel(OUTPUT, self.whole(&gated, maps), incoming);
        (of_row_so_far, output)
    }

    /// The gradient of the vertical sum, from the vertical maps and the horizontal sum.
    /// Also the part from the vertical maps, if a condition needs it.
    fn through_link(
        &self,
        operands: &Operands,
        rows_above: &[f32],
        of_vertical: Option<Maps>,
        of_row_so_far: Maps,
    ) -> (Vec<f32>, Option<Vec<f32>>) {
        let gate = self.gate(rows_above, 0, operands.conditions);
        let mut of_condition = None;
        // SAFETY: the gate writes everything before the link adds to it.
        let of_rows_above = unsafe {
            self.new_maps(2 * self.sizes.maps, |to| {
                if let Some(incoming) = of_vertical {
                    gate.gradient(incoming, to, None);
                    if self.sizes.condition != Condition::None {
                        of_condition = Some(self.copy(to));
                    }
                }
                let begin = Begin {
                    output: of_vertical.is_some(),
                    ..Begin::default()
                };
                self.back(operands, (LINK, of_row_so_far), begin, to);
            })
        };
        (of_rows_above, of_condition)
    }

    /// The gradient of the stacks, or of the image that they share, from those of both sums
    /// and of the residual paths.
    fn to_stacks(
        &self,
        operands: &Operands,
        [of_rows_above, of_row_so_far]: [Maps; 2],
        (of_vertical, of_horizontal): (Option<Maps>, Maps),
    ) -> Vec<f32> {
        let (inputs, area) = (self.sizes.inputs, self.sizes.area());
        let (vertical, horizontal) = ((VERTICAL, of_rows_above), (HORIZONTAL, of_row_so_far));
        let through = |maps| Begin {
            maps,
            ..Begin::default()
        };
        // SAFETY: both parts are written; if they are the same memory, the second adds to
        // the first.
        unsafe {
            if !self.sizes.residual {
                let begin = Begin {
                    output: true,
                    ..Begin::default()
                };
                return self.new_maps(inputs, |to| {
                    self.back(operands, vertical, Begin::default(), to);
                    self.back(operands, horizontal, begin, to);
                });
            }
            let of_vertical = of_vertical.filter(|_| self.sizes.vertical_residual);
            self.new_maps(2 * inputs, |to| {
                self.back(operands, vertical, through(of_vertical), to);
                let to = to.from(inputs, area);
                self.back(operands, horizontal, through(Some(of_horizontal)), to);
            })
        }
    }

    /// Copies `2p` maps that have been written.
    fn copy(&self, maps: Target) -> Vec<f32> {
        let length = 2 * self.sizes.maps * self.sizes.area();
        let images = 0..self.sizes.batch;
        // SAFETY: the caller has written them, and nobody writes now.
        let image = |index| unsafe {
            std::slice::from_raw_parts(maps.address(index, 0, length).cast_const(), length)
        };
        images.flat_map(image).copied().collect()
    }

    /// The gradient of the conditions, vertical then horizontal.
    fn of_conditions(&self, parts: [Option<Vec<f32>>; 2]) -> Result<Option<Tensor>> {
        let Sizes {
            batch,
            maps,
            height,
            width,
            ..
        } = self.sizes;
        let mut tensors = Vec::new();
        for part in parts.into_iter().flatten() {
            let (shape, values) = match self.sizes.condition {
                Condition::None => return Ok(None),
                Condition::Maps => ((batch, 2 * maps, height, width), part),
                Condition::Numbers => {
                    let sums = part.par_chunks(self.sizes.area());
                    let sums = sums.map(|map| map.iter().sum()).collect();
                    ((batch, 2 * maps, 1, 1), sums)
                }
            };
            tensors.push(Tensor::from_vec(values, shape, &Device::Cpu)?);
        }
        Tensor::cat(&tensors, 1).map(Some)
    }
}

struct Gradients {
    stacks: Option<Vec<f32>>,
    row: Vec<f32>,
    /// The terms before the vertical and the horizontal gate.
    conditions: [Option<Vec<f32>>; 2],
}

impl CustomOp3 for TwoStacks {
    fn name(&self) -> &'static str {
        "block"
    }

    fn cpu_fwd(
        &self,
        stacks: &CpuStorage,
        stacks_layout: &Layout,
        row: &CpuStorage,
        row_layout: &Layout,
        conditions: &CpuStorage,
        conditions_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let operands = self.operands(
            (stacks, stacks_layout),
            (row, row_layout),
            (conditions, conditions_layout),
        )?;
        let (output, kept) = self.forward(&operands);
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(kept);
        let Sizes {
            batch,
            height,
            width,
            ..
        } = self.sizes;
        let shape = (batch, self.sizes.outputs(), height, width);
        Ok((CpuStorage::F32(output), shape.into()))
    }

    fn bwd(
        &self,
        stacks: &Tensor,
        row: &Tensor,
        conditions: &Tensor,
        _output: &Tensor,
        incoming: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let incoming = incoming.contiguous()?;
        let all = [stacks, row, conditions, &incoming].map(Tensor::storage_and_layout);
        let on_cpu = |index: usize| match &*all[index].0 {
            Storage::Cpu(storage) => Ok((storage, all[index].1)),
            _ => bail!("block: a tensor is not on the CPU"),
        };
        let operands = self.operands(on_cpu(0)?, on_cpu(1)?, on_cpu(2)?)?;
        let (storage, layout) = on_cpu(3)?;
        let incoming = contiguous("block: gradient", storage, layout)?;
        let gradients = self.backward(&operands, incoming, stacks.track_op());
        let of_stacks = gradients.stacks.map(|values| {
            let shape = stacks.shape();
            Tensor::from_vec(values, shape, &Device::Cpu)
        });
        let of_row = Tensor::from_vec(gradients.row, row.shape(), &Device::Cpu)?;
        let of_conditions = match conditions.track_op() {
            true => self.of_conditions(gradients.conditions)?,
            false => None,
        };
        Ok((
            of_stacks.transpose()?,
            row.track_op().then_some(of_row),
            of_conditions,
        ))
    }
}
