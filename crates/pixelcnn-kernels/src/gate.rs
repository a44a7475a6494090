//! The gated activation on a sum of maps, in one pass, and its gradient.

use std::mem::MaybeUninit;

use rayon::prelude::*;

use crate::Level;
use crate::arithmetic::tanh_and_sigmoid;
use crate::lanes::Lanes;
use crate::level::dispatch;
use crate::memory::{Maps, Target};

/// A summand before the gate: `2p` maps, or one number for
/// each map.
#[derive(Clone, Copy)]
pub(crate) enum Summand<'a> {
    Maps(Maps<'a>),
    /// The numbers of an image are contiguous; images are `stride` apart.
    Numbers {
        values: &'a [f32],
        stride: usize,
    },
}

/// Images, maps after the gate (`p`), and positions of a map.
#[derive(Clone, Copy)]
pub(crate) struct Sizes {
    pub batch: usize,
    pub maps: usize,
    pub area: usize,
}

/// The input of a gate: maps, and the conditioning term.
#[derive(Clone, Copy)]
pub(crate) struct Gate<'a> {
    pub level: Level,
    pub sizes: Sizes,
    pub maps: Maps<'a>,
    pub condition: Option<Summand<'a>>,
}

/// The sum for one map: a part per position, and a constant part.
struct Sum<'a> {
    maps: &'a [f32],
    more: Option<&'a [f32]>,
    constant: f32,
}

impl<'a> Gate<'a> {
    /// `tanh(first half) * sigmoid(second half)` of the sum, to `p` maps; plus `p` maps of
    /// a residual path, if there is one.
    pub(crate) fn apply(&self, output: Target, residual: Option<Maps>) {
        let (level, area) = (self.level, self.sizes.area);
        self.for_each_map(|image, map, values, gates| {
            let plus = residual
                .as_ref()
                .map(|maps| &maps.image(image, (map + 1) * area)[map * area..]);
            // SAFETY: each map is used once.
            let output = unsafe { output.map(image, map, area) };
            dispatch!(
                level,
                map_outputs(
                    values: &Sum,
                    gates: &Sum,
                    plus: Option<&[f32]>,
                    output: &mut [MaybeUninit<f32>]
                )
            );
        });
    }

    /// The gradient of the sum, `2p` maps, from that of the output; also computes the
    /// output again if requested.
    pub(crate) fn gradient(&self, incoming: Maps, gradient: Target, output: Option<Target>) {
        let (level, area, maps) = (self.level, self.sizes.area, self.sizes.maps);
        self.for_each_map(|image, map, values, gates| {
            let incoming = &incoming.image(image, (map + 1) * area)[map * area..];
            // SAFETY: each map is used once.
            let to = unsafe {
                Gradients {
                    values: gradient.map(image, map, area),
                    gates: gradient.map(image, maps + map, area),
                    output: output.map(|output| output.map(image, map, area)),
                }
            };
            dispatch!(
                level,
                map_gradients(values: &Sum, gates: &Sum, incoming: &[f32], to: Gradients)
            );
        });
    }

    fn for_each_map(&self, work: impl Fn(usize, usize, &Sum, &Sum) + Sync) {
        let Sizes { batch, maps, .. } = self.sizes;
        let all = (0..batch * maps).into_par_iter();
        all.for_each(|index| {
            let (image, map) = (index / maps, index % maps);
            let (values, gates) = (self.sum(image, map), self.sum(image, maps + map));
            work(image, map, &values, &gates);
        });
    }

    fn sum(&self, image: usize, map: usize) -> Sum<'a> {
        let (area, doubled) = (self.sizes.area, 2 * self.sizes.maps);
        let of = |maps: Maps<'a>| &maps.image(image, doubled * area)[map * area..][..area];
        let (more, constant) = match self.condition {
            None => (None, 0.0),
            Some(Summand::Maps(maps)) => (Some(of(maps)), 0.0),
            Some(Summand::Numbers { values, stride }) => (None, values[image * stride + map]),
        };
        Sum {
            maps: of(self.maps),
            more,
            constant,
        }
    }
}

/// Targets of the gradients of a tanh map and its sigmoid map, and of the output.
struct Gradients<'a> {
    values: &'a mut [MaybeUninit<f32>],
    gates: &'a mut [MaybeUninit<f32>],
    output: Option<&'a mut [MaybeUninit<f32>]>,
}

/// Positions computed at a time.
const CHUNK: usize = 64;

/// The sum at positions from `start` on.
#[inline(always)]
fn total(sum: &Sum, start: usize, count: usize) -> [f32; CHUNK] {
    let mut total = [sum.constant; CHUNK];
    for (total, number) in total.iter_mut().zip(&sum.maps[start..start + count]) {
        *total += number;
    }
    if let Some(more) = sum.more {
        for (total, number) in total.iter_mut().zip(&more[start..start + count]) {
            *total += number;
        }
    }
    total
}

#[inline(always)]
fn write(to: &mut [MaybeUninit<f32>], from: &[f32; CHUNK]) {
    for (to, from) in to.iter_mut().zip(from) {
        to.write(*from);
    }
}

#[inline(always)]
fn map_outputs<L: Lanes>(
    values: &Sum,
    gates: &Sum,
    plus: Option<&[f32]>,
    output: &mut [MaybeUninit<f32>],
) {
    for start in (0..output.len()).step_by(CHUNK) {
        let count = CHUNK.min(output.len() - start);
        let (a, b) = (total(values, start, count), total(gates, start, count));
        let mut gated = [0f32; CHUNK];
        for lane in 0..CHUNK {
            let (tanh, sigmoid) = tanh_and_sigmoid::<L>(a[lane], b[lane]);
            gated[lane] = tanh * sigmoid;
        }
        if let Some(plus) = plus {
            for (gated, number) in gated.iter_mut().zip(&plus[start..start + count]) {
                *gated += number;
            }
        }
        write(&mut output[start..start + count], &gated);
    }
}

#[inline(always)]
fn map_gradients<L: Lanes>(values: &Sum, gates: &Sum, incoming: &[f32], mut to: Gradients) {
    for start in (0..incoming.len()).step_by(CHUNK) {
        let count = CHUNK.min(incoming.len() - start);
        let (a, b) = (total(values, start, count), total(gates, start, count));
        let mut factor = [0f32; CHUNK];
        factor[..count].copy_from_slice(&incoming[start..start + count]);
        let mut gated = [0f32; CHUNK];
        let (mut first, mut second) = ([0f32; CHUNK], [0f32; CHUNK]);
        for lane in 0..CHUNK {
            let (tanh, sigmoid) = tanh_and_sigmoid::<L>(a[lane], b[lane]);
            gated[lane] = tanh * sigmoid;
            first[lane] = factor[lane] * sigmoid * (1.0 - tanh * tanh);
            second[lane] = factor[lane] * tanh * (sigmoid * (1.0 - sigmoid));
        }
        let range = start..start + count;
        write(&mut to.values[range.clone()], &first);
        write(&mut to.gates[range.clone()], &second);
        if let Some(output) = &mut to.output {
            write(&mut output[range], &gated);
        }
    }
}
