//! Softmax cross-entropy from logits.

use std::mem::MaybeUninit;

use candle_core::{CpuStorage, CustomOp1, CustomOp3, DType, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

use crate::Level;
use crate::arithmetic::exp_negative;
use crate::lanes::Lanes;
use crate::level::dispatch;
use crate::memory::written;
use crate::path::{Path, contiguous};
use crate::values;

/// Nats `log sum exp(logits) - logits[value]` of every value under the softmax
/// of its logits.
///
/// The fast path stores neither probabilities nor exponentials, and is within
/// 1e-5 of the exact value for logits of ordinary size.
///
/// # Shapes
///
/// `logits [b, c, levels, h, w]`, `values [b, c, h, w]` (`u8` or `u32`) to
/// `[b, c, h, w]` in the dtype of the logits; f32 for logits in bf16 on a CUDA device.
///
/// # Errors
///
/// If shapes, dtypes or devices do not fit, a size is zero, or a value is not
/// below `levels`; on a device other than the CPU, the nats of such a value are NaN
/// instead.
///
/// # Example
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use pixelcnn_kernels::cross_entropy;
///
/// let logits = Tensor::zeros((1, 1, 4, 1, 1), DType::F32, &Device::Cpu)?;
/// let values = Tensor::zeros((1, 1, 1, 1), DType::U8, &Device::Cpu)?;
/// let nats = cross_entropy(&logits, &values)?.sum_all()?.to_scalar::<f32>()?;
/// assert!((nats - 4f32.ln()).abs() < 1e-6);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn cross_entropy(logits: &Tensor, values: &Tensor) -> Result<Tensor> {
    let Ok((b, c, levels, h, w)) = logits.dims5() else {
        let found = logits.shape();
        bail!("cross-entropy: logits [b, c, levels, h, w] expected, found {found:?}");
    };
    let shape = [b, c, h, w];
    values::check("cross-entropy", values, shape, ("logits", logits), levels)?;
    let values = values.to_dtype(DType::U32)?;
    match Path::choose("cross-entropy", ("logits", logits), [])? {
        #[cfg(feature = "cuda")]
        Path::Portable if crate::path::is_cuda(logits) => {
            pixelcnn_cuda::cross_entropy(logits, &values)
        }
        Path::Portable => portable(logits, &values),
        Path::Fast(level) => {
            let values = values.flatten_all()?.to_vec1()?;
            logits
                .contiguous()?
                .apply_op1(CrossEntropy { values, level })
        }
    }
}

/// With candle's own operations, for every device and dtype.
fn portable(logits: &Tensor, values: &Tensor) -> Result<Tensor> {
    // The maximum only keeps the exponentials in range: no gradient.
    let shifted = logits.broadcast_sub(&logits.detach().max_keepdim(2)?)?;
    let total = shifted.exp()?.sum_keepdim(2)?;
    if logits.device().is_cpu() {
        let picked = shifted.gather(&values.unsqueeze(2)?.contiguous()?, 2)?;
        return (total.log()? - picked)?.squeeze(2);
    }
    let levels = logits.dim(2)?;
    let there = values.minimum(levels.saturating_sub(1) as u32)?;
    let picked = shifted.gather(&there.unsqueeze(2)?.contiguous()?, 2)?;
    let nats = (total.log()? - picked)?.squeeze(2)?;
    values::beyond_is_nan(&nats, values, levels)
}

struct CrossEntropy {
    values: Vec<u32>,
    level: Level,
}

/// The gradient of the logits, from logits, nats and the incoming gradient.
struct Gradient<'a>(&'a CrossEntropy);

