//! Parses numbers of the command line, with messages for invalid texts.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;

/// A whole number from 0.
pub(crate) fn whole(text: &str) -> Result<usize, String> {
    within(text, 0..=usize::MAX)
}

/// A whole number from 1.
pub(crate) fn from_one(text: &str) -> Result<usize, String> {
    within(text, 1..=usize::MAX)
}

/// A seed.
pub(crate) fn seed(text: &str) -> Result<u64, String> {
    within(text, 0..=u64::MAX)
}

/// A zoom factor.
pub(crate) fn zoom(text: &str) -> Result<u32, String> {
    within(text, 1..=64)
}

fn within<T: FromStr + PartialOrd + Display>(
    text: &str,
    range: RangeInclusive<T>,
) -> Result<T, String> {
    let found = text.parse().ok().filter(|found| range.contains(found));
    let (least, most) = (range.start(), range.end());
    found.ok_or_else(|| format!("a whole number from {least} to {most} expected"))
}

/// A temperature.
pub(crate) fn temperature(text: &str) -> Result<f32, String> {
    let found = text.parse().ok();
    found
        .filter(|found: &f32| found.is_finite() && *found > 0.0)
        .ok_or_else(|| "a number above 0 and up to 3e38 expected".to_string())
}

/// A probability above 0.
pub(crate) fn share(text: &str) -> Result<f64, String> {
    let found = text.parse().ok();
    found
        .filter(|found| *found > 0.0 && *found <= 1.0)
        .ok_or_else(|| "a number above 0 and up to 1 expected".to_string())
}
