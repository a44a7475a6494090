//! The mass that one logistic distribution gives a value, and its slopes.
//!
//! Lengths are in levels. With `d` the value less the mean and `i` the inverse
//! of the scale, the mass of a value between others is
//! `sigmoid(d i + i / 2) sigmoid(i / 2 - d i) (1 - e^-i)`. With `t = |d| i`,
//! `E = e^-t` and `w = e^(-i / 2)`, this is
//!
//! ```text
//! e^-t (1 - w^2) / (w (1 + E^2) + E (1 + w^2))
//! ```
//!
//! where nothing cancels and nothing overflows. The factor `e^-t`, which may
//! be too small for a number, and the factor `i`, which `1 - w^2` shrinks
//! with, are kept as logarithms.

use super::LogisticMixture;
use crate::arithmetic::{Rounding, exp_negative, multiply_add, split};

/// The largest inverse of a scale, in levels: `2 e^7 / 255`, for the least logarithm of a
/// scale.
pub(super) const MOST_INVERSE: f64 = 8.601_044_379_831_047;
/// Its logarithm.
pub(super) const LN_MOST_INVERSE: f64 = 2.151_883_635_401_519;

/// The levels of a mixture as numbers for its arithmetic.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Levels {
    pub last: u32,
    /// Half the distance from the first level to the last one.
    pub half: f32,
    /// The least logarithm of a scale.
    pub least: f64,
}

impl Levels {
    pub(crate) fn of(mixture: &LogisticMixture) -> Self {
        let last = mixture.levels.saturating_sub(1) as u32;
        Self {
            last,
            half: 0.5 * last as f32,
            least: mixture.least_log_scale(),
        }
    }

    /// The value minus the middle of all levels. The result is exact.
    #[inline(always)]
    pub(crate) fn centre(&self, value: u32) -> f32 {
        // Signed, because that conversion is one instruction everywhere.
        value as i32 as f32 - self.half
    }

    /// The open side of the value's bin: 1 for the first value, -1 for the last one, 0 for
    /// the others.
    #[inline(always)]
    pub(crate) fn side(&self, value: u32) -> f32 {
        let last = if value == self.last { -1.0 } else { 0.0 };
        if value == 0 { 1.0 } else { last }
    }
}

/// The width of a component.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Width {
    /// `i`, the inverse of the scale.
    pub inverse: f32,
    /// `ln i`.
    pub log_inverse: f32,
    /// `w = e^(-i / 2)`.
    pub root: f32,
    /// `1 - e^-i`.
    pub inside: f32,
}

/// The width of a component from its parameter, clamped at the least value.
#[inline(always)]
pub(crate) fn width<R: Rounding>(levels: &Levels, log_scale: f32) -> Width {
    // If the inverse is smaller, only its logarithm matters.
    const LEAST_INVERSE: f32 = 1e-30;
    let below = levels.least as f32 - log_scale;
    let below = if below > 0.0 { 0.0 } else { below };
    let inverse = MOST_INVERSE as f32 * exp_negative::<R>(below);
    let inverse = if inverse < LEAST_INVERSE {
        LEAST_INVERSE
    } else {
        inverse
    };
    let (power, rest) = split::<R>(-0.5 * inverse);
    let root = multiply_add::<R>(power, rest, power);
    let less = -multiply_add::<R>(power, rest, power - 1.0);
    Width {
        inverse,
        log_inverse: LN_MOST_INVERSE as f32 + below,
        root,
        inside: less * (1.0 + root),
    }
}

/// The mass `e^exponent factor` of a value, and the derivatives of its
/// logarithm.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Component {
    pub exponent: f32,
    /// Between 0.02 and 10.
    pub factor: f32,
    /// By the mean, in levels.
    pub by_mean: f32,
    /// By the logarithm of the scale.
    pub by_log_scale: f32,
    /// Whether the mean lies outside the value's bin.
    pub outside: bool,
}

/// The mass that a component gives a value `distance` levels above its mean; `side` is as
/// in [`Levels::side`].
#[inline(always)]
pub(crate) fn component<R: Rounding>(distance: f32, side: f32, width: &Width) -> Component {
    let Width {
        inverse,
        log_inverse,
        root,
        inside,
    } = *width;
    let inner = side == 0.0;
    // For a bin with an open side: how far the mean is inside it.
    let within = multiply_add::<R>(side, distance, 0.5);
    let z = inverse * if inner { distance } else { within };
    let fall = z.abs();
    // e^-40 is negligible compared with 1 and with the least `root`.
    let (power, rest) = split::<R>(if fall > 40.0 { -40.0 } else { -fall });
    let e = multiply_add::<R>(power, rest, power);
    let less = -multiply_add::<R>(power, rest, power - 1.0);
    let (e_square, root_square) = (e * e, root * root);
    let outer_part = multiply_add::<R>(root, e_square, root);
    let all = multiply_add::<R>(e, root_square, e) + outer_part;
    let recip = 1.0 / if inner { inverse * all } else { 1.0 + e };
    // The slope of the logarithm: its decrease as `z` moves away from the mass.
    let steep = match inner {
        true => root * less * (1.0 + e) * (inverse * recip),
        false => recip * if z < 0.0 { 1.0 } else { e },
    };
    let away = if inner {
        1f32.copysign(distance)
    } else {
        -side
    };
    let narrow = multiply_add::<R>(2.0 * root_square, e, outer_part) * (inverse * recip);
    let narrow = multiply_add::<R>(0.5 * inverse, narrow, inverse * root_square / inside);
    Component {
        exponent: match (inner, z < 0.0) {
            (true, _) => log_inverse - fall,
            (false, true) => -fall,
            (false, false) => 0.0,
        },
        factor: recip * if inner { inside } else { 1.0 },
        by_mean: away * inverse * steep,
        by_log_scale: match inner {
            true => multiply_add::<R>(fall, steep, -narrow),
            false => -z * steep,
        },
        outside: match inner {
            true => distance.abs() > 0.5,
            false => within < 0.0,
        },
    }
}
