//! Functions of one number that mixtures need beyond
//! [`arithmetic`](crate::arithmetic).

use crate::arithmetic::{Rounding, multiply_add};

/// `ln x` for a positive, normal `x`; infinity and what is not a number stay.
///
/// With `x = m 2^e` and `m` in `[sqrt(1/2), sqrt(2))`:
/// `ln x = e ln 2 + 2 (s + s^3/3 + s^5/5 + ...)`, `s = (m - 1) / (m + 1)`.
#[inline(always)]
pub(crate) fn ln<R: Rounding>(x: f32) -> f32 {
    const ROOT_HALF: u32 = 0x3f35_04f3;
    // It has few bits, so that its product with an exponent is exact.
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    let exponent = (x.to_bits().wrapping_sub(ROOT_HALF) as i32) >> 23;
    let mantissa = f32::from_bits(x.to_bits().wrapping_sub((exponent as u32) << 23));
    let s = (mantissa - 1.0) / (mantissa + 1.0);
    let square = s * s;
    let mut series = 2.0 / 9.0;
    for coefficient in [2.0 / 7.0, 2.0 / 5.0, 2.0 / 3.0] {
        series = multiply_add::<R>(series, square, coefficient);
    }
    let rest = multiply_add::<R>(series, square * s, 2.0 * s);
    let exponent = exponent as f32;
    let low = multiply_add::<R>(exponent, LN2_LOW, rest);
    let value = multiply_add::<R>(exponent, LN2_HIGH, low);
    if x < f32::INFINITY { value } else { x }
}

/// `tanh x` within `1e-15`, without fused operations, so that all levels give
/// the same bits.
///
/// In f64, because the other factor may be many thousands of scales.
#[inline(always)]
pub(crate) fn tanh(x: f64) -> f64 {
    // Above 20, tanh x is 1.
    let twice = 2.0 * x.abs();
    let e = exp_negative(if twice > 40.0 { 40.0 } else { twice });
    ((1.0 - e) / (1.0 + e)).copysign(x)
}

/// `e^-x` for `x` in 0..=40, with `-x = n ln 2 + r` by 14 terms of the series
/// of `e^r`.
#[inline(always)]
fn exp_negative(x: f64) -> f64 {
    // Adding this to a small number rounds it and moves it to the lowest bits.
    const ROUND: f64 = 6_755_399_441_055_744.0;
    // It has few bits, so that its product with `n` is exact.
    const LN2_HIGH: f64 = f64::from_bits(0x3fe6_2e42_fee0_0000);
    const LN2_LOW: f64 = 1.908_214_929_270_587_7e-10;
    let shifted = -x * std::f64::consts::LOG2_E + ROUND;
    let whole = shifted - ROUND;
    let rest = (-x - whole * LN2_HIGH) - whole * LN2_LOW;
    let mut series = 1.0 / FACTORIALS[13];
    for factorial in FACTORIALS[..13].iter().rev() {
        series = series * rest + 1.0 / factorial;
    }
    let power = (shifted.to_bits() << 52).wrapping_add(1023 << 52);
    f64::from_bits(power) * series
}

/// `n!`.
const FACTORIALS: [f64; 14] = {
    let mut factorials = [1.0; 14];
    let mut n = 1;
    while n < factorials.len() {
        factorials[n] = factorials[n - 1] * n as f64;
        n += 1;
    }
    factorials
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arithmetic::Once;
    use crate::lanes::Portable;

    #[test]
    fn ln_is_close_to_the_exact_one() {
        for step in -80_000..=80_000 {
            let x = (step as f32 * 1e-3).exp();
            let exact = f64::from(x).ln();
            for found in [ln::<Portable>(x), ln::<Once>(x)] {
                let error = (f64::from(found) - exact).abs();
                assert!(error <= 2e-7 * exact.abs().max(1e-6), "{x}: {error}");
            }
        }
        assert_eq!(ln::<Once>(1.0), 0.0);
        assert_eq!(ln::<Once>(f32::INFINITY), f32::INFINITY);
        assert!(ln::<Once>(f32::NAN).is_nan());
    }

    #[test]
    fn tanh_is_close_to_the_exact_one() {
        for step in -40_000..=40_000 {
            let x = 30.0 * (f64::from(step) / 40_000.0).powi(3);
            let error = (tanh(x) - x.tanh()).abs();
            assert!(error <= 1e-15, "{x}: {error}");
        }
        assert_eq!([-1e4, 0.0, 1e4].map(tanh), [-1.0, 0.0, 1.0]);
        assert!(tanh(f64::NAN).is_nan());
    }
}
