//! The natural logarithm, from operations that are the same everywhere.

/// `ln x` for a positive, finite, normal `x`, within a few units in the last
/// place; NaN for any other `x`.
///
/// With `x = m 2^e` and `m` in `[sqrt(1/2), sqrt(2))`:
/// `ln x = e ln 2 + 2 (s + s^3/3 + s^5/5 + ...)`, `s = (m - 1) / (m + 1)`.
///
/// # Example
///
/// ```
/// use pixelcnn_kernels::exact::ln;
///
/// assert!((ln(10.0) - 10f64.ln()).abs() < 1e-15);
/// ```
pub fn ln(x: f64) -> f64 {
    if !(x.is_normal() && x > 0.0) {
        return f64::NAN;
    }
    let bits = x.to_bits();
    let mut exponent = (bits >> 52) as i64 - 1023;
    let mut mantissa = f64::from_bits((bits & ((1 << 52) - 1)) | (1023 << 52));
    if mantissa > std::f64::consts::SQRT_2 {
        mantissa *= 0.5;
        exponent += 1;
    }
    let s = (mantissa - 1.0) / (mantissa + 1.0);
    let square = s * s;
    let mut series = 0.0;
    for power in (0..12).rev() {
        series = series * square + 1.0 / f64::from(2 * power + 1);
    }
    // The first part of ln 2 has zeros at its end: its product is exact.
    const LN2_HIGH: f64 = f64::from_bits(0x3fe6_2e42_fee0_0000);
    const LN2_LOW: f64 = 1.908_214_929_270_587_7e-10;
    exponent as f64 * LN2_HIGH + (exponent as f64 * LN2_LOW + 2.0 * s * series)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_close_to_the_exact_one() {
        for step in -4_000..4_000 {
            let x = (f64::from(step) * 0.17).exp2().clamp(1e-300, 1e300) * 1.234;
            let error = (ln(x) - x.ln()).abs();
            assert!(error <= 4e-16 * x.ln().abs().max(1.0), "{x}: {error}");
        }
        assert_eq!(ln(1.0), 0.0);
        for x in [0.0, -1.0, f64::INFINITY, f64::NAN, 1e-320] {
            assert!(ln(x).is_nan());
        }
    }
}