impl CustomOp1 for CrossEntropy {
    fn name(&self) -> &'static str {
        "cross-entropy"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (b, c, levels, h, w) = layout.shape().dims5()?;
        let logits = contiguous("cross-entropy: logits", storage, layout)?;
        let (area, level) = (h * w, self.level);
        let fill = |nats: &mut [MaybeUninit<f32>]| {
            let outputs = nats.par_chunks_mut(area).enumerate();
            outputs.for_each(|(index, nats)| {
                let logits = &logits[index * levels * area..][..levels * area];
                let values = &self.values[index * area..][..area];
                dispatch!(
                    level,
                    softmax_nats(logits: &[f32], values: &[u32], nats: &mut [MaybeUninit<f32>])
                );
            });
        };
        // SAFETY: `softmax_nats` writes all of each chunk.
        let nats = unsafe { written(b * c * area, fill) };
        Ok((CpuStorage::F32(nats), (b, c, h, w).into()))
    }

    fn bwd(&self, logits: &Tensor, nats: &Tensor, incoming: &Tensor) -> Result<Option<Tensor>> {
        let incoming = incoming.contiguous()?;
        let gradient = logits.apply_op3_no_bwd(nats, &incoming, &Gradient(self))?;
        Ok(Some(gradient))
    }
}

impl CustomOp3 for Gradient<'_> {
    fn name(&self) -> &'static str {
        "cross-entropy: gradient"
    }

    fn cpu_fwd(
        &self,
        logits: &CpuStorage,
        logits_layout: &Layout,
        nats: &CpuStorage,
        nats_layout: &Layout,
        incoming: &CpuStorage,
        incoming_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let shape = logits_layout.shape();
        let (_, _, levels, h, w) = shape.dims5()?;
        let logits = contiguous("cross-entropy: logits", logits, logits_layout)?;
        let nats = contiguous("cross-entropy: nats", nats, nats_layout)?;
        let incoming = contiguous("cross-entropy: gradient", incoming, incoming_layout)?;
        let (area, level) = (h * w, self.0.level);
        let fill = |gradient: &mut [MaybeUninit<f32>]| {
            let outputs = gradient.par_chunks_mut(levels * area).enumerate();
            outputs.for_each(|(index, output)| {
                let logits = &logits[index * levels * area..][..levels * area];
                let positions = index * area..(index + 1) * area;
                let column = &Column {
                    values: &self.0.values[positions.clone()],
                    nats: &nats[positions.clone()],
                    incoming: &incoming[positions],
                };
                dispatch!(
                    level,
                    softmax_gradient(
                        logits: &[f32],
                        column: &Column,
                        output: &mut [MaybeUninit<f32>],
                    )
                );
            });
        };
        // SAFETY: `softmax_gradient` writes all of each chunk.
        let gradient = unsafe { written(shape.elem_count(), fill) };
        Ok((CpuStorage::F32(gradient), shape.clone()))
    }
}

/// Positions computed together; their sums stay in registers and cache during the loop
/// over levels.
const CHUNK: usize = 64;

/// The numbers of a channel that exist once per position.
struct Column<'a> {
    values: &'a [u32],
    nats: &'a [f32],
    incoming: &'a [f32],
}

/// One channel's logits `[levels, positions]` to nats.
#[inline(always)]
fn softmax_nats<L: Lanes>(logits: &[f32], values: &[u32], nats: &mut [MaybeUninit<f32>]) {
    let area = values.len();
    for start in (0..area).step_by(CHUNK) {
        let count = CHUNK.min(area - start);
        let mut largest = [f32::NEG_INFINITY; CHUNK];
        for row in logits.chunks_exact(area) {
            for (largest, logit) in largest.iter_mut().zip(&row[start..start + count]) {
                *largest = if *logit > *largest { *logit } else { *largest };
            }
        }
        let mut total = [0f32; CHUNK];
        for row in logits.chunks_exact(area) {
            let lanes = total.iter_mut().zip(&row[start..start + count]);
            for ((total, logit), largest) in lanes.zip(&largest) {
                *total += exp_negative::<L>(logit - largest);
            }
        }
        for lane in 0..count {
            let picked = logits[values[start + lane] as usize * area + start + lane];
            nats[start + lane].write(total[lane].ln() + (largest[lane] - picked));
        }
    }
}

