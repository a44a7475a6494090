//! The three parts of a data set.

use std::fmt;
use std::str::FromStr;

use crate::DataError;

/// A split of a data set: for training, for choosing settings, or for reported
/// results.
///
/// ```
/// use pixelcnn_data::Split;
///
/// assert_eq!("valid".parse::<Split>()?, Split::Valid);
/// assert_eq!(Split::Test.to_string(), "test");
/// # Ok::<(), pixelcnn_data::DataError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Split {
    /// The images that a model learns from.
    Train,
    /// The images for choosing settings and the best checkpoint.
    Valid,
    /// The images for reporting results.
    Test,
}

impl fmt::Display for Split {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Train => "train",
            Self::Valid => "valid",
            Self::Test => "test",
        })
    }
}

impl FromStr for Split {
    type Err = DataError;

    fn from_str(text: &str) -> Result<Self, DataError> {
        match text {
            "train" => Ok(Self::Train),
            "valid" => Ok(Self::Valid),
            "test" => Ok(Self::Test),
            _ => Err(DataError::UnknownSplit { given: text.into() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for (name, split) in [
            ("train", Split::Train),
            ("valid", Split::Valid),
            ("test", Split::Test),
        ] {
            assert_eq!(split.to_string(), name);
            assert_eq!(name.parse::<Split>().unwrap(), split);
        }
    }

    #[test]
    fn other_names_are_refused_with_the_known_ones() {
        let message = "validation".parse::<Split>().unwrap_err().to_string();
        for part in ["validation", "train", "valid", "test"] {
            assert!(message.contains(part), "{message}");
        }
    }
}
