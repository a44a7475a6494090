//! The types in which a training step computes.

use std::fmt;

use serde::{Deserialize, Serialize};

/// In which types a training step computes its maps and its products. Other devices than
/// CUDA's have [`Precision::F32`] only.
///
/// Weights, their averages, the state of the optimiser, gradients of weights, losses, and the
/// sums in products are f32 in all of them. The name in configurations is that of
/// [`Precision::as_str`].
///
/// # Example
///
/// ```
/// use pixelcnn_models::Precision;
///
/// assert_eq!(Precision::default(), Precision::F32);
/// let precision: Precision = serde_json::from_str("\"bf16\"")?;
/// assert_eq!(precision, Precision::Bf16);
/// assert_eq!(precision.to_string(), "bf16");
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Precision {
    /// f32: 23 bits of mantissa.
    #[default]
    F32,
    /// Maps in f32; the device rounds the operands of products to 10 bits of mantissa.
    Tf32,
    /// Maps and the operands of products in bf16: 7 bits of mantissa.
    Bf16,
}

impl Precision {
    /// All of them, the most exact one first.
    pub const ALL: [Self; 3] = [Self::F32, Self::Tf32, Self::Bf16];

    /// Its name: `f32`, `tf32` or `bf16`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Tf32 => "tf32",
            Self::Bf16 => "bf16",
        }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_configurations() {
        for precision in Precision::ALL {
            let text = serde_json::to_string(&precision).unwrap();
            assert_eq!(text, format!("\"{precision}\""));
        }
    }
}
