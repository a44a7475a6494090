//! Numbers for human readers.

/// Hours, minutes and seconds, without the units that are too small to matter.
pub(crate) fn duration(seconds: f64) -> String {
    if seconds < 60.0 {
        return format!("{seconds:.1} s");
    }
    // Rounded first, so that 1 min 59.9 s does not become 1 min 60 s.
    let whole = seconds.round() as u64;
    let (hours, minutes, seconds) = (whole / 3600, whole / 60 % 60, whole % 60);
    match hours {
        0 => format!("{minutes} min {seconds:02} s"),
        _ => format!("{hours} h {minutes:02} min {seconds:02} s"),
    }
}

/// The number with a comma between groups of three digits.
pub(crate) fn with_commas(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `each class`, or `each of the first 8 classes`.
pub(crate) fn each_of(drawn: usize, classes: usize) -> String {
    match drawn < classes {
        true => format!("each of the first {drawn} classes"),
        false => "each class".to_owned(),
    }
}

/// A value with its standard error.
pub(crate) fn plus_minus(value: f64, std_err: Option<f64>) -> String {
    // A value that rounds to zero has no sign.
    let value = format!("{value:.3}").replace("-0.000", "0.000");
    match std_err {
        Some(std_err) => format!("{value} ± {std_err:.3}"),
        None => value,
    }
}

/// A share with its standard error, in percent.
pub(crate) fn percent(share: f64, std_err: Option<f64>) -> String {
    match std_err {
        Some(std_err) => format!("{:.1} ± {:.1} %", 100.0 * share, 100.0 * std_err),
        None => format!("{:.1} %", 100.0 * share),
    }
}

/// The published number on the test set, and on the training set in brackets.
pub(crate) fn published(test: f64, train: Option<f64>) -> String {
    let train = train.map_or_else(String::new, |train| format!(" ({train:.2})"));
    format!("{test:.2}{train}")
}

/// `count` numbers from 0 on, `step` apart: `0,6,12`.
pub(crate) fn index_list(count: usize, step: usize) -> String {
    let numbers: Vec<String> = (0..count).map(|index| (index * step).to_string()).collect();
    numbers.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_short() {
        assert_eq!(duration(0.04), "0.0 s");
        assert_eq!(duration(59.94), "59.9 s");
        assert_eq!(duration(119.7), "2 min 00 s");
        assert_eq!(duration(3725.0), "1 h 02 min 05 s");
    }

    #[test]
    fn digits_are_grouped() {
        assert_eq!(with_commas(0), "0");
        assert_eq!(with_commas(999), "999");
        assert_eq!(with_commas(180_732), "180,732");
        assert_eq!(with_commas(1_000_000), "1,000,000");
    }

    #[test]
    fn numbers_have_their_signs_and_errors() {
        assert_eq!(plus_minus(4.24151, Some(0.0271)), "4.242 ± 0.027");
        assert_eq!(plus_minus(-0.0004, Some(0.001)), "0.000 ± 0.001");
        assert_eq!(percent(0.8125, Some(0.02)), "81.2 ± 2.0 %");
        assert_eq!(published(3.83, Some(3.77)), "3.83 (3.77)");
        assert_eq!(published(8.0, None), "8.00");
        assert_eq!(index_list(3, 6), "0,6,12");
    }
}
