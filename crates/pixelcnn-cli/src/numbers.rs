//! Numbers as text.

/// A value and its standard error, with the same digits. The standard error is left
/// out if it is unknown or zero: equal numbers say nothing about the variation of
/// others.
pub(crate) fn estimate(value: f64, std_err: Option<f64>, digits: usize) -> String {
    match std_err.filter(|std_err| *std_err >= 0.5 * 0.1f64.powi(digits as i32)) {
        Some(std_err) => format!("{value:.digits$} ± {std_err:.digits$}"),
        None => format!("{value:.digits$}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_estimate_has_as_many_digits_as_its_error() {
        assert_eq!(estimate(2.0, Some(0.123_456), 3), "2.000 ± 0.123");
        assert_eq!(estimate(2.0, None, 1), "2.0");
        assert_eq!(estimate(2.0, Some(1e-9), 1), "2.0");
    }
}
