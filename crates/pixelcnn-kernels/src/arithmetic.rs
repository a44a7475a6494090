//! Functions of one number, written so that the compiler can vectorise a loop over
//! them.

use crate::lanes::Lanes;

/// The rounding of `a b + c`.
pub(crate) trait Rounding {
    /// Whether it is rounded once, or after each of the two operations.
    const FUSED: bool;
}

/// Rounded once if there is a single instruction for it.
impl<L: Lanes> Rounding for L {
    const FUSED: bool = <L as Lanes>::FUSED;
}

/// Always rounded once, so that all levels give the same bits.
pub(crate) struct Once;

impl Rounding for Once {
    const FUSED: bool = true;
}

/// `a b + c`.
#[inline(always)]
pub(crate) fn multiply_add<L: Rounding>(a: f32, b: f32, c: f32) -> f32 {
    match L::FUSED {
        true => a.mul_add(b, c),
        false => a * b + c,
    }
}

/// `2^n` and `e^r - 1` with `x = n ln 2 + r`, for `x` in -87..88. For NaN, the second
/// is NaN.
#[inline(always)]
pub(crate) fn split<L: Rounding>(x: f32) -> (f32, f32) {
    // Adding this to a small number rounds it and moves it to the lowest bits.
    const ROUND: f32 = 12_582_912.0;
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    let shifted = multiply_add::<L>(x, std::f32::consts::LOG2_E, ROUND);
    let whole = shifted - ROUND;
    let rest = multiply_add::<L>(whole, -LN2_HIGH, x);
    let rest = multiply_add::<L>(whole, -LN2_LOW, rest);
    let power = f32::from_bits((shifted.to_bits() << 23).wrapping_add(0x3f80_0000));
    let mut series = 1.0 / 5040.0;
    for coefficient in [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5] {
        series = multiply_add::<L>(series, rest, coefficient);
    }
    (power, multiply_add::<L>(series, rest * rest, rest))
}

#[inline(always)]
fn clamp(x: f32, least: f32, most: f32) -> f32 {
    let x = if x < least { least } else { x };
    if x > most { most } else { x }
}

/// `e^x` for `x <= 0`, 0 below -87.
#[inline(always)]
pub(crate) fn exp_negative<L: Rounding>(x: f32) -> f32 {
    let (power, rest) = split::<L>(clamp(x, -87.0, 0.0));
    let value = multiply_add::<L>(power, rest, power);
    if x < -87.0 { 0.0 } else { value }
}

/// `tanh(a)` and the logistic sigmoid of `b`.
#[inline(always)]
pub(crate) fn tanh_and_sigmoid<L: Rounding>(a: f32, b: f32) -> (f32, f32) {
    // With m = e^-2a - 1: tanh a = -m / (2 + m). One division for both.
    let (power, rest) = split::<L>(clamp(-2.0 * a, -40.0, 40.0));
    let minus = multiply_add::<L>(power, rest, power - 1.0);
    let (power, rest) = split::<L>(clamp(-b, -40.0, 40.0));
    let plus = 1.0 + multiply_add::<L>(power, rest, power);
    let (two, inverse) = (2.0 + minus, 1.0 / ((2.0 + minus) * plus));
    (-minus * plus * inverse, two * inverse)
}

/// The logistic sigmoid of `x`.
#[inline(always)]
pub(crate) fn sigmoid<L: Rounding>(x: f32) -> f32 {
    let (power, rest) = split::<L>(clamp(-x, -40.0, 40.0));
    1.0 / (1.0 + multiply_add::<L>(power, rest, power))
}

/// `x` above zero, else `e^x - 1`: the exponential linear unit.
#[inline(always)]
pub(crate) fn elu<L: Rounding>(x: f32) -> f32 {
    let (power, rest) = split::<L>(clamp(x, -40.0, 0.0));
    let below = multiply_add::<L>(power, rest, power - 1.0);
    if x > 0.0 { x } else { below }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lanes::Portable;

    fn sigmoid_of_nan() -> f32 {
        sigmoid::<Portable>(f32::NAN)
    }

    fn grid(most: f32) -> impl Iterator<Item = f32> {
        (-40_000..=40_000).map(move |step| most * (step as f32 / 40_000.0).powi(3))
    }

    #[test]
    fn exp_is_close_to_the_exact_one() {
        for x in grid(90.0).filter(|x| *x <= 0.0) {
            let exact = f64::from(x).exp();
            let error = (f64::from(exp_negative::<Portable>(x)) - exact).abs();
            assert!(error < 2e-7 * exact || x < -87.0, "{x}: {}", error / exact);
        }
        assert_eq!(exp_negative::<Portable>(f32::NEG_INFINITY), 0.0);
        assert_eq!(exp_negative::<Portable>(0.0), 1.0);
        for bits in [0x7fc0_0000, 0x7fff_ffff, 0x7fc0_0001, 0xffc0_0001] {
            assert!(exp_negative::<Portable>(f32::from_bits(bits)).is_nan());
        }
    }

    #[test]
    fn elu_is_close_to_the_exact_one() {
        for x in grid(90.0) {
            let exact = f64::from(x).exp_m1();
            let exact = if x > 0.0 { f64::from(x) } else { exact };
            let error = (f64::from(elu::<Portable>(x)) - exact).abs();
            assert!(error <= 2e-7 * exact.abs(), "{x}: {}", error / exact);
        }
        assert!(elu::<Portable>(f32::NAN).is_nan());
    }

    #[test]
    fn tanh_and_sigmoid_are_close_to_the_exact_ones() {
        for x in grid(120.0) {
            let (tanh, sigmoid) = tanh_and_sigmoid::<Portable>(x, -x / 3.0);
            let exact = f64::from(x).tanh();
            let error = (f64::from(tanh) - exact).abs();
            assert!(error <= 4e-7 * exact.abs(), "{x}: {}", error / exact);
            let exact = 1.0 / (1.0 + f64::from(x / 3.0).exp());
            let error = (f64::from(sigmoid) - exact).abs();
            assert!(error <= 4e-7 * exact, "{x}: {}", error / exact);
            let exact = 1.0 / (1.0 + (-f64::from(x)).clamp(-40.0, 40.0).exp());
            let error = (f64::from(super::sigmoid::<Portable>(x)) - exact).abs();
            assert!(error <= 4e-7 * exact, "{x}: {}", error / exact);
        }
        assert!(sigmoid_of_nan().is_nan());
        assert!(tanh_and_sigmoid::<Portable>(f32::NAN, 0.0).0.is_nan());
        assert!(tanh_and_sigmoid::<Portable>(0.0, f32::NAN).1.is_nan());
    }
}