/// The gradient of the logits of one channel: the probabilities, minus one at the value,
/// times the incoming gradient.
#[inline(always)]
fn softmax_gradient<L: Lanes>(logits: &[f32], column: &Column, output: &mut [MaybeUninit<f32>]) {
    let area = column.values.len();
    for start in (0..area).step_by(CHUNK) {
        let end = area.min(start + CHUNK);
        let mut total = [0f32; CHUNK];
        for (lane, at) in (start..end).enumerate() {
            total[lane] = column.nats[at] + logits[column.values[at] as usize * area + at];
        }
        let incoming = &column.incoming[start..end];
        let rows = output.chunks_exact_mut(area).zip(logits.chunks_exact(area));
        for (level, (to, row)) in rows.enumerate() {
            let lanes = to[start..end].iter_mut().zip(&row[start..end]);
            let lanes = lanes
                .zip(&total)
                .zip(incoming)
                .zip(&column.values[start..end]);
            for ((((to, logit), total), incoming), value) in lanes {
                let picked = if *value == level as u32 { 1.0 } else { 0.0 };
                to.write((exp_negative::<L>(logit - total) - picked) * incoming);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{Device, Var};
    use proptest::prelude::*;

    #[test]
    fn large_logits_do_not_overflow() {
        let logits = Tensor::new(&[1e4f32, -1e4, 0.0], &Device::Cpu).unwrap();
        let logits = logits.reshape((1, 1, 3, 1, 1)).unwrap();
        let values = Tensor::new(&[1u8], &Device::Cpu)
            .unwrap()
            .reshape((1, 1, 1, 1))
            .unwrap();
        let nats = cross_entropy(&logits, &values).unwrap().sum_all().unwrap();
        assert_eq!(nats.to_scalar::<f32>().unwrap(), 2e4);
    }

    /// Values and gradients at sizes near the number of lanes.
    #[test]
    fn one_pass_equals_candle() {
        for (g, levels, n) in [
            (1, 2, 1),
            (2, 256, 63),
            (3, 5, 64),
            (1, 256, 65),
            (2, 300, 200),
        ] {
            let wave = |index: usize| (index as f32 * 0.37).sin() * 20.0;
            let logits = (0..g * levels * n).map(wave).collect::<Vec<_>>();
            let logits = Var::from_vec(logits, (1, g, levels, 1, n), &Device::Cpu).unwrap();
            let values = (0..g * n).map(|index| (index * 7 % levels) as u32);
            let values = Tensor::from_iter(values, &Device::Cpu).unwrap();
            let values = values.reshape((1, g, 1, n)).unwrap();
            let weights = Tensor::arange(1f32, (g * n + 1) as f32, &Device::Cpu).unwrap();
            let weights = weights.reshape((1, g, 1, n)).unwrap();
            let fast = cross_entropy(&logits, &values).unwrap();
            let slow = portable(&logits, &values).unwrap();
            let gradient = |nats: &Tensor| {
                let loss = (nats * &weights).unwrap().sum_all().unwrap();
                loss.backward().unwrap().get(&logits).unwrap().clone()
            };
            let gradients = (gradient(&fast), gradient(&slow));
            for (fast, slow, scale) in [
                (fast, slow, 1.0),
                (gradients.0, gradients.1, (g * n) as f32),
            ] {
                let difference = (fast - slow).unwrap().abs().unwrap().flatten_all().unwrap();
                let largest = difference.max(0).unwrap().to_scalar::<f32>().unwrap();
                assert!(largest < 1e-5 * scale, "{g} {levels} {n}: {largest}");
            }
        }
    }

    #[test]
    fn gradient_is_softmax_minus_one_hot() {
        let logits = Var::from_vec(vec![0.3f64, -1.0, 0.7, 2.0], (1, 1, 4, 1, 1), &Device::Cpu);
        let logits = logits.unwrap();
        let values = Tensor::new(&[2u32], &Device::Cpu)
            .unwrap()
            .reshape((1, 1, 1, 1))
            .unwrap();
        let nats = cross_entropy(&logits, &values).unwrap().sum_all().unwrap();
        let gradient = nats.backward().unwrap();
        let gradient = gradient.get(&logits).unwrap().flatten_all().unwrap();
        let exps: Vec<f64> = [0.3f64, -1.0, 0.7, 2.0].iter().map(|l| l.exp()).collect();
        let total: f64 = exps.iter().sum();
        for (index, found) in gradient.to_vec1::<f64>().unwrap().iter().enumerate() {
            let expected = exps[index] / total - f64::from(index == 2);
            assert!((found - expected).abs() < 1e-12);
        }
    }

    /// Nats and gradient; if `turned`, the levels are the last axis of the logits.
    fn pass(sizes: [usize; 5], dtype: DType, turned: bool) -> [Vec<f64>; 2] {
        let [b, c, levels, h, w] = sizes;
        let count: usize = sizes.iter().product();
        let logits = (0..count).map(|index| (index as f64 * 0.37).sin() * 9.0);
        let logits = Tensor::from_iter(logits, &Device::Cpu).unwrap();
        let logits = logits.reshape(&sizes).unwrap().to_dtype(dtype).unwrap();
        let order = (0, 1, 3, 4, 2);
        let stored = match turned {
            true => logits.permute(order).unwrap().contiguous().unwrap(),
            false => logits,
        };
        let stored = Var::from_tensor(&stored).unwrap();
        let logits = match turned {
            true => stored.permute((0, 1, 4, 2, 3)).unwrap(),
            false => stored.as_tensor().clone(),
        };
        let values = (0..b * c * h * w).map(|index| (index * 7 % levels) as u32);
        let values = Tensor::from_iter(values, &Device::Cpu).unwrap();
        let values = values.reshape((b, c, h, w)).unwrap();
        let nats = cross_entropy(&logits, &values).unwrap();
        let gradients = nats.sqr().unwrap().sum_all().unwrap().backward().unwrap();
        let gradient = gradients.get(&stored).unwrap();
        let gradient = match turned {
            true => gradient.permute((0, 1, 4, 2, 3)).unwrap(),
            false => gradient.clone(),
        };
        [nats, gradient].map(|tensor| {
            let tensor = tensor.flatten_all().unwrap().to_dtype(DType::F64).unwrap();
            tensor.to_vec1().unwrap()
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn every_level_equals_candle_over_random_sizes(
            sizes in (1usize..4, 1usize..4, 2usize..40, 1usize..9, 1usize..40),
            turned in any::<bool>(),
        ) {
            let sizes = [sizes.0, sizes.1, sizes.2, sizes.3, sizes.4];
            let exact = pass(sizes, DType::F64, false);
            for level in Level::available() {
                let found = level.scope(|| pass(sizes, DType::F32, turned));
                for (found, exact) in found.iter().flatten().zip(exact.iter().flatten()) {
                    prop_assert!((found - exact).abs() < 1e-3, "{level:?}: {found} {exact}");
                }
            }
        }
    }

    #[test]
    fn any_number_of_threads_gives_the_same_bits() {
        let pass = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
            let pool = pool.build().unwrap();
            pool.install(|| pass([3, 3, 20, 9, 20], DType::F32, false))
        };
        assert!(pass(1) == pass(2) && pass(1) == pass(5));
    }

    #[test]
    fn arguments_that_do_not_fit_are_named() {
        let logits = Tensor::zeros((1, 1, 4, 1, 1), DType::F32, &Device::Cpu).unwrap();
        let values = |value: f32, dtype| {
            let value = Tensor::full(value, (1, 1, 1, 1), &Device::Cpu).unwrap();
            value.to_dtype(dtype).unwrap()
        };
        let message = |logits: &Tensor, values: &Tensor| {
            cross_entropy(logits, values).unwrap_err().to_string()
        };
        let right = values(3.0, DType::U8);
        assert!(message(&logits, &values(4.0, DType::U8)).contains("values below 4 expected"));
        assert!(message(&logits, &values(1.0, DType::F32)).contains("u8 or u32 expected"));
        assert!(message(&logits, &right.squeeze(0).unwrap()).contains("values [1, 1, 1, 1]"));
        assert!(message(&right, &right).contains("logits [b, c, levels, h, w]"));
        let none = Tensor::zeros((0, 1, 4, 1, 1), DType::F32, &Device::Cpu).unwrap();
        let no_values = Tensor::zeros((0, 1, 1, 1), DType::U8, &Device::Cpu).unwrap();
        assert!(message(&none, &no_values).contains("a size is zero"));
    }
}
