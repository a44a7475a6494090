//! One file for each format: its network, and how its tensors become those of the network.

pub(crate) mod anordertoreclaim;
pub(crate) mod pytorch_generative;
pub(crate) mod pytorch_vqvae;
pub(crate) mod uvadlc;

use std::ops::RangeInclusive;

use pixelcnn_models::{Classes, Conditioning, ModelError};

/// Limits far above networks that can be trained, so that a damaged file cannot make the
/// program allocate too much.
const MAPS: RangeInclusive<usize> = 1..=65_536;
const BLOCKS: RangeInclusive<usize> = 1..=4_096;
const DILATIONS: RangeInclusive<usize> = 1..=1_024;
const MOST_KERNEL: usize = 255;

fn invalid(what: &str, why: impl Into<String>) -> ModelError {
    ModelError::Invalid {
        what: format!("model.{what}"),
        why: why.into(),
    }
}

/// Refuses a number outside of a range.
fn within(what: &str, found: usize, range: RangeInclusive<usize>) -> Result<(), ModelError> {
    match range.contains(&found) {
        true => Ok(()),
        false => {
            let (least, most) = range.into_inner();
            let why = format!("{least} to {most} expected, found {found}");
            Err(invalid(what, why))
        }
    }
}

/// Refuses a kernel that is even or too large.
fn odd(what: &str, found: usize) -> Result<(), ModelError> {
    match found % 2 == 1 && (3..=MOST_KERNEL).contains(&found) {
        true => Ok(()),
        false => {
            let why = format!("an odd number from 3 to {MOST_KERNEL} expected, found {found}");
            Err(invalid(what, why))
        }
    }
}

/// Refuses another number of channels.
fn channels(found: usize, expected: usize) -> Result<(), ModelError> {
    match found == expected {
        true => Ok(()),
        false => {
            let why = format!("{expected} expected, found {found}");
            Err(invalid("image.channels", why))
        }
    }
}

/// The classes of a conditioning, which must be one of classes.
fn classes(conditioning: &Conditioning) -> Result<&Classes, ModelError> {
    match conditioning {
        Conditioning::Class { classes } => Ok(classes),
        _ => Err(invalid("conditioning", "the kind \"class\" expected")),
    }
}
