//! The sets of configs.

use std::fmt;

use clap::ValueEnum;
use clap::builder::{PossibleValuesParser, TypedValueParser};

/// A set of configs, one a run. Not every experiment has each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Preset {
    /// Seconds: shows that everything runs; its numbers mean nothing
    Smoke,
    /// Small networks, trained briefly
    Quick,
    /// The longest runs meant for a computer without an accelerator
    Cpu,
    /// Small networks for grey portraits of 28 x 23, named by --data
    Faces,
    /// Fashion-MNIST, twenty minutes on two cores
    Fashion,
    /// Small networks for photographs of 64 x 64 in ten classes, named by --data
    Photos64,
    /// Meant for the paper's data and sizes, on an accelerator
    Paper,
}

impl Preset {
    /// Those that every experiment has.
    pub const COMMON: &'static [Self] = &[Self::Smoke, Self::Quick, Self::Paper];

    /// Reads one of these presets; the others are neither accepted nor listed.
    pub fn parser(presets: &'static [Self]) -> impl TypedValueParser<Value = Self> {
        let values = presets.iter().filter_map(Self::to_possible_value);
        PossibleValuesParser::new(values).try_map(|text| Self::from_str(&text, false))
    }

    /// How many images there are of something, where smoke wants the least.
    pub fn smoke_or(self, smoke: usize, otherwise: usize) -> usize {
        match self {
            Self::Smoke => smoke,
            _ => otherwise,
        }
    }

    /// What a reader must know of its numbers.
    pub fn warning(self) -> Option<&'static str> {
        match self {
            Self::Smoke => Some(
                "**Preset `smoke` only shows that everything runs: its numbers mean nothing.**",
            ),
            Self::Quick | Self::Cpu | Self::Faces | Self::Fashion | Self::Photos64 => Some(
                "**This preset trains networks smaller than the paper's, and for less time: its \
                 numbers are not what the models reach.**",
            ),
            Self::Paper => None,
        }
    }
}

impl fmt::Display for Preset {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Smoke => "smoke",
            Self::Quick => "quick",
            Self::Cpu => "cpu",
            Self::Faces => "faces",
            Self::Fashion => "fashion",
            Self::Photos64 => "photos64",
            Self::Paper => "paper",
        })
    }
}
