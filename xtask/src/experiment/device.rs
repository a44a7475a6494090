//! The device of the models.

use std::fmt;
use std::str::FromStr;

/// A device, with the names of the program's `--device`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Device {
    Cpu,
    Cuda(usize),
    Metal,
}

impl Device {
    /// The feature that the program needs for it.
    pub(crate) fn feature(self) -> Option<&'static str> {
        match self {
            Self::Cpu => None,
            Self::Cuda(_) => Some("pixelcnn-cli/cuda"),
            Self::Metal => Some("pixelcnn-cli/metal"),
        }
    }
}

impl FromStr for Device {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "cpu" => Ok(Self::Cpu),
            "metal" => Ok(Self::Metal),
            _ => text
                .strip_prefix("cuda:")
                .and_then(|ordinal| ordinal.parse().ok())
                .map(Self::Cuda)
                .ok_or_else(|| format!("expected cpu, cuda:N or metal, found {text:?}")),
        }
    }
}

impl fmt::Display for Device {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => formatter.write_str("cpu"),
            Self::Cuda(ordinal) => write!(formatter, "cuda:{ordinal}"),
            Self::Metal => formatter.write_str("metal"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_written_alike() {
        for name in ["cpu", "cuda:0", "cuda:7", "metal"] {
            assert_eq!(name.parse::<Device>().unwrap().to_string(), name);
        }
        for name in ["", "gpu", "cuda", "cuda:", "cuda:-1", "cuda:x"] {
            let message = name.parse::<Device>().unwrap_err();
            assert!(message.ends_with(&format!("found {name:?}")), "{message}");
        }
    }
}
