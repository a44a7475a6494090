//! The nats of values, and where their gradient starts.

use std::mem::MaybeUninit;

use candle_core::{CpuStorage, CustomOp1, DType, Layout as Storage, Result, Shape, Tensor};
use rayon::prelude::*;

use super::Layout;
use super::gradient::Gradient;
use super::pixels::{CHUNK, Group, Pixels};
use crate::Level;
use crate::lanes::Lanes;
use crate::level::dispatch;
use crate::memory::written;
use crate::path::contiguous;

/// Nats `[groups, channels, area]` of `values`, which are below the number of
/// levels, from `parameters [groups, planes, area]`.
pub(super) fn nats(
    layout: Layout,
    level: Level,
    parameters: &Tensor,
    values: &Tensor,
) -> Result<Tensor> {
    let values = values.to_dtype(DType::U32)?.flatten_all()?.to_vec1()?;
    parameters.contiguous()?.apply_op1(Nats {
        layout,
        level,
        values,
    })
}

pub(super) struct Nats {
    pub layout: Layout,
    pub level: Level,
    /// `[groups, channels, area]`.
    pub values: Vec<u32>,
}

impl Nats {
    /// One group of channels of one image.
    pub(super) fn group<'a>(
        &'a self,
        index: usize,
        parameters: &'a [f32],
        area: usize,
    ) -> Group<'a> {
        let (planes, channels) = (self.layout.planes(), self.layout.channels);
        Group {
            layout: self.layout,
            parameters: &parameters[index * planes * area..][..planes * area],
            values: &self.values[index * channels * area..][..channels * area],
            area,
        }
    }
}

impl CustomOp1 for Nats {
    fn name(&self) -> &'static str {
        "mixture of logistics"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, stored: &Storage) -> Result<(CpuStorage, Shape)> {
        let (groups, _, area) = stored.shape().dims3()?;
        let parameters = contiguous("mixture of logistics: parameters", storage, stored)?;
        let (level, channels) = (self.level, self.layout.channels);
        let fill = |nats: &mut [MaybeUninit<f32>]| {
            let outputs = nats.par_chunks_mut(channels * area).enumerate();
            outputs.for_each(|(index, nats)| {
                let group = &self.group(index, parameters, area);
                dispatch!(
                    level,
                    group_nats(group: &Group, nats: &mut [MaybeUninit<f32>])
                );
            });
        };
        // SAFETY: `group_nats` writes all of each chunk.
        let nats = unsafe { written(groups * channels * area, fill) };
        Ok((CpuStorage::F32(nats), (groups, channels, area).into()))
    }

    fn bwd(
        &self,
        parameters: &Tensor,
        _nats: &Tensor,
        incoming: &Tensor,
    ) -> Result<Option<Tensor>> {
        let incoming = incoming.contiguous()?;
        let gradient = parameters.apply_op2_no_bwd(&incoming, &Gradient(self))?;
        Ok(Some(gradient))
    }
}

/// Writes `[channels, area]`.
#[inline(always)]
fn group_nats<L: Lanes>(group: &Group, nats: &mut [MaybeUninit<f32>]) {
    let mut pixels = Pixels::new(&group.layout);
    for start in (0..group.area).step_by(CHUNK) {
        pixels.start::<L>(group, start);
        for (channel, nats) in nats.chunks_exact_mut(group.area).enumerate() {
            let found = pixels.next::<L>(group, start, channel, |_, _| ());
            for (to, nats) in nats[start..].iter_mut().zip(found) {
                to.write(nats);
            }
        }
    }
}
