//! Numbers on the command line, and what is said of texts that are none.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;

/// A whole number from 0.
pub fn whole(text: &str) -> Result<usize, String> {
    within(text, 0..=usize::MAX)
}

/// A whole number from 1.
pub fn from_one(text: &str) -> Result<usize, String> {
    within(text, 1..=usize::MAX)
}

/// The number that random numbers begin with.
pub fn seed(text: &str) -> Result<u64, String> {
    within(text, 0..=u64::MAX)
}

/// How often a pixel is repeated.
pub fn zoom(text: &str) -> Result<u32, String> {
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

/// What logits are divided by.
pub fn temperature(text: &str) -> Result<f32, String> {
    let found = text.parse().ok();
    found
        .filter(|found: &f32| found.is_finite() && *found > 0.0)
        .ok_or_else(|| "a number above 0 and up to 3e38 expected".to_string())
}

/// A share of a whole.
pub fn share(text: &str) -> Result<f64, String> {
    let found = text.parse().ok();
    found
        .filter(|found| *found > 0.0 && *found <= 1.0)
        .ok_or_else(|| "a number above 0 and up to 1 expected".to_string())
}
