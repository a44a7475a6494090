//! The nats in candle's own operations, for every device and dtype.

use candle_core::{DType, Result, Tensor};

use super::Layout;
use super::component::{LN_MOST_INVERSE, MOST_INVERSE};

/// Nats `[groups, channels, area]` of `values`, from `parameters [groups,
/// planes, area]`.
pub(super) fn nats(layout: &Layout, parameters: &Tensor, values: &Tensor) -> Result<Tensor> {
    let dtype = parameters.dtype();
    // 16 bits are too few for the range and the precision.
    let wide = match dtype {
        DType::F64 => DType::F64,
        _ => DType::F32,
    };
    let pixels = Pixels {
        layout,
        parameters: &parameters.to_dtype(wide)?,
        centres: (values.to_dtype(wide)? - f64::from(layout.levels.half))?,
    };
    let mut log_weights = pixels.planes(0)?;
    log_weights = log_weights.broadcast_sub(&log_sum(&log_weights)?)?;
    let mut nats = Vec::with_capacity(layout.channels);
    for channel in 0..layout.channels {
        let joint = (log_weights + pixels.log_masses(channel)?)?;
        let log_total = log_sum(&joint)?;
        log_weights = joint.broadcast_sub(&log_total)?;
        nats.push(log_total.neg()?);
    }
    Tensor::cat(&nats, 1)?.to_dtype(dtype)
}

/// The logarithm of the sum of exponentials over the components.
fn log_sum(logits: &Tensor) -> Result<Tensor> {
    // The maximum only keeps the exponentials in range: no gradient.
    let largest = logits.detach().max_keepdim(1)?;
    let total = logits.broadcast_sub(&largest)?.exp()?.sum_keepdim(1)?;
    total.log()? + largest
}

struct Pixels<'a> {
    layout: &'a Layout,
    parameters: &'a Tensor,
    /// The values minus the middle of all levels.
    centres: Tensor,
}

impl Pixels<'_> {
    /// The components' planes from `first` on.
    fn planes(&self, first: usize) -> Result<Tensor> {
        self.parameters.narrow(1, first, self.layout.components)
    }

    /// `[groups, components, area]`.
    fn log_masses(&self, channel: usize) -> Result<Tensor> {
        let levels = self.layout.levels;
        let (half, last) = (f64::from(levels.half), f64::from(levels.last));
        let centre = self.centres.narrow(1, channel, 1)?;
        let mean = (self.planes(self.layout.means(channel))? * half)?;
        let mut distance = centre.broadcast_sub(&mean)?;
        for earlier in 0..channel {
            let coupling = self.planes(self.layout.coefficients(channel, earlier))?;
            let centre = self.centres.narrow(1, earlier, 1)?;
            distance = (distance - coupling.tanh()?.broadcast_mul(&centre)?)?;
        }
        let closed = Closed {
            below: flag(&centre.gt(0.5 - half)?, &centre)?,
            above: flag(&centre.lt(last - half - 0.5)?, &centre)?,
        };
        let below = self.below(channel, &distance.detach(), &closed)?;
        log_mass(&distance, &below, &closed)
    }

    /// The least logarithm of the scale minus the clamped one.
    fn below(&self, channel: usize, distance: &Tensor, closed: &Closed) -> Result<Tensor> {
        let least = self.layout.levels.least;
        let log_scales = self.planes(self.layout.log_scales(channel))?;
        let clamped = log_scales.detach().maximum(least)?;
        // The gradient passes above the least scale, and if the mean is outside the bin.
        let above = flag(&log_scales.detach().ge(least)?, distance)?;
        let left = flag(&distance.gt(0.5)?, distance)?.broadcast_mul(&closed.below)?;
        let right = flag(&distance.lt(-0.5)?, distance)?.broadcast_mul(&closed.above)?;
        let open = (above + left + right)?.minimum(1.0)?;
        let passing = ((&log_scales - log_scales.detach())? * open)?;
        (clamped + passing)?.affine(-1.0, least)
    }
}

/// Whether a bin has an end below and above: 1 or 0.
struct Closed {
    below: Tensor,
    above: Tensor,
}

fn flag(holds: &Tensor, like: &Tensor) -> Result<Tensor> {
    holds.to_dtype(like.dtype())
}

/// `ln(sigmoid(b) sigmoid(-a) (1 - e^-i))` of a bin from `a` to `b`, in scales; only one
/// sigmoid if the bin has one end.
fn log_mass(distance: &Tensor, below: &Tensor, closed: &Closed) -> Result<Tensor> {
    let inverse = (below.exp()? * MOST_INVERSE)?;
    let start = ((distance - 0.5)? * &inverse)?;
    let end = ((distance + 0.5)? * &inverse)?;
    let inside = (log_share(&inverse)? + (below + LN_MOST_INVERSE)?)?;
    let inside = inside.broadcast_mul(&(&closed.below * &closed.above)?)?;
    let beyond_start = softplus(&start)?.broadcast_mul(&closed.below)?;
    let before_end = softplus(&end.neg()?)?.broadcast_mul(&closed.above)?;
    inside - beyond_start - before_end
}

/// `ln(1 + e^x)`.
fn softplus(x: &Tensor) -> Result<Tensor> {
    x.relu()? + (x.abs()?.neg()?.exp()? + 1.0)?.log()?
}

/// `ln((1 - e^-x) / x)` for `x >= 0`; as a series for small `x`, where the difference would
/// cancel.
fn log_share(x: &Tensor) -> Result<Tensor> {
    const SMALL: f64 = 0.5;
    let small = x.minimum(SMALL)?;
    let square = small.sqr()?;
    let mut series = square.affine(-1.0 / 9_676_800.0, 1.0 / 181_440.0)?;
    for coefficient in [-1.0 / 2880.0, 1.0 / 24.0] {
        series = ((series * &square)? + coefficient)?;
    }
    let series = ((series * &square)? - (small * 0.5)?)?;
    let large = x.maximum(SMALL)?;
    let direct = (large.neg()?.exp()?.affine(-1.0, 1.0)?.log()? - large.log()?)?;
    x.lt(SMALL)?.where_cond(&series, &direct)
}
