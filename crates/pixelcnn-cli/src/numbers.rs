//! Numbers as text.

/// A value and its standard error, to the same digits. Nothing is said of one that
/// is not known, nor of one that would be zero: numbers that are all the same tell
/// nothing of how others vary.
pub fn estimate(value: f64, std_err: Option<f64>, digits: usize) -> String {
    match std_err.filter(|std_err| *std_err >= 0.5 * 0.1f64.powi(digits as i32)) {
        Some(std_err) => format!("{value:.digits$} ± {std_err:.digits$}"),
        None => format!("{value:.digits$}"),
    }
}

/// The mean, and its standard error: of one number nothing is known of that.
pub fn mean(numbers: &[f64]) -> (f64, Option<f64>) {
    let count = numbers.len() as f64;
    let mean = numbers.iter().sum::<f64>() / count;
    let squares: f64 = numbers.iter().map(|number| (number - mean).powi(2)).sum();
    let std_err = (squares / (count - 1.0) / count).sqrt();
    (mean, (numbers.len() > 1).then_some(std_err))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_number_has_no_standard_error() {
        assert_eq!(mean(&[3.0]), (3.0, None));
        assert_eq!(mean(&[1.0, 3.0]), (2.0, Some(1.0)));
        assert_eq!(estimate(2.0, Some(0.123_456), 3), "2.000 ± 0.123");
        assert_eq!(estimate(2.0, None, 1), "2.0");
        assert_eq!(estimate(2.0, Some(1e-9), 1), "2.0");
    }
}
